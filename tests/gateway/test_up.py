"""`acme up` while its embedded Postgres is killed: it starts it again, elsewhere too, or ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from acme.cli import serving
from acme.lakehouse import postgres
from acme.lakehouse.home import Home

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180
# A started server recovers first; the rest is slack for a busy machine.
MENDED_SECONDS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(what: Callable[[], bool], seconds: float) -> None:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds
        time.sleep(0.1)


def answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=30).status_code == 200
    return False


class Up:
    """A running `acme up`."""

    def __init__(self, home: Home, said: Path) -> None:
        self.home = home
        self.gateway, self.dagster = free_port(), free_port()
        self._said = said
        ports = ("--port", str(self.dagster), "--gateway-port", str(self.gateway))
        with said.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "acme.cli.main", "up", *ports],
                env={**os.environ, "ACME_HOME": str(home.root), "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                stderr=stream,
            )

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines()

    def starts_said(self) -> list[str]:
        return [line for line in self.said if line.startswith("Postgres was gone")]

    def orders_are_taken(self) -> bool:
        return answers(f"http://127.0.0.1:{self.gateway}/readyz")

    def schedules_are_known(self) -> bool:
        """Whether the UI reads Dagster's storage, which is in Postgres."""
        with suppress(httpx.HTTPError):
            answer = httpx.post(
                f"http://127.0.0.1:{self.dagster}/graphql",
                json={"query": "{runsOrError(limit: 1) {__typename}}"},
                timeout=30,
            )
            return answer.is_success and answer.json()["data"]["runsOrError"] == {
                "__typename": "Runs"
            }
        return False

    def serves(self, seconds: float) -> None:
        until(self.orders_are_taken, seconds)
        until(self.schedules_are_known, START_SECONDS)
        assert self.process.poll() is None

    def programs(self) -> list[psutil.Process]:
        own, *others = json.loads(serving.record(self.home).read_bytes())
        assert own == self.process.pid
        return [psutil.Process(pid) for pid in others]


@pytest.fixture
def up(own: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    monkeypatch.delenv("ACME_POSTGRES_URL", raising=False)
    running = Up(own, tmp_path / "said")
    try:
        until(running.orders_are_taken, START_SECONDS)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(120)


def kill_server(home: Home) -> None:
    pid = postgres.status(home).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: postgres.status(home).pid != pid, 10)


def test_a_killed_server_is_started_again_and_found_on_another_port(up: Up, own: Home) -> None:
    up.serves(START_SECONDS)
    programs = up.programs()
    port = postgres.status(own).port
    kill_server(own)
    until(lambda: len(up.starts_said()) == 1, MENDED_SECONDS)
    up.serves(MENDED_SECONDS)
    assert postgres.status(own).port == port
    assert up.programs() == programs

    pid = postgres.status(own).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(pid, signal.SIGKILL)
        # Held before `up` looks again.
        until(lambda: bound(taken, port), 5)
        taken.listen(1)
        until(lambda: len(up.starts_said()) == 2, MENDED_SECONDS)
        other = postgres.status(own).port
        assert other != port
        assert up.starts_said()[-1] == f"Postgres was gone: started again on port {other}"
        up.serves(MENDED_SECONDS)
    assert up.programs()[0] == programs[0]
    assert not set(up.programs()[1:]) & set(programs[1:])


def bound(to: socket.socket, port: int | None) -> bool:
    try:
        to.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_a_server_that_does_not_start_ends_all(up: Up, own: Home) -> None:
    programs = up.programs()
    folder = postgres.status(own).folder
    assert folder is not None
    version = folder / "data" / "PG_VERSION"
    version.rename(version.with_name("PG_VERSION.away"))
    try:
        kill_server(own)
        assert up.process.wait(MENDED_SECONDS + 3 * serving.STOP_SECONDS_MAX) == 1
        assert not any(program.is_running() for program in programs)
        (why,) = [line for line in up.said if line.startswith("error: Postgres was gone")]
        assert f"did not start in {serving.START_ATTEMPTS_MAX} attempts" in why
        assert not serving.record(own).exists()
    finally:
        version.with_name("PG_VERSION.away").rename(version)
        postgres.start(own)
