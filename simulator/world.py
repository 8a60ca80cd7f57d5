"""The whole outside world over a span of dates: what it drops before each run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import cached_property
from pathlib import Path

from simulator.custodian import Custodians
from simulator.files import Inbox
from simulator.gateway import OrderGateway
from simulator.members import Members
from simulator.orders import Orders, Rates
from simulator.other_processes import OtherProcesses, standing_files
from simulator.scheme import (
    CALENDARS,
    CUSTODIANS,
    FUNDS,
    Row,
    asset_rows,
    parameter_rows,
    profile_rows,
)
from simulator.statements import statement_rows
from simulator.vendor import Vendor


class World:
    """Members, employers, vendor and custodians around the platform whose home is ``home``.

    Everything dropped follows from ``seed``, ``pots``, ``first``, the rates and the outbox; not
    from ``last``, the folder or the clock. Calling again drops equal bytes again. ``shuffle``
    permutes the rows of every file. With ``gateway`` orders go there instead of into files. With
    ``others`` there is also what processes beside the business day live from, and income is paid,
    which one of them must book. Raises ``ValueError`` for dates outside the sample.
    """

    def __init__(
        self,
        home: Path,
        seed: int,
        pots: int,
        first: date,
        last: date,
        *,
        shuffle: int | None = None,
        rates: Rates | None = None,
        gateway: OrderGateway | None = None,
        others: bool = False,
    ) -> None:
        self._vendor = Vendor()
        self._calendar = self._vendor.calendar
        self._require_span(first, last)
        if pots < 1:
            msg = f"pots: expected at least 1, got {pots}"
            raise ValueError(msg)
        self._dates = self._calendar.dates(first, last)
        self._first = self._dates[0]
        self._home = home
        self._seed = seed
        self._pots = pots
        self._rates = rates or Rates()
        self._inbox = Inbox(home, shuffle)
        self._gateway = gateway
        self._has_others = others

    def _require_span(self, first: date, last: date) -> None:
        earliest = self._calendar.next(self._vendor.first)
        if not earliest <= first <= last <= self._vendor.last:
            msg = (
                f"dates: expected {earliest} <= first <= last <= {self._vendor.last} "
                f"(the prices of the sample), got {first} to {last}"
            )
            raise ValueError(msg)
        if not self._calendar.dates(first, last):
            msg = f"dates: expected a business date from {first} to {last}, got none"
            raise ValueError(msg)

    @property
    def opening_date(self) -> date:
        """The business date before the first: prices and positions of its close are the start."""
        return self._calendar.prev(self._first)

    @cached_property
    def _members(self) -> Members:
        prices = {fund: self._vendor.price(self.opening_date, fund) for fund in FUNDS}
        return Members(self._seed, self._pots, prices)

    @cached_property
    def _orders(self) -> Orders:
        return Orders(self._seed, self._members, self._calendar, self._first, self._rates)

    @cached_property
    def _custodians(self) -> Custodians:
        return Custodians(
            outbox=self._home / "outbox",
            seed=self._seed,
            first=self._first,
            calendar=self._calendar,
            price_text=self._vendor.price_text,
            opening=self._members.holdings(),
            incomes=self._others.incomes if self._others is not None else None,
        )

    @cached_property
    def _others(self) -> OtherProcesses | None:
        if not self._has_others:
            return None
        return OtherProcesses(self._seed, self._members, self._calendar, self._first)

    def business_dates(self) -> list[date]:
        """The run dates from first to last, in order."""
        return list(self._dates)

    def reference(self) -> list[Path]:
        """Drops calendars, assets, profiles, parameters, pots and opening positions.

        With others also who may ask for journals, and rates of charges and fees.
        """
        holidays = (
            (calendar_id, day.isoformat(), "Market holiday")
            for calendar_id in CALENDARS
            for day in self._calendar.holidays
        )
        files: tuple[tuple[str, Iterable[Row]], ...] = (
            ("holidays", holidays),
            ("assets", asset_rows()),
            ("risk_profiles", profile_rows()),
            ("risk_profile_parameters", parameter_rows()),
            ("pots", self._members.pot_rows()),
            ("opening_positions", self._members.opening_rows(self.opening_date)),
            *(standing_files() if self._has_others else ()),
        )
        return _present(self._inbox.drop(feed, f"{feed}.csv", rows) for feed, rows in files)

    def before(self, run_date: date) -> list[Path]:
        """Drops everything that arrives before the run of ``run_date``; returns the files.

        Raises ``OutboxError`` where an earlier date was not dispatched, before dropping any.
        """
        self._require_run(run_date)
        self._custodians.close(self._calendar.prev(run_date))
        return [
            *self.prices_before(run_date),
            *self.orders_before(run_date),
            *self.custodians_before(run_date),
            *self.others_before(run_date),
        ]

    def prices_before(self, run_date: date) -> list[Path]:
        """Drops the vendor's files alone."""
        self._require_run(run_date)
        return _present(
            self._inbox.drop("closing_prices", name, rows)
            for name, rows in self._vendor.files(run_date)
        )

    def orders_before(self, run_date: date) -> list[Path]:
        """Drops, or sends, the employers' and platforms' orders alone; reads no outbox.

        Raises ``GatewayError`` where a gateway does not accept them.
        """
        self._require_run(run_date)
        if self._gateway is not None:
            for source, name, rows in self._orders.sent(run_date):
                self._gateway.send(source, name, self._inbox.permuted("orders", name, rows))
            return []
        return _present(
            self._inbox.drop("orders", name, rows) for name, rows in self._orders.files(run_date)
        )

    def custodians_before(self, run_date: date) -> list[Path]:
        """Drops the custodians' answers and statements alone."""
        self._require_run(run_date)
        day = self._calendar.prev(run_date)
        dropped = [self._confirmations(custodian_id, day) for custodian_id in CUSTODIANS]
        plan = self._custodians.plan
        if day > self.opening_date:
            # What should have come with the previous business date.
            earlier = self._calendar.prev(day)
            late = [one for one in CUSTODIANS if plan.late_statement(earlier) == one]
            dropped += [self._statement(custodian_id, earlier) for custodian_id in late]
        punctual = [one for one in CUSTODIANS if plan.late_statement(day) != one]
        dropped += [self._statement(custodian_id, day) for custodian_id in punctual]
        return _present(dropped)

    def others_before(self, run_date: date) -> list[Path]:
        """Drops what processes beside the business day live from alone; nothing without others."""
        self._require_run(run_date)
        if self._others is None:
            return []
        income = self._others.incomes.of_month(run_date)
        held = None
        if income is not None and income.ex_date <= run_date:
            held = self._custodians.close(self._calendar.prev(income.ex_date)).holdings
        return _present(
            self._inbox.drop(feed, name, rows)
            for feed, name, rows in self._others.files(run_date, held)
        )

    def _confirmations(self, custodian_id: str, day: date) -> Path | None:
        events = self._custodians.close(day).events[custodian_id]
        name = f"confirmations_{custodian_id}_{day}.csv"
        return self._inbox.drop("confirmations", name, (event.row() for event in events))

    def _statement(self, custodian_id: str, day: date) -> Path | None:
        rows = statement_rows(
            self._seed,
            custodian_id,
            day,
            self._custodians.close(day).holdings,
            wrong=self._custodians.plan.wrong_holding(day) == custodian_id,
        )
        return self._inbox.drop("statements", f"statements_{custodian_id}_{day}.csv", rows)

    def _require_run(self, run_date: date) -> None:
        if run_date not in self._dates:
            msg = (
                f"run date: expected a business date from {self._dates[0]} to "
                f"{self._dates[-1]}, got {run_date}"
            )
            raise ValueError(msg)


def _present(paths: Iterable[Path | None]) -> list[Path]:
    return [path for path in paths if path is not None]
