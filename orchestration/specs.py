"""A process as its folder declares it: names and rules of its `defs.yaml`, nothing computed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import assets
from acme.domain.process import Check, Process

if TYPE_CHECKING:
    # Postgres's libraries, which nobody pays for who only reads what is declared.
    from acme.lakehouse.control import Part

Automation = Literal["on_publication", "month_start", "month_end", "manual"]
MORNING_STAGES = ("land", "post", "reconcile")


@dataclass(frozen=True)
class CheckSpec:
    """A check as its process declares it."""

    name: str
    on: str
    description: str
    reads: tuple[str, ...]
    reads_previous: tuple[str, ...] = ()
    blocking: bool = True
    engine: str = "polars"


@dataclass(frozen=True)
class ProcessSpec:
    """A process as its folder declares it; `folder` is team/process.

    `stage` is that of the business day; None for another team's process, which has `automation`.
    `versions`: dataset → major version of its contract that the process was written for, where
    that is not the first.
    """

    folder: str
    stage: str | None
    archetype: str = "Calculation"
    reads: tuple[str, ...] = ()
    reads_previous: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    looks_back: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    checks: tuple[CheckSpec, ...] = field(default=())
    automation: Automation = "on_publication"
    deadline: str | None = None
    keys: tuple[str, ...] = ()
    compares: tuple[str, ...] = ()
    lands: str | None = None
    recipient: str | None = None
    description: str = ""
    owner: str | None = None
    runbook: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def team(self) -> str:
        """Return the team that owns the process."""
        return self.folder.split("/")[0]

    @property
    def name(self) -> str:
        """Return the process's own name."""
        return self.folder.split("/")[1]

    @property
    def part(self) -> Part:
        """Return the half of the day the process belongs to."""
        return "morning" if self.stage in MORNING_STAGES else "dealing"

    def path(self) -> Path:
        """Return the process's folder."""
        return folder_path(self.folder)

    def module(self, name: str) -> ModuleType:
        """Return a module of the process's folder."""
        return importlib.import_module(f"assets.{self.folder.replace('/', '.')}.{name}")

    def function(self) -> Process:
        """Return the process's pure function."""
        run: Process = self.module("process").run
        return run

    def check(self, name: str) -> Check:
        """Return a check's pure function."""
        found: Check = getattr(self.module("checks"), name)
        return found


def folder_path(folder: str) -> Path:
    """Return where the folder of a team, or of a process, lies."""
    for root in assets.__path__:
        if (Path(root) / folder).is_dir():
            return Path(root) / folder
    return Path(assets.__path__[0]) / folder


def runbook_file(spec: ProcessSpec) -> str:
    """Return what to read when a process fails, as a path of the repository."""
    if spec.runbook is not None:
        return spec.runbook
    if spec.stage is not None:
        return "docs/runbooks/daily_operations.md"
    return f"assets/{spec.folder}/README.md"


def spec_of(folder: str, archetype: str, attributes: Mapping[str, Any]) -> ProcessSpec:
    """Return the process that a folder's attributes declare."""

    def names(source: Mapping[str, Any], field: str) -> tuple[str, ...]:
        return tuple(source.get(field) or ())

    checks = tuple(
        CheckSpec(
            name=c["name"],
            on=c["on_dataset"],
            description=c["description"],
            reads=names(c, "reads"),
            reads_previous=names(c, "reads_previous"),
            blocking=c.get("blocking", True),
            engine=c.get("engine", "polars"),
        )
        for c in attributes.get("checks") or ()
    )
    return ProcessSpec(
        folder=folder,
        stage=attributes.get("stage"),
        archetype=archetype,
        reads=names(attributes, "reads"),
        reads_previous=names(attributes, "reads_previous"),
        feeds=names(attributes, "feeds"),
        accepted=names(attributes, "accepted"),
        looks_back=names(attributes, "looks_back"),
        writes=names(attributes, "writes"),
        checks=checks,
        automation=attributes.get("automation") or "on_publication",
        deadline=attributes.get("deadline"),
        keys=names(attributes, "keys"),
        compares=names(attributes, "compares"),
        lands=attributes.get("lands"),
        recipient=attributes.get("recipient"),
        description=attributes.get("description") or "",
        owner=attributes.get("owner"),
        runbook=attributes.get("runbook"),
        versions=dict(attributes.get("versions") or {}),
    )
