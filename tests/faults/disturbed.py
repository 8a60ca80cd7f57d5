"""One prepared world, kept open in a process of its own: its cases, and two full file systems."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.crash import (
    FAULTS,
    cases,
    half_published,
    prepared,
    run_again,
    unclear,
)
from tests.faults.installation import (
    Installation,
    Told,
    forked,
    load_once,
    server_and_folder,
)

SEED = 2
ROOT = Path(__file__).resolve().parents[2]
_world: tuple[ExitStack, Installation, Told, Counter[str]] | None = None


def open_world() -> None:
    """Prepare the world once, without the second engine but for its own points."""
    global _world  # noqa: PLW0603
    for name in ("ACME_POSTGRES_URL", "ACME_HOME", "PYTEST_CURRENT_TEST"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as scratch:
        load_once(Path(scratch))
    with ExitStack() as stack:
        server, root = stack.enter_context(server_and_folder())
        _world = (ExitStack(), *stack.enter_context(prepared(root, server, SEED)))
        _world[0].enter_context(stack.pop_all())


def close_world() -> None:
    """Remove it."""
    if _world is not None:
        _world[0].close()


def _open() -> tuple[Installation, Told, Counter[str]]:
    if _world is None:
        raise AssertionError("no world is open")
    _, installation, expected, reached = _world
    installation.engine = False
    return installation, expected, reached


def reached() -> dict[str, int]:
    """Return how often the undisturbed date reaches each point."""
    return dict(_open()[2])


def play(fault: str, point: str) -> list[str]:
    """Return what differs after a fault at a point; nothing should."""
    installation, expected, times = _open()
    ((_, occurrence),) = cases(SEED, [point], times)
    installation.engine = point.startswith("engine.")
    return FAULTS[fault][0](installation, expected, point, occurrence)


# ---- full file systems ---------------------------------------------------------------------------


@contextmanager
def disk(at: Path, room: str) -> Iterator[None]:
    """Mount a file system of its own, so large; OSError where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={room},mode=755", "tmpfs", str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"cannot mount a file system: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def grow(at: Path, room: str) -> None:
    """Give a mounted file system more room."""
    subprocess.run(["mount", "-o", f"remount,size={room}", str(at)], check=True)


def can_mount() -> str:
    """Return why no file system can be mounted here; nothing where one can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with disk(Path(folder), "64k"):
                return ""
        except OSError as error:
            return str(error)


def day(installation: Installation) -> subprocess.CompletedProcess[str]:
    """Run the date by `acme day`."""
    return subprocess.run(
        _day(installation),
        cwd=ROOT,
        env=os.environ | installation.environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def restarted_command(point: str) -> tuple[int, str, list[str]]:
    """Start Postgres again while `acme day` waits at a point.

    Its exit code, what it said, and what differs once the date ran again.
    """
    installation, expected, _ = _open()
    installation.restore()
    stopping = {"ACME_FAILPOINT": point, "ACME_FAILPOINT_SIGNAL": "SIGSTOP"}
    with tempfile.TemporaryFile("w+") as said:
        command = subprocess.Popen(
            _day(installation),
            cwd=ROOT,
            env=os.environ | installation.environment() | stopping,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        _, status = os.waitpid(command.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise AssertionError(f"{point}: the command did not stop there: status {status}")
        try:
            installation.server.restart()
        finally:
            command.send_signal(signal.SIGCONT)
        code = command.wait(timeout=600)
        said.seek(0)
        return code, said.read(), run_again(installation, expected)


def _day(installation: Installation) -> list[str]:
    return [sys.executable, "-m", "acme.cli.main", "day", str(installation.day)]


def full_folder(name: str, pages: int) -> tuple[int, str, list[str]]:
    """Run `acme day` with one folder on a disk that has so many pages of 4 KiB left.

    Its exit code, what it said, and what differs once there is room and the date ran again.
    """
    installation, expected, _ = _open()
    installation.restore()
    at, kept = installation.home / name, installation.base / name
    shutil.rmtree(at)
    at.mkdir()
    with disk(at, "64m"):
        shutil.copytree(kept, at, dirs_exist_ok=True)
        used = os.statvfs(at)
        grow(at, f"{(used.f_blocks - used.f_bfree + pages) * 4}k")
        done = day(installation)
        found = [f"{name} is there in part" for name in installation.damaged()]
        found += half_published(installation)
        grow(at, "64m")
        return done.returncode, done.stdout + done.stderr, found + run_again(installation, expected)


def full_everything(room: int) -> tuple[Told, list[str]]:
    """Run the date of a world that lies, Postgres too, on a disk with so many bytes left.

    What the run said, and what differs once there is room and the date ran again.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        disk(Path(folder), "700m"),
        server_and_folder(Path(folder)) as (server, root),
        prepared(root, server, SEED) as (installation, expected, _),
    ):
        installation.engine = False
        installation.restore()
        ballast = Path(folder) / "ballast"
        left = os.statvfs(folder)
        with ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, left.f_bavail * left.f_frsize - room)
        status, told = forked(installation.run)
        ballast.unlink()
        server.start()
        found = unclear(status, told) + half_published(installation)
        found += [f"{name} is there in part" for name in installation.damaged()]
        return told, found + run_again(installation, expected)
