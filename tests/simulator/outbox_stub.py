"""A stand-in for the platform: writes outbox files for the simulator to answer."""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from simulator.files import CASH_COLUMNS, INSTRUCTION_COLUMNS
from simulator.world import World

FIRST, LAST = date(2020, 6, 1), date(2020, 6, 30)
CUSTODIAN_OF = {
    "TSP-G": "NORTH", "TSP-F": "NORTH", "TSP-C": "SOUTH", "TSP-S": "SOUTH", "TSP-I": "SOUTH",
}  # fmt: skip


def put(path: Path, columns: str, rows: list[list[str]]) -> None:
    """Writes one outbox file with its ``.sha256``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in [columns, *map(",".join, rows)])
    path.write_bytes(text.encode())
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")


def dispatch(home: Path, day: date) -> None:
    """Instructions of every kind for both custodians, and cash, drawn from the date."""
    rng = random.Random(f"dispatch|{day}")
    rows: dict[str, list[list[str]]] = {"NORTH": [], "SOUTH": []}
    for asset_id, custodian_id in CUSTODIAN_OF.items():
        side = rng.choice("BS")
        for side_of, kind in ((side, "U"), ("B", "A")):
            batch = f"B-{day}-live"
            instruction_id = f"{batch}-{custodian_id}-{asset_id}-{side_of}-{kind}"
            quantity = rng.randrange(1, 30_000_000)
            units = f"{quantity // 10_000}.{quantity % 10_000:04d}" if kind == "U" else ""
            amount = f"{quantity // 100}.{quantity % 100:02d}" if kind == "A" else ""
            rows[custodian_id].append(
                [instruction_id, batch, str(day), custodian_id, asset_id, side_of, kind, units,
                 amount, "USD"]
            )  # fmt: skip
    for custodian_id, instructions in rows.items():
        folder = home / "outbox" / custodian_id / str(day)
        put(folder / "instructions.csv", INSTRUCTION_COLUMNS, sorted(instructions))
    cash = [
        [f"{day}-{number}", str(day), rng.choice(["IN", "IN", "OUT"]),
         f"{rng.randrange(1, 900)}.07", "USD"]
        for number in range(20)
    ]  # fmt: skip
    put(home / "outbox" / "NORTH" / str(day) / "cash.csv", CASH_COLUMNS, cash)


def play(world: World, home: Path) -> None:
    """The whole span: reference files, then every date's drop and dispatch."""
    world.reference()
    for day in world.business_dates():
        world.before(day)
        dispatch(home, day)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The data rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def all_rows(home: Path, feed: str) -> Iterator[dict[str, str]]:
    """The rows of every file of a feed, file by file in order of name."""
    for path in sorted((home / "inbox" / feed).glob("*.csv")):
        yield from rows_of(path)


def contents(home: Path) -> dict[str, bytes]:
    """Every file of the inbox, by relative path."""
    inbox = home / "inbox"
    return {
        str(path.relative_to(inbox)): path.read_bytes()
        for path in sorted(inbox.rglob("*"))
        if path.is_file()
    }
