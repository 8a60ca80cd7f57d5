"""The platform and the independent reference on one case, compared after each day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any, Protocol

import polars as pl

from tests.histories.case import Case
from tests.histories.runner import Violation
from tests.histories.world import CURRENCY, File

# What is compared of a day; the reference's result has a mapping or set of each name.
TABLES = (
    "balances",
    "allocations",
    "orders",
    "trades",
    "instructions",
    "cash",
    "breaks",
    "suspended",
    "journals",
)
SHOWN = 12


class Reference(Protocol):
    """What is asked of the independent implementation."""

    def land(self, feed: str, rows: list[dict[str, str]]) -> object:
        """Take the rows of one file."""

    def day(self, run_date: date) -> Any:
        """Run a date and return its figures."""


@dataclass
class Difference:
    """The first date on which something differs, and what."""

    run_date: date
    found: dict[str, list[tuple[Any, Any, Any]]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    failed: str = ""

    def kinds(self) -> set[str]:
        """Return what differs, in words that shrinking can hold on to."""
        kinds = set(self.found) | {f"check {v.split(':')[0]}" for v in self.violations}
        return kinds | ({f"raised {self.failed.split(':')[0]}"} if self.failed else set())

    def text(self) -> str:
        """Return the difference for people: key, platform, reference."""
        lines = [f"first difference on {self.run_date}"]
        for table, rows in self.found.items():
            lines.append(f"  {table}: {len(rows)} differ (key, platform, reference)")
            lines += [
                f"    {key}: {_plain(ours)} | {_plain(theirs)}"
                for key, ours, theirs in rows[:SHOWN]
            ]
        lines += [f"  violated: {text}" for text in self.violations[:SHOWN]]
        if self.failed:
            lines.append(f"  raised: {self.failed}")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value) if value.denominator > 10**9 else f"{float(value):f}"
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    return value


class Player:
    """Plays a case on the platform and, where given, on the reference; stops at a difference."""

    def __init__(
        self,
        case: Case,
        reference: Reference | None,
        outcomes: Counter[str] | None = None,
    ) -> None:
        self.platform = case.platform()
        self.reference = reference
        self.outcomes: Counter[str] = Counter() if outcomes is None else outcomes
        self.orders: dict[str, tuple[str, str]] = {}
        self.allocations: dict[str, tuple[Fraction, Fraction]] = {}
        self.closed: set[str] = set()
        self.journals: dict[str, tuple[str, str]] = {}

    def close(self) -> None:
        """Let go of the platform."""
        self.platform.close()

    def day(self, run_date: date, files: list[File]) -> Difference | None:
        """Land the files of a date on both, run it on both, compare."""
        for feed, rows in files:
            self.platform.land(feed, rows)
            if self.reference is not None:
                self.reference.land(feed, [dict(row) for row in rows])
        try:
            violations = self.platform.run(run_date)
        except Exception as error:  # noqa: BLE001  whatever a day dies of is a finding
            return Difference(run_date, failed=f"{type(error).__name__}: {error}")
        ours = self.figures(run_date)
        difference = Difference(run_date, violations=[_violated(v) for v in violations])
        if self.reference is not None:
            try:
                theirs = self.reference.day(run_date)
            except Exception as error:  # noqa: BLE001
                failed = f"reference {type(error).__name__}: {error}"
                return Difference(run_date, failed=failed)
            difference.found = compared(ours, theirs)
        return difference if difference.kinds() else None

    def figures(self, run_date: date) -> dict[str, Any]:
        """Return the day's figures in the terms of the reference, and count what came about."""
        frame = self.platform.frame
        events = frame("core.order_events").sort("order_id", "sequence")
        for order, state, reason in events.select("order_id", "to_state", "reason").iter_rows():
            # Why an order is `unknown` has no word in the rules.
            self.orders[order] = (state, "" if state == "unknown" else reason or "")
            self.outcomes[f"order {state}" + (f" ({reason})" if reason else "")] += 1
        for order, units, money in (
            frame("core.allocations").select("order_id", "units", "consideration").iter_rows()
        ):
            self.allocations[order] = (Fraction(units), Fraction(money))
        self._count_journals()
        breaks: dict[tuple[str, str, str, str], set[str]] = {}
        rows = frame("core.reconciliation_breaks").select(
            "book", "custodian_id", "asset_id", "class", "state", "first_seen"
        )
        for book, custodian, asset, kind, state, seen in rows.iter_rows():
            breaks.setdefault((book, custodian, asset or "", kind), set()).add(state)
            self.outcomes[f"break {kind}"] += seen == run_date
        for outcome, number in (
            frame("core.rebalancing_decisions").group_by("outcome").len().iter_rows()
        ):
            self.outcomes[f"re-balancing: {outcome}"] += number
        self.outcomes["line that crosses"] += (
            frame("core.batch_lines").filter(pl.col("crossed") > 0).height
        )
        self.outcomes["reversal"] += (
            frame("core.ledger_journals").filter(pl.col("kind") == "reversal").height
        )
        self.outcomes["balance in suspense"] += (
            frame("core.ledger_balances")
            .filter(pl.col("account").str.starts_with("suspense/"))
            .height
        )
        overdrawn = frame("core.ledger_balances").filter(
            pl.col("account").str.starts_with("pot/")
            & (pl.col("asset_id") == CURRENCY)
            & (pl.col("state") == "settled")
            & (pl.col("quantity") < 0)
        )
        closed = set(frame("core.pots").filter(pl.col("status") == "closed")["pot_id"])
        self.outcomes["pot closed"] += len(closed - self.closed)
        self.closed |= closed
        self.outcomes["overdrawn pot"] += overdrawn.height
        return {
            "balances": {
                row[:4]: Fraction(row[4])
                for row in frame("core.ledger_balances")
                .select("book", "account", "state", "asset_id", "quantity")
                .iter_rows()
            },
            "allocations": self.allocations,
            "orders": self.orders,
            "trades": {
                (pot, asset): (side, Fraction(units))
                for pot, asset, side, units in frame("core.rebalancing_trades")
                .select("pot_id", "asset_id", "side", "units")
                .iter_rows()
            },
            "instructions": {
                row["instruction_id"]: (_number(row["units"]), _number(row["amount"]))
                for row in self.platform.sent()
            },
            "cash": {
                row["movement_id"]: (row["direction"], Fraction(row["amount"]))
                for row in self.platform.sent("cash.csv")
            },
            "breaks": breaks,
            "suspended": set(frame("core.suspended_assets").select("book", "asset_id").iter_rows()),
            "journals": self.journals,
        }

    def _count_journals(self) -> None:
        requests = self.platform.frame("core.journal_requests")
        for source, ref, kind, state, reason in requests.select(
            "source", "journal_ref", "kind", "state", "reason"
        ).iter_rows():
            self.journals[f"{source}/{ref}"] = (state, reason or "")
            self.outcomes[f"journal {kind}: {reason or state}"] += 1


