"""Every process of the business day as its folder declares it; reads `defs.yaml`, runs nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from orchestration.shell import CheckSpec, ProcessSpec

ROOT = Path(__file__).resolve().parents[1]
ARCHETYPES = "orchestration.components."
# What a published date consists of, besides what publishing itself writes.
WRITTEN_BY_PUBLISHING = frozenset({"core.check_results", "core.publications"})


@cache
def processes() -> dict[str, tuple[str, ProcessSpec]]:
    """Return folder → (archetype, process) of every process of the day."""
    found = {}
    for path in sorted((ROOT / "assets").glob("*/*/defs.yaml")):
        document = yaml.safe_load(path.read_text("utf-8"))
        folder = path.parent.relative_to(ROOT / "assets").as_posix()
        archetype = str(document["type"]).removeprefix(ARCHETYPES)
        found[folder] = (archetype, spec_of(folder, document["attributes"]))
    return found


def spec_of(folder: str, attributes: dict[str, Any]) -> ProcessSpec:
    """Return the process that a folder's attributes declare."""

    def names(source: dict[str, Any], field: str) -> tuple[str, ...]:
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
        stage=attributes["stage"],
        reads=names(attributes, "reads"),
        reads_previous=names(attributes, "reads_previous"),
        feeds=names(attributes, "feeds"),
        accepted=names(attributes, "accepted"),
        looks_back=names(attributes, "looks_back"),
        writes=names(attributes, "writes"),
        checks=checks,
    )


def blocking_checks(part: str) -> list[CheckSpec]:
    """Return the blocking checks of a part of the day."""
    return [
        check
        for _, spec in processes().values()
        if spec.part == part
        for check in spec.checks
        if check.blocking
    ]


def published_datasets() -> list[str]:
    """Return the core tables a published date consists of."""
    written = {d for _, spec in processes().values() for d in spec.writes}
    return sorted(d for d in written - WRITTEN_BY_PUBLISHING if d.startswith("core."))


def in_order() -> list[tuple[str, ProcessSpec]]:
    """Return (archetype, process) of the day in an order in which each finds what it reads."""
    waiting = dict(processes())
    written: set[str] = set()
    ordered = []
    while waiting:
        ready = [f for f, (_, s) in waiting.items() if set(s.reads) <= written]
        if not ready:
            raise ValueError(f"processes that wait for each other: {sorted(waiting)}")
        for folder in ready:
            archetype, spec = waiting.pop(folder)
            ordered.append((archetype, spec))
            written |= set(spec.writes)
    return ordered
