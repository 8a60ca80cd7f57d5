"""Disturbs the run of a date at every fail-point, runs it again, and compares every table and file.

`python -m tests.faults.crash --seeds 20` kills it so at each point of `acme.lakehouse.failpoints`
in each of 20 simulated worlds; a seed also chooses at which of the times the date reaches the
point. `--points` and `--seeds` cut it down. With `--paused` the run is frozen instead, another one
takes over and publishes, and the first must be fenced off when it wakes; with `--full` the disk is
full at the point; with `--restarted` Postgres is ended and started while the run waits there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from acme.lakehouse.failpoints import POINTS
from tests.faults.installation import (
    Installation,
    Server,
    Told,
    forked,
    load_once,
    server_and_folder,
    started,
    succeeded,
)

# The second engine runs in the cases of its own points, and in every world of so many.
ENGINE_EVERY = 5
Case = Callable[[Installation, Told, str, int], list[str]]
# Where a frozen run has still to pass a fence; before them it holds no lock, after them its work
# is done and it may send, and mark, the same bytes again.
FENCED = [
    p
    for p in POINTS
    if p.split(":")[0] not in {"file.write", "file.rename", "dispatch.vouch", "dispatch.file"}
    and not p.startswith("landing.")
    and p
    not in {"run.admit:before", "publish.commit:after", "dispatch.mark:after", "run.end:before"}
]
ADVICE = "make room on that disk and run the same command again"
# Where a run is about to ask the disk for room, or has just been given it.
WRITING = [p for p in POINTS if p.startswith(("file.", "landing.copy", "landing.store", "lake.f"))]


def differences(expected: Told, got: Told) -> list[str]:
    """Name what is not as in the run without a fault."""
    found = []
    for part, value in expected.items():
        other = got.get(part)
        if isinstance(value, dict) and isinstance(other, dict):
            keys = sorted(value.keys() | other.keys())
            found += [f"{part} {key}" for key in keys if value.get(key) != other.get(key)]
        elif isinstance(value, list) and isinstance(other, list) and value != other:
            before, after = (Counter(map(str, rows)) for rows in (value, other))
            lost, extra = [*(before - after).elements()], [*(after - before).elements()]
            found.append(f"{part}: lost {lost}, extra {extra}")
        elif value != other:
            found.append(f"{part}: expected {value}, got {other}")
    if got.get("catalog") != got.get("manifest"):
        found.append("catalog and manifest name different files")
    return found


def clean_run(installation: Installation, log: Path) -> tuple[Told, Counter[str]]:
    """Run the date undisturbed; what must come out, and how often each point is reached."""
    log.unlink(missing_ok=True)
    expected = succeeded(installation.run_and_look, {"ACME_FAILPOINT_LOG": str(log)})
    return expected, Counter(log.read_text("utf-8").split())


def run_again(installation: Installation, expected: Told) -> list[str]:
    """Run the date once more; what differs then."""
    status, told = forked(installation.run_and_look)
    if status != 0:
        return [f"the run afterwards failed: {told.get('error')}"]
    return differences(expected, told)


def crashed_run(
    installation: Installation, expected: Told, point: str, occurrence: int
) -> list[str]:
    """Kill the date's run at a point, run it again; what differs then."""
    installation.restore()
    status, told = forked(installation.run, {"ACME_FAILPOINT": f"{point}#{occurrence}"})
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        return [f"was not killed: status {status} {told}"]
    return run_again(installation, expected)


def full_run(installation: Installation, expected: Told, point: str, occurrence: int) -> list[str]:
    """Let the disk be full at a point, run the date again; what differs then.

    The run must end with a message that names a path and what to do, and leave nothing in part.
    """
    installation.restore()
    status, told = forked(
        installation.run,
        {"ACME_FAILPOINT": f"{point}#{occurrence}", "ACME_FAILPOINT_ERROR": "ENOSPC"},
    )
    found = unclear(status, told)
    if status == 0:
        found.append("went on although the disk was full")
    text = told.get("error", "")
    if not (ADVICE in text and str(installation.home) in text):
        found.append(f"expected a message with the path and what to do, got {text!r}")
    found += [f"{name} is there in part" for name in installation.damaged()]
    return found + half_published(installation) + run_again(installation, expected)


def unclear(status: int, told: Told) -> list[str]:
    """Say so where a run did not end as a command should: well, or with a message."""
    if status == 0 or told.get("is_message"):
        return []
    return [f"expected a message for people, got status {status} {told}"]


def half_published(installation: Installation) -> list[str]:
    """Name what has left although the date is not published."""
    seen = succeeded(installation.look)
    if seen["publications"] == 1:
        return []
    sent = [name for name in seen["outbox"] if str(installation.day) in name]
    return [f"{what} before publication" for what in (*sent, *seen["dispatches"])]


def restarted_run(
    installation: Installation, expected: Told, point: str, occurrence: int
) -> list[str]:
    """End and start Postgres while the date's run waits at a point; what differs in the end.

    The run may come to its end or stop with a message; running the date again must be the same.
    """
    installation.restore()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        child = stopped_at(installation, answer, point, occurrence)
        try:
            installation.server.restart()
        finally:
            os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, 0)
        found = unclear(status, json.loads(answer.read_text("utf-8")))
    return found + run_again(installation, expected)


def stopped_at(installation: Installation, answer: Path, point: str, occurrence: int) -> int:
    """Start the date's run and wait until it has stopped at a point; its process id."""
    frozen = {"ACME_FAILPOINT": f"{point}#{occurrence}", "ACME_FAILPOINT_SIGNAL": "SIGSTOP"}
    child = started(installation.run, answer, frozen)
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        raise AssertionError(f"{point}#{occurrence}: the run did not stop there: status {status}")
    return child


