"""Computes a published date again from what it landed, in memory, and proves that it is the same.

The processes are those of the day; around them, files are read and verified as ever, but nothing
is written: frames stay in memory and every session in Postgres is read-only. No lock is taken,
since what a published date read never changes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import cast

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import Cursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from acme.evidence import versions
from acme.evidence.differences import Difference, What, first_difference
from acme.lakehouse.contracts import ContractError
from acme.lakehouse.control import (
    CheckOutcome,
    Control,
    Dispatch,
    LandedFile,
    Part,
    Publication,
    RunLock,
)
from acme.lakehouse.files import sha256_file
from acme.lakehouse.hashing import content_hash_of_enforced
from acme.lakehouse.lake import (
    Lake,
    LakeError,
    Made,
    Partition,
    PartitionDamagedError,
    PartitionMissingError,
    dataset_contract,
    encode,
)
from acme.lakehouse.landing import LandedFileDamaged
from acme.lakehouse.platform import Platform
from acme.lakehouse.raw_files import stored_path
from acme.operations.second_engine import READS, READS_PREVIOUS
from acme.operations.second_engine_sql import recompute_frames
from orchestration.archetypes import EXECUTORS, Statement, statement
from orchestration.registry import in_order
from orchestration.shell import PARTS, DayRefusedError, Run
from orchestration.specs import CheckSpec, ProcessSpec

PUBLISHING = "PublishDate"


class ReplayRefusedError(Exception):
    """The date cannot be replayed: it is not published."""


@dataclass(frozen=True)
class Replayed:
    """What a replay found. `tables`: compared; `same_bytes`: of those, with equal Parquet bytes."""

    run_date: date
    files: int
    tables: int
    same_bytes: int
    rows: int
    sent_files: int
    checks: int
    seals: Mapping[str, str]
    same_code: bool
    differences: tuple[Difference, ...]
    seconds: float

    @property
    def equal(self) -> bool:
        """Say whether the replay found what was published, and nothing else."""
        return not self.differences

    def as_json(self) -> dict[str, object]:
        """Return the outcome as JSON values."""
        return {
            "run_date": self.run_date,
            "equal": self.equal,
            "files": self.files,
            "tables": self.tables,
            "same_bytes": self.same_bytes,
            "rows": self.rows,
            "sent_files": self.sent_files,
            "checks": self.checks,
            "seals": dict(self.seals),
            "same_code": self.same_code,
            "differences": [d.as_json() for d in self.differences],
            "seconds": f"{self.seconds:.3f}",
        }


# ---- the scratch installation -------------------------------------------------------------------


def read_only(url: str) -> str:
    """Return a libpq URL whose sessions can change nothing."""
    options = f"{conninfo_to_dict(url).get('options') or ''} -c default_transaction_read_only=on"
    return make_conninfo(url, options=options.strip())


class RecordedControl(Control):
    """The control schema as a replay sees it: what is recorded is read, what is found is kept."""

    def __init__(self, url: str) -> None:
        """Open nothing yet; `url` is read-only."""
        super().__init__(url)
        self.found: dict[Part, dict[str, CheckOutcome]] = {"morning": {}, "dealing": {}}

    def fix_run_inputs(
        self, run_date: date, known_at: datetime | None = None, *, epoch: int | None = None
    ) -> list[LandedFile]:
        """Return the inputs that were fixed when the date ran."""
        del known_at, epoch
        return self.run_inputs(run_date)

    def record_accepted(
        self,
        feed: str,
        keys: Mapping[str, str],
        run_date: date,
        *,
        restated: bool = False,
        epoch: int | None = None,
    ) -> None:
        """Record nothing: the date has recorded its keys."""

    def record_check(self, run_date: date, part: Part, result: CheckOutcome, *, epoch: int) -> None:
        """Keep what a check found in memory."""
        del run_date, epoch
        self.found[part][result.check_name] = result

    def outcome(self, run_date: date, part: Part) -> list[CheckOutcome]:
        """Return what the checks of this replay found, by name."""
        del run_date
        return [outcome for _, outcome in sorted(self.found[part].items())]


class ScratchLake(Lake):
    """A lake whose partitions of one date are in memory; those of other dates are read, verified.

    A core table of another date must also have the content it was published with: `starts` has
    those that have not, and those whose file is not what was written.
    """

    def __init__(self, live: Lake, url: str, run_date: date, control: Control) -> None:
        """Keep where the published partitions are."""
        super().__init__(live.home, url)
        self.run_date = run_date
        self.control = control
        self.frames: dict[str, pl.DataFrame] = {}
        self.partitions: dict[str, Partition] = {}
        self.starts: dict[str, Difference] = {}
        self._recorded: dict[str, Partition] | None = None
        self._proven: dict[tuple[date, str], pl.DataFrame] = {}
        self._publications: dict[date, Publication | None] = {}

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Refuse: nothing of a replay is registered."""
        raise LakeError("a replay opens no catalog")

    def write(
        self,
        run_date: date,
        process: str,
        tables: Mapping[str, pl.DataFrame],
        *,
        published: Mapping[str, str] | None = None,
        made: Made | None = None,
    ) -> dict[str, Partition]:
        """Enforce the contracts and keep the partitions, with the hashes their files would have."""
        del process, published, made
        written = {}
        for dataset, frame in tables.items():
            contract = dataset_contract(dataset)
            dated = frame.with_columns(pl.lit(run_date, dtype=pl.Date).alias("run_date"))
            kept = contract.enforce(dated)
            digest = hashlib.sha256(encode(contract, kept)).hexdigest()
            self.frames[dataset] = kept
            written[dataset] = Partition(kept.height, digest)
        self.partitions |= written
        return written

    def manifest(self, run_date: date) -> dict[str, Partition]:
        """Return the partitions in memory, or those recorded for another date."""
        return self.partitions if run_date == self.run_date else super().manifest(run_date)

    def read(self, run_date: date, datasets: Iterable[str]) -> dict[str, pl.DataFrame]:
        """Return partitions as a process of the day would read them."""
        if run_date != self.run_date:
            return self._start(run_date, list(datasets))
        wanted = list(datasets)
        for dataset in wanted:
            if dataset not in self.frames:
                raise PartitionMissingError(f"{dataset} has not been recomputed for {run_date}")
        return {dataset: self.frames[dataset] for dataset in wanted}

    def published(self, dataset: str) -> pl.DataFrame:
        """Return the published partition of the date that is replayed, verified."""
        return self._read(self.run_date, dataset, self.published_manifest())

    def file_damage(
        self, run_date: date, dataset: str, partition: Partition, where: str
    ) -> Difference:
        """Return what is wrong with a partition's file: the hash it should have, and has."""
        try:
            got: str | None = sha256_file(self.path(run_date, dataset, partition))
        except OSError:
            got = None
        if got == partition.sha256:
            rows = str(partition.rows)
            return Difference(where, "table", {}, "rows on record", rows, "another number")
        return Difference(where, "file", {}, "file SHA-256", partition.sha256, got)

    def as_it_is(self, dataset: str) -> pl.DataFrame | None:
        """Return what the file of a published partition says now; None where it says nothing.

        Nothing is verified: for naming the rows in which a damaged file differs, and no more.
        """
        contract = dataset_contract(dataset)
        path = self.path(self.run_date, dataset, self.published_manifest()[dataset])
        try:
            # The file may hold anything, so whatever reading it may raise means the same.
            frame = pl.DataFrame(pl.from_arrow(pq.read_table(path, partitioning=None)))
            return frame.select(pl.col(n).cast(t) for n, t in contract.polars_schema.items())
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError):
            return None

    def published_manifest(self) -> dict[str, Partition]:
        """Return the recorded partitions of the date that is replayed."""
        if self._recorded is None:
            self._recorded = super().manifest(self.run_date)
        return self._recorded

    def _start(self, run_date: date, datasets: list[str]) -> dict[str, pl.DataFrame]:
        for dataset in datasets:
            if (run_date, dataset) in self._proven:
                continue
            try:
                frame = super().read(run_date, [dataset])[dataset]
            except PartitionDamagedError:
                partition = super().manifest(run_date)[dataset]
                where = f"{dataset} of {run_date}, where {self.run_date} starts from,"
                self.starts[dataset] = self.file_damage(run_date, dataset, partition, where)
                raise
            self._proven[run_date, dataset] = frame
            self._prove_start(run_date, dataset, frame)
        return {d: self._proven[run_date, d] for d in datasets}

    def _prove_start(self, run_date: date, dataset: str, frame: pl.DataFrame) -> None:
        if run_date not in self._publications:
            self._publications[run_date] = self.control.publication(run_date)
        publication = self._publications[run_date]
        stated = None if publication is None else publication.manifest.get(dataset)
        if stated is None:
            return
        content = content_hash_of_enforced(dataset_contract(dataset), frame)
        if content != stated.content_sha256:
            where = f"{dataset} of {run_date}, where {self.run_date} starts from,"
            self.starts[dataset] = Difference(
                where, "start", {}, "content SHA-256", stated.content_sha256, content
            )


