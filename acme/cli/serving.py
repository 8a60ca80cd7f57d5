"""What `up` serves: programs that run until one ends, on an embedded Postgres kept running.

The server belongs to no command and outlives them all, so nobody else would start it again: orders
would be refused until somebody runs a command.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from acme.cli.errors import CommandError
from acme.lakehouse import postgres
from acme.lakehouse.files import write_atomic
from acme.lakehouse.home import Home

STOP_SECONDS_MAX = 20
# What lost its storage has nothing to finish, and meanwhile nobody watches the server.
RESTART_SECONDS_MAX = 5
WATCH_SECONDS = 0.5
START_ATTEMPTS_MAX = 5
START_PAUSE_SECONDS = 1.0

Environment = Callable[[str], Mapping[str, str]]


@dataclass
class Serving:
    """Programs by name, and the server's URL they began with.

    `environment` returns their variables for a URL. Those named in `told_url` learn it there alone:
    they are started anew where it is another one. The others find the server by themselves.
    """

    home: Home
    url: str
    programs: Mapping[str, list[str]]
    environment: Environment
    told_url: Collection[str]
    folder: Path
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Start every program; from here on SIGTERM stops as ctrl-c does."""

        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, stop)
        self._start(self.programs)

    def wait(self) -> None:
        """Wait until told to stop; `CommandError` once a program or the server stays away."""
        with suppress(KeyboardInterrupt):
            while True:
                if not postgres.is_external():
                    self._follow_server()
                for name, process in self._processes.items():
                    if process.poll() is not None:
                        raise CommandError(f"{name} ended with code {process.returncode}")
                time.sleep(WATCH_SECONDS)

    def stop(self) -> None:
        """End every program that runs."""
        self._stop(self._processes, STOP_SECONDS_MAX)
        record(self.home).unlink(missing_ok=True)

    def _follow_server(self) -> None:
        """Start the server where it is gone, and anew the programs that know it elsewhere."""
        try:
            url = postgres.url(self.home)
        except postgres.PostgresError:
            url = self._started_server()
            port = postgres.status(self.home).port
            click.echo(f"Postgres was gone: started again on port {port}", err=True)
        if url != self.url:
            self.url = url
            self._stop(self.told_url, RESTART_SECONDS_MAX)
            self._start(self.told_url)

    def _started_server(self) -> str:
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            try:
                return postgres.start(self.home)
            except (postgres.PostgresError, OSError, subprocess.TimeoutExpired) as error:
                if attempt == START_ATTEMPTS_MAX:
                    raise CommandError(
                        f"Postgres was gone and did not start in {attempt} attempts: {error}"
                    ) from error
                time.sleep(START_PAUSE_SECONDS)
        raise AssertionError

    def _start(self, names: Collection[str]) -> None:
        environment = self.environment(self.url)
        for name in names:
            self._processes[name] = subprocess.Popen(  # noqa: S603  the programs of `up`
                self.programs[name], env=environment, cwd=self.folder
            )
        pids = [os.getpid(), *[process.pid for process in self._processes.values()]]
        write_atomic(record(self.home), json.dumps(pids).encode())

    def _stop(self, names: Collection[str], seconds_max: float) -> None:
        processes = [self._processes[name] for name in names]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(seconds_max)
            except subprocess.TimeoutExpired:
                process.kill()
                # Its port is free only once it is gone.
                process.wait()


def record(home: Home) -> Path:
    """Return the file with the process ids of a running `up`, its own first."""
    return home.root / "up.json"
