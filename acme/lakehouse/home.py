"""Where everything of one installation lies below ACME_HOME, and the clock it was given."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Clock = Literal["database", "event"]


class ClockError(ValueError):
    """ACME_CLOCK holds something else than `database` or `event`."""


class HomeError(Exception):
    """ACME_HOME cannot be a folder."""


@dataclass(frozen=True)
class Home:
    """The folders and files of one ACME_HOME; `root` is absolute."""

    root: Path

    def __post_init__(self) -> None:
        """Make `root` absolute, so that a later change of directory cannot move it."""
        object.__setattr__(self, "root", Path(os.path.abspath(self.root)))  # noqa: PTH100

    @classmethod
    def from_env(cls) -> "Home":
        """The home named by ACME_HOME, else `.acme` in the working directory.

        It need not exist; raises HomeError where a file is in its place.
        """
        home = cls(Path(os.environ.get("ACME_HOME") or ".acme").expanduser())
        there = next(p for p in (home.root, *home.root.parents) if p.exists())
        if not there.is_dir():
            raise HomeError(f"ACME_HOME: expected a folder, got the file {there}")
        return home

    @property
    def inbox(self) -> Path:
        """`inbox/<feed>/NAME`: files dropped by third parties, not yet landed."""
        return self.root / "inbox"

    @property
    def intake(self) -> Path:
        """`intake/<T>/`: what left the inbox in Postgres and is not landed yet."""
        return self.root / "intake"

    @property
    def spool(self) -> Path:
        """What the gateway has received of bulks and not committed; empty when it rests."""
        return self.root / "spool"

    @property
    def outbox(self) -> Path:
        """`outbox/<custodian_id>/<T>/`: files sent to custodians."""
        return self.root / "outbox"

    @property
    def landed(self) -> Path:
        """`landed/<sha256[:2]>/<sha256>`: every landed file's bytes, kept for ever."""
        return self.root / "landed"

    @property
    def quarantine(self) -> Path:
        """`quarantine/<feed>/`: a report for each file that failed its contract."""
        return self.root / "quarantine"

    @property
    def lake(self) -> Path:
        """`lake/<schema>/<table>/run_date=<T>/<sha256>.parquet`: the tables' data files."""
        return self.root / "lake"

    @property
    def extracts(self) -> Path:
        """`extracts/<team>/<process>/<T>/`: the files of reports, each with its `.sha256`."""
        return self.root / "extracts"

    @property
    def keys(self) -> Path:
        """The scheme's salt and signing keys; the folder is closed to others."""
        return self.root / "keys"

    @property
    def postgres(self) -> Path:
        """The embedded server's data and log, unless its system user cannot reach them here."""
        return self.root / "postgres"

    @property
    def postgres_record(self) -> Path:
        """What is known of the embedded server: place, port, password. Closed to others."""
        return self.root / "postgres.json"

    @property
    def postgres_roles(self) -> Path:
        """The passwords of the embedded server's roles. Closed to others."""
        return self.root / "postgres_roles.json"

    @property
    def duckdb_extensions(self) -> Path:
        """DuckDB's `extension_directory`."""
        return self.root / "duckdb_extensions"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def dbt(self) -> Path:
        """The profiles, targets and logs of dbt."""
        return self.root / "dbt"

    @property
    def marts(self) -> Path:
        """The DuckDB file with the marts, readable by any DuckDB client."""
        return self.root / "marts.duckdb"

    @property
    def reports(self) -> Path:
        """`reports/<T>/`: pages of published dates, for people."""
        return self.root / "reports"

    def create(self) -> None:
        """Make the folders that are missing; those that exist keep their modes."""
        self.root.mkdir(parents=True, exist_ok=True)
        for folder in (
            self.inbox,
            self.outbox,
            self.landed,
            self.quarantine,
            self.lake,
            self.duckdb_extensions,
            self.dagster,
            self.dbt,
        ):
            folder.mkdir(exist_ok=True)
        self.keys.mkdir(mode=0o700, exist_ok=True)


def clock() -> Clock:
    """Which clock dates an order and a run: ACME_CLOCK, default `database`.

    `database`: the commit time in Postgres. `event`: the file's own `received_at`, and the
    cut-off instant of the run date as `known_at`. Raises ClockError for any other value.
    """
    value = os.environ.get("ACME_CLOCK") or "database"
    match value:
        case "database" | "event":
            return value
        case _:
            raise ClockError(f"ACME_CLOCK: expected 'database' or 'event', got {value!r}")


def event_clock(home: Home) -> bool:
    """Say whether an order's time is the one its file gives.

    The clock is chosen once, by `acme init`, and recorded: two clocks in one installation would
    date the same orders differently. Raises `ClockError` where ACME_CLOCK names another one.
    """
    recorded = clock_record(home)
    if not recorded.exists():
        return clock() == "event"
    chosen = recorded.read_text("utf-8").strip()
    if "ACME_CLOCK" in os.environ and clock() != chosen:
        raise ClockError(f"ACME_CLOCK is {clock()!r}, but this installation runs on {chosen!r}")
    return chosen == "event"


def clock_record(home: Home) -> Path:
    """Return where `acme init` keeps the clock it was given."""
    return home.root / "clock"
