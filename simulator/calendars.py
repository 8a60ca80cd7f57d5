"""Business dates and cut-off instants of the outside world; no prices, no files."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

from simulator.scheme import CUTOFF, TIMEZONE

_DAY = timedelta(days=1)
_SATURDAY = 5


class Calendar:
    """Weekdays without the given holidays; every calendar of the scheme has the same ones."""

    def __init__(self, holidays: Collection[date]) -> None:
        self.holidays = tuple(sorted(holidays))
        self._closed = frozenset(holidays)

    def is_business(self, day: date) -> bool:
        """Whether ``day`` is a weekday and no holiday."""
        return day.weekday() < _SATURDAY and day not in self._closed

    def step(self, day: date, count: int) -> date:
        """``day`` moved by ``count`` business dates, backwards where negative; 0 = ``day``."""
        one = _DAY if count > 0 else -_DAY
        for _ in range(abs(count)):
            day += one
            while not self.is_business(day):
                day += one
        return day

    def next(self, day: date) -> date:
        """The first business date after ``day``."""
        return self.step(day, 1)

    def prev(self, day: date) -> date:
        """The last business date before ``day``."""
        return self.step(day, -1)

    def dates(self, first: date, last: date) -> list[date]:
        """The business dates of ``first..last``, both included, in order."""
        span = range((last - first).days + 1)
        days = (first + timedelta(days=offset) for offset in span)
        return [day for day in days if self.is_business(day)]

    def ordinal_in_month(self, day: date) -> int:
        """1 for the first business date of the month of ``day``, and so on."""
        return len(self.dates(day.replace(day=1), day))


def missing_weekdays(days: Collection[date]) -> list[date]:
    """The weekdays between the first and the last of ``days`` that are not among them."""
    present = frozenset(days)
    return [day for day in Calendar(()).dates(min(present), max(present)) if day not in present]


def cutoff(day: date) -> int:
    """The cut-off instant of ``day`` in whole seconds since 1970 UTC."""
    return int(datetime.combine(day, CUTOFF, TIMEZONE).timestamp())


def instant(seconds: int) -> str:
    """Seconds since 1970 UTC as RFC 3339 text with the offset of the scheme's time zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(TIMEZONE).isoformat()