class NoLock(RunLock):
    """Admits a run that changes nothing."""

    @property
    def epoch(self) -> int:
        """Return the number of no run."""
        return 0

    def check(self) -> None:
        """Let it go on."""

    def check_in(self, cursor: Cursor[TupleRow]) -> None:
        """Let it go on."""


@dataclass
class ReplayRun(Run):
    """The run of a published date once more, in memory."""

    checks_run: int = field(default=0)

    @property
    def scratch(self) -> ScratchLake:
        """Return the lake in memory."""
        return cast("ScratchLake", self.platform.lake)

    def published_files(self) -> dict[str, str]:
        """Return nothing: what differs is reported, not refused."""
        return {}

    def sealing_versions(self) -> tuple[str, str]:
        """Return the versions that the published seals name."""
        batches = self.scratch.published("core.dealing_batches")
        return batches["rules_version"][0], batches["code_version"][0]

    def run_check(self, spec: ProcessSpec, check: CheckSpec) -> tuple[bool, pl.DataFrame]:
        """Run a check; the second engine's SQL runs without dbt and its catalog."""
        self.checks_run += 1
        if check.engine != "dbt":
            return super().run_check(spec, check)
        failures = recompute_frames(self.run_date, self.previous_date(), self._second_reads())
        self.record(spec.part, check.name, failures, check.reads, blocking=check.blocking)
        return failures.is_empty(), failures

    def _second_reads(self) -> dict[str, pl.DataFrame]:
        now = self.lake.read(self.run_date, READS)
        before = self.previous(READS_PREVIOUS)
        return {
            dataset: pl.concat(
                [
                    dataset_contract(dataset).empty(),
                    *([now[dataset]] if dataset in now else []),
                    *([before[f"previous.{dataset}"]] if dataset in READS_PREVIOUS else []),
                ]
            )
            for dataset in dict.fromkeys((*READS, *READS_PREVIOUS))
        }


