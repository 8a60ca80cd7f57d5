"""The shell around another team's process: published inputs in, versions, files and orders out.

Order of a run: inputs verified, outputs computed, contracts and checks judged, partitions written,
and only then what leaves: a landed file, a file in the outbox, an extract.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from acme.domain.day import Day
from acme.evidence.versions import process_version
from acme.lakehouse import contracts
from acme.lakehouse.csv_writing import csv_bytes
from acme.lakehouse.lake import Made, Partition, PartitionMissingError, dataset_contract
from acme.lakehouse.landing import land_file, render
from acme.lakehouse.platform import Platform, wait_seconds
from acme.lakehouse.process_lock import ProcessLock
from acme.lakehouse.teams import DAY_SCHEMAS
from acme.operations.dispatch import write_vouched
from orchestration import due
from orchestration.computing import CheckResult, Judged, judged
from orchestration.registry import UNREADABLE, declared, other_teams
from orchestration.shell import DayRefusedError, Run
from orchestration.specs import ProcessSpec


class ChecksFailedError(Exception):
    """A blocking check failed, so that nothing was written; `results` has every check's."""

    def __init__(self, spec: ProcessSpec, run_date: date, results: tuple[CheckResult, ...]) -> None:
        """Keep the results and say which failed, with the first row of each."""
        self.results = results
        failed = [r.told for r in results if r.blocking and not r.passed]
        super().__init__(
            f"{spec.folder} of {run_date}: nothing was written, for blocking checks failed:"
            f" {'; '.join(failed)}"
        )


class InstructedError(Exception):
    """What was instructed would change, or is refused where it lands."""


@dataclass(frozen=True)
class Outcome:
    """What a run wrote: partitions and their version by dataset, checks, and what left."""

    written: dict[str, Partition]
    versions: dict[str, int]
    tables: dict[str, pl.DataFrame]
    checks: tuple[CheckResult, ...]
    left: tuple[str, ...]


@dataclass
class Inputs:
    """The frames a process knows, by the names it knows them by, and what they were read from."""

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    read: dict[str, str] = field(default_factory=dict)

    def sha256(self) -> str:
        """Return the identity of all that was read."""
        return hashlib.sha256(json.dumps(self.read, sort_keys=True).encode()).hexdigest()


def run_process(platform: Platform, spec: ProcessSpec, run_date: date) -> Outcome:
    """Run a process of another team for a published date; again, it finds everything done.

    Raises DayRefusedError where the date is not published or something it reads is not there,
    ChecksFailedError, InstructedError, and what the lake and the process raise.
    """
    if not platform.control.is_published(run_date):
        raise DayRefusedError(f"{spec.folder}: {run_date} is not published")
    lock = ProcessLock(platform.url, spec.folder, run_date, wait_seconds_max=wait_seconds())
    with lock:
        platform.lake.fence = lock
        # A run reads its own date's clock and calendars; it admits no run of the day.
        run = Run(platform, lock, run_date)  # type: ignore[arg-type]
        return _run(platform, spec, run)


def _run(platform: Platform, spec: ProcessSpec, run: Run) -> Outcome:
    day = run.day()
    inputs = gather(spec, run, day)
    found = judged(spec, day, inputs.frames)
    if found.stops:
        raise ChecksFailedError(spec, run.run_date, found.checks)
    leave = _leaving(platform, spec, run.run_date, found)
    # What third parties were told never changes; what is only read may have a newer version.
    kept = platform.lake.manifest(run.run_date) if spec.archetype == "Instruction" else {}
    written = platform.lake.write(
        run.run_date,
        spec.folder,
        found.tables,
        published={d: p.sha256 for d, p in kept.items()},
        made=Made(inputs.sha256(), process_version(spec.path())),
    )
    left = leave()
    versions = {d: len(platform.lake.versions(run.run_date, d)) for d in written}
    return Outcome(written, versions, found.tables, found.checks, left)


# ---- what is read -------------------------------------------------------------------------------


def gather(spec: ProcessSpec, run: Run, day: Day) -> Inputs:
    """Read all that a process declares, verified. Raises DayRefusedError naming what is missing."""
    inputs = Inputs()
    for dataset in spec.reads:
        _read(inputs, run, dataset, dataset, run.run_date)
    for dataset in spec.reads_previous:
        name = f"previous.{dataset}"
        before = _date_before(run, day, dataset)
        if before is None:
            inputs.frames[name] = dataset_contract(dataset).empty()
            inputs.read[name] = "none"
        else:
            _read(inputs, run, name, dataset, before)
    files = run.control.run_inputs(run.run_date) if spec.feeds else []
    for feed in spec.feeds:
        inputs.frames[f"feed.{feed}"] = run.feed(feed, files)
        taken = [f.file_sha256 for f in files if f.feed == feed and f.verdict == "accepted"]
        inputs.read[f"feed.{feed}"] = " ".join(taken)
    return inputs


