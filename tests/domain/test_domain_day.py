"""What a process may know of its run (`rules §2`)."""

from datetime import UTC, date, datetime, time

import pytest
from domain_frames import KNOWN_AT, P

from acme.domain.calendars import Calendars, CutOff
from acme.domain.day import Day


@pytest.mark.parametrize(
    ("run_date", "hour"),
    [(date(2026, 3, 11), 12), (date(2026, 6, 3), 11)],
    ids=["winter", "summer"],
)
def test_the_cut_off_of_a_run_is_an_instant_of_its_own_date(run_date: date, hour: int) -> None:
    noon = CutOff(time(12), "Europe/London")
    day = Day(run_date, P, "USD", noon, KNOWN_AT, Calendars({}), event_clock=True)
    instant = datetime(run_date.year, run_date.month, run_date.day, hour, tzinfo=UTC)
    assert day.cut_off_instant == instant
