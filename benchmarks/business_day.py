"""What a day costs around its rules: the whole business day against its functions alone.

`python -m benchmarks.business_day [--pots 100000] [--dates 3]` runs simulated days of June 2020
through Dagster, Postgres and the lake, and then calls the same processes and checks once more on
the frames the day has read, already in memory. Each output is compared with what the day wrote.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from acme.domain.day import Day
from acme.lakehouse import postgres
from acme.lakehouse.control import RunLock
from acme.lakehouse.home import Home
from acme.lakehouse.lake import Partition
from acme.lakehouse.landing import sweep_inbox
from acme.lakehouse.platform import Platform, initialise
from benchmarks.measuring import Cost, machine, measure, terminal
from orchestration import runner
from orchestration.archetypes import EXECUTORS
from orchestration.registry import in_order
from orchestration.shell import CheckSpec, ProcessSpec, Run
from simulator.world import World

MODULE = "benchmarks.business_day"
FIRST, LAST = date(2020, 6, 1), date(2020, 6, 30)
STAGES = ("land", "post", "reconcile", "decide", "deal", "publish")
SECOND_ENGINE = "second engine (dbt)"
AROUND = "around the steps"
# These have no function of their own: they fix the files, and move the publication pointer.
SHELL_ALONE = ("LandFiles", "PublishDate")


@dataclass
class Measured:
    """One date: the whole day, the functions alone, and seconds of each by stage."""

    run_date: date
    landing: Cost
    day: Cost
    stages: dict[str, float]
    direct: dict[str, Cost] = field(default_factory=dict)

    @property
    def direct_wall(self) -> float:
        """Return the seconds of all functions alone."""
        return sum(cost.wall for cost in self.direct.values())

    @property
    def direct_cpu(self) -> float:
        """Return the CPU seconds of all functions alone."""
        return sum(cost.cpu for cost in self.direct.values())


class InMemory(Run):
    """A run whose inputs are in memory already and whose outputs stay there."""

    def __init__(self, run: Run, specs: list[ProcessSpec]) -> None:
        super().__init__(run.platform, run.lock, run.run_date)
        self._day = run.day()
        readers = [reader for spec in specs for reader in (spec, *spec.checks)]
        everything = ProcessSpec(
            folder="",
            stage="",
            reads=_names(reader.reads for reader in readers),
            reads_previous=_names(reader.reads_previous for reader in readers),
            feeds=_names(spec.feeds for spec in specs),
            accepted=_names(spec.accepted for spec in specs),
        )
        self._frames = run.inputs(everything)

    def day(self, holidays: pl.DataFrame | None = None) -> Day:
        del holidays
        return self._day

    def inputs(self, spec: ProcessSpec | CheckSpec) -> dict[str, pl.DataFrame]:
        names = [*spec.reads, *(f"previous.{name}" for name in spec.reads_previous)]
        if isinstance(spec, ProcessSpec):
            names += [f"feed.{name}" for name in spec.feeds]
            names += [f"accepted.{name}" for name in spec.accepted]
        return {name: self._frames[name] for name in names}

    def unproven(self, *_: object) -> list[str]:
        return []

    def write(self, spec: ProcessSpec, outputs: Mapping[str, pl.DataFrame]) -> dict[str, Partition]:
        del spec
        self.outputs = dict(outputs)
        return {}


def _names(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for group in groups for name in group}))


def main(arguments: list[str] | None = None) -> None:
    """Make an installation, run days, print what they cost."""
    options = _options(arguments)
    console = terminal()
    console.rule("Business day")
    console.print(machine())
    # Not a private folder: root's Postgres runs as a system user, who must be able to enter it.
    place = Path(tempfile.mkdtemp(prefix="acme-benchmark-"))
    place.chmod(0o755)
    home = Home(place / "home")
    # Always a server of its own: simulated days have no place in an installation's database.
    os.environ.pop("ACME_POSTGRES_URL", None)
    os.environ.update({"ACME_CLOCK": "event", "ACME_HOME": str(home.root)})
    try:
        days = _run_days(console, home, options)
    finally:
        postgres.stop(home)
        if (data := postgres.status(home).folder) is not None:
            shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
    console.print(_dates_table(days, options))
    console.print(_stages_table(days))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--pots", type=int, default=100_000, help="pots of the scheme")
    parser.add_argument("--dates", type=int, default=3, help="business dates of June 2020")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulator")
    return parser.parse_args(arguments)


def _run_days(console: Console, home: Home, options: argparse.Namespace) -> list[Measured]:
    platform = initialise(home, "USD", time(12), "Europe/London")
    world = World(home.root, options.seed, options.pots, FIRST, LAST)
    dates = list(world.business_dates())[: options.dates]
    instance = runner.instance(platform)
    days = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reference data", total=3 * len(dates))

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        world.reference()
        for run_date in dates:
            step(f"{run_date}: simulating")
            world.before(run_date)
            landing = measure(lambda: sweep_inbox(platform.home, platform.control))
            step(f"{run_date}: the day")
            day = measure(lambda d=run_date: runner.run_job(platform, d, on=instance))
            measured = Measured(run_date, landing, day, _stage_seconds(instance, day.wall))
            step(f"{run_date}: its functions alone")
            measured.direct = _direct(platform, run_date)
            days.append(measured)
    return days


def _stage_seconds(instance: object, wall: float) -> dict[str, float]:
    """Return the seconds of the newest run by stage, from Dagster's own record of its steps."""
    run = instance.get_runs(limit=1)[0]  # type: ignore[attr-defined]
    stage_of = {}
    for _, spec in in_order():
        stage_of[spec.folder.replace("/", "__")] = spec.stage
        for check in spec.checks:
            step = f"{check.on.replace('.', '__')}_{check.name}"
            stage_of[step] = SECOND_ENGINE if check.engine == "dbt" else spec.stage
    seconds = dict.fromkeys((*STAGES, SECOND_ENGINE), 0.0)
    for stats in instance.get_run_step_stats(run.run_id):  # type: ignore[attr-defined]
        seconds[stage_of[stats.step_key]] += stats.end_time - stats.start_time
    seconds[AROUND] = wall - sum(seconds.values())
    return seconds


