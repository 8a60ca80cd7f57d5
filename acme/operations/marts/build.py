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
from pathlib import Path
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
from acme.operations.marts.models import SELECTION, datasets_read, marts
from acme.operations.marts.parity import Comparison, compare

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


def prove(platform: Platform) -> dict[Target, list[str]]:
    """Build the marts of the newest published date with every unit test; nothing is served.

    Returns the names of what passed on each engine. Raises as `build` does.
    """
    with _locked(platform) as connection:
        newest = platform.control.published_dates()[-1:]
        if not newest:
            raise MartsError("nothing is published yet: there is nothing to build marts from")
        return _build(platform, connection, newest, proving=True).passed


def document(platform: Platform, target: Target, folder: Path) -> Path:
    """Write dbt's own documentation of the project as one static page; its path.

    The tables must have been built, as they are by `prove` and every `build`.
    """
    with _locked(platform), dbt.session(platform, target):
        try:
            if target == "lake":
                with dbt.lake_cursor(platform, folder):
                    pass
            common = dbt.common_arguments(target, folder, write_json=True)
            dbt.invoke(platform, target, ["docs", "generate", "--static", *common])
        except DbtError as error:
            raise MartsError(f"the documentation cannot be written: {error}") from error
    return folder / "static_index.html"


def _outstanding(platform: Platform, connection: Connection[TupleRow]) -> list[date]:
    served = serving.served_by_postgres(connection)
    served &= serving.served_by_duckdb(platform.home.marts)
    return [day for day in platform.control.published_dates() if day not in served]


def _build_all(
    platform: Platform, connection: Connection[TupleRow], dates: Sequence[date], *, anew: bool
) -> Built:
    found: dict[str, list[Comparison]] = {mart.name: [] for mart in marts()}
    for some in _in_portions(platform, dates):
        built = _build(platform, connection, some, anew=anew and some[0] == dates[0])
        for comparison in built.comparisons:
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


@dataclass(frozen=True)
class _Portion:
    """What came of building some dates: what passed on each engine, and the comparison."""

    passed: dict[Target, list[str]]
    comparisons: list[Comparison]


def _build(
    platform: Platform,
    connection: Connection[TupleRow],
    dates: list[date],
    *,
    anew: bool = False,
    proving: bool = False,
) -> _Portion:
    """Build some dates on both engines and compare them; serve them, unless it is for proof."""
    known = inputs.facts(platform, dates)
    try:
        with dbt.session(platform, "warehouse"):
            datasets = datasets_read(dbt.manifest(platform, "warehouse"))
            inputs.give_warehouse(platform, connection, dates, datasets, known)
            there = _run(platform, "warehouse", dates, proving=proving)

        def on_the_lake() -> _Portion:
            with dbt.lake_cursor(platform, platform.home.dbt / "marts") as cursor:
                inputs.give_lake(platform, cursor, dates, datasets, known)
                here = _run(platform, "lake", dates, proving=proving)
                compared = compare(platform, cursor, marts())
                if not all(comparison.agrees for comparison in compared):
                    raise EnginesDisagreeError(compared)
                if not proving:
                    # Postgres first: it may refuse. What one alone serves is outstanding.
                    serving.serve_postgres(connection, marts(), dates)
                    serving.serve_duckdb(platform, cursor, marts(), dates, anew=anew)
                return _Portion({"lake": here, "warehouse": there}, compared)

        with dbt.session(platform, "lake"):
            return dbt.retried_cold(on_the_lake)
    except DbtError as error:
        raise MartsError(f"the marts of {_span(dates)} cannot be built: {error}") from error


def _run(platform: Platform, target: Target, dates: Sequence[date], *, proving: bool) -> list[str]:
    """Run the models and their tests, unit tests only for proof; the names of what passed."""
    variables = {"run_dates": [day.isoformat() for day in dates]}
    folder = platform.home.dbt / "marts"
    without = () if proving else ("unit_test",)
    results = dbt.build(platform, target, SELECTION, variables, folder, without=without)
    if failed := [r for r in results if r.status == "fail"]:
        node = failed[0].node
        raise DbtError(f"dbt: {node.name} on {target}: {failed[0].message or 'fails'}")
    return sorted(r.node.name for r in results)


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
