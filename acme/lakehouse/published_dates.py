"""Which dates are published, in words: for whoever asked for another one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from acme.lakehouse.control import Control, ControlError


class DateNotPublishedError(ControlError):
    """A date that was asked for is not published; the text says which ones are."""


def span(dates: Sequence[date]) -> str:
    """Return from when to when dates are published; `dates` oldest first."""
    return f"published are {dates[0]} to {dates[-1]}" if dates else "nothing is published"


def require_published(control: Control, run_date: date) -> None:
    """Raise `DateNotPublishedError` for a date that is not published."""
    dates = control.published_dates()
    if run_date not in dates:
        raise DateNotPublishedError(f"{run_date} is not published: {span(dates)}")
