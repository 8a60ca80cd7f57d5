"""The cut-off starts the business day."""

from collections.abc import Callable
from datetime import date
from zoneinfo import ZoneInfo

import dagster as dg

from orchestration.calendar_file import DealingCalendar


def cut_off_schedule(
    calendar: DealingCalendar, ready: Callable[[date], bool] | None = None
) -> dg.ScheduleDefinition:
    """Return the schedule that runs `business_day` at the cut-off of every business date.

    A date that is not `ready` is left to the sensor, which runs it once its prices have landed:
    without them every order of the date would be rejected.

    The date is taken from the tick and tested here: with today as a partition, Dagster's own
    partitioned schedule would start the next business date's run on a holiday.
    """
    cut_off = calendar.cut_off

    @dg.schedule(
        name="business_day_at_cut_off",
        job_name="business_day",
        cron_schedule=f"{cut_off.at.minute} {cut_off.at.hour} * * *",
        execution_timezone=cut_off.timezone,
        description="Runs the business day at the cut-off of every business date.",
    )
    def at_cut_off(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = context.scheduled_execution_time.astimezone(ZoneInfo(cut_off.timezone)).date()
        if not calendar.calendar.is_business_date(day):
            return dg.SkipReason(f"{day} is not a business date of the scheme")
        if ready is not None and not ready(day):
            return dg.SkipReason(f"{day} waits for its closing prices")
        return dg.RunRequest(run_key=f"cut-off {day}", partition_key=day.isoformat())

    return at_cut_off
