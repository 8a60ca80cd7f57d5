"""Scenarios of a process: given these rows, on this date, expect these rows.

A file `assets/<team>/<process>/scenarios/<name>.yaml` is one example. It needs neither Dagster
nor Postgres; its form is in docs/reference/processes.md.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl

from acme.domain.calendars import DEALING, Calendars, CutOff
from acme.domain.day import Day
from acme.lakehouse import contracts
from acme.lakehouse.contracts import Contract, ContractViolation
from acme.lakehouse.csv_writing import csv_bytes
from orchestration import yaml_reading
from orchestration.computing import (
    KEEPS_ITS_CONTRACT,
    CheckResult,
    Judged,
    OutputsError,
    instructed_name,
    judged,
)
from orchestration.registry import declared_in
from orchestration.scenario_rows import (
    Field,
    Row,
    ScenarioError,
    csv_rows,
    differences,
    fields_of,
    frame,
    origin_fields,
)
from orchestration.specs import ProcessSpec
from orchestration.yaml_reading import YamlError

FOLDER = "scenarios"
SHOWN_MAX = 20
_CUT_OFF = CutOff(time(12), "Europe/London")
_KEYS = ("scenario", "date", "holidays", "currency", "given", "expect", "fails")


class ScenarioFailedError(AssertionError):
    """A process made something else than a scenario expects: the text has the first differences."""


@dataclass(frozen=True)
class Scenario:
    """An example as its file states it: frames by the names the process knows.

    `expected`: rows in key order by the names of what the process writes, those of a `file` as
    the text it shows; None where `fails` names the blocking check that must fail.
    """

    path: Path
    title: str
    spec: ProcessSpec
    day: Day
    frames: dict[str, pl.DataFrame]
    expected: dict[str, list[Row]] | None
    fails: str | None


def files(process: Path) -> list[Path]:
    """Return the scenarios of a process's folder, by name."""
    return sorted((process / FOLDER).glob("*.yaml"))


def name_of(path: Path) -> str:
    """Return team/process/scenario."""
    return f"{path.parents[2].name}/{path.parents[1].name}/{path.stem}"


def label(path: Path) -> str:
    """Return how messages name a scenario's file."""
    return f"assets/{path.parents[2].name}/{path.parents[1].name}/{FOLDER}/{path.name}"


def read(path: Path) -> Scenario:
    """Read a scenario. Raises ScenarioError, and DeclarationError of a `defs.yaml`."""
    where = label(path)
    spec = declared_in(path.parents[1] / "defs.yaml")
    document = _document(where, path)
    day = _day(where, document)
    title = document.get("scenario")
    if not isinstance(title, str) or not title.strip():
        raise ScenarioError(f"{where}: scenario: expected one sentence, got {title!r}")
    given, fails = _tables(where, document, "given"), document.get("fails")
    if (fails is None) == ("expect" not in document):
        raise ScenarioError(f"{where}: expected one of expect and fails")
    checks = [KEEPS_ITS_CONTRACT, *(check.name for check in spec.checks if check.blocking)]
    if fails is not None and fails not in checks:
        raise ScenarioError(
            f"{where}: fails: expected a blocking check of {', '.join(checks)}, got {fails!r}"
        )
    frames = _frames(where, path, spec, day, given)
    expected = None if fails else _expected(where, path, spec, day, document)
    return Scenario(path, title, spec, day, frames, expected, fails)


def require(path: Path) -> None:
    """Run a scenario twice, the second time on rows in reverse order.

    Raises ScenarioFailedError with the first differences or what the process raised, and
    ScenarioError where the file cannot be used.
    """
    scenario = read(path)
    try:
        found = judged(scenario.spec, scenario.day, scenario.frames)
        told = _differences(scenario, found) or _unordered(scenario, found)
    except OutputsError as error:
        told = [str(error)]
    if told:
        more = [f"and {len(told) - SHOWN_MAX} more"] if len(told) > SHOWN_MAX else []
        lines = "\n  ".join([*told[:SHOWN_MAX], *more])
        raise ScenarioFailedError(f"{label(path)}: {scenario.title}\n  {lines}")


# ---- what a file states -------------------------------------------------------------------------


