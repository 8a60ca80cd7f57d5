"""The day without lake, Postgres and Dagster: its own processes on frames that stay in memory.

`MemoryPlatform.land` takes the rows of one file, `run` runs a date: the executors of
`orchestration.archetypes` in the order of `orchestration.registry`, each frame held against its
contract, every check evaluated. Left out: Parquet, the catalog, content hashes, and the dbt run of
the second engine, for which `_refolded` adds up every posting of the history in plain integers.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pyarrow as pa

from acme.domain.calendars import Calendars, CutOff
from acme.domain.day import Day
from acme.lakehouse import contracts, csv_reading, landing, landing_rules
from acme.lakehouse.control import (
    Detail,
    LandedFile,
    ReferenceKind,
    RunLock,
    Scheme,
    Verdict,
)
from acme.lakehouse.control import Run as RunRecord
from acme.lakehouse.findings import Findings
from acme.lakehouse.home import Home
from acme.lakehouse.lake import Partition, dataset_contract
from acme.lakehouse.platform import Platform
from orchestration import archetypes
from orchestration.registry import in_order
from orchestration.shell import CheckSpec, ProcessSpec, Run

Row = Sequence[str]
RUN_DATE = {"run_date"}


@dataclass(frozen=True)
class Violation:
    """A blocking check that found something, and the first rows it found."""

    run_date: date
    check: str
    rows: tuple[dict[str, Any], ...]


@dataclass
class MemoryControl:
    """The control schema of one installation in dictionaries, as far as a run uses it."""

    currency: str
    cutoff: time
    timezone: str
    files: list[LandedFile] = dataclass_field(default_factory=list)
    reference: dict[ReferenceKind, dict[str, Detail]] = dataclass_field(default_factory=dict)
    accepted: dict[str, dict[str, tuple[str, date]]] = dataclass_field(default_factory=dict)
    published: list[date] = dataclass_field(default_factory=list)
    inputs: dict[date, list[LandedFile]] = dataclass_field(default_factory=dict)
    known_at: datetime | None = None
    _taken: int = 0

    def scheme(self) -> Scheme:
        return Scheme(self.currency, self.cutoff, self.timezone, datetime(2000, 1, 1, tzinfo=UTC))

    def known(self, kind: ReferenceKind, keys: Iterable[str]) -> dict[str, Detail]:
        have = self.reference.get(kind, {})
        return {key: have[key] for key in keys if key in have}

    def register(self, feed: str, rows: int, verdict: Verdict) -> LandedFile:
        sequence = len(self.files) + 1
        # The name of the frame that stands for the bytes.
        sha = f"{sequence:064x}"
        received = datetime(2000, 1, 1, tzinfo=UTC)
        name = f"{sequence:06}.csv"
        file = LandedFile(sequence, feed, name, sha, 0, rows, received, verdict, "[]", None)
        self.files.append(file)
        return file

    def offered_files(self, run_date: date) -> list[LandedFile]:
        return self.inputs.get(run_date, self.files[self._taken :])

    def fix_run_inputs(
        self, run_date: date, known_at: datetime | None, *, epoch: int
    ) -> list[LandedFile]:
        self.inputs[run_date] = self.files[self._taken :]
        self._taken = len(self.files)
        self.known_at = known_at
        return self.inputs[run_date]

    def run_inputs(self, run_date: date) -> list[LandedFile]:
        return self.inputs[run_date]

    def accepted_before(self, feed: str, keys: Iterable[str], run_date: date) -> dict[str, str]:
        have = self.accepted.get(feed, {})
        found = {key: have[key] for key in keys if key in have}
        return {key: sha for key, (sha, day) in found.items() if day < run_date}

    def record_accepted(
        self,
        feed: str,
        keys: Mapping[str, str],
        run_date: date,
        *,
        restated: bool = False,
        epoch: int | None = None,
    ) -> None:
        del restated, epoch
        have = self.accepted.setdefault(feed, {})
        have.update(
            {key: (sha, run_date) for key, sha in keys.items() if have.get(key, ("",))[0] != sha}
        )

    def run(self, run_date: date) -> RunRecord:
        return RunRecord(run_date, 1, None, self.known_at, "running", None, None)

    def last_published(self) -> SimpleNamespace | None:
        return SimpleNamespace(run_date=self.published[-1]) if self.published else None

    def is_published(self, run_date: date) -> bool:
        return run_date in self.published[-1:]

    def published_dates(self) -> list[date]:
        return list(self.published)

    def published_before(self, run_date: date) -> date | None:
        return next((d for d in reversed(self.published) if d < run_date), None)


@cache
def looked_back_for() -> frozenset[str]:
    """Return the datasets of which a process reads earlier runs than the one before."""
    return frozenset(d for _, spec in in_order() for d in spec.looks_back)


class MemoryLake:
    """Frames of the last two dates, each held against its contract, by dataset."""

    def __init__(self) -> None:
        self.frames: dict[date, dict[str, pl.DataFrame]] = {}
        self.old: dict[tuple[date, str], pl.DataFrame] = {}

    def write(
        self,
        run_date: date,
        process: str,
        tables: Mapping[str, pl.DataFrame],
        *,
        published: Mapping[str, str] | None = None,
    ) -> dict[str, Partition]:
        mine = self.frames.setdefault(run_date, {})
        for dataset, frame in tables.items():
            contract = dataset_contract(dataset)
            if frame.is_empty() and set(frame.columns) == set(contract.column_names) - RUN_DATE:
                mine[dataset] = contract.empty()
                continue
            dated = frame.with_columns(pl.lit(run_date, dtype=pl.Date).alias("run_date"))
            mine[dataset] = contract.enforce(dated)
        return {}

    def read(self, run_date: date, datasets: Iterable[str]) -> dict[str, pl.DataFrame]:
        if run_date not in self.frames:
            return {d: self.old.get((run_date, d), dataset_contract(d).empty()) for d in datasets}
        return {d: self.frames[run_date][d] for d in datasets}

    def forget_before(self, run_date: date) -> None:
        """Drop older frames but those that a later run may look back for."""
        kept = looked_back_for()
        for day in [d for d in self.frames if d < run_date]:
            filled = {d: f for d, f in self.frames[day].items() if d in kept and not f.is_empty()}
            self.old |= {(day, d): f for d, f in filled.items()}
            del self.frames[day]


class MemoryRun(Run):
    """A run whose inputs and outputs are frames in memory."""

    def __init__(self, owner: MemoryPlatform, run_date: date) -> None:
        lock = cast("RunLock", SimpleNamespace(epoch=1, check=lambda: None))
        super().__init__(owner.platform, lock, run_date)
        self._owner = owner
        self._day: Day | None = None

    def day(self, holidays: pl.DataFrame | None = None) -> Day:
        if holidays is not None:
            return self._day_by(holidays)
        if self._day is None:
            self._day = self._day_by(
                self.lake.read(self.run_date, ["core.holidays"])["core.holidays"]
            )
        return self._day

    def _day_by(self, holidays: pl.DataFrame) -> Day:
        control = self._owner.control
        calendars = Calendars.of(holidays.select("calendar_id", "holiday").iter_rows())
        cut_off = CutOff(control.cutoff, control.timezone)
        return Day(
            run_date=self.run_date,
            as_of=calendars.dealing.prev(self.run_date),
            currency=control.currency,
            cut_off=cut_off,
            known_at=cut_off.instant(self.run_date),
            calendars=calendars,
            event_clock=True,
        )

    def feed(self, feed: str, files: list[LandedFile]) -> pl.DataFrame:
        """As the shell's, with the frame that was typed when the file landed."""
        empty = _feed_frame(feed)
        frames = [
            self._owner.typed[file.sequence].with_columns(
                pl.lit(file.file_sha256).alias("file_sha256"),
                pl.lit(file.sequence, dtype=pl.Int64).alias("sequence"),
                pl.lit(file.received_at).dt.cast_time_unit("us").alias("landed_at"),
            )
            for file in files
            if file.feed == feed and file.verdict == "accepted"
        ]
        return pl.concat([empty, *[f.select(empty.columns) for f in frames]])

    def drain_inbox(self) -> None:
        """There is no inbox but files."""

    def left_the_inbox(self) -> list[Any]:
        return []

    def unproven(self, part: object, checks: list[CheckSpec]) -> list[str]:
        return []

    def published_files(self) -> dict[str, str]:
        return {}


