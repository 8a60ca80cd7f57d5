"""A prepared installation on which a date's run is disturbed, as often as one likes.

Its files are copied and its database is made from a template each time. The date runs in a forked
child through the executors of its processes, with the lake's catalog and the second engine, as
`acme day` does under Dagster.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from acme.cli.errors import KNOWN_ERRORS
from acme.lakehouse import contracts, postgres
from acme.lakehouse.control import Control
from acme.lakehouse.home import Home
from acme.lakehouse.lake import Lake
from acme.lakehouse.migrate import migrate
from acme.lakehouse.platform import Platform
from acme.operations import dbt
from acme.operations.second_engine import SecondEngineError
from orchestration.registry import in_order
from orchestration.shell import DayRefusedError
from simulator.world import World
from tests.scenarios.driver import Scenario

FIRST, DATES, POTS = date(2020, 6, 18), 3, 40
LAST = date(2020, 6, 24)
# What a command prints as a message; anything else would be a traceback.
MESSAGES = (*KNOWN_ERRORS, SecondEngineError, DayRefusedError)
Told = dict[str, Any]
# What a date imports on its way.
IMPORTED = (
    "dbt.adapters.duckdb.environments.local",
    "dbt.task.build",
    "pyarrow.compute",
    "pyarrow.dataset",
    "sqlparse.sql",
)


class ChildError(Exception):
    """A child ended otherwise than it should; the text is what it said."""


def started(work: Callable[[], Told], answer: Path, environment: Mapping[str, str]) -> int:
    """Run `work` in a child, which writes what it returned to `answer`; its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ.update(environment)
            answer.write_text(json.dumps(work()), "utf-8")
            status = 0
        except BaseException as error:  # noqa: BLE001
            text = f"{type(error).__name__}: {error}"
            told = {"error": text, "is_message": isinstance(error, MESSAGES)}
            answer.write_text(json.dumps(told), "utf-8")
        finally:
            os._exit(status)
    return child


def forked(
    work: Callable[[], Told], environment: Mapping[str, str] | None = None
) -> tuple[int, Told]:
    """Run `work` in a child; its wait status and what it returned."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        _, status = os.waitpid(started(work, answer, environment or {}), 0)
        told = json.loads(answer.read_text("utf-8")) if answer.exists() else {}
        return status, told


def succeeded(work: Callable[[], Told], environment: Mapping[str, str] | None = None) -> Told:
    """Run `work` in a child that must come to its end."""
    status, told = forked(work, environment)
    if status != 0:
        raise ChildError(f"status {status}: {told.get('error')}")
    return told


@dataclass(frozen=True)
class Server:
    """A Postgres server of its own, and the URL of its first database."""

    home: Home
    url: str

    def restart(self) -> None:
        """End it as `pg_ctl stop -m immediate` does, without a checkpoint, and start it again."""
        with embedded():
            server = postgres.status(self.home).pid
            if server is None:
                raise ChildError(f"no server runs in {self.home.root}")
            os.kill(server, signal.SIGQUIT)
            while postgres.status(self.home).pid == server:
                time.sleep(0.02)
            self.start()

    def start(self) -> None:
        """Start it where it does not run; it must be found where it was."""
        with embedded():
            url = postgres.start(self.home)
        if url != self.url:
            raise ChildError("the server came back on another port")

    def execute(self, statement: str, *names: str) -> None:
        """Run a statement outside a transaction."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def embedded() -> Iterator[None]:
    """Let `postgres` work on embedded servers, whatever this process was told to use."""
    with patch.dict(os.environ):
        os.environ.pop("ACME_POSTGRES_URL", None)
        yield


