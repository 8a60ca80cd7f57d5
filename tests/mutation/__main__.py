"""Mutation testing of acme.domain: `python -m tests.mutation`, every file, or `--file NAME`.

Exits 1 below 95 % of the mutants that are not equivalent, above 2 % called equivalent, or where one
so called is not there any more. What is known of a mutant is kept in `.mutation/` until the file it
is of, or a test, changes; `--survivors` tries again those that survived.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.mutation.engine import KILLED, SURVIVED, TIMEOUT, UNREACHED, Verdict
from tests.mutation.operators import Mutant, mutants
from tests.mutation.worker import DOMAIN, MEMORY, work

EQUIVALENT = Path(__file__).with_name("equivalent.yaml")
KILLED_MIN, EQUIVALENT_MAX = 95, 2
DEAD = (KILLED, TIMEOUT)


def main() -> int:
    """Try the mutants asked for, print a table, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--file", action="append", help="a file of acme/domain, without .py")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--survivors", action="store_true", help="try again what survived")
    parser.add_argument("--show", action="store_true", help="list what survives")
    options = parser.parse_args()
    MEMORY.mkdir(exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120)
    files = sorted(p for p in DOMAIN.glob("*.py") if not options.file or p.stem in options.file)
    every = {path.stem: list(mutants(path, path.stem)) for path in files}
    known = _read(options.survivors)
    waiting = [
        (name, mutant)
        for name, found in every.items()
        for mutant in found
        if mutant.key not in known
    ]
    begun = time.monotonic()
    if waiting:
        found = _tried(waiting, options.jobs, console)
        if len(found) < len(waiting):
            raise SystemExit(f"a process ended early: see {MEMORY}/worker-*.log")
        known |= found
        _write(known, every)
    return _report(console, every, known, show=options.show, seconds=time.monotonic() - begun)


# ---- what is known ------------------------------------------------------------------------------


def _digest(name: str) -> str:
    return hashlib.sha256((DOMAIN / f"{name}.py").read_bytes()).hexdigest()


def _read(survivors: bool) -> dict[str, Verdict]:
    """Return what is known of mutants of files that have not changed since."""
    known = {}
    for path in sorted(MEMORY.glob("*.result.json")):
        told = json.loads(path.read_text("utf-8"))
        name = path.name.removesuffix(".result.json")
        if not (DOMAIN / f"{name}.py").exists() or told["digest"] != _digest(name):
            continue
        for key, (outcome, by) in told["mutants"].items():
            if outcome in DEAD or not survivors:
                known[key] = Verdict(outcome, by)
    return known


def _write(known: dict[str, Verdict], every: dict[str, list[Mutant]]) -> None:
    for name, found in every.items():
        told = {m.key: [known[m.key].outcome, known[m.key].by] for m in found if m.key in known}
        text = json.dumps({"digest": _digest(name), "mutants": told}, indent=0)
        (MEMORY / f"{name}.result.json").write_text(text, "utf-8")


# ---- trying -------------------------------------------------------------------------------------


def _tried(waiting: list[tuple[str, Mutant]], jobs: int, console: Console) -> dict[str, Verdict]:
    context = get_context("spawn")
    results = context.Queue()
    started = [
        context.Process(target=work, args=(waiting[n::jobs], n, results)) for n in range(jobs)
    ]
    started[0].start()
    found: dict[str, Verdict] = {}
    with Progress(console=console) as progress:
        task = progress.add_task("mutants", total=len(waiting))
        working, ready = jobs, False
        while working:
            told = results.get()
            if told == "measured" and not ready:
                # The others read what the first has measured.
                ready = True
                for process in started[1:]:
                    process.start()
            elif told is None:
                working -= 1
                if not ready:
                    raise SystemExit("the tests cannot be measured")
            elif told != "measured":
                key, outcome, by = told
                found[key] = Verdict(outcome, by)
                progress.advance(task)
                if not console.is_terminal and len(found) % 100 == 0:
                    console.print(f"{len(found)} of {len(waiting)}", highlight=False)
    return found


# ---- telling ------------------------------------------------------------------------------------


def _report(
    console: Console,
    every: dict[str, list[Mutant]],
    known: dict[str, Verdict],
    *,
    show: bool,
    seconds: float,
) -> int:
    listed = yaml.safe_load(EQUIVALENT.read_text("utf-8")) or [] if EQUIVALENT.exists() else []
    reasons = {entry["mutant"]: entry["reason"] for entry in listed}
    names = ("mutants", "killed", "time-outs", "equivalent", "survived", "unreached", "killed %")
    table = Table("file", *names, title="Mutants of acme/domain", title_justify="left")
    total: Counter[str] = Counter()
    problems = []
    for name, found in every.items():
        count: Counter[str] = Counter(mutants=len(found))
        for mutant in found:
            outcome = known[mutant.key].outcome
            if mutant.key in reasons and outcome not in DEAD:
                outcome = "equivalent"
            elif mutant.key in reasons:
                problems.append(f"called equivalent, and killed: {mutant.key}")
            elif outcome in {SURVIVED, UNREACHED} and show:
                console.print(
                    f"{outcome}: {DOMAIN.name}/{name}.py:{mutant.line} {mutant.key}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
            count[outcome] += 1
        total.update(count)
        table.add_row(name, *_figures(count))
        keys = {mutant.key for mutant in found}
        gone = [k for k in reasons if k.startswith(f"{name}::") and k not in keys]
        problems += [f"called equivalent, and no mutant any more: {key}" for key in gone]
    table.add_section()
    table.add_row("all", *_figures(total))
    console.print(table)
    for problem in problems:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{seconds:,.0f} s")
    dead = total[KILLED] + total[TIMEOUT]
    enough = 100 * dead >= KILLED_MIN * (total["mutants"] - total["equivalent"])
    few = 100 * total["equivalent"] <= EQUIVALENT_MAX * total["mutants"]
    return 0 if enough and few and not problems else 1


def _figures(count: Counter[str]) -> list[str]:
    dead = count[KILLED] + count[TIMEOUT]
    judged = count["mutants"] - count["equivalent"]
    share = f"{1000 * dead // judged / 10:.1f}" if judged else ""
    outcomes = (KILLED, TIMEOUT, "equivalent", SURVIVED, UNREACHED)
    return [str(count["mutants"]), *[str(count[o]) for o in outcomes], share]


if __name__ == "__main__":
    sys.exit(main())