def _feed_frame(feed: str) -> pl.DataFrame:
    origin: dict[str, Any] = {
        "row": pl.Int64,
        "file_sha256": pl.String,
        "sequence": pl.Int64,
        "landed_at": pl.Datetime("us", "UTC"),
    }
    return (
        contracts.feed(feed)
        .empty()
        .with_columns([pl.lit(None, dtype=dtype).alias(name) for name, dtype in origin.items()])
    )


# What is not there where nothing is sealed.
OF_SEALS = frozenset({"core.dealing_batches", "core.batch_states"})


def _of_seals(archetype: str, spec: ProcessSpec) -> bool:
    """Say whether a process seals, or needs to know what was sealed."""
    return archetype == "SealBatches" or not OF_SEALS.isdisjoint(spec.reads)


class MemoryPlatform:
    """One scheme in memory: `land` rows, `run` dates in order, read `frame`s and `outbox`.

    `seals`: also seal every batch (Merkle tree, signature). `violations` collects what blocking
    checks found; the run goes on, so that one history shows all of them.
    """

    def __init__(
        self,
        currency: str = "USD",
        cutoff: time = time(12),
        timezone: str = "Europe/London",
        *,
        seals: bool = False,
    ) -> None:
        self.control = MemoryControl(currency, cutoff, timezone)
        self.lake = MemoryLake()
        self.typed: dict[int, pl.DataFrame] = {}
        self.violations: list[Violation] = []
        self.checks = 0
        self.outbox: dict[tuple[str, str], bytes] = {}
        self.quarantined: list[tuple[str, str]] = []
        self._seals = seals
        self._accepted: set[tuple[str, str]] = set()
        self._books: Counter[tuple[str, str, str, str]] = Counter()
        self._decided: list[tuple[Any, ...]] = []
        self._folder = Path(tempfile.mkdtemp(prefix="acme-memory-"))
        home = Home(self._folder)
        home.keys.mkdir(parents=True)
        (home.root / "clock").write_text("event\n", "utf-8")
        self.platform = Platform(home, "", cast("Any", self.control), cast("Any", self.lake))

    def close(self) -> None:
        """Remove the keys' folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- files in ----------------------------------------------------------------------------

    def land(self, feed: str, rows: Sequence[Mapping[str, str]]) -> bool:
        """Judge and take the rows of one file; False where its contract quarantines it whole.

        The same bytes again have no effect (`rules §10`).
        """
        contract = contracts.feed(feed)
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, contract.column_names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        content = buffer.getvalue().encode()
        digest = (feed, hashlib.sha256(content).hexdigest())
        if digest in self._accepted:
            return True
        findings = Findings()
        context = landing_rules.Context(self.control.currency, cast("Any", self.control.known))
        rules = landing_rules.Rules(contract, context)
        known = landing._ReferenceRows(contract)
        frames = [pl.DataFrame(schema={**contract.polars_schema, "row": pl.Int64()})]
        for frame in csv_reading.typed_batches(
            contract, pa.py_buffer(content), has_quote=b'"' in content, findings=findings
        ):
            rules.check(frame, findings)
            known.take(frame)
            frames.append(frame)
        rules.finish(findings)
        typed = pl.concat(frames)
        verdict: Verdict = "quarantined" if findings.has_error else "accepted"
        file = self.control.register(feed, typed.height, verdict)
        if findings.has_error:
            self.quarantined.append((feed, str(findings.kept[0])))
            return False
        self._accepted.add(digest)
        self.typed[file.sequence] = typed
        held = landing_rules.repeats(contract, typed).conflicting if contract.key else None
        for kind, keys in known.keys(held, context).items():
            self.control.reference.setdefault(kind, {}).update(keys)
        return True

    # ---- running -----------------------------------------------------------------------------

    def run(self, run_date: date) -> list[Violation]:
        """Run and publish a date; the violations found on it."""
        before = len(self.violations)
        run = MemoryRun(self, run_date)
        for archetype, spec in in_order():
            if archetype == "PublishDate":
                self._publish(run, spec)
            elif self._seals or not _of_seals(archetype, spec):
                archetypes.EXECUTORS[archetype](run, spec)
            else:
                continue
            for check in spec.checks:
                self._judge(run, spec, check)
        self.control.published.append(run_date)
        self.lake.forget_before(run_date)
        for file in self.control.run_inputs(run_date):
            self.typed.pop(file.sequence, None)
        return self.violations[before:]

    def _judge(self, run: MemoryRun, spec: ProcessSpec, check: CheckSpec) -> None:
        self.checks += 1
        if check.engine == "dbt":
            found = self._refolded(run)
        else:
            failures = spec.check(check.name)(run.day(), run.inputs(check))
            found = failures.head(5).to_dicts()
        if found and check.blocking:
            self.violations.append(Violation(run.run_date, check.name, tuple(found)))

    def _refolded(self, run: MemoryRun) -> list[dict[str, Any]]:
        """Hold the balances against the sum of every posting there ever was (`rules §8.7`)."""
        columns = ["book", "account", "state", "asset_id", "quantity"]
        for book, account, state, asset, quantity in [
            *self._decided,
            *self.frame("stage.posted_postings").select(columns).iter_rows(),
        ]:
            self._books[book, account, state, asset] += quantity
        self._decided = []
        ours = {key: quantity for key, quantity in self._books.items() if quantity}
        told = {
            row[:4]: row[4]
            for row in self.frame("core.ledger_balances").select(columns).iter_rows()
        }
        return [
            {"balance": key, "folded": ours.get(key), "struck": told.get(key)}
            for key in sorted(ours.keys() | told.keys())
            if ours.get(key) != told.get(key)
        ][:5]

    def _publish(self, run: MemoryRun, spec: ProcessSpec) -> None:
        """What publishing sends: the files of every custodian."""
        wanted = [d for d in spec.reads if d not in OF_SEALS]
        frames = self.lake.read(run.run_date, wanted)
        self.outbox = {
            (sent.custodian_id, sent.file_name): sent.content
            for sent in archetypes._dispatches(run.day(), frames)
        }
        made = self.frame("core.ledger_postings").filter(pl.col("effective_date") == run.run_date)
        columns = ["book", "account", "state", "asset_id", "quantity"]
        self._decided = list(made.select(columns).iter_rows())

    # ---- figures -----------------------------------------------------------------------------

    def frame(self, dataset: str) -> pl.DataFrame:
        """Return a table of the newest run."""
        return self.lake.frames[max(self.lake.frames)][dataset]

    def sent(self, name: str = "instructions.csv") -> list[dict[str, str]]:
        """Return the rows of the files that left for all custodians on the newest date."""
        return [
            {"to": custodian, **row}
            for (custodian, file), content in sorted(self.outbox.items())
            if file == name
            for row in csv.DictReader(io.StringIO(content.decode()))
        ]
