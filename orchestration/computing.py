"""The pure part of a process: from named frames to named frames, and what its checks say of them.

No lake, no Postgres, no Dagster: the day, other teams' runs and scenarios all come through here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from acme.domain import two_sides
from acme.domain.day import Day
from acme.lakehouse import contracts
from acme.lakehouse.contracts import ContractViolation
from orchestration.specs import CheckSpec, ProcessSpec

Frames = Mapping[str, pl.DataFrame]
KEEPS_ITS_CONTRACT = "keeps_its_contract"


class OutputsError(ValueError):
    """A process returned other tables than it declares."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found: `failures` are the rows that break it, none is a pass."""

    name: str
    on: str
    blocking: bool
    failures: pl.DataFrame

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

    Raises OutputsError where other tables come out than are declared.
    """
    outputs = outputs_of(spec, day, frames)
    leaving = instructed_name(spec)
    expected = {*spec.writes, *([leaving] if leaving else [])}
    if set(outputs) != expected:
        raise OutputsError(
            f"{spec.folder}: expected the tables {sorted(expected)}, got {sorted(outputs)}"
        )
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
    failures = spec.check(check.name)(day, {name: frames[name] for name in named})
    return CheckResult(check.name, check.on, check.blocking, failures)


def _violation(error: ContractViolation) -> pl.DataFrame:
    row = {
        "rule": error.rule,
        "column": error.column or "",
        "expected": error.expected,
        "got": error.got,
        "key": ", ".join(f"{k}={v}" for k, v in (error.key or {}).items()),
    }
    return pl.DataFrame([row])
