"""What a process may know of the run it is part of: dates, clock, calendars, currency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from acme.domain.calendars import Calendars, CutOff


@dataclass(frozen=True)
class Day:
    """The run of T = `run_date`; P = `as_of` is the business date before it (`rules §2`).

    `known_at` is when the run's inputs were fixed. `event_clock`: an order's time is the one its
    file gives, else the time at which it was durably landed.
    """

    run_date: date
    as_of: date
    currency: str
    cut_off: CutOff
    known_at: datetime
    calendars: Calendars
    event_clock: bool

    @property
    def cut_off_instant(self) -> datetime:
        """Return the cut-off of T, a UTC instant."""
        return self.cut_off.instant(self.run_date)
