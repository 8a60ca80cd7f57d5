"""A small scheme driven day by day: rows are landed as files, dates are run, figures are read.

Two ways to run a date: `run` calls the executors of the processes one by one and judges every
blocking check, `job` goes through the Dagster job. Files carry the times (event clock).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import polars as pl

from acme.domain.orders import order_id
from acme.lakehouse import contracts
from acme.lakehouse.control import RunLock
from acme.lakehouse.hashing import content_hash
from acme.lakehouse.home import Clock, Home
from acme.lakehouse.lake import Lake, Partition
from acme.lakehouse.landing import LandingReport, land_file, sweep_inbox
from acme.lakehouse.platform import Platform, initialise, open_platform
from orchestration.archetypes import EXECUTORS
from orchestration.registry import in_order
from orchestration.runner import run_job
from orchestration.shell import ProcessSpec, Run

# The close of D0 is the start; D1 is a Monday and the first run. No holiday in between.
D0 = date(2024, 3, 1)
D1, D2, D3, D4, D5 = (date(2024, 3, day) for day in range(4, 9))
D6, D7 = date(2024, 3, 11), date(2024, 3, 12)

ASSETS = (
    "EQ,Equity,USD,NORTH,NORTH_CAL,4,2,0.10,0.25,2024-01-01",
    "BD,Bonds,USD,SOUTH,SOUTH_CAL,4,1,0.05,,2024-01-01",
    "USD,US dollar,USD,NORTH,DEALING,2,0,0,,2024-01-01",
)
# SPLIT and the like are re-balanced; SELF never is, so that its pots do only what they are told.
PROFILES = {
    "SPLIT": {"EQ": "0.5", "BD": "0.4", "CASH": "0.1"},
    "FULL": {"EQ": "0.6", "BD": "0.39", "CASH": "0.01"},
    "EQUITY": {"EQ": "0.9", "CASH": "0.1"},
    "HALF": {"EQ": "0.5", "CASH": "0.5"},
    "SELF": {"CASH": "1"},
}
# Tables of file hashes, and the columns by which others name a row's origin.
ABOUT_FILES = ("core.landed_files", "core.run_inputs", "core.publications")
ORIGIN = ("file_sha256", "row", "sequence")
PRICES = {"EQ": "10", "BD": "20"}


class CheckFailedError(AssertionError):
    """A blocking check found something."""


class ManifestLake(Lake):
    """The lake without its catalog, which no process reads: files and their manifest alone.

    Registering in DuckLake is two thirds of a small day; what this leaves out is tested in
    tests/faults on the whole lake.
    """

    def create(self) -> None:
        """Nothing to make."""

    def snapshot(self) -> int:
        """There is no catalog to count in."""
        return 0

    def _commit(self, run_date: date, process: str, changed: Mapping[str, Partition]) -> None:
        self._record(run_date, process, changed)


class Sender:
    """What third parties and custodians send, row by row."""

    def land(self, feed: str, *rows: str) -> object:
        """Take the rows of one file."""
        raise NotImplementedError

    def order(
        self,
        ref: str,
        day: date,
        pot: str,
        kind: str,
        *,
        asset: str = "",
        to: str = "",
        units: str = "",
        amount: str = "",
        profile: str = "",
        at: str = "09:00:00",
    ) -> str:
        """Land one order received on `day` at a London winter time; returns its order_id."""
        self.land(
            "orders", f"T,{ref},{day}T{at}Z,{pot},{kind},{asset},{to},{units},{amount},{profile}"
        )
        return order_id("T", ref)

    def executed(
        self, ref: str, instruction: str, day: date, units: str, price: str, consideration: str
    ) -> None:
        """Land one execution."""
        self.land(
            "confirmations", f"{ref},{instruction},executed,{day},{units},{price},{consideration},,"
        )

    def settled(
        self, ref: str, instruction: str, day: date, units: str, consideration: str
    ) -> None:
        """Land one settlement."""
        self.land(
            "confirmations", f"{ref},{instruction},settled,{day},{units},,{consideration},{day},"
        )

    def told(self, ref: str, instruction: str, event: str, day: date) -> None:
        """Land an event without quantities: rejected, cancelled, failed."""
        self.land("confirmations", f"{ref},{instruction},{event},{day},,,,,")

    def statement(
        self,
        ref: str,
        custodian: str,
        day: date,
        *rows: str,
        basis: str = "settled",
        page: int = 1,
        pages: int = 1,
    ) -> None:
        """Land a page of a statement; rows are `asset,units`, none is an empty holding."""
        self.land(
            "statements",
            *[f"{ref},{custodian},{day},{basis},{page},{pages},{row}" for row in rows or (",",)],
        )


class Scenario(Sender):
    """One installation with its own database; `land` files, `run` dates, ask for figures."""

    def __init__(
        self,
        root: Path,
        url: str,
        *,
        catalog: bool = False,
        made: bool = False,
        engine: bool = True,
        clock: Clock = "event",
    ) -> None:
        """Initialise; `url` is a migrated database. With `catalog` the whole lake is there.

        One that is `made` is opened only. The second engine needs the catalog, and `engine`.
        """
        os.environ |= {
            "ACME_HOME": str(root),
            "ACME_CLOCK": clock,
            "ACME_POSTGRES_URL": url,
            "ACME_RUN_WAIT_SECONDS": "60",
        }
        with ExitStack() as stack:
            if not catalog:
                stack.enter_context(patch("acme.lakehouse.platform.Lake", ManifestLake))
                stack.enter_context(patch("acme.lakehouse.migrate.migrate"))
            self.platform: Platform = (
                open_platform(Home(root))
                if made
                else initialise(Home(root), "USD", time(12), "Europe/London")
            )
        self._engine = catalog and engine
        self.home = self.platform.home
        self._files = 0

    def close(self) -> None:
        """Let go of the database."""
        self.platform.lake.close()
        self.platform.control.close()

    # ---- files in ----------------------------------------------------------------------------

    def land(self, feed: str, *rows: str, ok: bool = True) -> LandingReport:
        """Land rows as one file of a feed; by default it must be accepted."""
        self._files += 1
        header = ",".join(contracts.feed(feed).column_names)
        path = self.home.root / f"{self._files:04}_{feed}.csv"
        path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
        report = land_file(self.home, self.platform.control, feed, path)
        path.unlink()
        assert not ok or report.verdict == "accepted", report
        return report

    def reference(
        self,
        pots: dict[str, str],
        opening: dict[str, dict[str, str]] | None = None,
        *,
        holidays: Sequence[str] = (),
        assets: Sequence[str] = (),
        canary: Sequence[str] = (),
        as_of: date = D0,
    ) -> None:
        """Land the scheme: pot → profile, pot → asset → units, and the prices of `as_of`."""
        if holidays:
            self.land("holidays", *[f"DEALING,{day},Holiday" for day in holidays])
        self.land("assets", *ASSETS, *assets)
        self.land(
            "risk_profiles",
            *[f"{p},{a},{w},2024-01-01" for p, ws in PROFILES.items() for a, w in ws.items()],
        )
        self.land(
            "risk_profile_parameters",
            *[
                f"{p},0.05,0.05,10.00,{'none' if p == 'SELF' else 'drift'},2024-01-01"
                for p in PROFILES
            ],
        )
        book = {pot: "canary" if pot in canary else "live" for pot in pots}
        self.land("pots", *[f"{p},M-{p},{f},{book[p]},2024-01-01" for p, f in pots.items()])
        rows = [
            f"{as_of},{p},{a},{u}" for p, held in (opening or {}).items() for a, u in held.items()
        ]
        if rows:
            self.land("opening_positions", *rows)
        self.prices(as_of)

    def prices(self, day: date, **prices: str) -> LandingReport:
        """Land closing prices of a day, `PRICES` where not given; empty leaves an asset out."""
        wanted = {asset: price for asset, price in (PRICES | prices).items() if price}
        return self.land("closing_prices", *[f"{day},{a},USD,{p}" for a, p in wanted.items()])

    # ---- running -----------------------------------------------------------------------------

    @contextmanager
    def admitted(self, day: date) -> Iterator[Run]:
        """Hold the lock of a date."""
        with RunLock(self.platform.url, day, wait_seconds_max=60) as lock:
            self.platform.lake.fence = lock
            yield Run(self.platform, lock, day)

    def run(self, day: date) -> None:
        """Run a date, process by process; raises `CheckFailedError` as Dagster would stop."""
        with self.admitted(day) as run:
            for archetype, spec in in_order():
                EXECUTORS[archetype](run, spec)
                judge(run, spec, second_engine=self._engine)

    def job(self, day: date, name: str = "business_day") -> None:
        """Run a date through its Dagster job, on an instance of its own."""
        with dg.DagsterInstance.ephemeral() as instance:
            run_job(self.platform, day, name, on=instance)

    def sweep(self) -> list[LandingReport]:
        """Land what lies in the inbox."""
        return sweep_inbox(self.home, self.platform.control)

    # ---- figures -----------------------------------------------------------------------------

    def frame(self, dataset: str, day: date) -> pl.DataFrame:
        """Return a table of a run, `core.` unless a schema is named."""
        name = dataset if "." in dataset else f"core.{dataset}"
        return self.platform.lake.read(day, [name])[name]

    def rows(self, dataset: str, day: date, *columns: str) -> list[tuple[object, ...]]:
        """Return columns of a table of a run, sorted."""
        return sorted(self.frame(dataset, day).select(columns).rows(), key=str)

    def balances(self, day: date, account: str) -> dict[tuple[str, str], Decimal]:
        """Return (state, asset) → quantity of an account as the run of `day` struck it."""
        frame = self.frame("ledger_balances", day).filter(pl.col("account") == account)
        return {(s, a): u for s, a, u in frame.select("state", "asset_id", "quantity").rows()}

    def pot(self, day: date, pot: str) -> dict[tuple[str, str], Decimal]:
        """Return the balances of a pot as the run of `day` struck them."""
        return self.balances(day, f"pot/{pot}")

    def moves(self, day: date, order: str) -> list[tuple[str, str | None]]:
        """Return the states an order came to in a run, each with its reason."""
        frame = self.frame("order_events", day).filter(pl.col("order_id") == order)
        return frame.sort("sequence").select("to_state", "reason").rows()

    def instructions(self, day: date) -> dict[str, str]:
        """Return what went out on a date: instruction id → units or amount, as written."""
        rows = [
            line.split(",")
            for path in sorted(self.home.outbox.glob(f"*/{day}/instructions.csv"))
            for line in path.read_text("utf-8").splitlines()[1:]
        ]
        return {row[0]: row[7] or row[8] for row in rows}

    def cash_file(self, day: date, custodian: str = "NORTH") -> list[str]:
        """Return the rows of a date's cash.csv without the value date and the currency."""
        path = self.home.outbox / custodian / str(day) / "cash.csv"
        lines = [line.split(",") for line in path.read_text("utf-8").splitlines()[1:]]
        return [f"{movement} {direction} {amount}" for movement, _, direction, amount, _ in lines]

    def trades(self, day: date) -> dict[tuple[str, str], Decimal]:
        """Return (pot, asset) → signed units of re-balancing."""
        frame = self.frame("rebalancing_trades", day)
        return {
            (pot, asset): units if side == "B" else -units
            for pot, asset, side, units in frame.select(
                "pot_id", "asset_id", "side", "units"
            ).rows()
        }

    def outcomes(self, day: date, pot: str) -> dict[str, str]:
        """Return asset ('' = the pot itself) → outcome of re-balancing."""
        frame = self.frame("rebalancing_decisions", day).filter(pl.col("pot_id") == pot)
        return dict(frame.select("asset_id", "outcome").iter_rows())

    def breaks(self, day: date) -> list[tuple[object, ...]]:
        """Return (custodian, asset, class, state) of every break but missing statements."""
        frame = self.frame("reconciliation_breaks", day)
        named = frame.filter(pl.col("class") != "stale_statement")
        return sorted(named.select("custodian_id", "asset_id", "class", "state").rows(), key=str)

    def hashes(self, day: date, schemas: Iterable[str] = ("core",)) -> dict[str, str]:
        """Return the content hash of every table of a run."""
        wanted = [c for c in contracts.all_tables() if c.schema_name in schemas]
        written = self.platform.lake.manifest(day)
        frames = self.platform.lake.read(day, [c.dataset for c in wanted if c.dataset in written])
        return {
            c.dataset: content_hash(c, frames[c.dataset]) for c in wanted if c.dataset in frames
        }

    def figures(self, day: date) -> dict[str, str]:
        """Return a hash of every core table of a run without what names files and their rows.

        Other row orders make other files, and so other hashes of files; every figure is the same.
        """
        told = {}
        for dataset in self.hashes(day):
            if dataset in ABOUT_FILES:
                continue
            hashed = {c.name for c in contracts.table(*dataset.split(".")).hashed_columns}
            frame = self.frame(dataset, day)
            kept = frame.select(c for c in frame.columns if c in hashed and c not in ORIGIN)
            text = kept.sort(kept.columns).write_csv()
            told[dataset] = hashlib.sha256(text.encode()).hexdigest()
        return told

    def keep_keys_of(self, other: Path) -> None:
        """Take the salt and signing key of another home: seals depend on them."""
        shutil.copytree(other / "keys", self.home.keys, dirs_exist_ok=True)

    def outbox(self) -> dict[str, bytes]:
        """Return every file that has left, by its path in the outbox."""
        return {
            path.relative_to(self.home.outbox).as_posix(): path.read_bytes()
            for path in sorted(self.home.outbox.rglob("*"))
            if path.is_file()
        }


