"""How the processes of other teams fared last in an installation, from its record of their runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from acme.domain.calendars import Calendar
from acme.lakehouse.platform import Platform
from orchestration import calendar_file
from orchestration.due import is_due
from orchestration.specs import ProcessSpec

NEVER_DUE, NOT_RUN = "not due yet", "not run"


@dataclass(frozen=True)
class LastState:
    """`state` of a process on `run_date`: finished, failed, running, not run, or not due yet.

    The date is the newest published one on which it was due, or, of one that is run by hand, the
    newest it was run for; None where there is none. `at`: when that state was reached.
    """

    run_date: date | None
    state: str
    at: datetime | None = None


def last_states(platform: Platform, specs: Iterable[ProcessSpec]) -> dict[str, LastState]:
    """Return folder → state of each process."""
    calendar = calendar_file.refresh(platform.home, platform.control).calendar
    published = platform.control.published_dates()[::-1]
    with platform.control.transaction() as cursor:
        cursor.execute(
            "SELECT process, run_date, state, coalesce(finished_at, started_at)"
            " FROM control.process_runs ORDER BY run_date"
        )
        runs: dict[str, dict[date, LastState]] = {}
        for process, run_date, state, at in cursor:
            runs.setdefault(process, {})[run_date] = LastState(run_date, state, at)
    return {
        spec.folder: _of(spec, runs.get(spec.folder, {}), published, calendar) for spec in specs
    }


def _of(
    spec: ProcessSpec, runs: dict[date, LastState], published: list[date], calendar: Calendar
) -> LastState:
    if spec.automation == "manual":
        return runs[max(runs)] if runs else LastState(None, NOT_RUN)
    due = next((day for day in published if is_due(spec, calendar, day)), None)
    if due is None:
        return LastState(None, NEVER_DUE)
    return runs.get(due, LastState(due, NOT_RUN))
