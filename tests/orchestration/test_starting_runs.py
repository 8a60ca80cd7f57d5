"""Which dates are partitions, and when the schedule and the sensor ask for a run."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

import dagster as dg
import pytest

from acme.domain.calendars import CutOff
from acme.lakehouse.control import LandedFile
from orchestration.calendar_file import DealingCalendar
from orchestration.partitions import business_dates
from sensors.cut_off import cut_off_schedule
from sensors.inbox import next_day

NOON = CutOff(time(12), "Europe/London")
# Good Friday, Easter Monday, and a holiday that falls on a Saturday.
HOLIDAYS = (date(2024, 3, 29), date(2024, 4, 1), date(2024, 5, 4))
CALENDAR = DealingCalendar(NOON, HOLIDAYS)


def keys(first: str, last: str, now: datetime) -> list[str]:
    with dg.partition_loading_context(effective_dt=now):
        found = business_dates(CALENDAR).get_partition_keys()
    return [key for key in found if first <= key <= last]


def test_weekends_and_holidays_are_no_partitions() -> None:
    now = datetime(2024, 6, 3, 9, tzinfo=UTC)
    assert keys("2024-03-27", "2024-04-03", now) == [
        "2024-03-27",
        "2024-03-28",
        "2024-04-02",
        "2024-04-03",
    ]
    assert keys("2024-05-03", "2024-05-06", now) == ["2024-05-03", "2024-05-06"]


def test_today_is_a_partition_and_tomorrow_is_not() -> None:
    tuesday = datetime(2024, 4, 2, 0, 5, tzinfo=UTC)
    assert keys("2024-03-28", "2024-12-31", tuesday) == ["2024-03-28", "2024-04-02"]


@pytest.mark.parametrize(
    ("tick", "asked"),
    [
        (datetime(2024, 3, 28, 12, tzinfo=UTC), "2024-03-28"),
        (datetime(2024, 3, 29, 12, tzinfo=UTC), None),  # Good Friday
        (datetime(2024, 3, 30, 12, tzinfo=UTC), None),  # Saturday
        (datetime(2024, 4, 1, 11, tzinfo=UTC), None),  # Easter Monday, summer time
        (datetime(2024, 4, 2, 11, tzinfo=UTC), "2024-04-02"),
        (datetime(2024, 5, 4, 11, tzinfo=UTC), None),  # a holiday on a Saturday
    ],
)
def test_the_cut_off_asks_for_business_dates_alone(tick: datetime, asked: str | None) -> None:
    """dagster #33551: with today as a partition, its own schedule asks for a wrong date."""
    schedule = cut_off_schedule(CALENDAR)
    context = dg.build_schedule_context(scheduled_execution_time=tick)
    told = schedule(context)
    if asked is None:
        assert isinstance(told, dg.SkipReason)
        assert "is not a business date" in str(told.skip_message)
    else:
        assert isinstance(told, dg.RunRequest)
        assert (told.partition_key, told.run_key) == (asked, f"cut-off {asked}")


def test_the_schedule_keeps_local_time() -> None:
    schedule = cut_off_schedule(DealingCalendar(CutOff(time(10, 30), "America/New_York"), ()))
    assert schedule.cron_schedule == "30 10 * * *"
    assert schedule.execution_timezone == "America/New_York"
    late = cut_off_schedule(DealingCalendar(CutOff(time(21), "America/New_York"), ()))
    # 21:00 in New York on Monday the 4th is 02:00 UTC on the 5th.
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 3, 5, 2, tzinfo=UTC)
    )
    assert late(context).partition_key == "2024-03-04"


def test_the_schedule_leaves_a_date_without_prices_to_the_sensor() -> None:
    tick = datetime(2024, 4, 2, 11, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=tick)
    told = cut_off_schedule(CALENDAR, lambda _: False)(context)
    assert isinstance(told, dg.SkipReason)
    assert isinstance(cut_off_schedule(CALENDAR, lambda _: True)(context), dg.RunRequest)


# ---- the inbox ----------------------------------------------------------------------------------

PRICES = LandedFile(
    1, "closing_prices", "p.csv", "a" * 64, 10, 1, datetime(2024, 3, 5, tzinfo=UTC), "accepted",
    "{}", None,
)  # fmt: skip
ORDERS = replace(PRICES, sequence=2, feed="orders", file_sha256="b" * 64)


@dataclass
class Published:
    run_date: date


@dataclass
class FakeControl:
    """What the sensor asks of the control schema."""

    last: date | None
    files: list[LandedFile]

    def last_published(self) -> Published | None:
        return None if self.last is None else Published(self.last)

    def offered_files(self, run_date: date) -> list[LandedFile]:
        return self.files


def asked(last: date | None, files: list[LandedFile], now: datetime) -> object:
    return next_day(FakeControl(last, files), CALENDAR, now)


THURSDAY = date(2024, 3, 28)
# Noon in London in summer is 11:00 UTC.
TUESDAY = datetime(2024, 4, 2, 11, tzinfo=UTC)
JUST_BEFORE = datetime(2024, 4, 2, 10, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "files", "now", "reason"),
    [
        (None, [PRICES], TUESDAY, "started by a person"),
        (THURSDAY, [PRICES], JUST_BEFORE, "the cut-off of 2024-04-02 has not passed"),
        (THURSDAY, [], TUESDAY, "2024-04-02 waits for closing_prices"),
        (THURSDAY, [ORDERS], TUESDAY, "2024-04-02 waits for closing_prices"),
        (
            THURSDAY,
            [replace(PRICES, verdict="quarantined")],
            TUESDAY,
            "2024-04-02 waits for closing_prices",
        ),
    ],
)
def test_a_date_waits(
    last: date | None, files: list[LandedFile], now: datetime, reason: str
) -> None:
    told = asked(last, files, now)
    assert isinstance(told, dg.SkipReason)
    assert reason in str(told.skip_message)


def test_the_due_date_is_asked_for_once_per_content() -> None:
    first = asked(THURSDAY, [PRICES], TUESDAY)
    again = asked(THURSDAY, [PRICES], TUESDAY)
    more = asked(THURSDAY, [PRICES, ORDERS], TUESDAY)
    corrected = asked(THURSDAY, [replace(PRICES, file_sha256="c" * 64)], TUESDAY)
    requests = [first, again, more, corrected]
    assert all(isinstance(r, dg.RunRequest) for r in requests)
    assert {r.partition_key for r in requests} == {"2024-04-02"}
    assert first.run_key == again.run_key
    assert len({r.run_key for r in requests}) == 3
