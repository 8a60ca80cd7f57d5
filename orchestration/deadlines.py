"""By when a process's tables must be there, as Dagster watches it."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from orchestration.calendar_file import DealingCalendar
from orchestration.specs import ProcessSpec

# A date is published after its cut-off and made into tables the same day.
DAILY = timedelta(hours=24)
# The last business date is at most so many days before the month's last day: a long weekend.
MONTH_END = timedelta(days=6)
# The first one is at the latest on this day of the month, and none of the month before is counted.
MONTH_START_DAY = 7
MONTH_START = timedelta(days=MONTH_START_DAY)


def freshness(spec: ProcessSpec, calendar: DealingCalendar) -> dg.FreshnessPolicy | None:
    """Return the policy of a process's deadline, in the scheme's own time; None without one.

    `on_publication`: on every weekday (cron knows no holiday of ours). `month_end`: on the last
    day of the month, for what was made since the last business date can have been. `month_start`:
    on the seventh, for what was made in the month.
    """
    if spec.deadline is None:
        return None
    hour, minute = (int(part) for part in spec.deadline.split(":"))
    days, window = {
        "month_start": (f"{MONTH_START_DAY} * *", MONTH_START),
        "month_end": ("L * *", MONTH_END),
    }.get(spec.automation, ("* * 1-5", DAILY))
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"{minute} {hour} {days}",
        lower_bound_delta=window,
        timezone=calendar.cut_off.timezone,
    )
