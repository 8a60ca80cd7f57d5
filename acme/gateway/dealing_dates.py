"""Which date an order deals on, and why: by its commit, the cut-off and what has been taken.

Pure but for the calendars, which are given by how far holidays had landed: an answer reckoned
again is the same answer (`rules §2`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from acme.domain.calendars import Calendar, CutOff


@dataclass(frozen=True)
class DealingDate:
    """The date, the instant of its cut-off, and the reason in words."""

    date: date
    cut_off: datetime
    reason: str


def dealing_date(
    moment: datetime, cut_off: CutOff, dealing: Calendar, taken_until: date | None
) -> DealingDate:
    """Return the dealing date of an order whose time is `moment`.

    taken_until: the newest date whose run had taken its orders when the order was accepted; an
    order that comes after the run of its date deals in the next one.
    """
    local = moment.astimezone(ZoneInfo(cut_off.timezone))
    by_clock = cut_off.dealing_date(moment, dealing)
    day = by_clock
    clock = f"{local:%H:%M:%S} {cut_off.timezone}"
    if taken_until is not None and taken_until >= by_clock:
        day = dealing.next(taken_until)
        reason = f"the run of {taken_until} has taken its orders; {day} is the next"
    elif by_clock == local.date():
        reason = f"received at {clock}, before the cut-off of {day}"
    elif dealing.is_business_date(local.date()):
        reason = f"received at {clock}, not before the cut-off of {local.date()}; {day} is next"
    else:
        reason = f"{local.date()} is no business date; {day} is the next"
    return DealingDate(day, cut_off.instant(day).astimezone(UTC), reason)
