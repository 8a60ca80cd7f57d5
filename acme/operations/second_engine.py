"""The second engine of the ledger: dbt on DuckDB recomputes the balances in SQL (`rules §8.7`).

It shares with the first engine the files it reads and nothing else. The SQL is in `dbt_project/`;
here what it may read is verified, and its findings are brought back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from acme.lakehouse.platform import Platform
from acme.operations import dbt
from acme.operations.dbt import DbtError

SELECTION: Final = "second_engine"

# What dbt reads of the run date and of the run before it; `partitions_read.sql` says the same.
READS: Final = ("core.ledger_balances", "stage.posted_postings")
READS_PREVIOUS: Final = ("core.ledger_balances", "core.ledger_postings")

KEY: Final = ("book", "account", "state", "asset_id")
_FINDING: Final = (*KEY, "ours", "recomputed")
_QUANTITY: Final = pl.Decimal(28, 6)
_SCHEMA: Final = pl.Schema(
    dict.fromkeys(KEY, pl.String()) | dict.fromkeys(("ours", "recomputed"), _QUANTITY)
)


class SecondEngineError(Exception):
    """The second engine could not finish, so that nothing is said about the balances."""


@dataclass(frozen=True)
class SecondEngineResult:
    """What the second engine found on one run date.

    `failures`: book, account, state, asset_id, ours DECIMAL(28,6)?, recomputed DECIMAL(28,6)?, by
    key; one row per balance that differs (null where one side has none), per journal that does
    not sum to zero (account `journal/{id}`) and per holding that pots and custodians do not agree
    on (account `*`). Empty if and only if every test of dbt passed. `rows`: balances compared.
    """

    failures: pl.DataFrame
    rows: int
    seconds: float


def recompute(platform: Platform, run_date: date, previous: date | None) -> SecondEngineResult:
    """Recompute core.ledger_balances of `run_date` in SQL and compare them to the last digit.

    Runs after post of `run_date`; `previous` is the run date before it, None for the first ever.
    Raises SecondEngineError if dbt cannot finish, if a partition was never written, or if the
    lake's catalog names other files than the manifest; PartitionDamagedError if a file is not
    what was written.
    """
    started = time.monotonic()
    expected = _verified(platform, run_date, previous)
    dates = {"run_date": run_date.isoformat(), "previous_run_date": _text(previous)}
    folder = platform.home.dbt / SELECTION / run_date.isoformat()
    try:
        with dbt.session(platform, "lake"):
            results = dbt.retried_cold(
                lambda: dbt.build(platform, "lake", [SELECTION], dates, folder)
            )
            with dbt.lake_cursor(platform, folder) as cursor:
                failures, rows = _findings(results, expected, cursor)
    except DbtError as error:
        raise SecondEngineError(str(error)) from error
    return SecondEngineResult(failures, rows, time.monotonic() - started)


def _findings(
    results: Sequence[Any], expected: set[tuple[str, date, str, int]], cursor: Any
) -> tuple[pl.DataFrame, int]:
    """Bring back what dbt found and how many balances it compared; its table is dropped."""
    _require_same_files(expected, cursor)
    failures = _failures(results, cursor)
    ours_alone = failures.filter(
        pl.col("recomputed").is_null() & pl.col("ours").is_not_null()
    ).height
    cursor.execute("SELECT count(*) FROM recomputed_balances")
    rows = cursor.fetchone()[0] + ours_alone
    cursor.execute("DROP TABLE recomputed_balances")
    return failures, rows


def _text(day: date | None) -> str:
    return "" if day is None else day.isoformat()


# ---- what is read -------------------------------------------------------------------------------


def _verified(
    platform: Platform, run_date: date, previous: date | None
) -> set[tuple[str, date, str, int]]:
    """Verify what dbt is about to read; dataset, run date, file and rows of what has rows."""
    wanted = [(run_date, READS)]
    if previous is not None:
        wanted.append((previous, READS_PREVIOUS))
    expected = set()
    for day, datasets in wanted:
        manifest = platform.lake.manifest(day)
        for dataset in datasets:
            if dataset not in manifest:
                raise SecondEngineError(f"{dataset} of {day} was never written")
            partition = manifest[dataset]
            if partition.rows:
                file = str(platform.lake.path(day, dataset, partition))
                expected.add((dataset, day, file, partition.rows))
        platform.lake.verify(day, datasets)
    return expected


def _require_same_files(expected: set[tuple[str, date, str, int]], cursor: Any) -> None:
    """Refuse a recomputation from other files than those verified: catalog and manifest differ."""
    cursor.execute("SELECT dataset, run_date, file, row_count FROM partitions_read")
    found = set(cursor.fetchall())
    if found != expected:
        names = sorted({f"{dataset} of {day}" for dataset, day, _, _ in found ^ expected})
        raise SecondEngineError(
            f"the lake's catalog names other files than the manifest: {', '.join(names)};"
            " run the processes that write them again"
        )


# ---- what is brought back ------------------------------------------------------------------------


def _failures(results: Sequence[Any], cursor: Any) -> pl.DataFrame:
    """Return the rows that broke a test, from the tables dbt stored them in."""
    found = [pl.DataFrame(schema=_SCHEMA)]
    for result in results:
        if result.status != "fail":
            continue
        cursor.execute(f"SELECT * FROM {result.node.relation_name}")  # noqa: S608  dbt's own name
        rows = cursor.pl()
        if tuple(rows.columns) != _FINDING:
            raise SecondEngineError(f"dbt: {result.node.name}: {result.failures} rows break it")
        found.append(rows.cast(dict(_SCHEMA)))
    return pl.concat(found).sort(KEY)
