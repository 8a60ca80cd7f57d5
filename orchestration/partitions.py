"""The partitions of every asset of the day: T, the run's business date (`rules §2`)."""

from __future__ import annotations

from datetime import UTC, datetime, time

import dagster as dg

from orchestration.calendar_file import DealingCalendar

FIRST_DATE = "2003-06-02"
WEEKENDS = "0 0 * * 6,0"


def business_dates(calendar: DealingCalendar) -> dg.DailyPartitionsDefinition:
    """Return the business dates up to and including today.

    `end_offset=1` makes today a partition before it is over: the run of T happens on T.
    """
    holidays = [datetime.combine(day, time(), UTC) for day in calendar.holidays]
    return dg.DailyPartitionsDefinition(
        start_date=FIRST_DATE, end_offset=1, exclusions=[WEEKENDS, *holidays]
    )
