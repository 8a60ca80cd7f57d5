"""The code location of the business day: processes, jobs, schedule, sensor, executor."""

import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

import dagster as dg

from acme.lakehouse.home import Home
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import calendar_file
from orchestration.jobs import day_jobs
from orchestration.marts import mart_assets, marts_job
from orchestration.registry import ROOT, declared
from orchestration.resources import BusinessDay
from sensors.cut_off import cut_off_schedule
from sensors.inbox import inbox_sensor, prices_have_landed
from sensors.marts import marts_sensor


@dg.definitions
def defs() -> dg.Definitions:
    """Return every definition of the business day; built once per process and calendar."""
    return build(calendar_file.read(Home.from_env()))


@cache
def build(calendar: calendar_file.DealingCalendar) -> dg.Definitions:
    """Build the definitions for a calendar; no folder of another team is opened."""
    teams = [team_processes(team) for team in DAY_TEAMS]
    with warnings.catch_warnings():
        # Checks of partitions are what Dagster calls a preview.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        served = mart_assets(calendar)
    # Not merged: definitions of several component trees cannot be.
    return dg.Definitions(
        assets=[*(asset for team in teams for asset in team.assets or ()), served],
        asset_checks=[check for team in teams for check in team.asset_checks or ()],
        jobs=[*day_jobs(), marts_job()],
        schedules=[cut_off_schedule(calendar, prices_have_landed)],
        sensors=[inbox_sensor(), marts_sensor()],
        resources={"business_day": BusinessDay()},
        executor=dg.in_process_executor,
    )


def team_processes(team: str) -> dg.Definitions:
    """Return what the folders of one team declare, and nothing of any other."""
    tree = dg.ComponentTree(defs_module=import_module(f"assets.{team}"), project_root=ROOT)
    with warnings.catch_warnings():
        # Dagster's own loader of components uses functions that Dagster calls beta and preview.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        # One by one: Dagster's root of a tree also describes every component type there is.
        found = [tree.build_defs(Path(spec.name)) for spec in declared(team)]
    return dg.Definitions(
        assets=[asset for defs in found for asset in defs.assets or ()],
        asset_checks=[check for defs in found for check in defs.asset_checks or ()],
    )
