"""Business dates, cut-off instants and settlement dates (`rules §2`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DEALING = "DEALING"
SATURDAY = 5
# Longer closures than this do not exist; a longer one is a calendar that makes no sense.
CLOSED_DAYS_MAX = 60


class CalendarError(ValueError):
    """A calendar has no business date within `CLOSED_DAYS_MAX` days."""


@dataclass(frozen=True)
class Calendar:
    """Weekdays that are not one of `holidays`."""

    holidays: frozenset[date]

    def is_business_date(self, day: date) -> bool:
        """Say whether `day` is a business date."""
        return day.weekday() < SATURDAY and day not in self.holidays

    def next(self, day: date) -> date:
        """Return the first business date after `day`."""
        return self._walk(day, 1)

    def prev(self, day: date) -> date:
        """Return the last business date before `day`."""
        return self._walk(day, -1)

    def step(self, day: date, days: int) -> date:
        """Step `days` business dates forward; 0 is `day` itself."""
        for _ in range(days):
            day = self.next(day)
        return day

    def business_days_between(self, earlier: date, later: date) -> int:
        """Count the business dates after `earlier` up to and including `later`."""
        span = (later - earlier).days
        return sum(self.is_business_date(earlier + timedelta(n)) for n in range(1, span + 1))

    def _walk(self, day: date, direction: int) -> date:
        for distance in range(1, CLOSED_DAYS_MAX + 1):
            candidate = day + timedelta(direction * distance)
            if self.is_business_date(candidate):
                return candidate
        raise CalendarError(f"no business date within {CLOSED_DAYS_MAX} days of {day}")


@dataclass(frozen=True)
class Calendars:
    """The calendars by name; one that was never given a holiday has only its weekends."""

    by_id: Mapping[str, Calendar]

    @staticmethod
    def of(holidays: Iterable[tuple[str, date]]) -> Calendars:
        """Build from `(calendar_id, holiday)` pairs."""
        collected: dict[str, set[date]] = {}
        for calendar_id, holiday in holidays:
            collected.setdefault(calendar_id, set()).add(holiday)
        return Calendars({name: Calendar(frozenset(days)) for name, days in collected.items()})

    def calendar(self, calendar_id: str) -> Calendar:
        """Return one calendar."""
        return self.by_id.get(calendar_id, Calendar(frozenset()))

    @property
    def dealing(self) -> Calendar:
        """Return the scheme's own calendar."""
        return self.calendar(DEALING)

    def settlement_date(self, dealing_date: date, calendar_id: str, settlement_days: int) -> date:
        """Step the dealing date `settlement_days` forward on the asset's calendar (`rules §2`)."""
        return self.calendar(calendar_id).step(dealing_date, settlement_days)


@dataclass(frozen=True)
class CutOff:
    """The local time of day after which an order deals on the next business date."""

    at: time
    timezone: str

    def instant(self, day: date) -> datetime:
        """Return the cut-off of `day` as a UTC instant."""
        return datetime.combine(day, self.at, ZoneInfo(self.timezone)).astimezone(UTC)

    def dealing_date(self, moment: datetime, calendar: Calendar) -> date:
        """Return the first business date whose cut-off is later than `moment` (`rules §2`)."""
        day = moment.astimezone(ZoneInfo(self.timezone)).date()
        if calendar.is_business_date(day) and self.instant(day) > moment:
            return day
        return calendar.next(day)