def _direct(platform: Platform, run_date: date) -> dict[str, Cost]:
    """Call the functions of the date on frames in memory; the cost by stage."""
    processes = [(a, s) for a, s in in_order() if a not in SHELL_ALONE]
    with RunLock(platform.url, run_date) as lock:
        run = Run(platform, lock, run_date)
        alone = InMemory(run, [spec for _, spec in processes])
        manifest = platform.lake.manifest(run_date)
    costs = dict.fromkeys(STAGES, Cost(0, 0, 0))
    for archetype, spec in processes:
        cost = measure(lambda a=archetype, s=spec: EXECUTORS[a](alone, s))
        _compare(alone.outputs, manifest)
        for check in spec.checks:
            if check.engine != "dbt":
                cost = _sum(cost, measure(lambda s=spec, c=check: _check(alone, s, c)))
        costs[spec.stage] = _sum(costs[spec.stage], cost)
    return costs


def _check(alone: InMemory, spec: ProcessSpec, check: CheckSpec) -> None:
    spec.check(check.name)(alone.day(), alone.inputs(check))


def _compare(outputs: Mapping[str, pl.DataFrame], manifest: Mapping[str, Partition]) -> None:
    for dataset, frame in outputs.items():
        if dataset in manifest and manifest[dataset].rows != frame.height:
            raise AssertionError(
                f"{dataset}: the day wrote {manifest[dataset].rows} rows, its function made"
                f" {frame.height}"
            )


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(one.wall + other.wall, one.cpu + other.cpu, max(one.peak_mib, other.peak_mib))


# ---- report -----------------------------------------------------------------------------------


def _dates_table(days: list[Measured], options: argparse.Namespace) -> Table:
    table = Table(title=f"{options.pots:,} pots, {len(days)} dates")
    table.add_column("date", no_wrap=True)
    headings = (
        "landing s",
        "day s",
        "day CPU s",
        "alone s",
        "alone CPU s",
        "× wall",
        "× CPU",
        "peak MiB",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for day in days:
        table.add_row(
            f"{day.run_date}",
            *(
                f"{figure:.2f}"
                for figure in (
                    day.landing.wall,
                    day.day.wall,
                    day.day.cpu,
                    day.direct_wall,
                    day.direct_cpu,
                    day.day.wall / day.direct_wall,
                    day.day.cpu / day.direct_cpu,
                )
            ),
            f"{day.day.peak_mib:,.0f}",
        )
    table.caption = (
        "the first date also books every opening position and imports dbt;"
        " peak: of this process during the day, the simulator's members included"
    )
    return table


def _stages_table(days: list[Measured]) -> Table:
    later = days[1:] or days
    median_day = statistics.median(d.day.wall for d in later)
    which = "the dates after the first" if len(days) > 1 else "the date"
    table = Table(title=f"by stage, median of {which}")
    table.add_column("stage", no_wrap=True)
    for heading in ("day s", "share %", "alone s", "×"):
        table.add_column(heading, justify="right")
    for stage in (*STAGES, SECOND_ENGINE, AROUND):
        seconds = statistics.median(d.stages[stage] for d in later)
        alone = statistics.median(d.direct[stage].wall if stage in d.direct else 0.0 for d in later)
        table.add_row(
            stage,
            f"{seconds:.2f}",
            f"{100 * seconds / median_day:.0f}",
            f"{alone:.2f}" if alone else "",
            f"{seconds / alone:.1f}" if alone else "",
        )
    table.add_section()
    direct = statistics.median(d.direct_wall for d in later)
    ratio = statistics.median(d.day.wall / d.direct_wall for d in later)
    table.add_row("whole day", f"{median_day:.2f}", "100", f"{direct:.2f}", f"{ratio:.2f}")
    return table


if __name__ == "__main__":
    main()
