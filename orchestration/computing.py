"""The pure part of a process: from named frames to named frames, and what its checks say of them.

No lake, no Postgres, no Dagster: the day, other teams' runs and scenarios all come through here.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from acme.domain import two_sides
from acme.domain.day import Day
from acme.domain.two_sides import SidesError
from acme.lakehouse import contracts
from acme.lakehouse.contracts import ContractViolation
from orchestration.specs import CheckSpec, ProcessSpec

Frames = Mapping[str, pl.DataFrame]
KEEPS_ITS_CONTRACT = "keeps_its_contract"


class OutputsError(ValueError):
    """A process returned other things than it declares, or raised: one line that says where."""


class _Inputs(dict[str, pl.DataFrame]):
    """Frames by name; one that is not declared is told with those that are."""

    def __missing__(self, name: object) -> pl.DataFrame:
        expected = ", ".join(self) or "nothing, for nothing is declared"
        raise KeyError(f'inputs["{name}"]: expected one of {expected}')


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `failures` are the rows that break it, none is a pass."""

    name: str
    on: str
    blocking: bool
    failures: pl.DataFrame

    @property
    def told(self) -> str:
        """Say which rows break it, in one line; of a contract, what was expected and got."""
        first = self.failures.row(0, named=True)
        if self.name == KEEPS_ITS_CONTRACT:
            where = f"{self.on}.{first['column']}" if first["column"] else self.on
            at = f" at {first['key']}" if first["key"] else ""
            expected, got = first["expected"], first["got"]
            return f"{where}: {first['rule']}: expected {expected}, got {got}{at}"
        return f"{self.name} on {self.on}: {self.failures.height} rows, first {first}"

    @property
    def passed(self) -> bool:
        """Say whether nothing broke the check."""
        return self.failures.is_empty()


@dataclass(frozen=True)
class Judged:
    """What a process made of its inputs.

    `tables`: by dataset, enforced, `run_date` first. `instructed`: the rows of `feed.…` or
    `file` that leave, of an Instruction. `checks`: that of every contract, then the declared ones
    if every contract is kept.
    """

    tables: dict[str, pl.DataFrame]
    instructed: pl.DataFrame | None
    checks: tuple[CheckResult, ...]

    @property
    def stops(self) -> list[CheckResult]:
        """Return the blocking checks that failed: with one of them nothing is written."""
        return [check for check in self.checks if check.blocking and not check.passed]


def outputs_of(spec: ProcessSpec, day: Day, frames: Frames) -> dict[str, pl.DataFrame]:
    """Run what is the process's own: its function, its two sides or its models."""
    match spec.archetype:
        case "Reconciliation" if spec.keys:
            module = spec.module("process")
            left, right = module.left(day, frames), module.right(day, frames)
            for side, frame in (("left", left), ("right", right)):
                _require_frame(spec, side, frame)
            (dataset,) = spec.writes
            return {dataset: two_sides.compare(left, right, spec.keys, spec.compares)}
        case "DbtModels":
            from acme.operations import dbt_models  # noqa: PLC0415  seconds, for its users alone

            models = [dataset.split(".")[1] for dataset in spec.writes]
            made = dbt_models.run(spec.path() / "models", models, day, frames)
            return {f"{spec.team}.{model}": frame for model, frame in made.items()}
        case _:
            return spec.function()(day, frames)


def judged(spec: ProcessSpec, day: Day, frames: Frames) -> Judged:
    """Run another team's process on its inputs and judge what it made; nothing is written.

    Raises OutputsError where it raises, or other tables come out than are declared.
    """
    frames = _Inputs(frames)
    with _placed(spec):
        outputs = outputs_of(spec, day, frames)
    leaving = instructed_name(spec)
    _require_tables(spec, outputs, {*spec.writes, *([leaving] if leaving else [])})
    tables: dict[str, pl.DataFrame] = {}
    checks = []
    for dataset in spec.writes:
        failures = pl.DataFrame()
        try:
            tables[dataset] = enforced(dataset, outputs[dataset], day.run_date)
        except ContractViolation as error:
            failures = _violation(error)
        checks.append(CheckResult(KEEPS_ITS_CONTRACT, dataset, blocking=True, failures=failures))
    if all(check.passed for check in checks):
        checks += [judge(spec, check, day, {**frames, **tables}) for check in spec.checks]
    return Judged(tables, outputs.get(leaving) if leaving else None, tuple(checks))


