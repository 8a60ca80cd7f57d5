"""How a benchmark measures: wall and CPU time, peak memory, the machine. No workload."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

MIB = 1024
WIDTH = 110


@dataclass(frozen=True)
class Cost:
    """What one piece of work took: seconds of wall clock and of CPU, peak MiB of its process."""

    wall: float
    cpu: float
    peak_mib: float


def measure(work: Callable[[], object]) -> Cost:
    """Run `work` once in this process; the peak is that of the whole process while it ran."""
    _forget_peak()
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - wall
    return Cost(wall, cpu_seconds() - cpu, peak_mib())


def cpu_seconds() -> float:
    """Return the user and system seconds of all threads of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def peak_mib() -> float:
    """Return the largest resident size of this process since the last measurement began.

    `ru_maxrss` of a child also counts what its parent had when it forked; Linux's own high-water
    mark does not.
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def measure_apart(module: str, arguments: Sequence[str]) -> Cost:
    """Run `python -m module arguments` in a fresh process that prints its `Cost` as JSON.

    A process of its own gives each piece of work its own peak memory and no warm caches.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    return Cost(**json.loads(done.stdout))


def print_cost(cost: Cost) -> None:
    """Print a `Cost` for `measure_apart`."""
    sys.stdout.write(json.dumps(asdict(cost)))


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of each round's pair."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def terminal() -> Console:
    """Return a console wide enough for the tables, also where output goes to a file."""
    console = Console()
    return console if console.width >= WIDTH else Console(width=WIDTH)


def machine() -> str:
    """Return the machine and the versions that figures were measured on, as one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "duckdb", "pyarrow"))
    return (
        f"{_cpu_model()}, {cores} cores, {memory:.0f} GiB; {platform.system()}"
        f" {platform.release()}; Python {platform.python_version()}, {packages}"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
