"""The second engine's SQL without dbt: the same models and tests on frames in memory.

A replay has no catalog that dbt could attach. The text is that of `dbt_project/`, rendered with
the few names it uses and run by DuckDB alone; the verdict of a date's publication stays dbt's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache

import duckdb
import polars as pl
from jinja2 import Environment, StrictUndefined

from acme.operations.dbt import PROJECT
from acme.operations.second_engine import KEY, SELECTION

RECOMPUTED = "recomputed_balances"


def recompute_frames(
    run_date: date, previous: date | None, frames: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Return what breaks the second engine's tests, shaped as `SecondEngineResult.failures`.

    `frames`: dataset → rows of the run date and of the run before it, with `run_date`.
    """
    connection = duckdb.connect()
    try:
        for dataset, frame in frames.items():
            connection.register(_name(*dataset.split(".")), frame.to_arrow())
        text = _render(PROJECT / "models" / SELECTION / f"{RECOMPUTED}.sql", run_date, previous)
        connection.execute(f"CREATE TABLE {RECOMPUTED} AS {text}")
        found = [
            connection.execute(_render(path, run_date, previous)).pl()
            for path in sorted((PROJECT / "tests" / SELECTION).glob("*.sql"))
        ]
    finally:
        connection.close()
    columns = [
        *[pl.col(name).cast(pl.String) for name in KEY],
        *[pl.col(name).cast(pl.Decimal(28, 6)) for name in ("ours", "recomputed")],
    ]
    return pl.concat([frame.select(columns) for frame in found]).sort(KEY)


def _name(schema: str, table: str) -> str:
    return f"{schema}_{table}"


@cache
def _template(path: str) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  hashed by its path
        return file.read()


def _render(path: object, run_date: date, previous: date | None) -> str:
    """Fill in a model's names and dates, as dbt's macros of the same names do."""
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  SQL
    return environment.from_string(_template(str(path))).render(
        source=_name,
        ref=lambda name: name,
        run_date=lambda: f"date '{run_date}'",
        previous_run_date=lambda: (
            "cast(null as date)" if previous is None else f"date '{previous}'"
        ),
    )
