"""Every process as its folder declares it: reads `defs.yaml`, imports and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import assets
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import fields, yaml_reading
from orchestration.fields import FieldsError
from orchestration.specs import CheckSpec, ProcessSpec, folder_path, spec_of
from orchestration.yaml_reading import YamlError

ROOT = Path(__file__).resolve().parents[1]
# What a published date consists of, besides what publishing itself writes.
WRITTEN_BY_PUBLISHING = frozenset({"core.check_results", "core.publications"})


class DeclarationError(ValueError):
    """A `defs.yaml` that cannot be read; the text names the file and what is wrong in it."""


# What a folder that cannot be read raises.
UNREADABLE = (DeclarationError, OSError, UnicodeDecodeError)


@cache
def processes() -> dict[str, tuple[str, ProcessSpec]]:
    """Return folder → (archetype, process) of every process of the business day."""
    found = [spec for team in DAY_TEAMS for spec in declared(team)]
    return {spec.folder: (spec.archetype, spec) for spec in found}


def other_teams() -> list[str]:
    """Return every team that is none of the business day, by name: its folder has processes."""
    folders = (path.parents[1].name for root in assets.__path__ for path in _files(Path(root)))
    return sorted({name for name in folders if name not in DAY_TEAMS})


def declared(team: str) -> list[ProcessSpec]:
    """Return the processes of a team by name. Raises DeclarationError: of every file, not one."""
    found, wrong = [], []
    for path in sorted(folder_path(team).glob("*/defs.yaml")):
        try:
            found.append(declared_in(path))
        except DeclarationError as error:
            wrong.append(str(error))
    if wrong:
        raise DeclarationError("; ".join(wrong))
    return found


def _files(root: Path) -> Iterable[Path]:
    return root.glob("[a-z]*/*/defs.yaml")


def declared_in(path: Path) -> ProcessSpec:
    """Return the process that one `defs.yaml` declares. Raises DeclarationError."""
    team, name = path.parents[1].name, path.parent.name
    where = f"assets/{team}/{name}/defs.yaml"
    try:
        document = yaml_reading.read(path.read_text("utf-8"))
        archetype, attributes = fields.read(document, of_the_day=team in DAY_TEAMS)
    except YamlError as error:
        raise DeclarationError(f"{where}: expected YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{where}: expected UTF-8: {error}") from error
    except OSError as error:
        raise DeclarationError(f"{where}: expected a file to read: {error.strerror}") from error
    except FieldsError as error:
        wrong = "; ".join(f"{where}: {line}" for line in error.lines)
        raise DeclarationError(wrong) from error
    return spec_of(f"{team}/{name}", archetype, attributes)


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
