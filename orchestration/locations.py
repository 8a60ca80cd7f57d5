"""The code locations of the other teams: `orchestration.locations.<team>`, one each.

An error in a team's folder is an error of its own location; nothing here imports a second team.
"""

from __future__ import annotations

import warnings
from functools import cache

import dagster as dg

from acme.lakehouse.home import Home
from orchestration import calendar_file, declarations
from orchestration.components.process import upstream
from orchestration.components.shown import asset_key
from orchestration.definitions import team_processes
from orchestration.partitions import business_dates
from orchestration.registry import declared, other_teams
from orchestration.resources import Installation
from orchestration.specs import ProcessSpec


def __getattr__(team: str) -> object:
    """Return the location of a team, as `workspace.yaml` names it."""
    if team not in other_teams():
        raise AttributeError(f"assets/ has no team {team!r} outside the business day")

    @dg.definitions
    def location() -> dg.Definitions:
        return build(team, calendar_file.read(Home.from_env()))

    return location


@cache
def build(team: str, calendar: calendar_file.DealingCalendar) -> dg.Definitions:
    """Build a team's definitions; once per process and calendar."""
    specs = declared(team)
    # Before Dagster reads the folders, whose own words name neither file nor field.
    for spec in specs:
        declarations.require(spec)
    declarations.require_together(team, specs)
    processes = team_processes(team)
    return dg.Definitions(
        assets=[*(processes.assets or ()), *_made_elsewhere(specs, calendar)],
        jobs=[
            dg.define_asset_job(
                team,
                selection=dg.AssetSelection.all(),
                description=f"Every process of team {team} for one published date.",
            )
        ],
        sensors=[_automation()],
        resources={"installation": Installation()},
        executor=dg.in_process_executor,
    )


def _made_elsewhere(
    specs: list[ProcessSpec], calendar: calendar_file.DealingCalendar
) -> list[dg.AssetSpec]:
    """Return what the team reads of others as assets that it cannot make.

    Its own automation sees its own location alone; without partitions it would take the news of
    one date for news of all.
    """
    partitions = business_dates(calendar)
    own = {dataset for spec in specs for dataset in spec.writes}
    read = {dataset for spec in specs for dataset in upstream(spec)}
    return [dg.AssetSpec(asset_key(d), partitions_def=partitions) for d in sorted(read - own)]


def _automation() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor of a location: the last date of a month is told by our own calendar."""
    with warnings.catch_warnings():
        # Conditions of our own are evaluated by our code's server, which Dagster calls beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.AutomationConditionSensorDefinition(
            "automation",
            target=dg.AssetSelection.all(),
            use_user_code_server=True,
            default_status=dg.DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=60,
        )