@contextmanager
def server_and_folder(within: Path | None = None) -> Iterator[tuple[Server, Path]]:
    """Yield a server of its own and a folder its user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="acme-crash-", dir=within))
    folder.chmod(0o755)
    home = Home(folder / "server")
    try:
        with embedded():
            server = Server(home, postgres.start(home))
        # The machine stays up, whatever else is killed: nothing need reach the disk at once.
        server.execute("ALTER SYSTEM SET fsync = off")
        server.execute("SELECT pg_reload_conf()")
        yield server, folder
    finally:
        with embedded():
            postgres.stop(home)
        shutil.rmtree(folder, ignore_errors=True)


def load_once(root: Path) -> None:
    """Read, before children are forked, what each of them would read again."""
    contracts.all_tables()
    for feed in contracts.FEED_ORDER:
        contracts.feed(feed)
    for _, spec in in_order():
        for name in ("process", "checks"):
            with suppress(ModuleNotFoundError):
                spec.module(name)
    for module in IMPORTED:
        importlib.import_module(module)
    home = Home(root / "parsed")
    home.dbt.mkdir(parents=True)
    platform = Platform(home, "", Control(""), Lake(home, ""))
    dbt.manifest(platform, "lake")


class Installation:
    """One simulated world before the run of its last date, restored as often as one likes.

    Without `engine` the second engine's check is recorded as passed, unseen: it costs a third of
    a date, and what it would hold against each other, catalog and manifest, `look` compares too.
    """

    def __init__(self, root: Path, server: Server, seed: int) -> None:
        """Name the places; `prepare` fills them."""
        self.seed, self.server = seed, server
        self.home, self.base = root / f"seed-{seed}" / "home", root / f"seed-{seed}" / "base"
        self.day = FIRST
        self.engine = True
        self._name = f"crash_{seed}"
        self.url = urlsplit(server.url)._replace(path=f"/{self._name}").geturl()

    def prepare(self) -> None:
        """Run all dates but the last, and put the files of the last into the inbox."""
        self.server.execute("CREATE DATABASE {}", self._name)
        self.home.parent.mkdir(parents=True)
        told = succeeded(self._first_dates)
        self.day = date.fromisoformat(told["day"])
        shutil.copytree(self.home, self.base)
        self.server.execute("CREATE DATABASE {} TEMPLATE {}", f"{self._name}_base", self._name)

    def restore(self) -> None:
        """Put everything back to before the run."""
        for path in self.home.iterdir():
            # The folder itself, and those on a disk of their own, stay.
            if not path.is_dir():
                path.unlink()
            elif path.is_mount():
                for part in path.iterdir():
                    shutil.rmtree(part)
            else:
                shutil.rmtree(path)
        shutil.copytree(self.base, self.home, dirs_exist_ok=True)
        self.server.execute("DROP DATABASE {} WITH (FORCE)", self._name)
        self.server.execute("CREATE DATABASE {} TEMPLATE {}", self._name, f"{self._name}_base")

    def drop(self) -> None:
        """Remove the databases and files."""
        for name in (self._name, f"{self._name}_base"):
            self.server.execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        shutil.rmtree(self.home.parent, ignore_errors=True)

    def end_lock(self) -> None:
        """End the session that holds the lock of the date."""
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name LIKE 'acme run%%'",
                [self._name],
            )

    def environment(self) -> dict[str, str]:
        """Return the variables with which a command works on this installation."""
        return {
            "ACME_HOME": str(self.home),
            "ACME_CLOCK": "event",
            "ACME_POSTGRES_URL": self.url,
            "ACME_RUN_WAIT_SECONDS": "60",
        }

    def damaged(self) -> list[str]:
        """Return files that are not what they are named, and what was left half written."""
        home = Home(self.home)
        found = [
            str(path.relative_to(self.home))
            for folder, pattern in ((home.lake, "*.parquet"), (home.landed, "??/*"))
            for path in folder.rglob(pattern)
            if path.stem != _sha256(path)
        ]
        for path in home.outbox.glob("*/*/[!.]*.csv"):
            vouched = path.with_name(f"{path.name}.sha256")
            if not vouched.exists() or vouched.read_text().split()[0] != _sha256(path):
                found.append(str(path.relative_to(self.home)))
        folders = (home.lake, home.landed, home.outbox, home.quarantine, home.keys)
        found += [
            str(path.relative_to(self.home))
            for folder in folders
            for path in folder.rglob(".*.tmp")
        ]
        return sorted(found)

    # ---- in a child ------------------------------------------------------------------------------

    def _first_dates(self) -> Told:
        migrate(self.url)
        scenario = Scenario(self.home, self.url, catalog=True)
        world = World(self.home, self.seed, POTS, FIRST, LAST)
        world.reference()
        dates = world.business_dates()[:DATES]
        for day in dates[:-1]:
            world.before(day)
            scenario.sweep()
            scenario.run(day)
        world.before(dates[-1])
        scenario.close()
        return {"day": str(dates[-1])}

    def run_and_look(self) -> Told:
        """Run the date, and tell what it made."""
        scenario = self._opened()
        scenario.sweep()
        scenario.run(self.day)
        return self._told(scenario)

    def run(self) -> Told:
        """Take what lies in the inbox and run the date."""
        scenario = self._opened()
        scenario.sweep()
        scenario.run(self.day)
        scenario.close()
        return {}

    def look(self) -> Told:
        """Tell everything that must be the same: tables, files, publication, catalog."""
        return self._told(self._opened())

    def _opened(self) -> Scenario:
        return Scenario(self.home, self.url, catalog=True, made=True, engine=self.engine)

    def _told(self, scenario: Scenario) -> Told:
        lake = scenario.platform.lake
        manifest = lake.manifest(self.day)
        # A table is its bytes: read, hashed, and held against the hash that names them.
        lake.verify(self.day, list(manifest))
        with psycopg.connect(self.url) as connection:
            files = connection.execute(
                "SELECT path FROM ducklake.ducklake_data_file WHERE end_snapshot IS NULL"
                " AND path LIKE %s",
                [f"%run_date={self.day}%"],
            ).fetchall()
            sent = connection.execute(
                "SELECT custodian_id, file_name, sha256, sent_at IS NOT NULL"
                " FROM control.dispatches WHERE run_date = %s ORDER BY 1, 2",
                [self.day],
            ).fetchall()
            published = connection.execute(
                "SELECT count(*) FROM control.publications WHERE run_date = %s", [self.day]
            ).fetchall()
            landed = connection.execute(
                "SELECT sequence, feed, name, file_sha256, verdict, run_date"
                " FROM control.landed_files ORDER BY sequence"
            ).fetchall()
            keys = connection.execute(
                "SELECT feed, key, values_sha256, run_date FROM control.accepted_keys"
                ' ORDER BY feed, key COLLATE "C", run_date'
            ).fetchall()
            state = connection.execute(
                "SELECT state FROM control.runs WHERE run_date = %s", [self.day]
            ).fetchall()
        told = {
            "tables": {dataset: p.sha256 for dataset, p in sorted(manifest.items())},
            "catalog": sorted(Path(path).name for (path,) in files),
            "manifest": sorted(f"{p.sha256}.parquet" for p in manifest.values() if p.rows),
            "outbox": {
                name: hashlib.sha256(content).hexdigest()
                for name, content in scenario.outbox().items()
                if not Path(name).name.startswith(".")
            },
            "dispatches": [[str(value) for value in row] for row in sent],
            "publications": published[0][0],
            "landed": [[str(value) for value in row] for row in landed],
            "accepted": [[str(value) for value in row] for row in keys],
            "state": [row[0] for row in state],
            "quarantine": _names(scenario.home.quarantine, "*.report.*"),
            "inbox": _names(scenario.home.inbox, "*"),
        }
        scenario.close()
        return told


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _names(folder: Path, pattern: str) -> list[str]:
    """Return the files below a folder that are whole."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob(pattern)
        if path.is_file() and not path.name.endswith(".tmp")
    )
