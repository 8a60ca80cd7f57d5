"""Collects what a process's folder says of itself as tests: its declaration and its scenarios.

One test for each `assets/<team>/<process>/scenarios/*.yaml`, named team/process/scenario, and one
for the `defs.yaml` of every process outside the business day. They need no server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ASSETS = Path(__file__).resolve().parent / "assets"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return what collects a file of a process's folder; None for any other."""
    if not file_path.is_relative_to(ASSETS):
        return None
    match file_path.relative_to(ASSETS).parts:
        case (_, _, "scenarios", name) if name.endswith(".yaml"):
            return ScenarioFile.from_parent(parent, path=file_path)
        case (_, _, "defs.yaml"):
            return DeclarationFile.from_parent(parent, path=file_path)
        case _:
            return None


class ScenarioFile(pytest.File):
    """A file with one scenario."""

    def collect(self) -> Iterator[pytest.Item]:
        """Return its one test."""
        team, process = self.path.parents[2].name, self.path.parents[1].name
        yield ScenarioItem.from_parent(self, name=f"{team}/{process}/{self.path.stem}")


class DeclarationFile(pytest.File):
    """A `defs.yaml`."""

    def collect(self) -> Iterator[pytest.Item]:
        """Return its one test; the business day's own are tested with the day."""
        from acme.lakehouse.teams import DAY_TEAMS  # noqa: PLC0415

        team, process = self.path.parents[1].name, self.path.parents[0].name
        if team not in DAY_TEAMS:
            yield DeclarationItem.from_parent(self, name=f"{team}/{process}")


class ProcessItem(pytest.Item):
    """A test whose failure is a message, what a process raised included."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> object:  # type: ignore[override]
        """Return the message; a traceback only of what no process should meet."""
        from orchestration.registry import DeclarationError  # noqa: PLC0415
        from orchestration.scenario_rows import ScenarioError  # noqa: PLC0415
        from orchestration.scenarios import ScenarioFailedError  # noqa: PLC0415

        if isinstance(excinfo.value, (DeclarationError, ScenarioError, ScenarioFailedError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where it is and how reports name it."""
        return self.path, None, self.name


class ScenarioItem(ProcessItem):
    """Runs a scenario."""

    def runtest(self) -> None:
        """Raise ScenarioFailedError where the process makes something else."""
        from orchestration import scenarios  # noqa: PLC0415  polars, only where it is needed

        scenarios.require(self.path)


class DeclarationItem(ProcessItem):
    """Holds a declaration against contracts and code."""

    def runtest(self) -> None:
        """Raise DeclarationError for all that is wrong about it."""
        from orchestration import process_folder  # noqa: PLC0415

        process_folder.require(self.path)