def _document(where: str, path: Path) -> dict[str, Any]:
    try:
        document = yaml_reading.read(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise ScenarioError(f"{where}: expected YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ScenarioError(f"{where}: expected {', '.join(_KEYS)}, got {document!r}")
    if odd := [key for key in document if key not in _KEYS]:
        raise ScenarioError(f"{where}: expected {', '.join(_KEYS)}, got {odd[0]!r}")
    return document


def _day(where: str, document: Mapping[str, Any]) -> Day:
    holidays = document.get("holidays") or []
    if not isinstance(holidays, list):
        raise ScenarioError(f"{where}: holidays: expected a list of dates, got {holidays!r}")
    closed = [(DEALING, _date(where, "holidays", day)) for day in holidays]
    calendars = Calendars.of(closed)
    run_date = _date(where, "date", document.get("date"))
    if not calendars.dealing.is_business_date(run_date):
        raise ScenarioError(f"{where}: date: expected a business date, got {run_date}")
    currency = document.get("currency", "USD")
    if not isinstance(currency, str):
        raise ScenarioError(f"{where}: currency: expected text, got {currency!r}")
    return Day(
        run_date=run_date,
        as_of=calendars.dealing.prev(run_date),
        currency=currency,
        cut_off=_CUT_OFF,
        known_at=_CUT_OFF.instant(run_date),
        calendars=calendars,
        event_clock=True,
    )


def _date(where: str, name: str, value: object) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ScenarioError(f"{where}: {name}: expected a date YYYY-MM-DD, got {value!r}")
    return value


def _tables(where: str, document: Mapping[str, Any], part: str) -> dict[str, Any]:
    tables = document.get(part) or {}
    if not isinstance(tables, dict):
        raise ScenarioError(f"{where}: {part}: expected tables and their rows, got {tables!r}")
    return tables


def _rows(where: str, path: Path, rows: object) -> object:
    """Return the rows, those of a CSV file beside the scenario where one is named."""
    if not isinstance(rows, str):
        return rows
    if Path(rows).name != rows or not rows.endswith(".csv"):
        raise ScenarioError(f"{where}: expected a CSV file of its folder, got {rows!r}")
    return csv_rows(where, path.parent / rows)


def _frames(
    where: str, path: Path, spec: ProcessSpec, day: Day, given: Mapping[str, Any]
) -> dict[str, pl.DataFrame]:
    names = [
        *spec.reads,
        *(f"previous.{dataset}" for dataset in spec.reads_previous),
        *(f"feed.{feed}" for feed in spec.feeds),
    ]
    if odd := [name for name in given if name not in names]:
        expected = ", ".join(names) or "nothing"
        raise ScenarioError(f"{where}: given: expected what it reads, {expected}, got {odd[0]!r}")
    found = {}
    for name in names:
        at = f"{where}: given: {name}"
        found[name] = _given(at, name, day, _rows(at, path, given.get(name, [])))
    return found


def _given(at: str, name: str, day: Day, rows: object) -> pl.DataFrame:
    """Return the frame a run would hand over: one that keeps its contract.

    But for the patterns and lengths of texts: in an example a file may be called f1.
    """
    dataset = name.removeprefix("previous.")
    stated = _contract(dataset)
    columns = [replace(column, pattern=None, max_length=None) for column in stated.columns]
    contract = replace(stated, columns=tuple(columns))
    fields = fields_of(contract)
    if dataset.startswith("feed."):
        made = frame(at, [*fields, *origin_fields(day.cut_off_instant)], rows)
        # The rows of several files may repeat a key: each file is judged by itself.
        for file in made.partition_by("file_sha256"):
            _kept(at, contract, file.select(contract.column_names))
        return made
    # A table of the date before: P, unless it was due on another date.
    run_date = day.run_date if name == dataset else day.as_of
    dated = Field("run_date", pl.Date(), required=False, default=run_date)
    made = frame(at, [dated, *fields], rows)
    if name == dataset and any(made["run_date"] != run_date):
        raise ScenarioError(f"{at}: run_date: expected {run_date} or none, got another date")
    return _kept(at, contract, made)


def _expected(
    where: str, path: Path, spec: ProcessSpec, day: Day, document: Mapping[str, Any]
) -> dict[str, list[Row]]:
    tables = _tables(where, document, "expect")
    leaving = instructed_name(spec)
    names = [*spec.writes, *([leaving] if leaving else [])]
    if set(tables) != set(names):
        raise ScenarioError(
            f"{where}: expect: expected the tables {', '.join(names)}, got"
            f" {', '.join(map(str, tables)) or 'none'}"
        )
    found: dict[str, list[Row]] = {}
    for name in names:
        at = f"{where}: expect: {name}"
        rows = _rows(at, path, tables[name])
        if name == "file":
            found[name] = _texts(at, rows)
            continue
        contract = _contract(name)
        made = frame(at, fields_of(contract), rows)
        if name in spec.writes:
            made = made.with_columns(pl.lit(day.run_date, dtype=pl.Date).alias("run_date"))
        kept = _kept(at, contract, made).drop("run_date", strict=False)
        found[name] = list(kept.to_dicts())
    return found


def _texts(at: str, rows: object) -> list[Row]:
    """Return the rows of a file as the text it shows: its digits count."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ScenarioError(
            f"{at}: expected a list of rows or the name of a CSV file, got {rows!r}"
        )
    for number, row in enumerate(rows, start=1):
        for name, value in row.items():
            if value is not None and not isinstance(value, str):
                raise ScenarioError(
                    f"{at}: row {number}: {name}: expected text in quotes, got {value!r}"
                )
    return [{name: value or "" for name, value in row.items()} for row in rows]


def _contract(dataset: str) -> Contract:
    schema, _, name = dataset.partition(".")
    return contracts.feed(name) if schema == "feed" else contracts.table(schema, name)


def _kept(at: str, contract: Contract, made: pl.DataFrame) -> pl.DataFrame:
    try:
        return contract.enforce(made)
    except ContractViolation as error:
        raise ScenarioError(f"{at}: expected rows that keep the contract: {error}") from error


# ---- what came out ------------------------------------------------------------------------------


def _differences(scenario: Scenario, found: Judged) -> list[str]:
    if scenario.fails is not None:
        failed = sorted({check.name for check in found.stops})
        if scenario.fails in failed:
            return []
        others = ", ".join(failed) or "none did"
        return [f"fails: expected {scenario.fails} to fail, got: {others}"]
    if found.stops:
        return [_stopped(check) for check in found.stops]
    told = []
    for name, expected in (scenario.expected or {}).items():
        if name == "file":
            told += _different_file(expected, found.instructed)
            continue
        contract = _contract(name)
        if name in found.tables:
            got = found.tables[name].drop("run_date")
        else:
            assert found.instructed is not None  # noqa: S101  its name is among the expected
            try:
                got = contract.enforce(found.instructed)
            except ContractViolation as error:
                told.append(f"{name}: expected rows that keep the contract: {error}")
                continue
        key = [column for column in contract.key if column != "run_date"]
        told += [f"{name}: {line}" for line in differences(expected, got.to_dicts(), key)]
    return told


def _stopped(check: CheckResult) -> str:
    if check.name == KEEPS_ITS_CONTRACT:
        return check.told
    first = check.failures.row(0, named=True)
    return (
        f"{check.on}: expected {check.name} to pass, got {check.failures.height} rows that break"
        f" it, first {first}"
    )


def _different_file(expected: list[Row], instructed: pl.DataFrame | None) -> list[str]:
    assert instructed is not None  # noqa: S101  only an Instruction that has a file expects one
    header, *records = csv.reader(csv_bytes(instructed).decode().splitlines())
    for row in expected:
        if sorted(row) != sorted(header):
            return [f"file: expected columns {', '.join(row)}, got {', '.join(header)}"]
    got = [dict(zip(header, record, strict=True)) for record in records]
    stated = [{name: row[name] for name in header} for row in expected]
    return [f"file: {line}" for line in differences(stated, got, ())]


def _unordered(scenario: Scenario, found: Judged) -> list[str]:
    """Return what comes out otherwise once its inputs come in reverse order."""
    backwards = {name: given.reverse() for name, given in scenario.frames.items()}
    again = judged(scenario.spec, scenario.day, backwards)
    if again.instructed is not None and scenario.spec.lands:
        pairs = [(f"feed.{scenario.spec.lands}", _in_order(found), _in_order(again))]
    else:
        pairs = (
            [("file", found.instructed, again.instructed)] if found.instructed is not None else []
        )
    pairs += [(name, made, again.tables.get(name)) for name, made in found.tables.items()]
    return [
        f"{name}: expected the same rows whatever the order of its inputs, got others"
        for name, one, other in pairs
        if other is None or one is None or not one.equals(other)
    ]


def _in_order(found: Judged) -> pl.DataFrame | None:
    return None if found.instructed is None else found.instructed.sort(pl.all())
