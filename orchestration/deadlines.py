"""By when a process's tables must be there, as Dagster watches it."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from orchestration.calendar_file import DealingCalendar
from orchestration.specs import ProcessSpec

# A date is published after its cut-off and made into tables the same day.
DAILY = timedelta(hours=24)
# The last business date is at most so many days before the month's last day: a long weekend.
MONTHLY = timedelta(days=6)


def freshness(spec: ProcessSpec, calendar: DealingCalendar) -> dg.FreshnessPolicy | None:
    """Return the policy of a process's deadline, in the scheme's own time; None without one.

    `on_publication`: on every weekday (cron knows no holiday of ours). `month_end`: on the last
    day of the month, for what was made since the last business date can have been.
    """
    if spec.deadline is None:
        return None
    hour, minute = (int(part) for part in spec.deadline.split(":"))
    monthly = spec.automation == "month_end"
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"{minute} {hour} {'L * *' if monthly else '* * 1-5'}",
        lower_bound_delta=MONTHLY if monthly else DAILY,
        timezone=calendar.cut_off.timezone,
    )
