"""Figures of published dates for a person: orders, netting, breaks, value, other processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal

import polars as pl

from acme.domain import pricing
from acme.domain import quantities as q
from acme.lakehouse.lake import Lake

READ = [
    "core.orders",
    "core.rebalancing_trades",
    "core.batch_lines",
    "core.journal_requests",
    "core.reconciliation_breaks",
    "core.check_results",
    "core.ledger_balances",
    "stage.price_book",
]
PENNY = Decimal("0.01")


@dataclass
class ProcessFigures:
    """What a process beside the business day did: dates it ran and failed, rows it wrote."""

    dates: int = 0
    failed: int = 0
    rows: int = 0


@dataclass
class Summary:
    """What happened over a span of dates; money in the scheme's currency, exact to the penny.

    Quantities are valued at the newest accepted price of each asset when the date ran.
    """

    first: date
    last: date
    currency: str
    dates_published: int = 0
    orders: int = 0
    rebalancing_trades: int = 0
    gross_traded: Decimal = Decimal(0)
    net_traded: Decimal = Decimal(0)
    breaks_found: int = 0
    breaks_open: int = 0
    checks_passed: int = 0
    checks: int = 0
    journals_booked: int = 0
    journals_rejected: int = 0
    value_at_start: Decimal = Decimal(0)
    value_at_end: Decimal = Decimal(0)
    processes: dict[str, ProcessFigures] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    @property
    def crossed_share(self) -> Decimal:
        """Return the part of the gross that crossed internally and never went out, in percent."""
        if not self.gross_traded:
            return Decimal(0)
        crossed = (self.gross_traded - self.net_traded) * 100 / self.gross_traded
        return crossed.quantize(Decimal("0.1"))

    def add(self, lake: Lake, run_date: date, as_of: date) -> None:
        """Add a published date; `as_of` is the business date before it."""
        frames = lake.read(run_date, READ)
        prices = dict(
            pricing.last_prices(frames["stage.price_book"], as_of)
            .select("asset_id", q.minor("closing_price"))
            .iter_rows()
        )
        self.dates_published += 1
        self.orders += frames["core.orders"].height
        self.rebalancing_trades += frames["core.rebalancing_trades"].height
        for asset, kind, buys, sells, net in (
            frames["core.batch_lines"]
            .select(
                "asset_id",
                "quantity_type",
                q.minor("gross_buys"),
                q.minor("gross_sells"),
                q.minor("net"),
            )
            .iter_rows()
        ):
            self.gross_traded += _worth(asset, kind, buys + sells, prices)
            self.net_traded += _worth(asset, kind, net, prices)
        breaks = frames["core.reconciliation_breaks"]
        self._seen |= set(breaks["break_id"])
        self.breaks_found = len(self._seen)
        self.breaks_open = breaks.filter(pl.col("state").is_in(["open", "explained"])).height
        checks = frames["core.check_results"]
        self.checks += checks.height
        self.checks_passed += checks.filter("passed").height
        booked = frames["core.journal_requests"]["state"] == "booked"
        self.journals_booked += int(booked.sum())
        self.journals_rejected += int((~booked).sum())
        value = self._value(frames["core.ledger_balances"], prices)
        if self.dates_published == 1:
            self.value_at_start = value
        self.value_at_end = value
        self.last = run_date

    def add_process(self, lake: Lake, run_date: date, name: str, writes: Iterable[str]) -> None:
        """Add a date that a process of another team ran, with what it wrote."""
        manifest = lake.manifest(run_date)
        figures = self.processes.setdefault(name, ProcessFigures())
        figures.dates += 1
        figures.rows += sum(manifest[dataset].rows for dataset in writes)

    def add_failure(self, name: str) -> None:
        """Add a date on which a process, or its team, failed."""
        self.processes.setdefault(name, ProcessFigures()).failed += 1

    def _value(self, balances: pl.DataFrame, prices: dict[str, int]) -> Decimal:
        held = (
            balances.filter(pl.col("account").str.starts_with("pot/"))
            .group_by("asset_id")
            .agg(q.minor("quantity").sum())
        )
        total = Decimal(0)
        for asset, quantity in held.iter_rows():
            kind = "A" if asset == self.currency else "U"
            total += _worth(asset, kind, quantity, prices)
        return total

    def as_json(self) -> dict[str, object]:
        """Return the figures as JSON values; money as text."""
        shown = {k: v for k, v in asdict(self).items() if not k.startswith("_")}
        shown["crossed_share_percent"] = self.crossed_share
        return {k: str(v) if isinstance(v, Decimal | date) else v for k, v in shown.items()}


def _worth(asset: str, quantity_type: str, quantity: int, prices: dict[str, int]) -> Decimal:
    """Return the worth of a ledger quantity (6 decimals) to the penny."""
    if quantity_type == "A":
        return Decimal(quantity).scaleb(-6).quantize(PENNY)
    return Decimal(q.consideration(quantity, prices.get(asset, 0))).scaleb(-2)
