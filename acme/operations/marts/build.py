"""Builds the marts of published dates on both engines, compares them, and serves what agrees.

dbt makes the rows of the dates asked for beside what is served (`marts_next` in Postgres, a
database of that name in DuckDB's memory), so no reader sees them; then they are compared; then
both engines are switched. Building a date again gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Final

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from acme.lakehouse.connections import one_line
from acme.lakehouse.platform import Platform, wait_seconds
from acme.lakehouse.sessions import session_name
from acme.operations import dbt
from acme.operations.dbt import DbtError, Target
from acme.operations.marts import inputs, serving
from acme.operations.marts.inputs import MartsError
from acme.operations.marts.models import SELECTION, Mart, datasets_read, marts
from acme.operations.marts.parity import Comparison, Difference, compare

# First half of the advisory lock's key, so that it meets no other use of such locks.
_LOCK_CLASS: Final = 4_113_503
# What is built in one go: it bounds the memory of both engines.
DATES_AT_ONCE_MAX: Final = 64
ROWS_AT_ONCE_MAX: Final = 5_000_000


class EnginesDisagreeError(MartsError):
    """The engines made different marts; nothing of them is served. `comparisons` says where."""

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        """Name the first value that differs and count the rows that do."""
        self.comparisons = tuple(comparisons)
        rows = sum(c.rows_differing for c in comparisons)
        first = next(d for c in comparisons for d in c.first)
        super().__init__(
            f"the engines disagree on {rows} rows, so the marts of {first.run_date} are not served:"
            f" {first.mart} at {first.key}: {first.column}: DuckDB {first.lake},"
            f" Postgres {first.warehouse}"
        )


@dataclass(frozen=True)
class Built:
    """What was built: the dates, and each mart's rows with what comparing them found."""

    dates: tuple[date, ...]
    comparisons: tuple[Comparison, ...]


def outstanding(platform: Platform) -> list[date]:
    """Return the published dates whose marts are not served by both engines, in order."""
    with _connected(platform) as connection:
        return _outstanding(platform, connection)


def build(platform: Platform, dates: Sequence[date] | None = None) -> Built:
    """Build, compare and serve the marts of published dates; None stands for the outstanding ones.

    Dates that were served before are replaced. Raises `EnginesDisagreeError`, after which what was
    served before stays; `MartsError` for a date that is not published, for anything that dbt could
    not do, and where another build does not end in time; `PartitionDamagedError`.
    """
    with _locked(platform) as connection:
        wanted = _outstanding(platform, connection) if dates is None else sorted(set(dates))
        return _build_all(platform, connection, wanted, anew=False)


def rebuild(platform: Platform) -> Built:
    """Build the marts of every published date, and the file of DuckDB from nothing."""
    with _locked(platform) as connection:
        wanted = platform.control.published_dates()
        return _build_all(platform, connection, wanted, anew=True)


def _outstanding(platform: Platform, connection: Connection[TupleRow]) -> list[date]:
    served = serving.served_by_postgres(connection)
    served &= serving.served_by_duckdb(platform.home.marts)
    return [day for day in platform.control.published_dates() if day not in served]


def _build_all(
    platform: Platform, connection: Connection[TupleRow], dates: Sequence[date], *, anew: bool
) -> Built:
    found: dict[str, list[Comparison]] = {mart.name: [] for mart in marts()}
    for some in _in_portions(platform, dates):
        for comparison in _build(platform, connection, some, anew=anew and some[0] == dates[0]):
            found[comparison.mart].append(comparison)
    together = [
        Comparison(name, sum(c.rows for c in of_mart), 0, ()) for name, of_mart in found.items()
    ]
    return Built(tuple(dates), tuple(together))


def _in_portions(platform: Platform, dates: Sequence[date]) -> Iterator[list[date]]:
    portion: list[date] = []
    rows = 0
    for day in dates:
        more = sum(partition.rows for partition in platform.lake.manifest(day).values())
        if portion and (len(portion) == DATES_AT_ONCE_MAX or rows + more > ROWS_AT_ONCE_MAX):
            yield portion
            portion, rows = [], 0
        portion.append(day)
        rows += more
    if portion:
        yield portion


def _build(
    platform: Platform, connection: Connection[TupleRow], dates: list[date], *, anew: bool
) -> list[Comparison]:
    known = inputs.facts(platform, dates)
    try:
        with dbt.session(platform, "warehouse"):
            datasets = datasets_read(dbt.manifest(platform, "warehouse"))
            inputs.give_warehouse(platform, connection, dates, datasets, known)
            _run(platform, "warehouse", dates)
        with dbt.session(platform, "lake"):
            return dbt.retried_cold(
                lambda: _on_the_lake(platform, connection, dates, datasets, known, anew=anew)
            )
    except DbtError as error:
        raise MartsError(f"the marts of {_span(dates)} cannot be built: {error}") from error


def _on_the_lake(
    platform: Platform,
    connection: Connection[TupleRow],
    dates: list[date],
    datasets: Sequence[str],
    known: inputs.Facts,
    *,
    anew: bool,
) -> list[Comparison]:
    """Build on DuckDB what is built on Postgres already; compare; serve both."""
    with dbt.lake_cursor(platform, platform.home.dbt / "marts") as cursor:
        inputs.give_lake(platform, cursor, dates, datasets, known)
        _run(platform, "lake", dates)
        compared = compare(platform, cursor, marts())
        if not all(comparison.agrees for comparison in compared):
            raise EnginesDisagreeError(compared)
        # Postgres first: it is the one that may refuse. What is served by one alone is outstanding.
        serving.serve_postgres(connection, marts(), dates)
        serving.serve_duckdb(platform, cursor, marts(), dates, anew=anew)
        return compared


def _run(platform: Platform, target: Target, dates: Sequence[date]) -> None:
    variables = {"run_dates": [day.isoformat() for day in dates]}
    folder = platform.home.dbt / "marts"
    results = dbt.build(platform, target, SELECTION, variables, folder, without=("unit_test",))
    if failed := [r for r in results if r.status == "fail"]:
        node = failed[0].node
        raise DbtError(f"dbt: {node.name} on {target}: {failed[0].failures} rows break it")


def _span(dates: Sequence[date]) -> str:
    return str(dates[0]) if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


# ---- one build at a time ------------------------------------------------------------------------


@contextmanager
def _connected(platform: Platform) -> Iterator[Connection[TupleRow]]:
    try:
        connection = psycopg.connect(
            platform.url, application_name=session_name("marts"), autocommit=True
        )
    except psycopg.OperationalError as error:
        raise MartsError(f"Postgres cannot be reached: {one_line(error)}") from error
    with connection:
        yield connection


@contextmanager
def _locked(platform: Platform) -> Iterator[Connection[TupleRow]]:
    """Hold the lock of building marts, on the connection that will serve them.

    Whoever has lost the connection has lost the lock, and can serve nothing any more.
    """
    with _connected(platform) as connection:
        milliseconds = max(1, round(wait_seconds() * 1000))
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
        try:
            connection.execute("SELECT pg_advisory_lock(%s::int, 0)", [_LOCK_CLASS])
        except psycopg.errors.LockNotAvailable as error:
            raise MartsError(
                f"another process builds marts; waited {wait_seconds():g} s"
            ) from error
        connection.execute("SET lock_timeout = 0")
        yield connection


__all__ = [
    "Built",
    "Comparison",
    "Difference",
    "EnginesDisagreeError",
    "Mart",
    "MartsError",
    "build",
    "outstanding",
    "rebuild",
]
