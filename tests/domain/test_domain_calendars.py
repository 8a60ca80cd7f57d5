"""Business dates, cut-off instants and settlement dates (`rules §2`)."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from acme.domain.calendars import DEALING, Calendar, CalendarError, Calendars, CutOff

HOLIDAYS = [
    date(2025, 12, 25),
    date(2025, 12, 26),
    date(2026, 1, 1),
    date(2026, 4, 3),
    date(2026, 4, 6),  # Good Friday, Easter Monday
    date(2026, 12, 25),
    date(2026, 12, 28),  # Christmas Friday, Boxing Day in lieu
    date(2027, 1, 1),
]
LONDON = CutOff(time(12), "Europe/London")
CALENDARS = Calendars.of([(DEALING, day) for day in HOLIDAYS] + [("US", date(2026, 7, 3))])
DEALING_DAYS = CALENDARS.dealing


@pytest.mark.parametrize(
    ("day", "following"),
    [
        (date(2026, 3, 11), date(2026, 3, 12)),
        (date(2026, 3, 13), date(2026, 3, 16)),  # over a weekend
        (date(2026, 3, 14), date(2026, 3, 16)),  # from inside one
        (date(2026, 4, 2), date(2026, 4, 7)),  # over Easter
        (date(2026, 12, 24), date(2026, 12, 29)),  # over Christmas
        (date(2026, 12, 31), date(2027, 1, 4)),  # over New Year
        (date(2025, 12, 31), date(2026, 1, 2)),
        (date(2024, 2, 28), date(2024, 2, 29)),  # a leap day is a day
        (date(2024, 2, 29), date(2024, 3, 1)),
        (date(2025, 2, 28), date(2025, 3, 3)),
    ],
)
def test_next_and_prev(day: date, following: date) -> None:
    assert DEALING_DAYS.next(day) == following
    if DEALING_DAYS.is_business_date(day):
        assert DEALING_DAYS.prev(following) == day


def test_business_dates() -> None:
    assert DEALING_DAYS.is_business_date(date(2026, 4, 2))
    assert not DEALING_DAYS.is_business_date(date(2026, 4, 3))
    assert not DEALING_DAYS.is_business_date(date(2026, 4, 4))
    assert CALENDARS.calendar("never named").is_business_date(date(2026, 4, 3))
    assert CALENDARS.calendar("US").is_business_date(date(2026, 4, 3))
    assert not CALENDARS.calendar("US").is_business_date(date(2026, 7, 3))


def test_calendars_are_built_from_pairs_of_name_and_holiday() -> None:
    built = Calendars.of([(DEALING, HOLIDAYS[0]), ("US", HOLIDAYS[2]), (DEALING, HOLIDAYS[1])])
    assert built.dealing == Calendar(frozenset(HOLIDAYS[:2]))
    assert built.calendar("US") == Calendar(frozenset({HOLIDAYS[2]}))
    assert built.calendar("never named") == Calendar(frozenset())


@pytest.mark.parametrize(("days", "found"), [(59, True), (60, False)])
def test_a_calendar_closed_for_too_long_is_an_error(days: int, found: bool) -> None:
    """The 60th day is the last that is looked at, forward and back."""
    first = date(2026, 3, 12)
    last = first + timedelta(days + 1)
    closed = Calendar(frozenset(first + timedelta(n) for n in range(1, days + 1)))
    if found:
        assert (closed.next(first), closed.prev(last)) == (last, first)
        return
    with pytest.raises(CalendarError):
        closed.next(first)
    with pytest.raises(CalendarError):
        closed.prev(last)


@pytest.mark.parametrize(
    ("day", "instant"),
    [
        (date(2026, 3, 27), datetime(2026, 3, 27, 12, tzinfo=UTC)),  # the last winter cut-off
        (date(2026, 3, 30), datetime(2026, 3, 30, 11, tzinfo=UTC)),  # clocks went forward
        (date(2026, 10, 23), datetime(2026, 10, 23, 11, tzinfo=UTC)),
        (date(2026, 10, 26), datetime(2026, 10, 26, 12, tzinfo=UTC)),  # clocks went back
    ],
)
def test_cut_off_over_both_clock_changes(day: date, instant: datetime) -> None:
    assert LONDON.instant(day) == instant
    microsecond = timedelta(microseconds=1)
    assert LONDON.dealing_date(instant - microsecond, DEALING_DAYS) == day
    assert LONDON.dealing_date(instant, DEALING_DAYS) == DEALING_DAYS.next(day)
    assert LONDON.dealing_date(instant + microsecond, DEALING_DAYS) == DEALING_DAYS.next(day)


@pytest.mark.parametrize(
    ("moment", "dealt"),
    [
        (datetime(2026, 3, 11, 0, 0, tzinfo=UTC), date(2026, 3, 11)),
        (datetime(2026, 3, 11, 23, 59, tzinfo=UTC), date(2026, 3, 12)),
        (datetime(2026, 3, 13, 12, 0, tzinfo=UTC), date(2026, 3, 16)),  # Friday noon
        (datetime(2026, 3, 15, 9, 0, tzinfo=UTC), date(2026, 3, 16)),  # Sunday
        # The hour that does not exist in London, and the one that comes twice.
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), date(2026, 3, 30)),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), date(2026, 10, 26)),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), date(2026, 10, 26)),
        # 23:30 in UTC is 00:30 of the next day in summer London.
        (datetime(2026, 6, 3, 23, 30, tzinfo=UTC), date(2026, 6, 4)),
        (datetime(2026, 4, 2, 11, 0, tzinfo=UTC), date(2026, 4, 7)),  # Maundy Thursday, too late
        (datetime(2026, 12, 24, 12, 0, tzinfo=UTC), date(2026, 12, 29)),
        (datetime(2026, 12, 31, 12, 0, tzinfo=UTC), date(2027, 1, 4)),
        (datetime(2024, 2, 29, 11, 59, 59, 999999, tzinfo=UTC), date(2024, 2, 29)),
        (datetime(2024, 2, 28, 12, 0, tzinfo=UTC), date(2024, 2, 29)),
    ],
)
def test_dealing_date(moment: datetime, dealt: date) -> None:
    assert LONDON.dealing_date(moment, DEALING_DAYS) == dealt


def test_dealing_date_in_another_zone() -> None:
    new_york = CutOff(time(16), "America/New_York")
    # 20:00 UTC on 6 March is 15:00 in New York; after the change on 8 March it is 16:00.
    assert new_york.dealing_date(datetime(2026, 3, 6, 20, tzinfo=UTC), DEALING_DAYS) == date(
        2026, 3, 6
    )
    assert new_york.dealing_date(datetime(2026, 3, 9, 20, tzinfo=UTC), DEALING_DAYS) == date(
        2026, 3, 10
    )
    tokyo = CutOff(time(9), "Asia/Tokyo")
    # 23:30 UTC on the 10th is 08:30 on the 11th in Tokyo; half an hour later is the cut-off.
    assert tokyo.dealing_date(datetime(2026, 3, 10, 23, 30, tzinfo=UTC), DEALING_DAYS) == date(
        2026, 3, 11
    )
    assert tokyo.dealing_date(datetime(2026, 3, 11, 0, 0, tzinfo=UTC), DEALING_DAYS) == date(
        2026, 3, 12
    )


@pytest.mark.parametrize(
    ("dealt", "calendar", "days", "settles"),
    [
        (date(2026, 3, 11), DEALING, 0, date(2026, 3, 11)),
        (date(2026, 3, 11), DEALING, 2, date(2026, 3, 13)),
        (date(2026, 3, 12), DEALING, 2, date(2026, 3, 16)),
        (date(2026, 4, 2), DEALING, 2, date(2026, 4, 8)),
        (date(2026, 4, 2), "US", 2, date(2026, 4, 6)),  # another calendar knows no Easter
        (date(2026, 7, 2), "US", 1, date(2026, 7, 6)),
        (date(2026, 7, 3), "US", 0, date(2026, 7, 3)),  # 0 is T, a holiday there or not
        (date(2024, 2, 28), DEALING, 2, date(2024, 3, 1)),
        (date(2025, 12, 23), DEALING, 3, date(2025, 12, 30)),
    ],
)
def test_settlement_date(dealt: date, calendar: str, days: int, settles: date) -> None:
    assert CALENDARS.settlement_date(dealt, calendar, days) == settles


def test_business_days_between() -> None:
    assert DEALING_DAYS.business_days_between(date(2026, 4, 2), date(2026, 4, 2)) == 0
    assert DEALING_DAYS.business_days_between(date(2026, 4, 2), date(2026, 4, 7)) == 1
    assert DEALING_DAYS.business_days_between(date(2026, 12, 23), date(2027, 1, 4)) == 5
