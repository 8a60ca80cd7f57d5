"""What a code location must know before it opens any database: cut-off and dealing holidays.

`$ACME_HOME/calendar.json` is a copy for Dagster's partitions and schedule, written whenever files
have landed. A run itself goes by its own landed holidays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, time

from acme.domain.calendars import DEALING, Calendar, CutOff
from acme.lakehouse.control import Control
from acme.lakehouse.files import write_atomic
from acme.lakehouse.home import Home

NAME = "calendar.json"


@dataclass(frozen=True)
class DealingCalendar:
    """The cut-off and the holidays of the scheme's own calendar."""

    cut_off: CutOff
    holidays: tuple[date, ...]

    @property
    def calendar(self) -> Calendar:
        """Return the dealing calendar."""
        return Calendar(frozenset(self.holidays))


def read(home: Home) -> DealingCalendar:
    """Return what the file says; before `acme init`, noon in London and no holiday."""
    path = home.root / NAME
    if not path.exists():
        return DealingCalendar(CutOff(time(12), "Europe/London"), ())
    content = json.loads(path.read_text("utf-8"))
    cut_off = CutOff(time.fromisoformat(content["cutoff"]), content["timezone"])
    return DealingCalendar(cut_off, tuple(date.fromisoformat(d) for d in content["holidays"]))


def refresh(home: Home, control: Control) -> DealingCalendar:
    """Write the file anew from what has landed, and return it."""
    scheme = control.scheme()
    prefix = f"{DEALING}:"
    days = [k.removeprefix(prefix) for k in control.known("holiday") if k.startswith(prefix)]
    content = {
        "cutoff": scheme.cutoff.isoformat(),
        "timezone": scheme.timezone,
        "holidays": sorted(days),
    }
    encoded = (json.dumps(content, indent=1) + "\n").encode()
    path = home.root / NAME
    if not path.exists() or path.read_bytes() != encoded:
        write_atomic(path, encoded)
    return read(home)
