"""One opened installation: its home, Postgres, control schema and lake. Starts no run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import time

from acme.lakehouse import postgres, roles
from acme.lakehouse.control import Control, check_scheme
from acme.lakehouse.files import write_atomic
from acme.lakehouse.home import Home, clock, clock_record, event_clock
from acme.lakehouse.lake import Lake


class NotInitialisedError(Exception):
    """The folder of ACME_HOME holds no installation."""


@dataclass
class Platform:
    """The parts of an installation that every command and process works with."""

    home: Home
    url: str
    control: Control
    lake: Lake

    def close(self) -> None:
        """Let go of Postgres and of the lake's catalog; the next use opens them again."""
        self.lake.close()
        self.control.close()


def open_platform(home: Home | None = None) -> Platform:
    """Open the installation of ACME_HOME, starting its embedded Postgres where there is none.

    Raises `NotInitialisedError` before `acme init`, and `PostgresError` where no server can be
    started or reached.
    """
    where = home or Home.from_env()
    if not clock_record(where).exists():
        raise NotInitialisedError(f"nothing is installed in {where.root}: run `acme init` first")
    url = postgres.start(where)
    return Platform(where, url, Control(url), Lake(where, url))


def initialise(home: Home, currency: str, cutoff: time, timezone: str) -> Platform:
    """Make an empty installation with its scheme; once more with the same values has no effect.

    Raises `ControlError` or `ClockError` for an impossible value, before anything is made.
    """
    from acme.lakehouse.migrate import migrate  # noqa: PLC0415  Alembic is slow to load

    check_scheme(currency, cutoff, timezone)
    event_clock(home)
    home.create()
    _record_clock(home)
    platform = open_platform(home)
    migrate(platform.url)
    roles.give_logins(home, platform.url)
    platform.control.create_scheme(currency, cutoff, timezone)
    platform.lake.create()
    return platform


def _record_clock(home: Home) -> None:
    record = clock_record(home)
    if not record.exists():
        write_atomic(record, f"{clock()}\n".encode())


def wait_seconds() -> float:
    """Return how long a run waits for another run of its date, in seconds."""
    return float(os.environ.get("ACME_RUN_WAIT_SECONDS", "600"))
