"""Holds every contract against the state its readers were last checked with.

`python -m orchestration.contract_check` records the contracts as they are in
`data_contracts/baseline.json`, unless a version does not say what changed, or a process was not
written for the version it reads; `--check` records nothing and exits 1 also where something is not
recorded. Which change asks for which version: `acme.lakehouse.contract_changes`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from acme.lakehouse import contracts
from acme.lakehouse.contract_changes import (
    Change,
    Level,
    Shape,
    changes,
    least_version,
    shape_of,
    version_of,
)
from acme.lakehouse.files import write_atomic
from orchestration import declarations, due
from orchestration.registry import processes
from orchestration.specs import ProcessSpec

NAME = "baseline.json"
Shapes = Mapping[str, Shape]
FIRST_VERSION = 1


def current() -> dict[str, Shape]:
    """Return the shape of every contract; ContractError where one cannot be read."""
    return {contract.dataset: shape_of(contract) for contract in contracts.everything()}


def recorded(path: Path) -> dict[str, Shape]:
    """Return the shapes on file; none where there is no file. Raises ValueError, naming it."""
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text("utf-8"))
        return {dataset: Shape.of_json(shape) for dataset, shape in document.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: {type(error).__name__}: {error}") from error


def render(shapes: Shapes) -> str:
    """Return the file: one line for each column, so that a review shows what changed."""
    return "{\n" + ",\n".join(_lines(d, shapes[d]) for d in sorted(shapes)) + "\n}\n"


def _lines(dataset: str, shape: Shape) -> str:
    document = shape.as_json()
    columns = document.pop("columns")
    facts = [f"  {json.dumps(k)}: {_line(v)}" for k, v in document.items()]
    rows = ",\n".join(f"   {_line(column)}" for column in columns)
    return f" {json.dumps(dataset)}: {{\n" + ",\n".join(
        [*facts, f'  "columns": [\n{rows}\n  ]\n }}']
    )


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# ---- what is wrong ------------------------------------------------------------------------------


def problems(before: Shapes, now: Shapes, specs: Sequence[ProcessSpec]) -> list[str]:
    """Return what must be mended first: versions that say too little, readers left behind."""
    return [*_versions(before, now, specs), *_left_behind(now, specs)]


def _versions(before: Shapes, now: Shapes, specs: Sequence[ProcessSpec]) -> Iterator[str]:
    for dataset in sorted(now):
        shape = now[dataset]
        try:
            stated = version_of(shape.version)
        except ValueError as error:
            yield f"{dataset}: version: {error}"
            continue
        if dataset not in before:
            continue
        found = differences(dataset, before[dataset], shape)
        least = least_version(before[dataset].version, found)
        if stated < least:
            expected = ".".join(map(str, least))
            told = "; ".join(f"{c.level.says}: {c.what}" for c in found) or "nothing changed"
            yield (
                f"{dataset}: version: expected at least {expected}, got {shape.version}: {told}"
                f"{_relied_on(dataset, found, specs)}"
            )
    for dataset in sorted(before.keys() - now.keys()):
        if users := _users(dataset, specs):
            yield f"{dataset}: the contract is gone, and {', '.join(users)} depend on it"


def differences(dataset: str, before: Shape, now: Shape) -> list[Change]:
    """Return what changed in a dataset's contract."""
    return changes(before, now, sent=dataset.startswith("feed."))


def _relied_on(dataset: str, found: Sequence[Change], specs: Sequence[ProcessSpec]) -> str:
    if not any(change.level is Level.MAJOR for change in found):
        return ""
    return f"; on it depend: {', '.join(_users(dataset, specs)) or 'no process'}"


def _users(dataset: str, specs: Sequence[ProcessSpec]) -> list[str]:
    return sorted(s.folder for s in specs if dataset in declarations.depends_on(s))


def _left_behind(now: Shapes, specs: Sequence[ProcessSpec]) -> Iterator[str]:
    """Tell processes of other teams that were written for another version than there is.

    Those of the day share a location with what they read and are changed in one commit with it.
    """
    for spec in specs:
        if spec.stage is not None:
            continue
        for dataset in declarations.depends_on(spec):
            if dataset not in now:
                continue
            written_for = spec.versions.get(dataset, FIRST_VERSION)
            try:
                major, *_ = version_of(now[dataset].version)
            except ValueError:
                continue
            if written_for != major:
                yield (
                    f"assets/{spec.folder}/defs.yaml: versions: {dataset}: expected {major}, got"
                    f" {written_for}: the process must be adapted to {now[dataset].version}, and"
                    f" say so with `versions: {{{dataset}: {major}}}`"
                )


def unrecorded(before: Shapes, now: Shapes) -> list[str]:
    """Return the datasets whose contracts are not as recorded, with what changed."""
    told = [f"{d}: new" for d in sorted(now.keys() - before.keys())]
    told += [f"{d}: gone" for d in sorted(before.keys() - now.keys())]
    for dataset in sorted(now.keys() & before.keys()):
        if now[dataset] != before[dataset]:
            found = differences(dataset, before[dataset], now[dataset])
            what = "; ".join(f"{c.level.says}: {c.what}" for c in found) or "version"
            told.append(f"{dataset}: {before[dataset].version} → {now[dataset].version}: {what}")
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the contracts, or only compare; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Hold contracts against the state on file, and record them."
    )
    parser.add_argument("--check", action="store_true", help="record nothing")
    options = parser.parse_args(arguments)
    path = contracts.FOLDER / NAME
    others = due.everything()
    specs = [*(spec for _, spec in processes().values()), *others.processes.values()]
    try:
        before, now = recorded(path), current()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    found = [*others.broken.values(), *problems(before, now, specs)]
    if not found and options.check:
        again = f"not in {NAME}; run python -m orchestration.contract_check"
        found = [f"{told}: {again}" for told in unrecorded(before, now)]
    elif not found:
        told = unrecorded(before, now)
        if told or not path.is_file():
            write_atomic(path, render(now).encode())
        sys.stdout.writelines(f"{line}\n" for line in told)
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
