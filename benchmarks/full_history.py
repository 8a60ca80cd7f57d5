"""The whole price history, day by day: three pots, all checks, every date.

`python -m benchmarks.full_history PRICES.csv` runs every business date of a file of closing prices
(columns `price_date,asset_id,currency,closing_price`) through the day's own processes in memory
(`tests.histories.runner`): a pot re-balanced daily, one re-balanced when it drifts, and a small
canary, each with a monthly contribution and a yearly withdrawal. The vendor's blemishes are sent as
they are. The custodians confirm, settle and state what they hold; every figure is exact.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from acme.domain.orders import order_id
from benchmarks.measuring import cpu_seconds, machine, terminal
from simulator.exact import cost, format_fixed, parse_fixed
from simulator.files import COLUMNS
from simulator.vendor import Vendor
from tests.histories.runner import MemoryPlatform

MODULE = "benchmarks.full_history"
CURRENCY, BONDS, SHARES, CANARY = "USD", "BONDS", "SHARES", "CANARY"
DECIMALS = 4
# Shares settled in three days until this date, in two from it on, as in their home market.
SHORTER = date(2017, 9, 5)
POTS = (
    ("DAILY", "DAILY", "live", "100000.00", "500.00", "3000.00"),
    ("DRIFT", "DRIFT", "live", "100000.00", "500.00", "3000.00"),
    ("CANARY-1", "DAILY", "canary", "1000.00", "5.00", "30.00"),
)
CASH_WEIGHT = 4
WITHDRAWAL_MONTH = 12
Row = tuple[str, ...]


@dataclass
class Custodian:
    """What the custodians are told, what they answer, and what they hold; minor units."""

    holdings: Counter[tuple[str, str]] = field(default_factory=Counter)
    coming: dict[date, list[Row]] = field(default_factory=dict)
    settling: dict[date, list[tuple[str, str, str, int, int]]] = field(default_factory=dict)

    def confirmations(self, day: date) -> list[Row]:
        """Return the events of a day, and take what settles on it into the books."""
        for custodian, cash_at, asset, units, pence in self.settling.pop(day, []):
            self.holdings[custodian, asset] += units
            self.holdings[cash_at, CURRENCY] += pence
        return self.coming.pop(day, [])

    def statements(self, day: date, custodians: Iterable[str]) -> list[Row]:
        """Return a whole statement of every custodian; an empty holding is a row without asset."""
        rows: list[Row] = []
        for custodian in custodians:
            held = sorted((a, n) for (c, a), n in self.holdings.items() if c == custodian and n)
            named = [(a, format_fixed(n, 2 if a == CURRENCY else DECIMALS)) for a, n in held] or [
                ("", "")
            ]
            head = (f"{custodian}-{day}", custodian, f"{day}", "settled", "1", "1")
            rows += [(*head, *line) for line in named]
        return rows

    def take(self, sent: dict[str, str], price: str, settles: date) -> None:
        """Execute an instruction at the closing price of its date; settle it on time."""
        instruction, units = sent["instruction_id"], parse_fixed(sent["units"], DECIMALS)
        pence = cost(units, DECIMALS, parse_fixed(price, 6))
        dealt, money = date.fromisoformat(sent["dealing_date"]), format_fixed(pence, 2)
        executed = (f"{instruction}-E", instruction, "executed", f"{dealt}", sent["units"], price)
        settled = (f"{instruction}-S", instruction, "settled", f"{settles}", sent["units"], "")
        self.coming.setdefault(dealt, []).append((*executed, money, f"{settles}", ""))
        self.coming.setdefault(settles, []).append((*settled, money, f"{settles}", ""))
        sign = 1 if sent["side"] == "B" else -1
        cash_at = CANARY if sent["custodian_id"] == CANARY else BONDS
        legs = (sent["custodian_id"], cash_at, sent["asset_id"], sign * units, -sign * pence)
        self.settling.setdefault(settles, []).append(legs)


@dataclass
class Told:
    """What the history comes to."""

    days: int = 0
    checks: int = 0
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    trades: Counter[str] = field(default_factory=Counter)
    paid_in: Counter[str] = field(default_factory=Counter)
    paid_out: Counter[str] = field(default_factory=Counter)
    values: dict[int, dict[str, int]] = field(default_factory=dict)
    breaks: Counter[str] = field(default_factory=Counter)
    overdrawn: set[tuple[date, str]] = field(default_factory=set)
    wall: float = 0
    cpu: float = 0


class FullHistory:
    """The scheme, its vendor and its custodians over the dates of one price file."""

    def __init__(self, prices: Path, days_max: int | None) -> None:
        self.vendor = Vendor(prices)
        calendar = self.vendor.calendar
        self.dates = calendar.dates(self.vendor.first, self.vendor.last)[: _stop(days_max)]
        with prices.open(encoding="utf-8", newline="") as file:
            self.funds = sorted({row["asset_id"] for row in csv.DictReader(file)})
        self.platform = MemoryPlatform(CURRENCY)
        self.custodian = Custodian()
        self.told = Told()
        self._asked: dict[str, str] = {}

    def settlement_days(self, fund: str, day: date) -> int:
        """Return the days of an asset's version: funds of bonds settle next day."""
        if fund in self.funds[1:3]:
            return 1
        return 2 if day >= SHORTER else 3

    def custodian_of(self, fund: str) -> str:
        """Return who holds a fund."""
        return BONDS if fund in self.funds[1:3] else SHARES

    def land(self, feed: str, rows: Iterable[Row]) -> bool:
        """Land rows as one file; nothing where there is none."""
        columns = COLUMNS[feed].split(",")
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        return not named or self.platform.land(feed, named)

    def begin(self) -> None:
        """Land the scheme as of the close of the first date of the file."""
        first, start = f"{self.dates[0]}", f"{self.dates[0].replace(day=1)}"
        closed = self.vendor.calendar.holidays
        self.land(
            "holidays", [(c, f"{d}", "closed") for c in ("DEALING", "MARKET") for d in closed]
        )
        rows = [
            (
                f,
                f,
                CURRENCY,
                self.custodian_of(f),
                "MARKET",
                f"{DECIMALS}",
                f"{self.settlement_days(f, valid)}",
                "0.10",
                "",
                f"{valid}",
            )
            for f in self.funds
            for valid in (date.fromisoformat(start), SHORTER)
        ]
        money = (CURRENCY, CURRENCY, CURRENCY, BONDS, "DEALING", "2", "0", "0", "", start)
        self.land("assets", [*rows, money])
        share = (100 - CASH_WEIGHT) // len(self.funds)
        cash = 100 - share * len(self.funds)
        weights = [(f, f"0.{share:02}") for f in self.funds] + [("CASH", f"0.{cash:02}")]
        profiles = ("DAILY", "DRIFT")
        self.land("risk_profiles", [(p, a, w, start) for p in profiles for a, w in weights])
        self.land(
            "risk_profile_parameters",
            [
                ("DAILY", "0", "0", "1.00", "daily", start),
                ("DRIFT", "0.02", "0.02", "10.00", "drift", start),
            ],
        )
        self.land("pots", [(p, f"M-{p}", profile, book, start) for p, profile, book, *_ in POTS])
        self.land("opening_positions", [(first, p, CURRENCY, cash) for p, _, _, cash, *_ in POTS])
        for pot, _, book, opening, *_ in POTS:
            at = CANARY if book == "canary" else BONDS
            self.custodian.holdings[at, CURRENCY] += parse_fixed(opening, 2)
            self.told.paid_in[pot] += parse_fixed(opening, 2)

    def day(self, run_date: date) -> None:
        """Land what arrives before a run, run it, and let the custodians act on it."""
        before = self.vendor.calendar.prev(run_date)
        for _, rows in self.vendor.files(run_date):
            if not self.land("closing_prices", rows):
                self.told.counts["price files quarantined (weekend)"] += 1
        self.land("orders", self._orders(run_date, before))
        confirmed = self.custodian.confirmations(before)
        self.told.counts["custodian events"] += len(confirmed)
        self.land("confirmations", confirmed)
        self.land("statements", self.custodian.statements(before, (BONDS, SHARES, CANARY)))
        found = self.platform.run(run_date)
        self.told.violations += [f"{v.run_date} {v.check}: {v.rows[0]}" for v in found]
        self._look(run_date, before)
        for sent in self.platform.sent():
            days = self.settlement_days(sent["asset_id"], run_date)
            price = self.vendor.price_text(run_date, sent["asset_id"])
            self.custodian.take(sent, price, self.vendor.calendar.step(run_date, days))
        for moved in self.platform.sent("cash.csv"):
            sign = 1 if moved["direction"] == "IN" else -1
            self.custodian.holdings[moved["to"], CURRENCY] += sign * parse_fixed(moved["amount"], 2)

    def _orders(self, run_date: date, before: date) -> list[Row]:
        if run_date.month == before.month:
            return []
        rows: list[Row] = []
        for pot, _, _, _, paid_in, paid_out in POTS:
            head = ("EMPLOYER", f"{pot}-{run_date}", f"{run_date}T08:00:00Z", pot)
            if run_date.month == WITHDRAWAL_MONTH:
                rows.append((*head, "withdrawal", "", "", "", paid_out, ""))
                self._asked[order_id(*head[:2])] = pot
            else:
                rows.append((*head, "contribution", "", "", "", paid_in, ""))
                self.told.paid_in[pot] += parse_fixed(paid_in, 2)
        return rows

    def _look(self, run_date: date, before: date) -> None:
        told, frame = self.told, self.platform.frame
        told.days += 1
        trades = frame("core.rebalancing_trades")
        told.trades.update(trades["pot_id"].to_list())
        told.counts["re-balancing orders"] += trades.height
        told.counts["instructions"] += frame("core.instructions").height
        lines = frame("core.batch_lines")
        told.counts["lines"] += lines.height
        told.counts["lines that cross"] += lines.filter(pl.col("crossed") > 0).height
        told.counts["allocations"] += frame("core.allocations").height
        told.counts["postings"] += frame("core.ledger_postings").height
        holds = frame("core.holds")
        told.counts["prices on hold, by date"] += holds.height
        breaks = frame("core.reconciliation_breaks").filter(pl.col("first_seen") == run_date)
        told.breaks.update(breaks["class"].to_list())
        balances = frame("core.ledger_balances").filter(pl.col("account").str.starts_with("pot/"))
        value: Counter[str] = Counter()
        rows = balances.select("account", "state", "asset_id", "quantity").iter_rows()
        for account, state, asset, quantity in rows:
            pot, minor = account.removeprefix("pot/"), int(quantity.scaleb(6))
            if asset == CURRENCY:
                value[pot] += minor // 10_000
                if minor < 0 and state == "settled":
                    told.overdrawn.add((run_date, pot))
            else:
                value[pot] += cost(minor, 6, self.vendor.price(before, asset))
        told.values[before.year] = dict(value)
        for moved in self.platform.sent("cash.csv"):
            if moved["direction"] == "OUT":
                pot = self._asked[moved["movement_id"]]
                told.paid_out[pot] += parse_fixed(moved["amount"], 2)
                told.counts["withdrawals paid"] += 1

    def run(self, console: Console) -> Told:
        """Run every date."""
        self.begin()
        wall, cpu = time.perf_counter(), cpu_seconds()
        columns = (
            *Progress.get_default_columns()[:1],
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("days", total=len(self.dates) - 1)
            before = self.dates[0]
            for run_date in self.dates[1:]:
                self.day(run_date)
                progress.update(task, advance=1, description=f"{run_date}")
                if self.told.violations:
                    break
                if run_date.year != before.year and not console.is_terminal:
                    console.print(
                        f"{run_date}: {self.told.days} days, no violation", highlight=False
                    )
                before = run_date
        self.told.wall, self.told.cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        self.told.checks = self.platform.checks
        return self.told


def _stop(days_max: int | None) -> int | None:
    return None if days_max is None else days_max + 1


def main(arguments: list[str] | None = None) -> None:
    """Run the history and print what it came to, as tables and as text for RESULTS.md."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("prices", type=Path, help="CSV of closing prices over the years")
    parser.add_argument("--days", type=int, default=None, help="only so many days")
    options = parser.parse_args(arguments)
    if not options.prices.is_file():
        parser.error(f"prices: expected a CSV file, found none at {options.prices}")
    console = terminal()
    console.print(machine())
    history = FullHistory(options.prices, options.days)
    try:
        told = history.run(console)
    finally:
        history.platform.close()
    console.print(_years(told))
    console.print()
    print(_text(history, told))
    if told.violations:
        raise SystemExit(1)


def _years(told: Told) -> Table:
    table = Table(title="value at the last close of each year")
    table.add_column("year")
    pots = [pot for pot, *_ in POTS]
    for pot in pots:
        table.add_column(pot, justify="right")
    for year, values in sorted(told.values.items()):
        table.add_row(f"{year}", *(_money(values.get(pot, 0)) for pot in pots))
    return table


def _money(pence: int) -> str:
    return f"{pence // 100:,}.{pence % 100:02}"


def _text(history: FullHistory, told: Told) -> str:
    """Return the figures as lines of Markdown."""
    last = history.dates[told.days - 1]
    final = told.values[last.year]
    lines = [
        (
            f"{told.days:,} run dates from {history.dates[1]} to {history.dates[told.days]},"
            f" {told.checks:,} checks evaluated, {len(told.violations)} violations."
        ),
        "",
        "| pot | paid in | paid out | value | re-balancing orders |",
        "|---|---|---|---|---|",
        *(
            f"| {pot} | {_money(told.paid_in[pot])} | {_money(told.paid_out[pot])}"
            f" | {_money(final.get(pot, 0))} |"
            f" {told.trades[pot]:,} |"
            for pot, *_ in POTS
        ),
        "",
        "| what | how many |",
        "|---|---|",
        *(f"| {name} | {number:,} |" for name, number in sorted(told.counts.items())),
        *(
            f"| breaks of class {name} | {number:,} |"
            for name, number in sorted(told.breaks.items())
        ),
        f"| pot days with settled cash below zero, each with its cause | {len(told.overdrawn):,} |",
        (
            f"| seconds | {told.wall:,.0f} ({told.cpu:,.0f} of CPU,"
            f" {1000 * told.wall / told.days:,.0f} ms a day) |"
        ),
        *(f"\nviolation: {violation}" for violation in told.violations),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    main()
