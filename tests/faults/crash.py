"""Kills the run of a date at every fail-point, runs it again, and compares every table and file.

`python -m tests.faults.crash --seeds 20` does so for each point of `acme.lakehouse.failpoints` in
each of 20 simulated worlds; a seed also chooses at which of the times the date reaches the point.
`--points` and `--seeds` cut it down; with `--paused` the run is frozen instead, another one takes
over and publishes, and the first must be fenced off when it wakes. Each case is a copy of a
prepared installation: its files in place, its database made from a template. The date runs in a
forked child through the executors of its processes, with the lake's catalog and the second engine,
as `acme day` does under Dagster.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from dbt.cli.main import dbtRunner
from psycopg import sql
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from acme.lakehouse import contracts, postgres
from acme.lakehouse.control import Control
from acme.lakehouse.failpoints import POINTS
from acme.lakehouse.home import Home
from acme.lakehouse.lake import Lake
from acme.lakehouse.migrate import migrate
from acme.lakehouse.platform import Platform
from acme.operations import second_engine
from orchestration.registry import in_order
from simulator.world import World
from tests.scenarios.driver import Scenario

FIRST, DATES, POTS = date(2020, 6, 18), 3, 40
LAST = date(2020, 6, 24)
Told = dict[str, Any]
Case = Callable[["Installation", Told, str, int], list[str]]
# Where a frozen run has still to pass a fence; before them it holds no lock, after them its work
# is done and it may send, and mark, the same bytes again.
FENCED = [
    p
    for p in POINTS
    if p.split(":")[0] not in {"landing.store", "landing.register", "landing.remove", "dispatch"}
    and p.split(":")[0] not in {"file.write", "file.rename", "dispatch.vouch", "dispatch.file"}
    and p not in {"publish.commit:after", "dispatch.mark:after"}
]


class ChildError(Exception):
    """A child ended otherwise than it should; the text is what it said."""


def started(work: Callable[[], Told], answer: Path, environment: Mapping[str, str]) -> int:
    """Run `work` in a child, which writes what it returned to `answer`; its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.environ.update(environment)
            answer.write_text(json.dumps(work()), "utf-8")
            status = 0
        except BaseException as error:  # noqa: BLE001
            answer.write_text(json.dumps({"error": repr(error)}), "utf-8")
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


class Installation:
    """One simulated world before the run of its last date, restored as often as one likes."""

    def __init__(self, root: Path, server: str, seed: int) -> None:
        """Name the places; `prepare` fills them."""
        self.seed = seed
        self.home, self.base = root / f"seed-{seed}" / "home", root / f"seed-{seed}" / "base"
        self.day = FIRST
        self._server, self._name = server, f"crash_{seed}"
        self.url = urlsplit(server)._replace(path=f"/{self._name}").geturl()

    def prepare(self) -> None:
        """Run all dates but the last, and put the files of the last into the inbox."""
        self._execute("CREATE DATABASE {}", self._name)
        self.home.parent.mkdir(parents=True)
        told = succeeded(self._first_dates)
        self.day = date.fromisoformat(told["day"])
        shutil.copytree(self.home, self.base)
        self._execute("CREATE DATABASE {} TEMPLATE {}", f"{self._name}_base", self._name)

    def restore(self) -> None:
        """Put everything back to before the run."""
        shutil.rmtree(self.home)
        shutil.copytree(self.base, self.home)
        self._execute("DROP DATABASE {} WITH (FORCE)", self._name)
        self._execute("CREATE DATABASE {} TEMPLATE {}", self._name, f"{self._name}_base")

    def drop(self) -> None:
        """Remove the databases and files."""
        for name in (self._name, f"{self._name}_base"):
            self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        shutil.rmtree(self.home.parent, ignore_errors=True)

    def end_lock(self) -> None:
        """End the session that holds the lock of the date."""
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name LIKE 'acme run%%'",
                [self._name],
            )

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
        self.run()
        return self.look()

    def run(self) -> Told:
        """Take what lies in the inbox and run the date."""
        scenario = Scenario(self.home, self.url, catalog=True)
        scenario.sweep()
        scenario.run(self.day)
        scenario.close()
        return {}

    def look(self) -> Told:
        """Tell everything that must be the same: tables, files, publication, catalog."""
        scenario = Scenario(self.home, self.url, catalog=True)
        manifest = scenario.platform.lake.manifest(self.day)
        tables = scenario.hashes(self.day, ("core", "stage"))
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
        told = {
            "tables": tables,
            "catalog": sorted(Path(path).name for (path,) in files),
            "manifest": sorted(f"{p.sha256}.parquet" for p in manifest.values() if p.rows),
            "outbox": {
                name: hashlib.sha256(content).hexdigest()
                for name, content in scenario.outbox().items()
                if not Path(name).name.startswith(".")
            },
            "dispatches": [[str(value) for value in row] for row in sent],
            "publications": published[0][0],
            "inbox": sorted(
                str(path.relative_to(self.home))
                for path in scenario.home.inbox.rglob("*")
                if path.is_file()
            ),
        }
        scenario.close()
        return told

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def differences(expected: Told, got: Told) -> list[str]:
    """Name what is not as in the run without a crash."""
    found = []
    for part, value in expected.items():
        other = got.get(part)
        if isinstance(value, dict) and isinstance(other, dict):
            keys = sorted(value.keys() | other.keys())
            found += [f"{part} {key}" for key in keys if value.get(key) != other.get(key)]
        elif value != other:
            found.append(part)
    if got.get("catalog") != got.get("manifest"):
        found.append("catalog and manifest name different files")
    return found


