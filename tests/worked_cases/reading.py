"""Reads a worked case: the files of each date, and the figures it states, from its Markdown page.

A file is a fenced block ``csv DATE FEED``: it lands before the run of `DATE`, in the order of the
page. A figure is one ``csv DATE TABLE``: the whole table after that run. Blocks of `scheme.md` are
``csv FEED``; the line ``Reference data: `FEED`, …`` lands them before the first run.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCHEME = FOLDER / "scheme.md"
FEEDS = (
    "holidays",
    "assets",
    "risk_profiles",
    "risk_profile_parameters",
    "pots",
    "opening_positions",
    "journal_sources",
    "closing_prices",
    "statements",
    "confirmations",
    "orders",
    "journals",
)
Row = dict[str, str]


def order_id(name: str) -> str:
    """Return the id of the order written `source/source_ref`.

    The reference of an order the platform makes holds another order's id; a page names that one:
    `switch/{sale}`, `withdrawal/{withdrawal}:{asset}:{date}`.
    """
    source, reference = name.split("/", 1)
    if source == "switch":
        reference = order_id(reference)
    if source == "withdrawal":
        origin, asset, day = reference.rsplit(":", 2)
        reference = f"{order_id(origin)}:{asset}:{day}"
    return hashlib.sha256(f"{source}\n{reference}".encode()).hexdigest()[:32]


def _quantity(text: str) -> Fraction | None:
    return Fraction(text) if text else None


@dataclass(frozen=True)
class Table:
    """How the rows of a table of figures are written, and which key and value each one states."""

    columns: tuple[str, ...]
    attribute: str
    key: Callable[[Row], Any]
    value: Callable[[Row], Any]


TABLES = {
    "balances": Table(
        ("book", "account", "state", "asset_id", "quantity"),
        "balances",
        lambda r: (r["book"], r["account"], r["state"], r["asset_id"]),
        lambda r: Fraction(r["quantity"]),
    ),
    "allocations": Table(
        ("order", "units", "consideration"),
        "allocations",
        lambda r: order_id(r["order"]),
        lambda r: (Fraction(r["units"]), Fraction(r["consideration"])),
    ),
    "order_states": Table(
        ("order", "state", "reason"),
        "orders",
        lambda r: order_id(r["order"]),
        lambda r: (r["state"], r["reason"]),
    ),
    "trades": Table(
        ("pot_id", "asset_id", "side", "units"),
        "trades",
        lambda r: (r["pot_id"], r["asset_id"]),
        lambda r: (r["side"], Fraction(r["units"])),
    ),
    "instructions": Table(
        ("instruction_id", "units", "amount"),
        "instructions",
        lambda r: r["instruction_id"],
        lambda r: (_quantity(r["units"]), _quantity(r["amount"])),
    ),
    "cash": Table(
        ("order", "direction", "amount"),
        "cash",
        lambda r: order_id(r["order"]),
        lambda r: (r["direction"], Fraction(r["amount"])),
    ),
    "breaks": Table(
        ("book", "custodian_id", "asset_id", "class", "states"),
        "breaks",
        lambda r: (r["book"], r["custodian_id"], r["asset_id"], r["class"]),
        lambda r: frozenset(r["states"].split()),
    ),
    "journal_states": Table(
        ("journal", "state", "reason"),
        "journals",
        lambda r: r["journal"],
        lambda r: (r["state"], r["reason"]),
    ),
    "suspended": Table(
        ("book", "asset_id"),
        "suspended",
        lambda r: (r["book"], r["asset_id"]),
        lambda _: True,
    ),
}


@dataclass(frozen=True)
class Block:
    """A fenced block of rows: the words after `csv`, the line of its fence."""

    words: tuple[str, ...]
    line: int
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass
class WorkedCase:
    """The files that land before each run, and the figures stated after it."""

    name: str
    days: dict[date, list[Block]] = field(default_factory=dict)
    figures: dict[date, dict[str, dict[Any, Any]]] = field(default_factory=dict)


def pages() -> list[Path]:
    """Return the pages of all cases in order."""
    return sorted(FOLDER.glob("[0-9][0-9]-*.md"))


def blocks(page: Path) -> Iterator[Block]:
    """Return the CSV blocks of a page from top to bottom."""
    lines = enumerate(page.read_text("utf-8").splitlines(), start=1)
    for number, line in lines:
        if not line.startswith("```"):
            continue
        inside = []
        for _, text in lines:
            if text == "```":
                break
            inside.append(text)
        else:
            raise ValueError(f"{page.name}:{number}: the block is not closed")
        kind, *words = line.removeprefix("```").split() or [""]
        if kind == "csv":
            table = csv.DictReader(inside, strict=True)
            rows = tuple(table)
            if any(None in row or None in row.values() for row in rows):
                raise ValueError(f"{page.name}:{number}: a row is ragged")
            columns = tuple(table.fieldnames or ())
            yield Block(tuple(words), number, columns, rows)


def read(page: Path) -> WorkedCase:
    """Read a case; every business date from its first to its last is run."""
    reference = [
        found
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("Reference data: ")
        for found in re.findall(r"`(\w+)`", line)
    ]
    shared = [b for b in blocks(SCHEME) if b.words[0] in reference]
    if len(shared) != len(reference):
        raise ValueError(f"{page.name}: reference data that scheme.md does not have")
    case = WorkedCase(page.stem)
    files: dict[date, list[Block]] = {}
    for block in blocks(page):
        day, name = date.fromisoformat(block.words[0]), block.words[1]
        where = f"{page.name}:{block.line}"
        if name in FEEDS:
            files.setdefault(day, []).append(Block((name,), block.line, block.columns, block.rows))
            continue
        table = TABLES[name]
        if block.columns != table.columns:
            raise ValueError(f"{where}: {name} has the columns {','.join(table.columns)}")
        stated = {table.key(row): table.value(row) for row in block.rows}
        if len(stated) != len(block.rows):
            raise ValueError(f"{where}: two rows of one key")
        mine = case.figures.setdefault(day, {})
        if name in mine:
            raise ValueError(f"{where}: {name} is stated twice")
        mine[name] = stated
    first, last = min({*files, *case.figures}), max({*files, *case.figures})
    files[first] = [*shared, *files.get(first, [])]
    free = {
        date.fromisoformat(row["holiday"])
        for landed in files.values()
        for block in landed
        if block.words == ("holidays",)
        for row in block.rows
        if row["calendar_id"] == "DEALING"
    }
    span = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    case.days = {day: files.pop(day, []) for day in span if day.weekday() < 5 and day not in free}
    if files or case.figures.keys() - case.days.keys():
        raise ValueError(f"{page.name}: a block is dated on no business date")
    return case
