"""The second engine of the ledger: dbt on DuckDB recomputes the balances in SQL (`rules §8.7`).

It shares with the first engine the files it reads and nothing else. The SQL is in `dbt_project/`;
here dbt is run in this process and its findings are brought back. dbt is imported where it is
first used, because that takes seconds, and then stays warm for further dates: the parsed project
and the attached lake are kept.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from acme.lakehouse.files import write_atomic
from acme.lakehouse.sessions import session_name

if TYPE_CHECKING:
    from datetime import date

from acme.lakehouse.platform import Platform

PROJECT: Final = Path(__file__).resolve().parents[2] / "dbt_project"
SELECTION: Final = "second_engine"
TARGET: Final = "lake"

# What dbt reads of the run date and of the run before it; `partitions_read.sql` says the same.
READS: Final = ("core.ledger_balances", "stage.posted_postings")
READS_PREVIOUS: Final = ("core.ledger_balances", "core.ledger_postings")

KEY: Final = ("book", "account", "state", "asset_id")
_FINDING: Final = (*KEY, "ours", "recomputed")
_QUANTITY: Final = pl.Decimal(28, 6)
_SCHEMA: Final = pl.Schema(
    dict.fromkeys(KEY, pl.String()) | dict.fromkeys(("ours", "recomputed"), _QUANTITY)
)

# What `profiles.yml` asks for. A name that begins like the first is left out of dbt's own logs.
_VARIABLES: Final = (
    "DBT_ENV_SECRET_ACME_CATALOG",
    "ACME_DBT_LAKE",
    "ACME_DBT_EXTENSIONS",
    "ACME_DBT_SPILL",
)

# dbt keeps its flags, adapters and logs in globals, and reads the environment of the process.
_ONE_AT_A_TIME: Final = threading.Lock()


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
    with _ONE_AT_A_TIME, _environment(platform):
        results = _build(platform, run_date, dates)
        with _cursor() as cursor:
            _require_same_files(expected, cursor)
            failures = _failures(results, cursor)
            ours_alone = failures.filter(
                pl.col("recomputed").is_null() & pl.col("ours").is_not_null()
            ).height
            cursor.execute("SELECT count(*) FROM recomputed_balances")
            rows = cursor.fetchone()[0] + ours_alone
            cursor.execute("DROP TABLE recomputed_balances")
    return SecondEngineResult(failures, rows, time.monotonic() - started)


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


# ---- running dbt --------------------------------------------------------------------------------


def _build(platform: Platform, run_date: date, dates: dict[str, str]) -> list[Any]:
    """Run the models and tests; the result of each, in the order they ran."""
    arguments = [
        "build",
        *("--select", SELECTION),
        *("--vars", json.dumps(dates)),
        *_common_arguments(platform.home.dbt / SELECTION / run_date.isoformat()),
    ]
    was_warm = _is_warm()
    try:
        return _invoke(arguments, platform)
    except SecondEngineError:
        _go_cold()
        if not was_warm:
            raise
    # What was kept warm may be what is broken: a server that was started again, for one.
    return _invoke(arguments, platform)


def _common_arguments(target: Path) -> list[str]:
    """Return how dbt is to run: from our project alone, telling nobody, writing below `target`."""
    return [
        *("--project-dir", str(PROJECT)),
        *("--profiles-dir", str(PROJECT)),
        *("--target", TARGET),
        *("--target-path", str(target)),
        *("--log-path", str(target)),
        *("--log-level", "none"),
        *("--log-level-file", "none"),
        "--quiet",
        "--no-use-colors",
        "--no-populate-cache",
        "--no-write-json",
        "--no-version-check",
        "--no-send-anonymous-usage-stats",
    ]


# The parsed project, once there is one: it depends on no date and no installation.
_parsed: list[Any] = []


def _invoke(arguments: list[str], platform: Platform) -> list[Any]:
    from dbt.cli.main import dbtRunner  # noqa: PLC0415  seconds, paid only where it is used

    if not _parsed:
        _parsed.append(_parse(dbtRunner(), platform))
    outcome = dbtRunner(manifest=_parsed[0]).invoke(arguments)
    if outcome.exception is not None:
        raise _error(platform, outcome.exception)
    nodes: Any = outcome.result
    results = list(nodes.results)
    unfinished = [r for r in results if r.status not in ("success", "pass", "fail")]
    if unfinished:
        # What was skipped only follows from what failed.
        cause = min(unfinished, key=lambda r: r.status == "skipped")
        raise _error(platform, f"{cause.node.name}: {cause.status}: {cause.message}")
    if not results:
        raise SecondEngineError(f"dbt found nothing to do in the selection {SELECTION}")
    return results


def _parse(runner: Any, platform: Platform) -> Any:
    """Parse the project, taking over what an earlier process parsed where no file has changed.

    dbt keeps that in its target folder, which two processes may not share; so it is handed to
    each as a copy. It parses anew if the environment differs; nothing parsed depends on that.
    """
    kept = platform.home.dbt / SELECTION / "partial_parse.msgpack"
    with TemporaryDirectory(dir=platform.home.dbt, prefix="parse-") as scratch:
        copy = Path(scratch) / kept.name
        if kept.exists():
            copy.write_bytes(kept.read_bytes())
        with _variables(dict.fromkeys(_VARIABLES, "unused")):
            parsed = runner.invoke(["parse", *_common_arguments(Path(scratch))])
        if not parsed.success:
            raise _error(platform, parsed.exception or "the project cannot be parsed")
        kept.parent.mkdir(exist_ok=True)
        write_atomic(kept, copy.read_bytes())
    return parsed.result


def _error(platform: Platform, cause: object) -> SecondEngineError:
    """Return an error of dbt for people, without the password that a driver may put into it."""
    text = str(cause)
    password = conninfo_to_dict(platform.url).get("password")
    if password:
        text = text.replace(str(password), "***")
    return SecondEngineError(f"dbt: {text}")


@contextmanager
def _environment(platform: Platform) -> Iterator[None]:
    """Give dbt what `profiles.yml` asks for, and none of the DBT_ options of the caller."""
    conninfo = conninfo_to_dict(platform.url)
    conninfo["application_name"] = session_name("second engine")
    values = (
        make_conninfo("", **conninfo),
        f"{platform.home.lake}/",
        str(platform.home.duckdb_extensions),
        str(platform.home.dbt / f"spill-{os.getpid()}"),
    )
    unwanted = {name: None for name in os.environ if name.startswith("DBT_")}
    # The extensions are installed by whoever opens the lake first; dbt never fetches one.
    platform.lake.connect()
    with _variables(unwanted | dict(zip(_VARIABLES, values, strict=True)) | {"DO_NOT_TRACK": "1"}):
        yield


@contextmanager
def _variables(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of the environment, or unset them (None), for a while."""
    before = {name: os.environ.get(name) for name in values}
    _set_variables(values)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


# ---- what dbt's connection keeps ----------------------------------------------------------------


def _connections() -> Any:
    """Return dbt-duckdb's connections: one database per process, kept between invocations."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415

    return DuckDBConnectionManager


def _is_warm() -> bool:
    """Say whether an earlier date left the lake attached."""
    return bool(_parsed) and _connections()._ENV is not None  # noqa: SLF001


@contextmanager
def alone() -> Iterator[None]:
    """Let another project use dbt for a while: nothing warm of the second engine is in its way."""
    unwanted = {name: None for name in os.environ if name.startswith("DBT_")}
    with _ONE_AT_A_TIME, _variables(unwanted | {"DO_NOT_TRACK": "1"}):
        _go_cold()
        try:
            yield
        finally:
            _go_cold()


def _go_cold() -> None:
    """Let go of the attached lake; the next date attaches it anew."""
    _connections().close_all_connections()


@contextmanager
def _cursor() -> Iterator[Any]:
    """A cursor on the in-memory database that dbt has just built."""
    handle = _connections().env().handle()
    try:
        yield handle.cursor()
    finally:
        handle.close()


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
