"""The shell around every process of the day: reads what it declares, runs it, writes what it made.

Knows partitions, feeds and accepted keys; knows no rule and no Dagster.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import ModuleType

import polars as pl

from acme.domain import holds
from acme.domain.calendars import Calendars, CutOff
from acme.domain.day import Day
from acme.domain.process import Check, Process
from acme.evidence import versions
from acme.lakehouse import contracts, intake
from acme.lakehouse.control import CheckOutcome, Control, LandedFile, Part, RunLock
from acme.lakehouse.failpoints import reach
from acme.lakehouse.home import event_clock
from acme.lakehouse.lake import Lake, Partition, dataset_contract
from acme.lakehouse.landing import read_landed
from acme.lakehouse.platform import Platform
from acme.operations.second_engine import recompute

PARTS: tuple[Part, ...] = ("morning", "dealing")
MORNING_STAGES = ("land", "post", "reconcile")


class DayRefusedError(Exception):
    """A date cannot be run now; the text says what must come first."""


@dataclass(frozen=True)
class CheckSpec:
    """A check as its process declares it."""

    name: str
    on: str
    description: str
    reads: tuple[str, ...]
    reads_previous: tuple[str, ...] = ()
    blocking: bool = True
    engine: str = "polars"


@dataclass(frozen=True)
class ProcessSpec:
    """A process as its folder declares it; `folder` is team/process."""

    folder: str
    stage: str
    reads: tuple[str, ...] = ()
    reads_previous: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    looks_back: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    checks: tuple[CheckSpec, ...] = field(default=())

    @property
    def part(self) -> Part:
        """Return the half of the day the process belongs to."""
        return "morning" if self.stage in MORNING_STAGES else "dealing"

    def module(self, name: str) -> ModuleType:
        """Return a module of the process's folder."""
        return importlib.import_module(f"assets.{self.folder.replace('/', '.')}.{name}")

    def function(self) -> Process:
        """Return the process's pure function."""
        run: Process = self.module("process").run
        return run

    def check(self, name: str) -> Check:
        """Return a check's pure function."""
        found: Check = getattr(self.module("checks"), name)
        return found


