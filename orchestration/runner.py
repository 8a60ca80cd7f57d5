"""Runs a date through its Dagster job in this process, on the same instance as the UI."""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy.exc import DBAPIError

from acme.lakehouse.connections import one_line
from acme.lakehouse.files import write_atomic
from acme.lakehouse.migrate import sqlalchemy_url
from acme.lakehouse.platform import Platform
from orchestration import calendar_file, definitions
from orchestration.marts import JOB as MARTS_JOB

ROOT = Path(__file__).resolve().parents[1]
DAGSTER_URL = "ACME_DAGSTER_POSTGRES_URL"
STATEMENT_TIMEOUT_MS = 600_000
POOL_RECYCLE_SECONDS = 3_600
# By these Dagster knows a run over a span of partitions.
ASSET_PARTITION_RANGE_START_TAG = "dagster/asset_partition_range_start"
ASSET_PARTITION_RANGE_END_TAG = "dagster/asset_partition_range_end"


class DayFailedError(Exception):
    """A date was not completed; the text says which steps or checks failed, and why."""


def dagster_environment(platform: Platform) -> dict[str, str]:
    """Return the variables by which Dagster finds the installation's instance."""
    home = platform.home.dagster
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    wanted = (ROOT / "dagster.yaml").read_bytes()
    if not settings.exists() or settings.read_bytes() != wanted:
        write_atomic(settings, wanted)
    return {
        "DAGSTER_HOME": str(home),
        DAGSTER_URL: sqlalchemy_url(platform.url, "psycopg2").replace("+psycopg2", ""),
        "ACME_HOME": str(platform.home.root),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "DAGSTER_EVENT_BATCH_SIZE": "100",
    }


def instance(platform: Platform) -> dg.DagsterInstance:
    """Return the installation's Dagster instance, whose storage is its Postgres."""
    os.environ.update(dagster_environment(platform))
    found = dg.DagsterInstance.get()
    # Without a pool every one of some hundred events of a day opens a connection of its own.
    found.optimize_for_webserver(
        statement_timeout=STATEMENT_TIMEOUT_MS, pool_recycle=POOL_RECYCLE_SECONDS, max_overflow=4
    )
    return found


def run_job(
    platform: Platform,
    run_date: date,
    job: str = "business_day",
    on: dg.DagsterInstance | None = None,
) -> None:
    """Run a job of the day for one date; raises `DayFailedError` unless all of it succeeded."""
    found = _job(platform, job)
    keys = found.partitions_def
    if keys is not None and not keys.has_partition_key(run_date.isoformat()):
        raise DayFailedError(f"{run_date} is not a business date of the scheme")
    _execute(found, on or instance(platform), str(run_date), partition_key=run_date.isoformat())


def run_marts(
    platform: Platform, first: date, last: date, on: dg.DagsterInstance | None = None
) -> None:
    """Build the marts of a span of published dates in one run; `DayFailedError` as `run_job`."""
    span = str(first) if first == last else f"{first} to {last}"
    ends = {ASSET_PARTITION_RANGE_START_TAG: str(first), ASSET_PARTITION_RANGE_END_TAG: str(last)}
    _execute(_job(platform, MARTS_JOB), on or instance(platform), f"marts of {span}", tags=ends)


def _job(platform: Platform, name: str) -> dg.JobDefinition:
    calendar = calendar_file.refresh(platform.home, platform.control)
    return definitions.build(calendar).resolve_job_def(name)


def _execute(job: dg.JobDefinition, on: dg.DagsterInstance, what: str, **partitions: Any) -> None:
    try:
        result = job.execute_in_process(
            instance=on,
            raise_on_error=False,
            # Everything is in the event log; the terminal is for the command that asked.
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            **partitions,
        )
    except DBAPIError as error:
        # Of the event log, which Dagster keeps in Postgres: without it no run goes on.
        raise DayFailedError(
            f"{what}: the event log lost Postgres: {one_line(error.orig or error)};"
            " run the date again, it finds what was done"
        ) from error
    if not result.success:
        raise DayFailedError(f"{what}: {'; '.join(_failures(result)) or 'the run failed'}")


def _without_class(message: str) -> str:
    """Return an error's text without the class that Dagster puts before it."""
    return re.sub(r"^[A-Za-z_][\w.]*: ", "", message.strip())


def _failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return what went wrong, in order: failed blocking checks, then the causes of failed steps."""
    found = [
        f"check {e.check_name} on {e.asset_key.to_user_string()} failed"
        for e in result.get_asset_check_evaluations()
        if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR
    ]
    for step, message in step_failures(result).items():
        if "AssetCheckFailed" not in message and "asset check" not in message.lower():
            found.append(f"{step}: {message}")
    return found


def step_failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return step → why it failed, in order, in the words of what was raised first."""
    found = {}
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            # What Dagster put around it says only which step it was; the rest is ours to tell.
            while error and error.cause and (error.cls_name or "").startswith("Dagster"):
                error = error.cause
            told = event.step_failure_data.user_failure_data
            text = told.description if told is not None and told.description else None
            found[str(event.step_key)] = text or (
                _without_class(error.message) if error is not None else ""
            )
    return found
