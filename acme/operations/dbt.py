"""Runs dbt in this process, on the lake or on Postgres; the SQL is in `dbt_project/`.

dbt is imported where it is first used, because that takes seconds, and then stays warm: the parsed
project is kept for each target, and so is the DuckDB database with the lake attached. What a
selection is for, and what becomes of its results, is its caller's.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from acme.lakehouse.files import write_atomic
from acme.lakehouse.platform import Platform
from acme.lakehouse.sessions import session_name

Target = Literal["lake", "warehouse"]
TARGETS: Final[tuple[Target, ...]] = ("lake", "warehouse")
PROJECT: Final = Path(__file__).resolve().parents[2] / "dbt_project"
Value = TypeVar("Value")

# What `profiles.yml` asks for. Names that begin like the first are left out of dbt's own logs.
_VARIABLES: Final[dict[Target, tuple[str, ...]]] = {
    "lake": (
        "DBT_ENV_SECRET_ACME_CATALOG",
        "ACME_DBT_LAKE",
        "ACME_DBT_EXTENSIONS",
        "ACME_DBT_SPILL",
    ),
    "warehouse": (
        "DBT_ENV_SECRET_ACME_PASSWORD",
        "ACME_DBT_HOST",
        "ACME_DBT_PORT",
        "ACME_DBT_USER",
        "ACME_DBT_NAME",
        "ACME_DBT_SSLMODE",
        "ACME_DBT_SESSION",
    ),
}
# What the parsed project depends on: dbt writes the database's name into every node.
_PARSED_WITH: Final[dict[Target, frozenset[str]]] = {
    "lake": frozenset(),
    "warehouse": frozenset({"ACME_DBT_NAME"}),
}
_STAND_IN: Final = {"ACME_DBT_PORT": "5432"}

# dbt keeps its flags, adapters and logs in globals, and reads the environment of the process.
_ONE_AT_A_TIME: Final = threading.RLock()
_parsed: dict[tuple[str, ...], Any] = {}


class DbtError(Exception):
    """dbt could not finish; the text is its own, without a password."""


@contextmanager
def session(platform: Platform, target: Target) -> Iterator[None]:
    """Give this thread dbt, and dbt what `profiles.yml` asks for; none of the caller's DBT_."""
    unwanted = {name: None for name in os.environ if name.startswith("DBT_")}
    values = _lake_values(platform) if target == "lake" else _warehouse_values(platform)
    with _ONE_AT_A_TIME, _variables(unwanted | values | {"DO_NOT_TRACK": "1"}):
        yield


def build(
    platform: Platform,
    target: Target,
    selection: Sequence[str],
    variables: Mapping[str, object],
    folder: Path,
    without: Sequence[str] = (),
) -> list[Any]:
    """Run the models and tests of a selection, in a session; the results in the order they ran.

    `without` are types of resources left out. A failed test is a result. Raises `DbtError` for
    anything that could not run, and for a selection of nothing.
    """
    arguments = [
        "build",
        *("--select", *selection),
        *[word for kind in without for word in ("--exclude-resource-type", kind)],
        *("--vars", json.dumps(variables)),
        *common_arguments(target, folder),
    ]
    nodes: Any = invoke(platform, target, arguments)
    results = list(nodes.results)
    unfinished = [r for r in results if r.status not in ("success", "pass", "fail")]
    if unfinished:
        # What was skipped only follows from what failed, a unit test for one.
        order = {"skipped": 2, "fail": 1}
        cause = min(results, key=lambda r: order.get(r.status, 3 * (r not in unfinished)))
        raise error(platform, f"{cause.node.name}: {cause.status}: {cause.message}")
    if not results:
        raise DbtError(f"dbt found nothing to do in the selection {' '.join(selection)}")
    return results


def invoke(platform: Platform, target: Target, arguments: Sequence[str]) -> Any:
    """Run one dbt command, in a session, on the project as it is parsed; its result."""
    from dbt.cli.main import dbtRunner  # noqa: PLC0415  seconds, paid only where it is used

    outcome = dbtRunner(manifest=manifest(platform, target)).invoke(list(arguments))
    if outcome.exception is not None:
        raise error(platform, outcome.exception)
    return outcome.result


def common_arguments(target: Target, folder: Path, *, write_json: bool = False) -> list[str]:
    """Return how dbt is to run: from our project alone, telling nobody, writing below `folder`."""
    return [
        *("--project-dir", str(PROJECT)),
        *("--profiles-dir", str(PROJECT)),
        *("--target", target),
        *("--target-path", str(folder)),
        *("--log-path", str(folder)),
        *("--log-level", "none"),
        *("--log-level-file", "none"),
        "--quiet",
        "--no-use-colors",
        "--no-populate-cache",
        "--write-json" if write_json else "--no-write-json",
        "--no-version-check",
        "--no-send-anonymous-usage-stats",
    ]


