"""Arriving files are landed; the morning of the next date starts once its prices are there."""

import hashlib
from datetime import UTC, date, datetime

import dagster as dg

from acme.domain.calendars import Calendar
from acme.lakehouse.control import Control
from acme.lakehouse.landing import sweep_inbox
from acme.operations.platform import open_platform
from orchestration import calendar_file

# What the books as of the close of P cannot be struck without.
NEEDED_FEED = "closing_prices"


def inbox_sensor() -> dg.SensorDefinition:
    """Return the sensor over `$ACME_HOME/inbox`."""

    @dg.sensor(
        name="inbox_files",
        job_name="morning",
        minimum_interval_seconds=30,
        description="Lands arriving files; runs the next morning when its prices are there.",
    )
    def inbox_files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        platform = open_platform()
        reports = sweep_inbox(platform.home, platform.control)
        for report in reports:
            context.log.info("%s/%s: %s", report.feed, report.name, report.verdict)
        calendar = calendar_file.refresh(platform.home, platform.control).calendar
        return next_morning(platform.control, calendar, datetime.now(UTC).date())

    return inbox_files


def next_morning(
    control: Control, calendar: Calendar, today: date
) -> dg.RunRequest | dg.SkipReason:
    """Ask for the morning of the next due date, once per set of landed files.

    The run key is the content of what landed, so that a corrected file runs the morning again.
    """
    last = control.last_published()
    if last is None:
        return dg.SkipReason("the first business day is started by a person")
    due = calendar.next(last.run_date)
    if due > today:
        return dg.SkipReason(f"the next business date is {due}")
    files = [f for f in control.offered_files(due) if f.verdict == "accepted"]
    if not any(f.feed == NEEDED_FEED for f in files):
        return dg.SkipReason(f"{due} waits for {NEEDED_FEED}")
    digest = hashlib.sha256("\n".join(f"{f.feed} {f.file_sha256}" for f in files).encode())
    return dg.RunRequest(
        run_key=f"morning {due} {digest.hexdigest()}", partition_key=due.isoformat()
    )
