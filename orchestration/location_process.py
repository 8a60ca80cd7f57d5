"""A team's code location in a process of its own, asked to run processes; never in this one.

What a team's folder does when it is imported, raise or never end, happens there: it is told, with
a limit on its time, and nothing else is touched. One answers for many dates, so that a location is
loaded once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from acme.lakehouse.home import Home

RUN_SECONDS_MAX = 3600.0
# Imported once, in the process that the others are forked from; none of it starts a thread.
PRELOADED = ["orchestration.team_runner"]
Reply = tuple[str, dict[str, str]]


class LocationError(Exception):
    """A location could not be loaded, ended, or did not answer in time."""


def load_seconds() -> float:
    """Return how long a location may take to load, in seconds."""
    return float(os.environ.get("ACME_LOCATION_SECONDS", "120"))


@dataclass
class Location:
    """The process of one team's location; started on first use, and again after it was lost."""

    team: str
    load_seconds_max: float = field(default_factory=load_seconds)
    run_seconds_max: float = RUN_SECONDS_MAX
    _process: BaseProcess | None = None
    _pipe: Connection | None = None

    def run(self, folders: Iterable[str], run_date: date) -> dict[str, str]:
        """Run processes of the team for a date: folder → why it failed, for those that did.

        Raises LocationError, naming the team.
        """
        if self._process is None:
            self._start()
        return self._ask((tuple(folders), run_date), self.run_seconds_max, "run")

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._pipe, theirs = context.Pipe()
        environment = {k: v for k, v in os.environ.items() if k.startswith(("ACME_", "DAGSTER_"))}
        self._process = context.Process(
            target=answer, args=(theirs, self.team, environment), daemon=True
        )
        self._process.start()
        theirs.close()
        self._ask(None, self.load_seconds_max, "load")

    def _ask(
        self, request: tuple[tuple[str, ...], date] | None, seconds: float, what: str
    ) -> dict[str, str]:
        pipe = self._pipe
        if pipe is None:
            raise LocationError(f"location {self.team}: has no process")
        state, told = "failed", {"error": f"did not {what} within {seconds:g} s"}
        try:
            if request is not None:
                pipe.send(request)
            if pipe.poll(seconds):
                state, told = pipe.recv()
        except (EOFError, OSError):
            told = {"error": f"its process ended when it was to {what}"}
        except BaseException:
            self.close()
            raise
        if state != "ok":
            self.close()
            raise LocationError(f"location {self.team}: {told['error']}")
        answered: dict[str, str] = told
        return answered

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if process is not None:
            process.kill()
            process.join()


def answer(pipe: Connection, team: str, environment: Mapping[str, str]) -> None:
    """Load a team's location and run what is asked, until nobody asks any more."""
    from orchestration import team_runner  # noqa: PLC0415  seconds, and only in the child

    # A stop from the terminal is for the command that asked; it ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    try:
        platform = team_runner.load(Home.from_env(), team)
    except BaseException as error:  # noqa: BLE001  whatever a team's module raises, SystemExit too
        pipe.send(("failed", {"error": f"cannot be loaded: {one_line(error)}"}))
        return
    pipe.send(("ok", {}))
    while True:
        try:
            folders, run_date = pipe.recv()
        except EOFError:
            return
        try:
            reply: Reply = ("ok", team_runner.run(platform, team, folders, run_date))
        except BaseException as error:  # noqa: BLE001
            reply = ("failed", {"error": one_line(error)})
        pipe.send(reply)


def one_line(error: BaseException) -> str:
    """Return an error and the first cause of it in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())


@dataclass
class Locations:
    """The locations that were asked so far; `with Locations() as locations: …` ends them."""

    make: Callable[[str], Location] = Location
    _open: dict[str, Location] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every process."""
        for location in self._open.values():
            location.close()
        self._open.clear()

    def of(self, team: str) -> Location:
        """Return the location of a team."""
        return self._open.setdefault(team, self.make(team))