@dataclass
class Run:
    """One run of one date: the platform and the lock that admits it."""

    platform: Platform
    lock: RunLock
    run_date: date
    # What the last process wrote, for people to look at.
    outputs: dict[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def control(self) -> Control:
        """Return the control schema."""
        return self.platform.control

    @property
    def lake(self) -> Lake:
        """Return the lake."""
        return self.platform.lake

    def previous_date(self) -> date | None:
        """Return the run date before this one, None for the first ever."""
        return self.control.published_before(self.run_date)

    # ---- what a process may know ----------------------------------------------------------------

    def day(self, holidays: pl.DataFrame | None = None) -> Day:
        """Return the run's dates, clock and calendars; `holidays` default to the landed ones."""
        scheme = self.control.scheme()
        if holidays is None:
            holidays = self.lake.read(self.run_date, ["core.holidays"])["core.holidays"]
        calendars = Calendars.of(holidays.select("calendar_id", "holiday").iter_rows())
        cut_off = CutOff(scheme.cutoff, scheme.timezone)
        run = self.control.run(self.run_date)
        known_at = run.known_at if run is not None else None
        return Day(
            run_date=self.run_date,
            as_of=calendars.dealing.prev(self.run_date),
            currency=scheme.currency,
            cut_off=cut_off,
            known_at=known_at or cut_off.instant(self.run_date),
            calendars=calendars,
            event_clock=event_clock(self.platform.home),
        )

    def inputs(self, spec: ProcessSpec | CheckSpec) -> dict[str, pl.DataFrame]:
        """Return the frames a process or check declares, by the names it knows them by."""
        frames = self.lake.read(self.run_date, spec.reads)
        frames |= self.previous(spec.reads_previous)
        if isinstance(spec, ProcessSpec):
            files = self.control.run_inputs(self.run_date) if spec.feeds else []
            for feed in spec.feeds:
                frames[f"feed.{feed}"] = self.feed(feed, files)
            for feed in spec.accepted:
                frames[f"accepted.{feed}"] = self._accepted(feed, _keys_of(feed, spec, frames))
        return frames

    def previous(self, datasets: tuple[str, ...]) -> dict[str, pl.DataFrame]:
        """Return partitions of the run before this one; empty ones where there is none."""
        previous = self.previous_date()
        if previous is None:
            return {f"previous.{d}": dataset_contract(d).empty() for d in datasets}
        return {f"previous.{d}": f for d, f in self.lake.read(previous, datasets).items()}

    def history(self, dataset: str, dates: Iterable[date]) -> pl.DataFrame:
        """Return the partitions that published runs of `dates` wrote, `run_date` included."""
        frames = [self.lake.read(day, [dataset])[dataset] for day in sorted(dates)]
        return pl.concat([dataset_contract(dataset).empty(), *frames])

    def dates_since(self, since: date) -> list[date]:
        """Return the published dates from `since` to the run before this one."""
        return [d for d in self.control.published_dates() if since <= d < self.run_date]

    def feed(self, feed: str, files: list[LandedFile]) -> pl.DataFrame:
        """Return the rows of a feed's accepted files of this run, each with its origin."""
        contract = contracts.feed(feed)
        origin: dict[str, pl.DataType | type[pl.DataType]] = {
            "row": pl.Int64,
            "file_sha256": pl.String,
            "sequence": pl.Int64,
            "landed_at": pl.Datetime("us", "UTC"),
        }
        empty = contract.empty().with_columns(
            [pl.lit(None, dtype=dtype).alias(name) for name, dtype in origin.items()]
        )
        frames = [
            read_landed(self.platform.home, contract, file.file_sha256).with_columns(
                pl.col("row").cast(pl.Int64),
                pl.lit(file.file_sha256).alias("file_sha256"),
                pl.lit(file.sequence, dtype=pl.Int64).alias("sequence"),
                pl.lit(file.received_at).dt.cast_time_unit("us").alias("landed_at"),
            )
            for file in files
            if file.feed == feed and file.verdict == "accepted"
        ]
        rows = pl.concat([empty, *[f.select(empty.columns) for f in frames]])
        return self._at_their_own_times(feed, rows)

    def _at_their_own_times(self, feed: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows; those that left the inbox landed when they were committed there."""
        times = intake.TIMES.get(feed)
        shas = rows["file_sha256"].unique().to_list() if times else []
        own = intake.left_the_inbox(self.control, feed, shas) if shas else set()
        if times is None or not own:
            return rows
        mine = pl.col("file_sha256").is_in(sorted(own))
        return rows.with_columns(
            pl.when(mine).then(pl.col(times)).otherwise("landed_at").alias("landed_at")
        )

    def _accepted(self, feed: str, keys: pl.Series) -> pl.DataFrame:
        known = self.control.accepted_before(feed, keys.to_list(), self.run_date)
        return pl.DataFrame(
            list(known.items()),
            schema={"key": pl.String, "accepted_sha256": pl.String},
            orient="row",
        )

    # ---- the inbox ------------------------------------------------------------------------------

    def drain_inbox(self) -> None:
        """Land what the inbox holds; a date whose inputs are fixed keeps them."""
        recorded = self.control.run(self.run_date)
        if recorded is None or recorded.inputs_fixed_at is None:
            intake.drain(self.platform.home, self.control, self.run_date, self.lock)

    def left_the_inbox(self) -> list[intake.DrainedFile]:
        """Return what left the inbox for this date."""
        return intake.drained_files(self.control, self.run_date)

    # ---- running --------------------------------------------------------------------------------

    def execute(self, spec: ProcessSpec) -> dict[str, Partition]:
        """Run a process: read, compute, write; the partitions it wrote, by dataset."""
        outputs = spec.function()(self.day(), self.inputs(spec))
        return self.write(spec, outputs)

    def write(self, spec: ProcessSpec, outputs: Mapping[str, pl.DataFrame]) -> dict[str, Partition]:
        """Write a process's outputs, and record the keys it accepted.

        `accepted.FEED` holds keys that never change from then on, `restated.FEED` those that a
        later file may state anew.
        """
        keyed = ("accepted.", "restated.")
        tables = {name: frame for name, frame in outputs.items() if not name.startswith(keyed)}
        if set(tables) != set(spec.writes):
            odd = sorted(set(tables) ^ set(spec.writes))
            raise DayRefusedError(f"{spec.folder}: declares and writes different tables: {odd}")
        for name, frame in outputs.items():
            if name.startswith(keyed):
                how, _, feed = name.partition(".")
                reach("accepted.record:before")
                self.control.record_accepted(
                    feed,
                    dict(frame.select("key", "values_sha256").iter_rows()),
                    self.run_date,
                    restated=how == "restated",
                    epoch=self.lock.epoch,
                )
                reach("accepted.record:after")
        self.outputs = tables
        return self.lake.write(self.run_date, spec.folder, tables, published=self.published_files())

    def published_files(self) -> dict[str, str]:
        """Return the file hashes that this date was published with; none before that."""
        if not self.control.is_published(self.run_date):
            return {}
        return {d: p.sha256 for d, p in self.lake.manifest(self.run_date).items()}

    def sealing_versions(self) -> tuple[str, str]:
        """Return the versions of rules and code that a seal names.

        A batch is sealed once: a published date keeps the versions it was sealed with, so that
        newer code that computes the same figures finds the same seal.
        """
        if not self.control.is_published(self.run_date):
            return versions.rules_version(), versions.code_version()
        batches = self.lake.read(self.run_date, ["core.dealing_batches"])["core.dealing_batches"]
        return batches["rules_version"][0], batches["code_version"][0]

    def run_check(self, spec: ProcessSpec, check: CheckSpec) -> tuple[bool, pl.DataFrame]:
        """Run a check and record what it found together with the hashes of what it read."""
        if check.engine == "dbt":
            reach("engine.run:before")
            failures = recompute(self.platform, self.run_date, self.previous_date()).failures
            reach("engine.run:after")
        else:
            failures = spec.check(check.name)(self.day(), self.inputs(check))
        self.record(spec.part, check.name, failures, check.reads, blocking=check.blocking)
        return failures.is_empty(), failures

    def record(
        self,
        part: Part,
        name: str,
        failures: pl.DataFrame,
        reads: tuple[str, ...],
        *,
        blocking: bool,
    ) -> None:
        """Record a check's outcome, bound to the bytes of the partitions it judged."""
        manifest = self.lake.manifest(self.run_date)
        detail = {
            "inputs": {d: manifest[d].sha256 for d in sorted(reads)},
            "failures": failures.height,
            "blocking": blocking,
            "first": [
                {k: None if v is None else str(v) for k, v in row.items()}
                for row in failures.head(5).iter_rows(named=True)
            ],
        }
        outcome = CheckOutcome(name, failures.is_empty(), json.dumps(detail, sort_keys=True))
        reach("check.record:before")
        self.control.record_check(self.run_date, part, outcome, epoch=self.lock.epoch)
        reach("check.record:after")

    def unproven(self, part: Part, checks: list[CheckSpec]) -> list[str]:
        """Return what is wrong with the recorded outcomes of the blocking `checks` of a part.

        A check counts only if it passed on the bytes that are in the lake now.
        """
        manifest = self.lake.manifest(self.run_date)
        recorded = {o.check_name: o for o in self.control.outcome(self.run_date, part)}
        problems = []
        for check in checks:
            outcome = recorded.get(check.name)
            if outcome is None:
                problems.append(f"{check.name} has not run")
                continue
            detail = json.loads(outcome.detail)
            if not outcome.passed and check.blocking:
                problems.append(
                    f"{check.name} failed: {detail['failures']} rows, {detail['first']}"
                )
            elif any(manifest[d].sha256 != sha for d, sha in detail["inputs"].items()):
                problems.append(f"{check.name} judged other data than the lake holds now")
        return problems


def _keys_of(feed: str, spec: ProcessSpec, frames: Mapping[str, pl.DataFrame]) -> pl.Series:
    """Return the keys that the process may ask about: its rows of every feed of that key."""
    key = list(contracts.feed(feed).accepted_by)
    same = [f for f in spec.feeds if list(contracts.feed(f).accepted_by) == key]
    rows = pl.concat([frames[f"feed.{f}"].select(key) for f in same])
    return rows.select(holds.key_text(key)).to_series().unique()