def instructed_name(spec: ProcessSpec) -> str | None:
    """Return by which name an Instruction returns the rows that leave; None for the others."""
    if spec.archetype != "Instruction":
        return None
    return f"feed.{spec.lands}" if spec.lands else "file"


def enforced(dataset: str, frame: pl.DataFrame, run_date: date) -> pl.DataFrame:
    """Return the frame as its contract wants it, dated; ContractViolation where it cannot be."""
    schema, _, name = dataset.partition(".")
    dated = frame.with_columns(pl.lit(run_date, dtype=pl.Date).alias("run_date"))
    return contracts.table(schema, name).enforce(dated)


def judge(spec: ProcessSpec, check: CheckSpec, day: Day, frames: Frames) -> CheckResult:
    """Run a declared check on the frames it names."""
    named = {*check.reads, *(f"previous.{d}" for d in check.reads_previous)}
    with _placed(spec):
        failures = spec.check(check.name)(day, _Inputs({name: frames[name] for name in named}))
    if not isinstance(failures, pl.DataFrame):
        raise OutputsError(
            f"assets/{spec.folder}/checks.py: {check.name}: expected a frame of the rows that break"
            f" it, got {_kind(failures)}"
        )
    return CheckResult(check.name, check.on, check.blocking, failures)


def _require_tables(spec: ProcessSpec, outputs: object, expected: set[str]) -> None:
    where = f"assets/{spec.folder}/process.py: run"
    if not isinstance(outputs, Mapping):
        raise OutputsError(f"{where}: expected frames by table, got {_kind(outputs)}")
    if set(outputs) != expected:
        raise OutputsError(
            f"{where}: expected the tables {', '.join(sorted(expected))},"
            f" got {', '.join(sorted(map(str, outputs))) or 'none'}"
        )
    for name, frame in outputs.items():
        _require_frame(spec, f"run: {name}", frame)


def _require_frame(spec: ProcessSpec, what: str, frame: object) -> None:
    if not isinstance(frame, pl.DataFrame):
        raise OutputsError(
            f"assets/{spec.folder}/process.py: {what}: expected a frame, got {_kind(frame)}"
        )


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


@contextmanager
def _placed(spec: ProcessSpec) -> Iterator[None]:
    """Turn what a process's own code raises into OutputsError, in one line with its place."""
    try:
        yield
    except OutputsError:
        raise
    except Exception as error:
        # Only what the folder's code did has a place in it: dbt's own errors say theirs.
        folder = str(spec.path())
        steps = traceback.extract_tb(error.__traceback__)
        places = [step for step in steps if step.filename.startswith(f"{folder}{os.sep}")]
        if places:
            at = f"assets/{spec.folder}/{Path(places[-1].filename).name}:{places[-1].lineno}"
        elif isinstance(error, SidesError):
            raise OutputsError(f"assets/{spec.folder}/process.py: {error}") from error
        else:
            raise
        # Polars tells the whole plan below its first line.
        said = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        first = next((line.strip() for line in said.splitlines() if line.strip()), "no message")
        raise OutputsError(f"{at}: {type(error).__name__}: {first}") from error


def _violation(error: ContractViolation) -> pl.DataFrame:
    row = {
        "rule": error.rule,
        "column": error.column or "",
        "expected": error.expected,
        "got": error.got,
        "key": ", ".join(f"{k}={v}" for k, v in (error.key or {}).items()),
    }
    return pl.DataFrame([row])
