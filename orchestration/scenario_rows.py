"""Rows as people write them in scenarios, in YAML or CSV, as frames of exact types."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from acme.lakehouse.contracts import Contract

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]+")
_INTEGERS: dict[pl.DataType, int] = {pl.Int32(): 2**31, pl.Int64(): 2**63}
Row = Mapping[str, Any]


class ScenarioError(ValueError):
    """A scenario that cannot be used: names the file, the part, the row, expected and got."""


@dataclass(frozen=True)
class Field:
    """One column that a row may state; a row that leaves out one with a default has that."""

    name: str
    dtype: pl.DataType
    required: bool
    default: object = None


# What a run adds to the rows of a landed file, each from a file of its own that came at noon.
_ORIGIN = {"row": pl.Int64(), "sequence": pl.Int64(), "file_sha256": pl.String()}


def fields_of(contract: Contract) -> list[Field]:
    """Return the columns of a contract, `run_date` left out."""
    return [
        Field(column.name, column.dtype, required=not column.nullable)
        for column in contract.columns
        if column.name != "run_date"
    ]


def origin_fields(landed_at: datetime) -> list[Field]:
    """Return what the rows of a feed have beside their own: row, sequence, file, landing time."""
    given = {"row": None, "sequence": 1, "file_sha256": "0" * 64}
    return [
        *(
            Field(name, dtype, required=False, default=given[name])
            for name, dtype in _ORIGIN.items()
        ),
        Field("landed_at", pl.Datetime("us", "UTC"), required=False, default=landed_at),
    ]


def frame(where: str, fields: Sequence[Field], rows: object) -> pl.DataFrame:
    """Return rows as a frame with the types of `fields`, in their order. Raises ScenarioError.

    `where` names the file and the table in messages. A value is text, a whole number, a date, an
    instant, true, false or null; a YAML float is refused, for it is not what was written.
    """
    if not isinstance(rows, list):
        raise ScenarioError(
            f"{where}: expected a list of rows or the name of a CSV file, got {rows!r}"
        )
    known = {field.name: field for field in fields}
    values: dict[str, list[object]] = {name: [] for name in known}
    for number, row in enumerate(rows, start=1):
        at = f"{where}: row {number}"
        if not isinstance(row, dict):
            raise ScenarioError(f"{at}: expected columns and their values, got {row!r}")
        if odd := [name for name in row if name not in known]:
            raise ScenarioError(f"{at}: expected columns {', '.join(known)}, got {odd[0]!r}")
        for name, field in known.items():
            default = number if name == "row" and field.default is None else field.default
            values[name].append(_value(f"{at}: {name}", field, row.get(name), default))
    return pl.DataFrame(
        [pl.Series(name, values[name], dtype=field.dtype) for name, field in known.items()]
    )


def csv_rows(where: str, path: Path) -> list[Row]:
    """Return the rows of a CSV file with a header, every value as text, an empty one as null."""
    try:
        lines = list(csv.reader(path.read_text("utf-8").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScenarioError(f"{where}: {path.name}: expected a CSV file, got {error}") from error
    if not lines:
        raise ScenarioError(f"{where}: {path.name}: expected a header, got an empty file")
    header, *records = lines
    if len(set(header)) != len(header):
        raise ScenarioError(f"{where}: {path.name}: expected each column once, got {header}")
    for number, record in enumerate(records, start=1):
        if len(record) != len(header):
            raise ScenarioError(
                f"{where}: {path.name}: row {number}: expected {len(header)} fields,"
                f" got {len(record)}"
            )
    return [{n: v or None for n, v in zip(header, r, strict=True)} for r in records]


def _value(where: str, field: Field, given: object, default: object) -> object:
    value = default if given is None else given
    if value is None:
        if field.required:
            raise ScenarioError(f"{where}: expected a value, got none")
        return None
    if isinstance(value, float):
        raise ScenarioError(f"{where}: expected a whole number or text in quotes, got {value!r}")
    dtype = field.dtype
    if isinstance(dtype, pl.Decimal):
        return _decimal(where, dtype, value)
    if dtype in _INTEGERS:
        return _integer(where, dtype, value)
    return _PLAIN[dtype](where, value)


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ScenarioError(f"{where}: expected text in quotes, got {value!r}")
    return value


def _boolean(where: str, value: object) -> bool:
    found = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ScenarioError(f"{where}: expected true or false, got {value!r}")
    return found


def _date(where: str, value: object) -> date:
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            raise ScenarioError(f"{where}: expected a date YYYY-MM-DD, got {value!r}") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ScenarioError(f"{where}: expected a date YYYY-MM-DD, got {value!r}")
    return value


def _instant(where: str, value: object) -> datetime:
    shown = value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ScenarioError(f"{where}: expected an instant 2024-03-29T09:00:00Z, got {shown!s}")
    return value


_PLAIN: dict[pl.DataType, Callable[[str, object], object]] = {
    pl.String(): _text,
    pl.Boolean(): _boolean,
    pl.Date(): _date,
    pl.Datetime("us", "UTC"): _instant,
}


def _integer(where: str, dtype: pl.DataType, value: object) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    limit = _INTEGERS[dtype]
    if not isinstance(value, int) or isinstance(value, bool) or not -limit <= value < limit:
        raise ScenarioError(f"{where}: expected a whole number of {dtype}, got {value!r}")
    return value


def _decimal(where: str, dtype: pl.Decimal, value: object) -> Decimal:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise ScenarioError(f"{where}: expected a number in quotes, got {value!r}")
    number = Decimal(text)
    whole, _, decimals = text.lstrip("-").partition(".")
    scale, digits = dtype.scale, dtype.precision - dtype.scale
    if len(decimals.rstrip("0")) > scale or len(whole.lstrip("0")) > digits:
        raise ScenarioError(
            f"{where}: expected at most {digits} digits and {scale} decimals, got {text}"
        )
    return number


def differences(expected: Iterable[Row], got: Iterable[Row], key: Sequence[str]) -> list[str]:
    """Return what differs between two sets of rows with equal columns, first by key order.

    Rows are matched by `key`; without one, each side is sorted and they are matched by place.
    """
    left, right = _keyed(expected, key), _keyed(got, key)
    found = []
    for at in sorted({*left, *right}, key=_sortable):
        here, there = left.get(at), right.get(at)
        place = ", ".join(f"{n}={_shown(v)}" for n, v in zip(key, at, strict=False))
        label = place or f"row {at[0] + 1}"
        if here is None:
            found.append(f"{label}: expected no such row, got {_row(there or {}, key)}")
        elif there is None:
            found.append(f"{label}: expected {_row(here, key)}, got no such row")
        else:
            found += [
                f"{label}: {name}: expected {_shown(here[name])}, got {_shown(there[name])}"
                for name in here
                if here[name] != there[name]
            ]
    return found


def _keyed(rows: Iterable[Row], key: Sequence[str]) -> dict[tuple[Any, ...], Row]:
    if key:
        return {tuple(row[name] for name in key): row for row in rows}
    ordered = sorted(rows, key=lambda row: _sortable(tuple(row.values())))
    return {(place,): row for place, row in enumerate(ordered)}


def _sortable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((value is not None, value) for value in values)


def _row(row: Row, key: Sequence[str]) -> str:
    rest = [f"{name}={_shown(value)}" for name, value in row.items() if name not in key]
    return ", ".join(rest) or "the row"


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return format(value, "f") if isinstance(value, Decimal) else str(value)