# ---- replaying ----------------------------------------------------------------------------------


def replay(platform: Platform, run_date: date) -> Replayed:
    """Recompute a published date and compare it with what was published, table by table.

    Raises ReplayRefusedError for a date that is not published. Damage is a difference, not an
    error: a landed or a data file that is not what it was is named.
    """
    started = time.monotonic()
    url = read_only(platform.url)
    control = RecordedControl(url)
    lake = ScratchLake(platform.lake, url, run_date, control)
    try:
        publication = control.publication(run_date)
        if publication is None:
            raise ReplayRefusedError(f"{run_date} is not published: there is nothing to replay")
        run = ReplayRun(
            Platform(platform.home, url, control, lake), NoLock(url, run_date), run_date
        )
        return _replayed(run, publication, started)
    finally:
        lake.close()
        control.close()


def _replayed(run: ReplayRun, publication: Publication, started: float) -> Replayed:
    files = run.control.run_inputs(run.run_date)
    differences = _damaged_files(run, files)
    stopped: list[Difference] = []
    stated: Statement | None = None
    if not differences:
        try:
            stated = _recompute(run)
        except (LandedFileDamaged, LakeError, DayRefusedError, ContractError, ValueError) as error:
            # A start that is damaged says so itself, with both hashes.
            stopped = [] if run.scratch.starts else [_stopped(str(error))]
    tables, damaged = _compare_tables(run)
    # A wrong start explains what follows from it, so it is named first.
    differences = [
        *run.scratch.starts.values(),
        *differences,
        *tables,
        *stopped,
        *_failed_checks(run),
    ]
    if stated is not None:
        differences += _compare_statement(run, publication, stated)
    published = run.scratch.published_manifest()
    same = [
        d for d, p in run.scratch.partitions.items() if published.get(d) == p and d not in damaged
    ]
    code = _published_code(run)
    return Replayed(
        run_date=run.run_date,
        files=len(files),
        tables=len(run.scratch.partitions),
        same_bytes=len(same),
        rows=sum(p.rows for p in run.scratch.partitions.values()),
        sent_files=0 if stated is None else len(stated.dispatches),
        checks=run.checks_run,
        seals={} if stated is None else stated.seals,
        same_code=code == versions.code_version(),
        differences=tuple(differences),
        seconds=time.monotonic() - started,
    )