def _read(inputs: Inputs, run: Run, name: str, dataset: str, on: date) -> None:
    try:
        inputs.frames[name] = run.lake.read(on, [dataset])[dataset]
    except PartitionMissingError as error:
        writer = _writer(dataset)
        by = "a newer release" if writer is None else writer.folder
        raise DayRefusedError(
            f"{dataset} has no partition {on}: {by} has not written it"
        ) from error
    inputs.read[name] = f"{on} {run.lake.manifest(on)[dataset].sha256}"


def _date_before(run: Run, day: Day, dataset: str) -> date | None:
    """Return the date of a `previous.` partition; None where there can be none yet.

    For a table of the day the published date before T; for a team's the date before T on which
    its process was due. One that was due, and has run before but not then, must run first.
    """
    if dataset.split(".", maxsplit=1)[0] in DAY_SCHEMAS:
        return run.previous_date()
    writer = _writer(dataset)
    written = run.lake.dates_written(dataset, run.run_date)
    if not written or writer is None or writer.automation == "manual":
        return written[-1] if written else None
    expected = due.due_before(writer, day.calendars.dealing, run.run_date, written[0])
    return expected or written[-1]


def _writer(dataset: str) -> ProcessSpec | None:
    """Return the process that writes a dataset: of the team that its schema is called after."""
    team = dataset.split(".", maxsplit=1)[0]
    try:
        specs = declared(team) if team in other_teams() else []
    except UNREADABLE:
        return None
    return next((spec for spec in specs if dataset in spec.writes), None)


# ---- what leaves --------------------------------------------------------------------------------


def _leaving(
    platform: Platform, spec: ProcessSpec, run_date: date, found: Judged
) -> Callable[[], tuple[str, ...]]:
    """Return what lets the files of a run leave; what cannot leave is refused here already."""
    if spec.archetype == "Report":
        folder = platform.home.extracts / spec.team / spec.name / run_date.isoformat()
        files = {
            folder / f"{dataset.split('.')[1]}.csv": csv_bytes(frame.drop("run_date"))
            for dataset, frame in found.tables.items()
        }
        return lambda: _write_all(platform, files)
    if found.instructed is None:
        return tuple
    if spec.lands is not None:
        return _landing(platform, spec, run_date, found.instructed)
    path = platform.home.outbox / str(spec.recipient) / run_date.isoformat()
    path /= f"{spec.team}-{spec.name}.csv"
    content = csv_bytes(found.instructed)
    if path.exists() and path.read_bytes() != content:
        raise InstructedError(
            f"{spec.folder} of {run_date}: {path.name} was sent to {spec.recipient} with other"
            " contents; a correction is an instruction of a later date"
        )
    return lambda: _write_all(platform, {path: content})


def _write_all(platform: Platform, files: dict[Path, bytes]) -> tuple[str, ...]:
    for path, content in sorted(files.items()):
        if not path.exists() or path.read_bytes() != content:
            write_vouched(path, content)
    return tuple(str(path.relative_to(platform.home.root)) for path in sorted(files))


def _landing(
    platform: Platform, spec: ProcessSpec, run_date: date, rows: pl.DataFrame
) -> Callable[[], tuple[str, ...]]:
    """Return what lands the rows; they are then inputs of the next run of the day, like any."""
    feed = str(spec.lands)
    name = f"{spec.team}-{spec.name}-{run_date}.csv"
    content = csv_bytes(contracts.feed(feed).enforce(rows))
    digest = hashlib.sha256(content).hexdigest()
    known = platform.control.file_by_sha(feed, digest)
    is_new = known is None or known.verdict != "accepted"
    if is_new and platform.control.accepted_name_exists(feed, name):
        raise InstructedError(
            f"{spec.folder} of {run_date}: {name} was landed for {feed} with other contents; a"
            " correction is an instruction of a later date"
        )

    def land() -> tuple[str, ...]:
        if rows.is_empty():
            return ()
        with TemporaryDirectory(prefix="acme-instruction-") as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            report = land_file(platform.home, platform.control, feed, path)
        if report.exit_code == 1:
            raise InstructedError(f"{spec.folder} of {run_date}: {render(report).rstrip()}")
        return (f"{feed}/{name}",)

    return land