def manifest(platform: Platform, target: Target) -> Any:
    """Return the parsed project, in a session; it depends on no date.

    What an earlier process parsed is taken over where no file has changed. dbt keeps that in its
    target folder, which two processes may not share; so it is handed to each as a copy.
    """
    key = (target, *[os.environ[name] for name in sorted(_PARSED_WITH[target])])
    if key in _parsed:
        return _parsed[key]
    from dbt.cli.main import dbtRunner  # noqa: PLC0415

    kept = platform.home.dbt / "parsed" / f"{target}.msgpack"
    with TemporaryDirectory(dir=platform.home.dbt, prefix="parse-") as scratch:
        copy = Path(scratch) / "partial_parse.msgpack"
        if kept.exists():
            copy.write_bytes(kept.read_bytes())
        # All else is the same for every process, so that dbt finds nothing changed.
        others = [name for name in _VARIABLES[target] if name not in _PARSED_WITH[target]]
        with _variables({name: _STAND_IN.get(name, "unused") for name in others}):
            parsed = dbtRunner().invoke(["parse", *common_arguments(target, Path(scratch))])
        if not parsed.success:
            raise error(platform, parsed.exception or "the project cannot be parsed")
        kept.parent.mkdir(exist_ok=True)
        write_atomic(kept, copy.read_bytes())
    _parsed[key] = parsed.result
    return parsed.result


def error(platform: Platform, cause: object) -> DbtError:
    """Return an error of dbt for people, without the password that a driver may put into it."""
    text = str(cause)
    password = conninfo_to_dict(platform.url).get("password")
    if password:
        text = text.replace(str(password), "***")
    return DbtError(f"dbt: {text}")


# ---- where things are -------------------------------------------------------------------------


def _lake_values(platform: Platform) -> dict[str, str | None]:
    conninfo = conninfo_to_dict(platform.url)
    conninfo["application_name"] = session_name("dbt")
    values = (
        make_conninfo("", **conninfo),
        f"{platform.home.lake}/",
        str(platform.home.duckdb_extensions),
        str(platform.home.dbt / f"spill-{os.getpid()}"),
    )
    # The extensions are installed by whoever opens the lake first; dbt never fetches one.
    platform.lake.connect()
    return dict(zip(_VARIABLES["lake"], values, strict=True))


def _warehouse_values(platform: Platform) -> dict[str, str | None]:
    with psycopg.connect(platform.url, connect_timeout=30) as connection:
        info = connection.info
        values = (
            info.password,
            info.host,
            str(info.port),
            info.user,
            info.dbname,
            info.get_parameters().get("sslmode", "prefer"),
            session_name("dbt"),
        )
    return dict(zip(_VARIABLES["warehouse"], values, strict=True))


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


# ---- what dbt's connection to DuckDB keeps ------------------------------------------------------


def _connections() -> Any:
    """Return dbt-duckdb's connections: one database per process, kept between invocations."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415

    return DuckDBConnectionManager


def retried_cold(work: Callable[[], Value]) -> Value:
    """Do `work` on the lake; once more if it fails on a database that was attached before.

    What was kept warm may be what is broken: a server that was started again, for one.
    """
    was_warm = bool(_parsed) and _connections()._ENV is not None  # noqa: SLF001
    try:
        return work()
    except DbtError:
        _connections().close_all_connections()
        if not was_warm:
            raise
    return work()


@contextmanager
def alone() -> Iterator[None]:
    """Let another project use dbt for a while: nothing warm of ours is in its way."""
    unwanted = {name: None for name in os.environ if name.startswith("DBT_")}
    with _ONE_AT_A_TIME, _variables(unwanted | {"DO_NOT_TRACK": "1"}):
        _connections().close_all_connections()
        try:
            yield
        finally:
            _connections().close_all_connections()


@contextmanager
def lake_cursor(platform: Platform, folder: Path) -> Iterator[Any]:
    """A cursor on dbt's own database in memory, with the lake attached; in a session.

    Attached to it besides is the empty database `marts_next`.
    """
    if _connections()._ENV is None:  # noqa: SLF001
        invoke(platform, "lake", ["run-operation", "ready", *common_arguments("lake", folder)])
    if _connections()._ENV is None:  # noqa: SLF001
        raise DbtError("dbt: the lake cannot be opened")
    handle = _connections().env().handle()
    try:
        yield handle.cursor()
    finally:
        handle.close()