def _published_code(run: ReplayRun) -> str | None:
    try:
        return run.sealing_versions()[1]
    except LakeError:
        return None


def _stopped(message: str) -> Difference:
    return Difference(message, "stopped", {}, None, None, None)


def _damaged_files(run: ReplayRun, files: list[LandedFile]) -> list[Difference]:
    """Verify every landed file of the date, those in quarantine too."""
    found = []
    for file in files:
        path = stored_path(run.platform.home.landed, file.file_sha256)
        try:
            digest: str | None = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            digest = None
        if digest != file.file_sha256:
            where = f"landed file {file.name} of {file.feed} ({path.name})"
            found.append(Difference(where, "file", {}, "SHA-256", file.file_sha256, digest))
    return found


def _recompute(run: ReplayRun) -> Statement:
    """Run every process and check of the day in memory; what publishing would state."""
    stated = None
    for archetype, spec in in_order():
        if archetype == PUBLISHING:
            stated = statement(run, spec)
            run.write(spec, stated.tables)
        else:
            EXECUTORS[archetype](run, spec)
        for check in spec.checks:
            run.run_check(spec, check)
    if stated is None:
        raise DayRefusedError("no process of the day publishes it")
    return stated


# ---- comparing ----------------------------------------------------------------------------------


def _compare_tables(run: ReplayRun) -> tuple[list[Difference], set[str]]:
    """Compare every partition in the order in which the day writes them.

    Returns what differs, and the tables whose published file is not what was written.
    """
    published = run.scratch.published_manifest()
    found: list[Difference] = []
    damaged: set[str] = set()
    for dataset, partition in run.scratch.partitions.items():
        if dataset not in published:
            found.append(Difference(dataset, "table", {}, None, "a published partition", None))
            continue
        contract, again = dataset_contract(dataset), run.scratch.frames[dataset]
        before: pl.DataFrame | None
        try:
            before = run.scratch.published(dataset)
        except PartitionDamagedError:
            damaged.add(dataset)
            where = f"{dataset} of {run.run_date}"
            found.append(run.scratch.file_damage(run.run_date, dataset, published[dataset], where))
            before = run.scratch.as_it_is(dataset)
        if before is None or (published[dataset] == partition and dataset not in damaged):
            continue
        difference = first_difference(contract, before, again)
        if difference is not None:
            found.append(difference)
    return found, damaged


def _compare_statement(
    run: ReplayRun, publication: Publication, stated: Statement
) -> list[Difference]:
    """Compare hashes, seals and sent files with what the publication recorded in Postgres."""
    found: list[Difference] = []

    def expect(where: str, what: What, before: object, after: object, column: str = "") -> None:
        if before != after:
            texts = [None if v is None else str(v) for v in (before, after)]
            found.append(Difference(where, what, {}, column or None, texts[0], texts[1]))

    for dataset in sorted(publication.manifest.keys() | stated.manifest.keys()):
        before, after = publication.manifest.get(dataset), stated.manifest.get(dataset)
        expect(
            f"{dataset} as published",
            "table",
            before and before.content_sha256,
            after and after.content_sha256,
            "content SHA-256",
        )
    for batch in sorted(publication.seals.keys() | stated.seals.keys()):
        expect(f"seal of {batch}", "seal", publication.seals.get(batch), stated.seals.get(batch))
    sent = {_name(d): d.sha256 for d in run.control.dispatches(run.run_date)}
    again = {_name(d): d.sha256 for d in stated.dispatches}
    for name in sorted(sent.keys() | again.keys()):
        expect(f"sent file {name}", "file", sent.get(name), again.get(name), "SHA-256")
    return found


def _failed_checks(run: ReplayRun) -> list[Difference]:
    """Return the blocking checks that the recomputed frames do not pass."""
    outcomes = [o for part in PARTS for o in run.control.outcome(run.run_date, part)]
    details = [(o, json.loads(o.detail)) for o in outcomes if not o.passed]
    return [
        Difference(f"check {o.check_name}", "check", {}, None, "0 rows", str(detail["first"]))
        for o, detail in details
        if detail["blocking"]
    ]


def _name(item: Dispatch) -> str:
    return f"{item.custodian_id}/{item.file_name}"
