"""Whether the hundredth process costs the third one anything: fleets of 10, 100 and 300.

`python -m benchmarks.fleet [--sizes 10,100,300] [--rounds 5] [--day-rounds 5]` copies the project,
once for each size, with so many made-up processes in the locations of twelve teams, each with a
contract, a check and a scenario, reading and writing through the lake. One team has five in every
fleet: what its location, its run and its test take is compared. In each round every size is
measured once, each time in a fresh process. Then each whole workspace is served by the Dagster UI
for its memory, and the business day is run with the largest fleet's folders there and its servers
running, and without any.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from acme.lakehouse.platform import open_platform
from benchmarks import fleet_project
from benchmarks.fleet_project import MEASURED, PROBE, PROCESSES_OF_MEASURED, Project
from benchmarks.fleet_servers import Memory, serving
from benchmarks.measuring import machine, median_ratio, terminal
from orchestration import runner
from simulator.world import World

MODULE = "benchmarks.fleet"
FIRST, LAST = date(2020, 6, 1), date(2020, 6, 30)
PROCESS = f"{MEASURED}/charge_001"
AIM = 1.2
LOAD = """
import json, sys, time
from acme.lakehouse.home import Home
from orchestration import calendar_file, locations
wall, cpu = time.perf_counter(), time.process_time()
calendar = calendar_file.read(Home.from_env())
locations.build(sys.argv[1], calendar).get_repository_def()
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
"""


@dataclass(frozen=True)
class Seconds:
    """What one measurement took; `cpu` is None where not all of it can be counted."""

    wall: float
    cpu: float | None


@dataclass
class Found:
    """What was measured: of each work and size one per round, of memory one per size, days."""

    seconds: dict[str, dict[int, list[Seconds]]] = field(default_factory=dict)
    memory: dict[int, Memory] = field(default_factory=dict)
    day: dict[bool, list[Seconds]] = field(default_factory=lambda: {False: [], True: []})


class Bench:
    """An installation with published dates, and the projects that work on it."""

    def __init__(self, place: Path, options: argparse.Namespace) -> None:
        self.home = Home(place / "home")
        self.probe = place / "probe"
        self.options = options
        self.environment = {"ACME_HOME": str(self.home.root), "ACME_CLOCK": "event"}
        self.plain = fleet_project.make(place / "without", 0)
        self.projects = {n: fleet_project.make(place / f"fleet-{n}", n) for n in options.sizes}
        self.published = FIRST

    def prepare(self) -> None:
        """Publish two dates; the second is the one that is run again."""
        self._acme(self.plain, "init", "--currency", "USD")
        world = World(self.home.root, 1, self.options.pots, FIRST, LAST)
        world.reference()
        for day in world.business_dates()[:2]:
            world.before(day)
            self._acme(self.plain, "day", str(day))
            self.published = day
        self.environment |= runner.dagster_environment(open_platform(self.home))

    def _acme(self, project: Project, *arguments: str) -> fleet_project.Ended:
        return project.run(["-m", "acme.cli.main", *arguments], self.environment)

    # ---- what is measured -----------------------------------------------------------------------

    def works(self) -> dict[str, Callable[[Project], Seconds]]:
        """Return name → measurement."""
        return {
            f"load a location of {PROCESSES_OF_MEASURED}": lambda p: self._load(p, MEASURED),
            "load the largest location": lambda p: self._load(p, p.largest),
            "start its process and load": lambda p: self._started(p, ["-c", LOAD, MEASURED]),
            "dg check defs of a location": lambda p: self._started(
                p, ["-m", "dagster_dg_cli.cli", "check", "defs", "--no-check-yaml"]
            ),
            "command to first line of a process": self._first_line,
            "one process's own tests": lambda p: self._started(
                p, ["-m", "pytest", f"assets/{PROCESS}"]
            ),
            "choose the tests of a change": lambda p: self._started(
                p, ["-m", "orchestration.affected", "--process", PROCESS]
            ),
        }

    def _load(self, project: Project, team: str) -> Seconds:
        ended = project.run(["-c", LOAD, team], self.environment)
        return Seconds(**json.loads(ended.said.splitlines()[-1]))

    def _started(self, project: Project, arguments: list[str]) -> Seconds:
        ended = project.run(arguments, self.environment)
        return Seconds(ended.wall, ended.cpu)

    def _first_line(self, project: Project) -> Seconds:
        self.probe.unlink(missing_ok=True)
        arguments = ["-m", "acme.cli.main", "process", "run", PROCESS]
        more = self.environment | {PROBE: str(self.probe)}
        ended = project.run([*arguments, "--date", str(self.published)], more)
        reached = int(self.probe.read_text("ascii"))
        return Seconds((reached - ended.started_ns) / 1e9, None)

    def day(self, project: Project) -> Seconds:
        """Run the published date again: every step and check works, and must find equal bytes."""
        ended = self._acme(project, "day", str(self.published))
        return Seconds(ended.wall, ended.cpu)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    options = _options(arguments)
    console = terminal()
    console.rule("Fleet")
    console.print(machine())
    # Not a private folder: root's Postgres runs as a system user, who must be able to enter it.
    place = Path(tempfile.mkdtemp(prefix="acme-fleet-"))
    place.chmod(0o755)
    # Always a server of its own: simulated days have no place in an installation's database.
    os.environ.pop("ACME_POSTGRES_URL", None)
    os.environ["ACME_CLOCK"] = "event"
    try:
        found = _measured(console, place, options)
    finally:
        home = Home(place / "home")
        postgres.stop(home)
        if (data := postgres.status(home).folder) is not None:
            shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
    _show(console, found, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=(10, 100, 300), help="as in 10,100,300")
    parser.add_argument("--rounds", type=int, default=5, help="of everything but the day")
    parser.add_argument("--day-rounds", type=int, default=5, help="pairs of business days")
    parser.add_argument("--pots", type=int, default=1_000, help="pots of the scheme")
    return parser.parse_args(arguments)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(int(size) for size in text.split(",")))


def _measured(console: Console, place: Path, options: argparse.Namespace) -> Found:
    found = Found()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("projects, two published dates", total=None)

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        bench = Bench(place, options)
        bench.prepare()
        works = bench.works()
        measured = len(works) * (options.rounds + 1) + 1
        progress.update(task, total=measured * len(bench.projects) + options.day_rounds)
        for number in range(-1, options.rounds):
            # The first round fills the caches of compiled modules, and counts for nothing.
            for name, work in works.items():
                for size, project in bench.projects.items():
                    step(f"{name}, {size} processes")
                    seconds = work(project)
                    if number >= 0:
                        by_size = found.seconds.setdefault(name, {})
                        by_size.setdefault(size, []).append(seconds)
        for size, project in bench.projects.items():
            step(f"serving {size} processes")
            with serving(project, bench.environment) as servers:
                found.memory[size] = servers.memory()
                if size == max(bench.projects):
                    servers.pause()
                    for _ in range(options.day_rounds):
                        step("the business day without and with them")
                        found.day[False].append(bench.day(bench.plain))
                        servers.go_on()
                        found.day[True].append(bench.day(project))
                        servers.pause()
    return found


# ---- report -------------------------------------------------------------------------------------


def _show(console: Console, found: Found, options: argparse.Namespace) -> None:
    few, many = options.sizes[0], options.sizes[-1]
    table = Table(title=f"{options.rounds} rounds, medians; aim {many}:{few} at most {AIM}")
    table.add_column("work", no_wrap=True)
    for size in options.sizes:
        table.add_column(f"{size}: wall s", justify="right")
        table.add_column("CPU s", justify="right")
    for heading in ("× wall", "× CPU"):
        table.add_column(f"{heading} {many}:{few}", justify="right")
    for name, by_size in found.seconds.items():
        cells = [cell for size in options.sizes for cell in _medians(by_size[size])]
        table.add_row(name, *cells, *_ratios(by_size[many], by_size[few]))
    console.print(table)
    table = Table(title="the Dagster UI over the whole workspace, MiB resident")
    headings = ("processes", "locations", "webserver", "code server", "largest", "all", "CPU s")
    for heading in headings:
        table.add_column(heading, justify="right")
    for size, memory in found.memory.items():
        sizes = (memory.webserver, memory.median, memory.largest, memory.total, memory.cpu)
        table.add_row(str(size), str(memory.locations), *(f"{value:,.0f}" for value in sizes))
    console.print(table)
    if options.day_rounds:
        table = Table(title=f"a business day of {options.pots:,} pots, {options.day_rounds} pairs")
        for heading in ("", "wall s", "CPU s", "× wall", "× CPU"):
            table.add_column(heading, justify="right" if heading else "left")
        with_, without = found.day[True], found.day[False]
        table.add_row("without a fleet", *_medians(without), "1.00", "1.00")
        table.add_row(f"with {many} processes loaded", *_medians(with_), *_ratios(with_, without))
        console.print(table)


def _medians(found: Sequence[Seconds]) -> tuple[str, str]:
    cpu = [s.cpu for s in found if s.cpu is not None]
    return (
        f"{statistics.median(s.wall for s in found):.2f}",
        f"{statistics.median(cpu):.2f}" if cpu else "",
    )


def _ratios(above: Sequence[Seconds], below: Sequence[Seconds]) -> tuple[str, str]:
    wall = median_ratio([s.wall for s in above], [s.wall for s in below])
    cpu = [(a.cpu, b.cpu) for a, b in zip(above, below, strict=True) if a.cpu and b.cpu]
    of_cpu = f"{median_ratio(*zip(*cpu, strict=True)):.2f}" if cpu else ""
    return f"{wall:.2f}", of_cpu


if __name__ == "__main__":
    main()
