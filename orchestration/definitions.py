"""The code location of the business day: processes, jobs, schedule, sensor, executor."""

import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

import dagster as dg

from acme.lakehouse.home import Home
from orchestration import calendar_file
from orchestration.jobs import day_jobs
from orchestration.marts import mart_assets, marts_job
from orchestration.resources import BusinessDay
from sensors.cut_off import cut_off_schedule
from sensors.inbox import inbox_sensor, prices_have_landed
from sensors.marts import marts_sensor

ROOT = Path(__file__).resolve().parents[1]


@dg.definitions
def defs() -> dg.Definitions:
    """Return every definition of the business day; built once per process and calendar."""
    return build(calendar_file.read(Home.from_env()))


@cache
def build(calendar: calendar_file.DealingCalendar) -> dg.Definitions:
    """Build the definitions for a calendar."""
    tree = dg.ComponentTree(defs_module=import_module("assets"), project_root=ROOT)
    with warnings.catch_warnings():
        # Dagster's own loader of components uses functions that Dagster calls beta and preview;
        # checks of partitions are one.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        processes = tree.build_defs()
        served = mart_assets(calendar)
    return dg.Definitions.merge(
        processes,
        dg.Definitions(
            assets=[served],
            jobs=[*day_jobs(), marts_job()],
            schedules=[cut_off_schedule(calendar, prices_have_landed)],
            sensors=[inbox_sensor(), marts_sensor()],
            resources={"business_day": BusinessDay()},
            executor=dg.in_process_executor,
        ),
    )
