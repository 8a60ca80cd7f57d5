"""Calendars, dealing dates and settlement dates (rules §2)."""

from collections import defaultdict
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DEALING = "DEALING"
ONE_DAY = timedelta(days=1)
SATURDAY = 5


class Calendars:
    """Business dates of every calendar: weekdays that are not one of its holidays (rules §2)."""

    def __init__(self, cutoff: time, timezone: str) -> None:
        self.cutoff = cutoff
        self.zone = ZoneInfo(timezone)
        self.holidays: dict[str, set[date]] = defaultdict(set)
        self._steps: dict[tuple[str, date, int], date] = {}

    def close(self, calendar: str, holiday: date) -> None:
        """Take a holiday in."""
        self.holidays[calendar].add(holiday)
        self._steps.clear()

    def is_business(self, calendar: str, day: date) -> bool:
        """Whether a calendar deals on a day."""
        return day.weekday() < SATURDAY and day not in self.holidays.get(calendar, ())

    def step(self, calendar: str, day: date, count: int) -> date:
        """So many business dates forward (or back); 0 is the day itself (rules §2)."""
        key = (calendar, day, count)
        if key not in self._steps:
            direction = ONE_DAY if count > 0 else -ONE_DAY
            at, left = day, abs(count)
            while left:
                at += direction
                left -= self.is_business(calendar, at)
            self._steps[key] = at
        return self._steps[key]

    def prev(self, day: date) -> date:
        """The business date of DEALING before (rules §2)."""
        return self.step(DEALING, day, -1)

    def next(self, day: date) -> date:
        """The business date of DEALING after (rules §2)."""
        return self.step(DEALING, day, 1)

    def cutoff_of(self, day: date) -> datetime:
        """The instant an order must be earlier than to deal on a date (rules §2)."""
        return datetime.combine(day, self.cutoff, tzinfo=self.zone)
