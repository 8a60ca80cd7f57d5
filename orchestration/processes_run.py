"""Runs other teams' processes for a published date: one, or all that are due; each isolated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from acme.lakehouse.platform import Platform
from orchestration import calendar_file, due
from orchestration.location_process import LocationError, Locations
from orchestration.registry import UNREADABLE, declared, other_teams
from orchestration.specs import ProcessSpec


class ProcessUnknownError(Exception):
    """There is no such process of another team."""


@dataclass
class Report:
    """What was run for a date: `done` folders in order, and folder or team → what went wrong."""

    run_date: date
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def find(folder: str) -> ProcessSpec:
    """Return a process by team/process. Raises ProcessUnknownError."""
    team = folder.split("/", maxsplit=1)[0]
    try:
        # Its team's folder alone: to find one process must not take longer where there are more.
        known = {s.folder: s for s in declared(team)} if team in other_teams() else {}
    except UNREADABLE as error:
        raise ProcessUnknownError(f"{folder}: {error}") from error
    if folder not in known:
        names = ", ".join(known or due.everything().processes) or "none"
        raise ProcessUnknownError(f"no process {folder!r} of another team: expected one of {names}")
    return known[folder]


def run_due(platform: Platform, run_date: date, locations: Locations) -> Report:
    """Run every process that is due on a published date, after those whose tables it reads.

    A team whose folder cannot be read or loaded, and a process that fails, are told in the report;
    what reads their tables is not run, all others are.
    """
    known = due.everything()
    calendar = calendar_file.refresh(platform.home, platform.control).calendar
    wanted = [s for s in known.processes.values() if due.is_due(s, calendar, run_date)]
    return run(wanted, run_date, locations, known.broken)


def run(
    wanted: Iterable[ProcessSpec],
    run_date: date,
    locations: Locations,
    broken: dict[str, str] | None = None,
) -> Report:
    """Run processes for a date in the order of what they read."""
    report = Report(run_date, failed=dict(broken or {}))
    groups, circle = due.batches(wanted)
    missing: dict[str, str] = {}
    for group in groups:
        ready = []
        for spec in group:
            if lacks := sorted(d for d in spec.reads if d in missing):
                report.failed[spec.folder] = f"not run, for {missing[lacks[0]]} failed"
                missing |= dict.fromkeys(spec.writes, spec.folder)
            else:
                ready.append(spec)
        for spec, error in _asked(ready, run_date, locations, report):
            if error is None:
                report.done.append(spec.folder)
            else:
                report.failed[spec.folder] = error
                missing |= dict.fromkeys(spec.writes, spec.folder)
    names = ", ".join(spec.folder for spec in circle)
    report.failed |= dict.fromkeys((s.folder for s in circle), f"wait for each other: {names}")
    return report


def _asked(
    specs: list[ProcessSpec], run_date: date, locations: Locations, report: Report
) -> list[tuple[ProcessSpec, str | None]]:
    if not specs:
        return []
    team = specs[0].team
    if team in report.failed:
        return [(spec, f"not run: {report.failed[team]}") for spec in specs]
    try:
        failed = locations.of(team).run([spec.folder for spec in specs], run_date)
    except LocationError as error:
        report.failed[team] = str(error)
        return [(spec, "not run, for its location failed") for spec in specs]
    return [(spec, failed.get(spec.folder)) for spec in specs]
