"""Holds the marts of both engines against each other, row by row, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from acme.lakehouse.platform import Platform
from acme.lakehouse.sessions import session_name
from acme.operations.marts.inputs import MartsError
from acme.operations.marts.models import Mart

LAKE: Final = "marts_next.main"
WAREHOUSE: Final = "marts_warehouse.marts_next"
# Rows of a mart that are shown; all are counted.
SHOWN_MAX: Final = 20


@dataclass(frozen=True)
class Difference:
    """A value on which the engines disagree; None where an engine has no such row, or null."""

    mart: str
    run_date: date
    key: str
    column: str
    lake: str | None
    warehouse: str | None


@dataclass(frozen=True)
class Comparison:
    """What came of comparing one mart: rows of DuckDB, rows that differ, the first of them."""

    mart: str
    rows: int
    rows_differing: int
    first: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether every row is there on both sides with equal values."""
        return self.rows_differing == 0


def compare(platform: Platform, cursor: Any, marts: Sequence[Mart]) -> list[Comparison]:
    """Compare the marts that were just built, by full outer join over their keys.

    `cursor` is on dbt's DuckDB, which reads the rows of Postgres itself. Raises `MartsError`
    where a mart has other columns or types on the two.
    """
    conninfo = conninfo_to_dict(platform.url)
    conninfo["application_name"] = session_name("marts")
    target = make_conninfo("", **conninfo).replace("'", "''")
    cursor.execute(
        f"ATTACH '{target}' AS marts_warehouse (TYPE postgres, READ_ONLY, SCHEMA 'marts_next')"
    )
    try:
        return [_compared(cursor, mart) for mart in marts]
    finally:
        cursor.execute("DETACH marts_warehouse")


def _compared(cursor: Any, mart: Mart) -> Comparison:
    shapes = [_shape(cursor, f"{side}.{mart.name}") for side in (LAKE, WAREHOUSE)]
    if shapes[0] != shapes[1]:
        odd = sorted(set(shapes[0]) ^ set(shapes[1]))
        raise MartsError(f"mart {mart.name}: the engines have different columns: {odd}")
    names = [column.name for column in mart.columns]
    values = [name for name in names if name not in mart.key]
    differing = " OR ".join(
        ["ours.here IS NULL", "theirs.here IS NULL"]
        + [f"ours.{name} IS DISTINCT FROM theirs.{name}" for name in values]
    )
    joined = (
        f" FROM (SELECT *, true AS here FROM {LAKE}.{mart.name}) AS ours"
        f" FULL OUTER JOIN (SELECT *, true AS here FROM {WAREHOUSE}.{mart.name}) AS theirs"
        f" USING ({', '.join(mart.key)})"
    )
    rows, count = cursor.execute(
        f"SELECT (SELECT count(*) FROM {LAKE}.{mart.name}), count(*){joined} WHERE {differing}"
    ).fetchone()
    first: list[Difference] = []
    if count:
        shown = ["ours.here", "theirs.here", *mart.key]
        shown += [
            f"CAST({side}.{name} AS VARCHAR)" for name in values for side in ("ours", "theirs")
        ]
        cursor.execute(
            f"SELECT {', '.join(shown)}{joined} WHERE {differing}"
            f" ORDER BY {', '.join(mart.key)} LIMIT {SHOWN_MAX}"
        )
        for row in cursor.fetchall():
            first += _differences(mart, values, row)
    return Comparison(mart.name, rows, count, tuple(first))


def _shape(cursor: Any, table: str) -> list[tuple[str, str]]:
    cursor.execute(f"DESCRIBE {table}")
    return [(name, kind) for name, kind, *_ in cursor.fetchall()]


def _differences(mart: Mart, values: Sequence[str], row: Sequence[Any]) -> list[Difference]:
    ours, theirs, *rest = row
    key = rest[: len(mart.key)]
    named = ", ".join(f"{name}={value}" for name, value in zip(mart.key, key, strict=True))
    if not (ours and theirs):
        sides = ["the row" if side else None for side in (ours, theirs)]
        return [Difference(mart.name, key[0], named, "*", sides[0], sides[1])]
    pairs = rest[len(mart.key) :]
    return [
        Difference(mart.name, key[0], named, name, pairs[2 * at], pairs[2 * at + 1])
        for at, name in enumerate(values)
        if pairs[2 * at] != pairs[2 * at + 1]
    ]
