"""Which processes of other teams are due on a date, and in which order; from `defs.yaml` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from acme.domain.calendars import Calendar
from orchestration.registry import UNREADABLE, declared, other_teams
from orchestration.specs import ProcessSpec


@dataclass(frozen=True)
class Declared:
    """What the folders of other teams say: processes by folder, and teams that cannot be read."""

    processes: dict[str, ProcessSpec]
    broken: dict[str, str]


def everything() -> Declared:
    """Read every folder of other teams; one that cannot be read is told, and hides no other."""
    found = Declared({}, {})
    for team in other_teams():
        try:
            found.processes.update({spec.folder: spec for spec in declared(team)})
        except UNREADABLE as error:
            found.broken[team] = str(error)
    return found


def is_month_end(calendar: Calendar, day: date) -> bool:
    """Say whether a date is the last business date of its month."""
    return calendar.is_business_date(day) and calendar.next(day).month != day.month


def is_month_start(calendar: Calendar, day: date) -> bool:
    """Say whether a date is the first business date of its month."""
    return calendar.is_business_date(day) and calendar.prev(day).month != day.month


def is_due(spec: ProcessSpec, calendar: Calendar, day: date) -> bool:
    """Say whether a process runs by itself on a published date."""
    match spec.automation:
        case "on_publication":
            return True
        case "month_start":
            return is_month_start(calendar, day)
        case "month_end":
            return is_month_end(calendar, day)
        case _:
            return False


def due_before(spec: ProcessSpec, calendar: Calendar, day: date, first: date) -> date | None:
    """Return the newest date from `first` on, before `day`, on which the process was due."""
    before = calendar.prev(day)
    while before >= first and not is_due(spec, calendar, before):
        before = calendar.prev(before)
    return before if before >= first else None


def batches(specs: Iterable[ProcessSpec]) -> tuple[list[list[ProcessSpec]], list[ProcessSpec]]:
    """Return groups of one team each, every process after those whose datasets it reads.

    Also those that wait for each other, which no order can run.
    """
    waiting = {spec.folder: spec for spec in sorted(specs, key=lambda s: s.folder)}
    groups: list[list[ProcessSpec]] = []
    while ready := _ready(waiting):
        # As many of one team as can follow each other: its location is asked once.
        team = ready[0].team
        group: list[ProcessSpec] = []
        while mine := [s for s in _ready(waiting) if s.team == team]:
            group += [waiting.pop(spec.folder) for spec in mine]
        groups.append(group)
    return groups, list(waiting.values())


def _ready(waiting: Mapping[str, ProcessSpec]) -> list[ProcessSpec]:
    written = {dataset for spec in waiting.values() for dataset in spec.writes}
    return [spec for spec in waiting.values() if not written & {*spec.reads}]
