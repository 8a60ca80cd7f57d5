"""The Dagster UI and its code servers over a project, and what they hold in memory."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.fleet_project import Project

LOADED_SECONDS_MAX = 900
MIB = 1024 * 1024
QUERY = """{ workspaceOrError { ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


@dataclass(frozen=True)
class Memory:
    """Resident MiB of the webserver and of its code servers, and CPU seconds until all loaded."""

    webserver: float
    code_servers: tuple[float, ...]
    locations: int
    cpu: float

    @property
    def largest(self) -> float:
        """Return the largest code server's."""
        return max(self.code_servers)

    @property
    def median(self) -> float:
        """Return the middle code server's."""
        return statistics.median(self.code_servers)

    @property
    def total(self) -> float:
        """Return that of all processes."""
        return self.webserver + sum(self.code_servers)


class Servers:
    """A running webserver with the code servers it started."""

    def __init__(self, process: psutil.Process, locations: int) -> None:
        self._process = process
        self._locations = locations

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def memory(self) -> Memory:
        """Return what they hold now."""
        sizes = {p.pid: p.memory_info().rss / MIB for p in self._all()}
        cpu = sum(sum(p.cpu_times()[:2]) for p in self._all())
        webserver = sizes.pop(self._process.pid)
        return Memory(webserver, tuple(sizes.values()), self._locations, cpu)

    def pause(self) -> None:
        """Let none of them run."""
        for process in self._all():
            process.suspend()

    def go_on(self) -> None:
        """Let them run again."""
        for process in self._all():
            process.resume()


@contextmanager
def serving(project: Project, environment: dict[str, str]) -> Iterator[Servers]:
    """Serve the project's whole workspace; every location has loaded, or SystemExit says why."""
    port = _free_port()
    command = [
        str(Path(sys.executable).parent / "dagster-webserver"),
        *("-w", str(project.root / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)),
    ]
    log = project.root / "webserver.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            cwd=project.root,
            env=project.environment(environment),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    process = psutil.Process(server.pid)
    try:
        yield Servers(process, _loaded(server, port, log))
    finally:
        family = process.children(recursive=True) if server.poll() is None else []
        for one in family:
            one.resume()
        server.terminate()
        server.wait(60)
        _, alive = psutil.wait_procs(family, timeout=20)
        for one in alive:
            one.kill()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _loaded(server: subprocess.Popen[bytes], port: int, log: Path) -> int:
    """Wait until every location has loaded; returns how many there are."""
    give_up = time.monotonic() + LOADED_SECONDS_MAX
    while time.monotonic() < give_up:
        if server.poll() is not None:
            raise SystemExit(f"dagster-webserver ended: {log.read_text('utf-8')[-2000:]}")
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{port}/graphql", json={"query": QUERY}, timeout=30
            ).json()
        except (httpx.HTTPError, ValueError):
            time.sleep(0.5)
            continue
        entries = answer["data"]["workspaceOrError"]["locationEntries"]
        for entry in entries:
            if (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError":
                error = entry["locationOrLoadError"]["message"]
                raise SystemExit(f"location {entry['name']}: {error}")
        if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
            return len(entries)
        time.sleep(0.5)
    raise SystemExit(f"locations did not load within {LOADED_SECONDS_MAX} s")
