"""Runs processes of one team as a Dagster run of its location, on the installation's instance."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import date

import dagster as dg

from acme.lakehouse.home import Home
from acme.lakehouse.platform import Platform, open_platform
from orchestration import calendar_file, locations, runner
from orchestration.components.shown import asset_key
from orchestration.registry import declared


def load(home: Home, team: str) -> Platform:
    """Open the installation and load a team's location, so that its errors show now."""
    platform = open_platform(home)
    os.environ.update(runner.dagster_environment(platform) | {"ACME_POOLS": "off"})
    calendar = calendar_file.refresh(platform.home, platform.control)
    locations.build(team, calendar).get_repository_def()
    return platform


def run(platform: Platform, team: str, folders: Iterable[str], run_date: date) -> dict[str, str]:
    """Run the processes `folders` of a team for a date in one run: folder → why it failed."""
    calendar = calendar_file.refresh(platform.home, platform.control)
    job = locations.build(team, calendar).resolve_job_def(team)
    specs = {spec.folder: spec for spec in declared(team)}
    wanted = [specs[folder] for folder in folders]
    result = job.execute_in_process(
        partition_key=run_date.isoformat(),
        asset_selection=[asset_key(dataset) for spec in wanted for dataset in spec.writes],
        instance=_instance(platform),
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    if result.success:
        return {}
    failed = runner.step_failures(result)
    done = {event.step_key for event in result.all_events if event.is_step_success}
    told = {}
    for spec in wanted:
        step = spec.folder.replace("/", "__")
        if step not in done:
            told[spec.folder] = failed.get(step, "was skipped, for what it reads was not made")
    return told


_instances: dict[str, dg.DagsterInstance] = {}


def _instance(platform: Platform) -> dg.DagsterInstance:
    """Return the instance, opened once: it keeps a pool of connections."""
    if platform.url not in _instances:
        _instances[platform.url] = runner.instance(platform)
    return _instances[platform.url]
