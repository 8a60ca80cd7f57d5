"""When another team's process runs by itself; teams choose by name.

A process waits for the publication of its date and for the tables of other teams that it reads.
A check of one run stops nothing in another of its own accord, so each condition asks for them.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg

from acme.domain.calendars import Calendar
from acme.lakehouse.home import Home
from orchestration import calendar_file
from orchestration.due import is_month_end, is_month_start
from orchestration.specs import ProcessSpec

PUBLICATIONS = dg.AssetKey(["core", "publications"])


class _DatesOfMonth(dg.AutomationCondition):  # type: ignore[type-arg]
    """True for the partitions that are a certain business date of their month."""

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:  # type: ignore[type-arg]
        """Keep the candidates that are such dates of the dealing calendar."""
        calendar = calendar_file.read(Home.from_env()).calendar
        keys = context.candidate_subset.expensively_compute_partition_keys()
        found = {key for key in keys if self.is_one(calendar, date.fromisoformat(key))}
        subset = context.candidate_subset.compute_intersection_with_partition_keys(found)
        return dg.AutomationResult(context=context, true_subset=subset)

    def is_one(self, calendar: Calendar, day: date) -> bool:
        """Say whether a date is one of them."""
        raise NotImplementedError


class FirstBusinessDateOfMonth(_DatesOfMonth):
    """True for the partitions that are the first business date of their month."""

    def is_one(self, calendar: Calendar, day: date) -> bool:
        """Say whether a date is the first."""
        return is_month_start(calendar, day)


class LastBusinessDateOfMonth(_DatesOfMonth):
    """True for the partitions that are the last business date of their month."""

    def is_one(self, calendar: Calendar, day: date) -> bool:
        """Say whether a date is the last."""
        return is_month_end(calendar, day)


def condition(spec: ProcessSpec) -> Any:
    """Return the condition of a process's automation; None for `manual`."""
    match spec.automation:
        case "on_publication":
            return on_publication(spec).with_label("on_publication")
        case "month_start":
            return (on_publication(spec) & FirstBusinessDateOfMonth()).with_label("month_start")
        case "month_end":
            return (on_publication(spec) & LastBusinessDateOfMonth()).with_label("month_end")
        case _:
            return None


def on_publication(spec: ProcessSpec) -> Any:
    """Return: the date was published, or a team's table made anew, and all it reads is there."""
    others = [dg.AssetKey(d.split(".")) for d in spec.reads if not d.startswith("core.")]
    news = dg.AssetSelection.assets(PUBLICATIONS, *others)
    updated = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.newly_updated() | dg.AutomationCondition.will_be_requested()
    ).allow(news)
    return (
        updated.since_last_handled()
        & ~dg.AutomationCondition.any_deps_missing()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
        & ~dg.AutomationCondition.in_progress()
    )
