"""Judges a process's folder whole before anything loads it: fields, contracts, code, neighbours.

What its location would refuse when it loads is told here, and more: `python -m
orchestration.declared_check` for all folders, and the test of each `defs.yaml` for its own.
"""

from __future__ import annotations

from pathlib import Path

from acme.lakehouse.teams import DAY_TEAMS
from orchestration import declarations, process_code
from orchestration.registry import DeclarationError, declared_in
from orchestration.specs import ProcessSpec, folder_path


def require(path: Path) -> None:
    """Raise DeclarationError for all that is wrong about the process of a `defs.yaml`."""
    spec = declared_in(path)
    found = [*wrong(spec), *_written_by_others(spec)]
    if found:
        raise DeclarationError("; ".join(found))


def wrong(spec: ProcessSpec) -> list[str]:
    """Return what is wrong about a process, but for what others of its team write."""
    found = []
    try:
        declarations.require(spec)
    except DeclarationError as error:
        found.append(str(error))
    if spec.team in DAY_TEAMS:
        # Some archetypes of the day's own bring their code with them; its graph tests say which.
        return [*found, *process_code.impure(spec.folder, spec.path())]
    return [*found, *process_code.wrong(spec)]


def _written_by_others(spec: ProcessSpec) -> list[str]:
    team = [spec]
    for path in sorted(folder_path(spec.team).glob("*/defs.yaml")):
        if path.parent.name == spec.name:
            continue
        try:
            team.append(declared_in(path))
        except DeclarationError:
            continue  # Told by its own test.
    team.sort(key=lambda s: s.folder)
    twice = declarations.written_twice(spec.team, team)
    return [line for dataset, line in twice.items() if dataset in spec.writes]