def clean_run(installation: Installation, log: Path) -> tuple[Told, Counter[str]]:
    """Run the date undisturbed; what must come out, and how often each point is reached."""
    log.unlink(missing_ok=True)
    expected = succeeded(installation.run_and_look, {"ACME_FAILPOINT_LOG": str(log)})
    return expected, Counter(log.read_text("utf-8").split())


def crashed_run(
    installation: Installation, expected: Told, point: str, occurrence: int
) -> list[str]:
    """Kill the date's run at a point, run it again; what differs then."""
    installation.restore()
    status, told = forked(installation.run, {"ACME_FAILPOINT": f"{point}#{occurrence}"})
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        return [f"was not killed: status {status} {told}"]
    status, told = forked(installation.run_and_look)
    if status != 0:
        return [f"the second run failed: {told.get('error')}"]
    return differences(expected, told)


def paused_run(
    installation: Installation, expected: Told, point: str, occurrence: int
) -> list[str]:
    """Freeze the date's run at a point, let another take over, wake it; what differs then.

    Its lock goes to the other when the server ends its session, as after a lost connection.
    """
    installation.restore()
    frozen = {"ACME_FAILPOINT": f"{point}#{occurrence}", "ACME_FAILPOINT_SIGNAL": "SIGSTOP"}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        child = started(installation.run, answer, frozen)
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return [f"was not stopped: status {status}"]
        installation.end_lock()
        status, told = forked(installation.run_and_look)
        found = differences(expected, told) if status == 0 else [f"the other run failed: {told}"]
        os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, 0)
        woken = json.loads(answer.read_text("utf-8"))
        if status == 0 or "Fenced" not in woken.get("error", ""):
            found.append(f"woke and was not fenced off: status {status} {woken}")
        return found + differences(expected, succeeded(installation.look))


def cases(seed: int, points: list[str], reached: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yield (point, occurrence) of a seed."""
    for point in points:
        chance = random.Random(f"{seed}:{point}")
        yield point, chance.randint(1, max(1, reached[point]))


def play(
    root: Path, server: str, seed: int, points: list[str], run: Case
) -> Iterator[tuple[int, str, int, list[str]]]:
    """Yield seed, point, occurrence, differences of each case of a seed."""
    installation = Installation(root, server, seed)
    installation.prepare()
    try:
        expected, reached = clean_run(installation, root / f"seed-{seed}.log")
        for point, occurrence in cases(seed, points, reached):
            if not reached[point]:
                yield seed, point, 0, ["the date does not reach it"]
                continue
            yield seed, point, occurrence, run(installation, expected, point, occurrence)
    finally:
        installation.drop()


@contextmanager
def server_and_folder() -> Iterator[tuple[str, Path]]:
    """Yield a Postgres server of its own and a folder its user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="acme-crash-"))
    folder.chmod(0o755)
    home = Home(folder / "server")
    try:
        yield postgres.start(home), folder
    finally:
        postgres.stop(home)
        shutil.rmtree(folder, ignore_errors=True)


def load_once(root: Path) -> None:
    """Read, before children are forked, what each of them would read again."""
    contracts.all_tables()
    in_order()
    home = Home(root / "parsed")
    home.dbt.mkdir(parents=True)
    platform = Platform(home, "", Control(""), Lake(home, ""))
    second_engine._parsed[:] = [second_engine._parse(dbtRunner(), platform)]


def _worker(
    root: Path, server: str, seeds: list[int], points: list[str], run: Case, results: Any
) -> None:
    try:
        for seed in seeds:
            for case in play(root, server, seed, points, run):
                results.put(case)
    finally:
        results.put(None)


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for and print a table; 1 where anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--points", nargs="*", choices=list(POINTS))
    parser.add_argument(
        "--paused", action="store_true", help="freeze and wake the run instead of killing it"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    os.environ["PYTHONWARNINGS"] = "ignore"
    run: Case = paused_run if options.paused else crashed_run
    points = options.points or [p for p in POINTS if not options.paused or p in FENCED]
    title = (
        "Frozen, overtaken, woken, compared" if options.paused else "Killed, run again, compared"
    )
    console = Console()
    done: Counter[str] = Counter()
    failed: list[tuple[int, str, int, list[str]]] = []
    started = time.monotonic()
    with server_and_folder() as (server, root), Progress(console=console) as progress:
        load_once(root)
        context = get_context("fork")
        results = context.Queue()
        parts = [seeds[n :: options.workers] for n in range(options.workers)]
        workers = [
            context.Process(target=_worker, args=(root, server, part, points, run, results))
            for part in parts
            if part
        ]
        task = progress.add_task("cases", total=len(seeds) * len(points))
        for worker in workers:
            worker.start()
        waiting = len(workers)
        while waiting:
            case = results.get()
            if case is None:
                waiting -= 1
                continue
            done[case[1]] += 1
            if case[3]:
                failed.append(case)
                progress.console.print(f"[red]{case}")
            progress.advance(task)
        for worker in workers:
            worker.join()
    table = Table("fail-point", "cases", "differing", title=title)
    wrong = Counter(case[1] for case in failed)
    for point in points:
        table.add_row(point, str(done[point]), str(wrong[point]))
    console.print(table)
    minutes = (time.monotonic() - started) / 60
    console.print(f"{sum(done.values())} cases, {len(failed)} differing, {minutes:.1f} minutes")
    complete = sum(done.values()) == len(seeds) * len(points)
    return 0 if complete and not failed else 1


if __name__ == "__main__":
    raise SystemExit(main())