def paused_run(
    installation: Installation, expected: Told, point: str, occurrence: int
) -> list[str]:
    """Freeze the date's run at a point, let another take over, wake it; what differs then.

    Its lock goes to the other when the server ends its session, as after a lost connection.
    """
    installation.restore()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        child = stopped_at(installation, answer, point, occurrence)
        try:
            installation.end_lock()
            found = run_again(installation, expected)
        finally:
            os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, 0)
        woken = json.loads(answer.read_text("utf-8"))
        if status == 0 or not woken.get("error", "").startswith("Fenced"):
            found.append(f"woke and was not fenced off: status {status} {woken}")
        return found + differences(expected, succeeded(installation.look))


def cases(seed: int, points: list[str], reached: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yield (point, occurrence) of a seed."""
    for point in points:
        chance = random.Random(f"{seed}:{point}")
        yield point, chance.randint(1, max(1, reached[point]))


def play(
    root: Path, server: Server, seed: int, points: list[str], run: Case
) -> Iterator[tuple[int, str, int, list[str]]]:
    """Yield seed, point, occurrence, differences of each case of a seed."""
    with prepared(root, server, seed) as (installation, expected, reached):
        for point, occurrence in cases(seed, points, reached):
            if not reached[point]:
                yield seed, point, 0, ["the date does not reach it"]
                continue
            installation.engine = point.startswith("engine.") or seed % ENGINE_EVERY == 1
            yield seed, point, occurrence, run(installation, expected, point, occurrence)


@contextmanager
def prepared(
    root: Path, server: Server, seed: int
) -> Iterator[tuple[Installation, Told, Counter[str]]]:
    """Yield an installation, what its date must come to, and how often it reaches each point."""
    installation = Installation(root, server, seed)
    try:
        installation.prepare()
        yield installation, *clean_run(installation, root / f"seed-{seed}.log")
    finally:
        installation.drop()


FAULTS: dict[str, tuple[Case, list[str], str]] = {
    "killed": (crashed_run, list(POINTS), "Killed, run again, compared"),
    "paused": (paused_run, FENCED, "Frozen, overtaken, woken, compared"),
    "full": (full_run, WRITING, "Disk full, run again, compared"),
    "restarted": (restarted_run, list(POINTS), "Postgres restarted, run again, compared"),
}


def _worker(seeds: list[int], points: list[str], run: Case, results: Any) -> None:
    """Play the cases of some seeds on a server of their own."""
    signal.signal(signal.SIGTERM, _end)
    try:
        with server_and_folder() as (server, root):
            for seed in seeds:
                for case in play(root, server, seed, points, run):
                    results.put(case)
    finally:
        results.put(None)


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    parser.add_argument(
        "--seeds", type=_count, default=20, help="How many worlds, at least 1. Default: 20."
    )
    parser.add_argument(
        "--first-seed", type=int, default=1, help="The seed of the first world. Default: 1."
    )
    parser.add_argument(
        "--points", nargs="+", choices=list(POINTS), help="These alone. Default: all of the fault."
    )
    faults = parser.add_mutually_exclusive_group()
    for name, (_, _, title) in FAULTS.items():
        faults.add_argument(
            f"--{name}", dest="fault", action="store_const", const=name, help=f"{title}."
        )
    parser.set_defaults(fault="killed")
    parser.add_argument(
        "--workers",
        type=_count,
        default=2,
        help="How many processes share the worlds, each with a Postgres of its own. Default: 2.",
    )
    return parser


def _count(text: str) -> int:
    """Return a number from 1 on, for argparse: a run of no case proves nothing."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {number}")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the cases asked for and print a table; 1 where anything differs."""
    options = _parser().parse_args(arguments)
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    os.environ["PYTHONWARNINGS"] = "ignore"
    run, all_points, title = FAULTS[options.fault]
    points = [p for p in all_points if p in (options.points or all_points)]
    if not points:
        _parser().error(f"no point of {', '.join(options.points)} is one of --{options.fault}")
    console = Console()
    done: Counter[str] = Counter()
    failed: list[tuple[int, str, int, list[str]]] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="acme-crash-") as scratch:
        load_once(Path(scratch))
    context = get_context("fork")
    results = context.Queue()
    parts = [seeds[n :: options.workers] for n in range(options.workers)]
    workers = [
        context.Process(target=_worker, args=(part, points, run, results)) for part in parts if part
    ]
    for worker in workers:
        worker.start()
    signal.signal(signal.SIGTERM, _end)
    total, waiting = len(seeds) * len(points), len(workers)
    try:
        while waiting:
            case = results.get()
            if case is None:
                waiting -= 1
                continue
            done[case[1]] += 1
            if case[3]:
                failed.append(case)
                console.print(f"differs: {case}", markup=False)
            if done.total() % len(points) == 0:
                minutes = (time.monotonic() - begun) / 60
                console.print(f"{done.total()} of {total} cases, {minutes:.1f} minutes")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
    table = Table("fail-point", "cases", "differing", title=title)
    wrong = Counter(case[1] for case in failed)
    for point in points:
        table.add_row(point, str(done[point]), str(wrong[point]))
    console.print(table)
    minutes = (time.monotonic() - begun) / 60
    console.print(f"{done.total()} cases, {len(failed)} differing, {minutes:.1f} minutes")
    return 0 if done.total() == total and not failed else 1


if __name__ == "__main__":
    raise SystemExit(main())
