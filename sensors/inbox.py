"""Arriving files are landed; a date whose cut-off has passed runs once its prices are there."""

import hashlib
from datetime import UTC, date, datetime

import dagster as dg

from acme.lakehouse.control import Control, LandedFile
from acme.lakehouse.landing import sweep_inbox
from acme.lakehouse.platform import open_platform
from orchestration import calendar_file
from orchestration.calendar_file import DealingCalendar

# What the books as of the close of P cannot be struck without.
NEEDED_FEED = "closing_prices"


def inbox_sensor() -> dg.SensorDefinition:
    """Return the sensor over `$ACME_HOME/inbox`."""

    @dg.sensor(
        name="inbox_files",
        job_name="business_day",
        minimum_interval_seconds=30,
        description="Lands arriving files; runs a date past its cut-off once its prices are there.",
    )
    def inbox_files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        platform = open_platform()
        for report in sweep_inbox(platform.home, platform.control):
            context.log.info("%s/%s: %s", report.feed, report.name, report.verdict)
        calendar = calendar_file.refresh(platform.home, platform.control)
        return next_day(platform.control, calendar, datetime.now(UTC))

    return inbox_files


def next_day(
    control: Control, calendar: DealingCalendar, now: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Ask for the next due date once its cut-off has passed and its prices have landed.

    Never before the cut-off: a run fixes its inputs, and an order that lands after that deals on
    the next date (`rules §2`). The run key is the content of what landed.
    """
    last = control.last_published()
    if last is None:
        return dg.SkipReason("the first business day is started by a person")
    due = calendar.calendar.next(last.run_date)
    if now < calendar.cut_off.instant(due):
        return dg.SkipReason(f"the cut-off of {due} has not passed")
    files = accepted_files(control, due)
    if not any(f.feed == NEEDED_FEED for f in files):
        return dg.SkipReason(f"{due} waits for {NEEDED_FEED}")
    digest = hashlib.sha256("\n".join(f"{f.feed} {f.file_sha256}" for f in files).encode())
    return dg.RunRequest(run_key=f"{due} {digest.hexdigest()}", partition_key=due.isoformat())


def accepted_files(control: Control, due: date) -> list[LandedFile]:
    """Return the accepted files that a run of `due` would take."""
    return [f for f in control.offered_files(due) if f.verdict == "accepted"]


def prices_have_landed(due: date) -> bool:
    """Say whether a run of `due` would find closing prices."""
    control = open_platform().control
    return any(f.feed == NEEDED_FEED for f in accepted_files(control, due))
