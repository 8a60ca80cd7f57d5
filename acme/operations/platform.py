"""One opened installation: its home, Postgres, control schema and lake. Starts no run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import time
from pathlib import Path

from acme.lakehouse import postgres
from acme.lakehouse.control import Control
from acme.lakehouse.files import write_atomic
from acme.lakehouse.home import ClockError, Home, clock
from acme.lakehouse.lake import Lake
from acme.lakehouse.migrate import migrate


class NotInitialisedError(Exception):
    """The folder of ACME_HOME holds no installation."""


@dataclass
class Platform:
    """The parts of an installation that every command and process works with."""

    home: Home
    url: str
    control: Control
    lake: Lake


def open_platform(home: Home | None = None) -> Platform:
    """Open the installation of ACME_HOME, starting its embedded Postgres where there is none.

    Raises `NotInitialisedError` before `acme init`, and `PostgresError` where no server can be
    started or reached.
    """
    where = home or Home.from_env()
    if not _clock_record(where).exists():
        raise NotInitialisedError(f"nothing is installed in {where.root}: run `acme init` first")
    url = postgres.start(where)
    return Platform(where, url, Control(url), Lake(where, url))


def initialise(home: Home, currency: str, cutoff: time, timezone: str) -> Platform:
    """Make an empty installation with its scheme; once more with the same values has no effect."""
    home.create()
    _record_clock(home)
    platform = open_platform(home)
    migrate(platform.url)
    platform.control.create_scheme(currency, cutoff, timezone)
    platform.lake.create()
    return platform


def event_clock(home: Home) -> bool:
    """Say whether an order's time is the one its file gives.

    The clock is chosen once, by `acme init`, and recorded: two clocks in one installation would
    date the same orders differently. Raises `ClockError` where ACME_CLOCK names another one.
    """
    recorded = _clock_record(home)
    if not recorded.exists():
        return clock() == "event"
    chosen = recorded.read_text("utf-8").strip()
    if "ACME_CLOCK" in os.environ and clock() != chosen:
        raise ClockError(f"ACME_CLOCK is {clock()!r}, but this installation runs on {chosen!r}")
    return chosen == "event"


def _record_clock(home: Home) -> None:
    record = _clock_record(home)
    if not record.exists():
        write_atomic(record, f"{clock()}\n".encode())
    event_clock(home)


def _clock_record(home: Home) -> Path:
    return home.root / "clock"


def wait_seconds() -> float:
    """Return how long a run waits for another run of its date, in seconds."""
    return float(os.environ.get("ACME_RUN_WAIT_SECONDS", "600"))