class Before(Sender):
    """What arrives before one run of a history: one file per feed."""

    def __init__(self) -> None:
        self.rows: dict[str, list[str]] = {}

    def land(self, feed: str, *rows: str) -> object:
        """Keep the rows for the feed's one file."""
        self.rows.setdefault(feed, []).extend(rows)
        return None


class History:
    """Stories that share one installation and its runs, each with assets and pots of its own.

    Every price is 10 unless said otherwise; nothing of one story can meet another's.
    """

    def __init__(self, days: Sequence[date]) -> None:
        self.days = list(days)
        self.assets: list[str] = []
        self.profiles: dict[str, dict[str, str]] = {"SELF": {"CASH": "1"}}
        self.pots: list[str] = []
        self.opening: list[str] = []
        self.files = {day: Before() for day in days}
        self._prices: dict[tuple[date, str], tuple[str, ...]] = {}
        self._ids: list[str] = []

    def asset(
        self,
        asset: str,
        *,
        custodian: str = "NORTH",
        settles: int = 2,
        stress: str = "0.10",
        limit: str = "",
    ) -> None:
        """Add an asset of 4 unit decimals."""
        self.assets.append(
            f"{asset},{asset},USD,{custodian},CAL,4,{settles},{stress},{limit},2024-01-01"
        )
        self._ids.append(asset)

    def profile(self, profile: str, **weights: str) -> None:
        """Add a profile that is re-balanced on drift: bands 0.05, min_trade 10.00."""
        self.profiles[profile] = weights

    def pot(self, pot: str, profile: str = "SELF", **held: str) -> None:
        """Add a pot and what it holds at the close of D0."""
        self.pots.append(f"{pot},M-{pot},{profile},live,2024-01-01")
        self.opening += [f"{D0},{pot},{asset},{units}" for asset, units in held.items()]

    def price(self, day: date, asset: str, *prices: str) -> None:
        """Say what the price file of a day has for an asset; nothing leaves it out."""
        self._prices[day, asset] = prices

    def before(self, day: date) -> Before:
        """Return what arrives before the run of a day."""
        return self.files[day]

    def play(self, scenario: Scenario) -> Scenario:
        """Land everything, run every date."""
        scenario.land("assets", *self.assets, "USD,US dollar,USD,NORTH,DEALING,2,0,0,,2024-01-01")
        weights = [(p, a, w) for p, ws in self.profiles.items() for a, w in ws.items()]
        scenario.land("risk_profiles", *[f"{p},{a},{w},2024-01-01" for p, a, w in weights])
        scenario.land(
            "risk_profile_parameters",
            *[
                f"{p},0.05,0.05,10.00,{'none' if p == 'SELF' else 'drift'},2024-01-01"
                for p in self.profiles
            ],
        )
        scenario.land("pots", *self.pots)
        scenario.land("opening_positions", *self.opening)
        close = D0
        for day in self.days:
            scenario.land("closing_prices", *self._price_rows(close))
            for feed, rows in self.files[day].rows.items():
                scenario.land(feed, *rows)
            scenario.run(day)
            close = day
        return scenario

    def _price_rows(self, day: date) -> list[str]:
        return [
            f"{day},{asset},USD,{price}"
            for asset in self._ids
            for price in self._prices.get((day, asset), ("10",))
        ]


def judge(run: Run, spec: ProcessSpec, *, second_engine: bool = True) -> None:
    """Run the checks of a process; raise where a blocking one found something.

    The second engine reads the catalog: without one its check is recorded as passed, unseen.
    """
    for check in spec.checks:
        if check.engine == "dbt" and not second_engine:
            nothing = pl.DataFrame()
            run.record(spec.part, check.name, nothing, check.reads, blocking=check.blocking)
            continue
        passed, failures = run.run_check(spec, check)
        if not passed and check.blocking:
            raise CheckFailedError(f"{check.name}: {failures.head(5).to_dicts()}")


def d(text: str) -> Decimal:
    """Return an exact quantity."""
    return Decimal(text)