def _number(text: str) -> Fraction | None:
    return Fraction(text) if text else None


def _violated(violation: Violation) -> str:
    return f"{violation.check}: {violation.rows[0]}"


def compared(ours: Mapping[str, Any], theirs: Any) -> dict[str, list[tuple[Any, Any, Any]]]:
    """Return table → (key, platform's, reference's) of everything that differs."""
    found = {}
    for table in TABLES:
        mine, other = ours[table], getattr(theirs, table)
        if isinstance(mine, set):
            mine, other = dict.fromkeys(mine, "yes"), dict.fromkeys(other, "yes")
        mine = {k: _even(v) for k, v in mine.items()}
        other = {k: _even(v) for k, v in other.items()}
        if table == "allocations":
            mine, other = _of_something(mine), _of_something(other)
        differing = [
            (key, mine.get(key), other.get(key))
            for key in sorted(mine.keys() | other.keys(), key=str)
            if mine.get(key) != other.get(key)
        ]
        if differing:
            found[table] = differing
    if theirs.violations:
        found["violations seen by the reference"] = [
            (str(v), None, None) for v in theirs.violations
        ]
    return found


def _of_something(allocations: dict[str, Any]) -> dict[str, Any]:
    """Return the allocations without those of nothing, which one side may keep, one may not."""
    return {k: v for k, v in allocations.items() if any(v)}


def _even(value: Any) -> Any:
    """Bring numbers and reasons of both sides to one form."""
    if isinstance(value, tuple):
        return tuple(_even(v) for v in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(value)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else Fraction(value)


def replay(case: Case, make: Callable[[Case], Reference | None]) -> Difference | None:
    """Play a case as it lies there; its first difference."""
    player = Player(case, make(case))
    try:
        for run_date, files in case.days:
            difference = player.day(run_date, files)
            if difference is not None:
                return difference
    finally:
        player.close()
    return None
