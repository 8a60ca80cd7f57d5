"""A year of business dates, and a hundred of them computed again: `acme replay` against the run.

`python -m benchmarks.replay [--dates 250] [--pots 20] [--sample 100]` runs simulated dates from
January 2020 on, each whole: files landed, every process and check with dbt's second engine,
hashed Parquet, DuckLake, Postgres, published, sent. Dagster alone is left out, which only makes
the comparison harder. Then dates drawn at random are replayed; a single difference is an error.
`--home` keeps the installation, and goes on with one that was kept.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time as clock
from collections.abc import Sequence
from datetime import date, time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from acme.lakehouse import postgres
from acme.lakehouse.control import RunLock
from acme.lakehouse.home import Home
from acme.lakehouse.landing import sweep_inbox
from acme.lakehouse.platform import Platform, initialise
from benchmarks.measuring import machine, terminal
from orchestration.archetypes import EXECUTORS
from orchestration.registry import in_order
from orchestration.replay import Replayed, replay
from orchestration.shell import Run
from simulator.world import World

FIRST, LAST = date(2020, 1, 2), date(2021, 1, 15)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--dates", type=int, default=250)
    parser.add_argument("--pots", type=int, default=20)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args(argv)
    folder = options.home or Path(tempfile.mkdtemp(prefix="acme-replay-"))
    folder.mkdir(parents=True, exist_ok=True)
    # The embedded server runs under a system user where root started it.
    folder.chmod(0o755)
    os.environ["ACME_CLOCK"] = "event"
    home = Home(folder)
    try:
        _measure(home, options)
    finally:
        if options.home is None:
            postgres.stop(home)
            shutil.rmtree(folder, ignore_errors=True)


def _measure(home: Home, options: argparse.Namespace) -> None:
    platform = initialise(home, "USD", time(12), "Europe/London")
    world = World(home.root, options.seed, options.pots, FIRST, LAST)
    dates = world.business_dates()[: options.dates]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=terminal()) as progress:
        running = progress.add_task("running", total=len(dates))
        world.reference()
        seconds = {}
        for day in dates:
            if not platform.control.is_published(day):
                seconds[day] = _run(platform, world, day)
            progress.advance(running)
        past = random.Random(options.seed).sample(dates, min(options.sample, len(dates)))
        replaying = progress.add_task("replaying", total=len(past))
        found = []
        for day in past:
            found.append(replay(platform, day))
            progress.advance(replaying)
    platform.lake.close()
    platform.control.close()
    _show(seconds, found, options)
    differing = [r for r in found if not r.equal]
    if differing:
        raise SystemExit(f"{differing[0].run_date}: {differing[0].differences[0].text()}")


def _run(platform: Platform, world: World, day: date) -> float:
    """Run a date whole; the seconds from the landing of its files to their sending."""
    world.before(day)
    started = clock.perf_counter()
    sweep_inbox(platform.home, platform.control)
    with RunLock(platform.url, day) as lock:
        platform.lake.fence = lock
        run = Run(platform, lock, day)
        for archetype, spec in in_order():
            EXECUTORS[archetype](run, spec)
            for check in spec.checks:
                passed, failures = run.run_check(spec, check)
                if not passed and check.blocking:
                    raise SystemExit(f"{day}: {check.name}: {failures.head(3).to_dicts()}")
    return clock.perf_counter() - started


def _show(seconds: dict[date, float], found: list[Replayed], options: argparse.Namespace) -> None:
    took = [r.seconds for r in found]
    table = Table(title=f"{options.pots} pots; {machine()}", title_justify="left")
    for heading in ("", "dates", "median s", "slowest s", "all s"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in (("run", list(seconds.values())), ("replayed", took)):
        if values:
            table.add_row(
                name,
                f"{len(values)}",
                f"{statistics.median(values):.2f}",
                f"{max(values):.2f}",
                f"{sum(values):.1f}",
            )
    out = terminal()
    out.print(table)
    equal = sum(r.equal for r in found)
    rows = sum(r.rows for r in found)
    tables = sum(r.tables for r in found)
    same = sum(r.same_bytes for r in found)
    out.print(
        f"{equal} of {len(found)} dates equal: {same:,} of {tables:,} partitions with equal bytes,"
        f" {rows:,} rows, {sum(r.files for r in found):,} landed files verified",
        highlight=False,
    )
    if seconds and took:
        ratio = statistics.median(took) / statistics.median(list(seconds.values()))
        out.print(f"replay / run: {ratio:.2f} (medians)", highlight=False)


if __name__ == "__main__":
    main()
