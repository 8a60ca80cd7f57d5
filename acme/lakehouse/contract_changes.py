"""What changed between two states of a contract, and which version that asks for; reads no file.

A `Shape` is what others rely on. For a table they read it: another type or key, a column gone, one
that must be filled in what was written before, other values than were allowed. A column may hold
neither more than it did, which its readers do not expect, nor less, which earlier partitions do not
keep. For a feed they write it: whatever makes a file wrong that was right, or one whose header is
no longer the contract's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Any

from acme.lakehouse.contracts import Bounds, Column, Contract, Rule, canonical_value

_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
Version = tuple[int, int, int]


class Level(IntEnum):
    """Which part of a version a change must raise: its text, an addition, what breaks others."""

    PATCH = 0
    MINOR = 1
    MAJOR = 2

    @property
    def says(self) -> str:
        """The level for people."""
        return ("wording", "compatible", "breaking")[self]


@dataclass(frozen=True)
class Change:
    """One difference; `what` names the column and both sides."""

    level: Level
    what: str


@dataclass(frozen=True)
class Shape:
    """What others rely on: facts of the whole dataset, and of each column, in contract order.

    Every value is text, a number, a list of texts or None, as JSON holds them.
    """

    version: str
    facts: Mapping[str, Any]
    columns: Mapping[str, Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """The shape as `of_json` takes it."""
        columns = [{"name": name, **facts} for name, facts in self.columns.items()]
        return {"version": self.version, **self.facts, "columns": columns}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Shape:
        """The shape that `as_json` gave; KeyError where it is none."""
        facts = {k: v for k, v in document.items() if k not in ("version", "columns")}
        columns = {
            column["name"]: {k: v for k, v in column.items() if k != "name"}
            for column in document["columns"]
        }
        return cls(document["version"], facts, columns)


def shape_of(contract: Contract) -> Shape:
    """What others rely on in a contract."""
    columns = {column.name: _facts_of(column) for column in contract.columns}
    facts = {
        "key": list(contract.key),
        "accepted_by": None if contract.accepted_by == contract.key else list(contract.accepted_by),
        "owner": contract.owner,
        "retention_years": contract.retention_years,
        "rules": [_rule(rule) for rule in contract.rules] or None,
        "text": _digest(
            contract.purpose, contract.usage, contract.limitations, contract.grain,
            *(rule.description for rule in contract.rules),
        ),
    }  # fmt: skip
    return Shape(contract.version, {k: v for k, v in facts.items() if v is not None}, columns)


def _facts_of(column: Column) -> dict[str, Any]:
    facts = {
        "type": column.sql_type,
        "required": not column.nullable,
        "enum": None if column.enum is None else sorted(column.enum),
        "pattern": column.pattern,
        "max_length": column.max_length,
        "bounds": _bounds(column.bounds),
        "unit": column.unit,
        "hashed": column.hashed,
        "classification": column.classification,
        "rules": [_rule(rule) for rule in column.rules] or None,
        "text": _digest(column.description, *(rule.description for rule in column.rules)),
    }
    # What most columns have not is not written down.
    return {k: v for k, v in facts.items() if v is not None and not (k == "hashed" and v)}


def _bounds(bounds: Bounds) -> dict[str, str] | None:
    limits = {k: canonical_value(v) for k, v in asdict(bounds).items() if v is not None}
    return limits or None


def _rule(rule: Rule) -> str:
    given = json.dumps(dict(rule.arguments), sort_keys=True, default=str)
    return f"{rule.severity} {rule.name} {given}"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


# ---- what changed -------------------------------------------------------------------------------


def changes(before: Shape, now: Shape, *, sent: bool) -> list[Change]:
    """Every difference, those that break others first; `sent`: of a feed, which others write."""
    found = [*_of_the_whole(before, now, sent), *_of_columns(before, now, sent)]
    return sorted(found, key=lambda change: -change.level)


def _of_the_whole(before: Shape, now: Shape, sent: bool) -> Iterator[Change]:
    for name, level in (
        ("key", Level.MAJOR),
        ("accepted_by", Level.MAJOR),
        ("owner", Level.MINOR),
        ("retention_years", Level.MINOR),
        ("text", Level.PATCH),
    ):
        if before.facts.get(name) != now.facts.get(name):
            yield Change(level, _told(name, before.facts.get(name), now.facts.get(name)))
    yield from _rules("", before.facts, now.facts, sent)


def _of_columns(before: Shape, now: Shape, sent: bool) -> Iterator[Change]:
    gone = [name for name in before.columns if name not in now.columns]
    new = [name for name in now.columns if name not in before.columns]
    for name in gone:
        also = f"; {', '.join(new)} is new: a new name breaks readers too" if new else ""
        yield Change(Level.MAJOR, f"{name}: the column is gone{also}")
    for name in new:
        if sent:
            yield Change(Level.MAJOR, f"{name}: a new column, which the files sent have not")
        elif now.columns[name]["required"]:
            what = "a new required column, which the partitions written before have not"
            yield Change(Level.MAJOR, f"{name}: {what}")
        else:
            yield Change(Level.MINOR, f"{name}: a new column that may be empty")
    kept = [name for name in before.columns if name in now.columns]
    if kept != [name for name in now.columns if name in before.columns]:
        yield Change(Level.MAJOR, "columns: another order, by which rows are hashed and files read")
    for name in kept:
        yield from _of_a_column(name, before.columns[name], now.columns[name], sent)


def _of_a_column(
    name: str, before: Mapping[str, Any], now: Mapping[str, Any], sent: bool
) -> Iterator[Change]:
    for fact, level in (
        ("type", Level.MAJOR),
        ("unit", Level.MAJOR),
        ("hashed", Level.MAJOR),
        ("classification", Level.MINOR),
        ("text", Level.PATCH),
    ):
        if before.get(fact) != now.get(fact):
            yield Change(level, f"{name}: {_told(fact, before.get(fact), now.get(fact))}")
    for fact in ("required", "enum", "pattern", "max_length", "bounds"):
        if before.get(fact) != now.get(fact):
            # A file that was right stays right only if all that was allowed still is.
            kept = sent and _is_wider(fact, before.get(fact), now.get(fact))
            level = Level.MINOR if kept else Level.MAJOR
            yield Change(level, f"{name}: {_told(fact, before.get(fact), now.get(fact))}")
    yield from _rules(f"{name}: ", before, now, sent)


def _is_wider(fact: str, before: Any, now: Any) -> bool:
    """Say whether every value that was allowed still is."""
    if now is None:
        return True
    match fact:
        case "required":
            return not now
        case "enum":
            return before is not None and set(before) <= set(now)
        case "max_length":
            return before is not None and before <= now
        case "bounds":
            return before is not None and all(_allows(k, before.get(k), v) for k, v in now.items())
        case _:
            # What a pattern allows is not compared.
            return False


def _allows(limit: str, before: str | None, now: str) -> bool:
    """Say whether a limit has not moved inwards."""
    if before is None:
        return False
    at_least = limit.endswith("minimum")
    return Decimal(now) <= Decimal(before) if at_least else Decimal(now) >= Decimal(before)


def _rules(
    where: str, before: Mapping[str, Any], now: Mapping[str, Any], sent: bool
) -> Iterator[Change]:
    old, new = before.get("rules") or [], now.get("rules") or []
    for rule in old:
        if rule not in new:
            yield Change(Level.MINOR, f"{where}rules: {rule}: gone")
    for rule in new:
        if rule not in old:
            refuses = sent and rule.startswith("error ")
            yield Change(Level.MAJOR if refuses else Level.MINOR, f"{where}rules: {rule}: new")


def _told(fact: str, before: Any, now: Any) -> str:
    if fact == "text":
        return "other words"
    return f"{fact}: was {_shown(before)}, is {_shown(now)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)


# ---- versions -----------------------------------------------------------------------------------


def version_of(text: str) -> Version:
    """Major, minor and patch of a version; ValueError if it is none."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a version as 1.0.0, got {text!r}")
    return int(match[1]), int(match[2]), int(match[3])


def least_version(before: str, found: list[Change]) -> Version:
    """The lowest version that says what changed."""
    major, minor, patch = version_of(before)
    level = max((change.level for change in found), default=None)
    match level:
        case Level.MAJOR:
            return major + 1, 0, 0
        case Level.MINOR:
            return major, minor + 1, 0
        case Level.PATCH:
            return major, minor, patch + 1
        case _:
            return major, minor, patch
