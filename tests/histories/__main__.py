"""Random day-histories, platform against reference: `python -m tests.histories --days 10000`.

Seeds count up from `--seed`, one batch each; a run that was cut short goes on with the seed it
names. Exits 1 on a difference, a violated check, or a kind of event that never happened.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from tests.histories.batch import Batch, reference_of, run_batch
from tests.histories.case import Case
from tests.histories.chance import KINDS, chosen_kinds
from tests.histories.compare import Reference, replay
from tests.histories.shrink import Shrinker


def main() -> int:
    """Run, report, return the exit code."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        kinds = chosen_kinds(options.kinds)
    except ValueError as error:
        console.print(str(error))
        return 2
    make = _nothing if options.alone else reference_of
    if options.replay:
        found = replay(Case.read(options.replay), make)
        console.print("no difference" if found is None else found.text(), markup=False)
        return int(found is not None)
    return _run(options, kinds, console)


def _nothing(case: Case) -> Reference | None:
    del case
    return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--days", type=int, default=10_000, help="day-histories: worlds × dates")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first batch")
    parser.add_argument("--worlds", type=int, default=40, help="worlds that share a batch")
    parser.add_argument("--dates", type=int, default=12, help="business dates of a batch")
    parser.add_argument(
        "--kinds", default="all", help=f"all, or of {', '.join(KINDS)}; -x leaves out"
    )
    parser.add_argument("--alone", action="store_true", help="the platform and its checks alone")
    parser.add_argument("--replay", type=Path, help="a case's folder, instead of drawing any")
    parser.add_argument("--out", type=Path, default=Path(".histories"), help="where cases are kept")
    parser.add_argument("--shrink", type=float, default=300, help="seconds to shrink a case for")
    parser.add_argument("--go-on", action="store_true", help="do not stop at a difference")
    return parser.parse_args()


def _run(options: argparse.Namespace, kinds: frozenset[str], console: Console) -> int:
    make = _nothing if options.alone else reference_of
    happened: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    done, checks, seed, differing = 0, 0, options.seed, 0
    begun = time.monotonic()
    columns = (
        *Progress.get_default_columns()[:1],
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("day-histories", total=options.days)
            while done < options.days:
                batch = run_batch(
                    str(seed),
                    options.worlds,
                    options.dates,
                    kinds,
                    make,
                    lambda day: progress.update(task, advance=options.worlds, description=f"{day}"),
                )
                done, checks = done + batch.day_histories, checks + batch.checks
                happened, outcomes = happened + batch.kinds, outcomes + batch.outcomes
                if batch.difference is not None:
                    differing += 1
                    _report(batch, options, console)
                    if not options.go_on:
                        break
                seed += 1
                if not console.is_terminal:
                    seconds = time.monotonic() - begun
                    console.print(
                        f"{done:,} day-histories, {differing} differing, {seconds:,.0f} s",
                        highlight=False,
                    )
    except KeyboardInterrupt:
        console.print(f"cut short; go on with --seed {seed} --days {options.days - done}")
    _summary(console, happened, outcomes)
    missing = sorted(k for k in kinds if not happened[k])
    seconds = time.monotonic() - begun
    console.print(
        f"{done:,} day-histories, seeds {options.seed} to {seed - 1}: {differing} differing,"
        f" {checks:,} checks, {seconds:,.0f} s",
        highlight=False,
    )
    if missing:
        console.print(f"never happened: {', '.join(missing)}")
    return int(bool(differing or missing or done < options.days))


def _report(batch: Batch, options: argparse.Namespace, console: Console) -> None:
    if batch.case is None or batch.difference is None:
        return
    folder = options.out / batch.seed
    batch.case.write(folder / "whole")
    console.print(f"seed {batch.seed}: {batch.difference.text()}", markup=False, highlight=False)
    make = _nothing if options.alone else reference_of
    shrinker = Shrinker(make, aim=batch.difference.kinds(), seconds_max=options.shrink)
    small, difference = shrinker.shrink(batch.case, batch.difference)
    small.write(folder / "small")
    rows = sum(1 for _ in small.rows())
    console.print(
        f"shrunk to {rows} rows in {shrinker.tried} tries:\n{difference.text()}\n"
        f"python -m tests.histories --replay {folder / 'small'}",
        markup=False,
        highlight=False,
    )


def _summary(console: Console, happened: Counter[str], outcomes: Counter[str]) -> None:
    for group, kinds in KINDS.items():
        told = ", ".join(f"{kind} {happened[kind]:,}" for kind in kinds)
        console.print(f"{group}: {told}", highlight=False)
    told = ", ".join(f"{name} {number:,}" for name, number in sorted(outcomes.items()) if number)
    console.print(f"came about: {told}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
