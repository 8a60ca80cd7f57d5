"""Runs a team's dbt models over frames that were verified before: a database per run, then gone.

The models of a process lie in its own folder and make a project of their own, so that a model
that cannot be parsed stops its process alone. They see what the process declares and nothing
else: `source('core', 'pots')`, `source('previous_core', 'pots')`, `source('feed', 'payroll')`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl
import yaml

from acme.domain.day import Day
from acme.operations.dbt import PROJECT, alone

_PROJECT = {
    "name": "process",
    "version": "1.0.0",
    "config-version": 2,
    "profile": "process",
    "flags": {"send_anonymous_usage_stats": False, "use_colors": False},
    "model-paths": ["models"],
    "macro-paths": ["macros"],
    "models": {"+materialized": "table"},
}


class DbtModelsError(Exception):
    """dbt could not build a model; the text names it."""


def run(
    folder: Path, models: Sequence[str], day: Day, frames: Mapping[str, pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """Build the models of `folder` over `frames`; the result of each of `models`, by name.

    Variables: run_date, as_of (dates as text) and currency. Types come out as the SQL makes them,
    a DOUBLE as a float that no contract takes. Raises DbtModelsError.
    """
    with TemporaryDirectory(prefix="acme-dbt-") as scratch:
        root = Path(scratch)
        database = root / "process.duckdb"
        sources = _fill(database, frames)
        _write_project(root, folder, database, sources)
        variables = {
            "run_date": day.run_date.isoformat(),
            "as_of": day.as_of.isoformat(),
            "currency": day.currency,
        }
        with alone():
            _build(root, variables)
        with duckdb.connect(str(database), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return {model: _result(connection, folder, model) for model in models}


def _fill(database: Path, frames: Mapping[str, pl.DataFrame]) -> dict[str, list[str]]:
    """Put every frame into a table of the scratch database; tables by schema."""
    found: dict[str, list[str]] = {}
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, frame in frames.items():
            schema, _, table = name.replace("previous.", "previous_").partition(".")
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            connection.register("rows", frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
            connection.execute(f'CREATE TABLE "{schema}"."{table}" AS FROM rows')
            connection.unregister("rows")
            found.setdefault(schema, []).append(table)
    return found


def _write_project(
    root: Path, folder: Path, database: Path, sources: Mapping[str, Sequence[str]]
) -> None:
    # Copies: what dbt compiles of a file outside its project it writes over that very file.
    for source, name in ((folder, "models"), (PROJECT / "macros", "macros")):
        (root / name).mkdir()
        for path in sorted(source.glob("*.sql")):
            shutil.copyfile(path, root / name / path.name)
    output = {
        "type": "duckdb",
        "path": str(database),
        "threads": 1,
        "settings": {"TimeZone": "UTC"},
    }
    profiles = {"process": {"target": "scratch", "outputs": {"scratch": output}}}
    declared = [
        {"name": schema, "schema": schema, "tables": [{"name": table} for table in tables]}
        for schema, tables in sorted(sources.items())
    ]
    for path, document in (
        (root / "dbt_project.yml", _PROJECT),
        (root / "profiles.yml", profiles),
        (root / "models" / "sources.yml", {"version": 2, "sources": declared}),
    ):
        path.write_text(yaml.safe_dump(document), "utf-8")


def _build(root: Path, variables: Mapping[str, str]) -> None:
    from dbt.cli.main import dbtRunner  # noqa: PLC0415  seconds, paid only where it is used

    arguments = [
        "build",
        *("--vars", json.dumps(variables)),
        *("--project-dir", str(root), "--profiles-dir", str(root)),
        *("--target-path", str(root / "target"), "--log-path", str(root / "logs")),
        *("--log-level", "none", "--log-level-file", "none"),
        *("--quiet", "--no-use-colors", "--no-partial-parse", "--no-write-json"),
        *("--no-version-check", "--no-send-anonymous-usage-stats"),
    ]
    outcome = dbtRunner().invoke(arguments)
    if outcome.exception is not None:
        raise DbtModelsError(f"dbt: {outcome.exception}")
    nodes: Any = outcome.result
    wrong = [r for r in nodes.results if r.status not in ("success", "pass")]
    if wrong:
        # What was skipped only follows from what failed.
        cause = min(wrong, key=lambda r: r.status == "skipped")
        raise DbtModelsError(f"dbt: {cause.node.name}: {cause.status}: {cause.message}")


def _result(connection: duckdb.DuckDBPyConnection, folder: Path, model: str) -> pl.DataFrame:
    try:
        return connection.table(model).pl()
    except duckdb.CatalogException as error:
        raise DbtModelsError(f"dbt: {folder}: expected a model {model}.sql, got none") from error
