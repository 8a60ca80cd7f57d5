"""Decide, order by order: withdrawals, closing pots and the orders of the date (`rules §4`).

Plain values: only pots that an order of the date, an open withdrawal or a closing pot touches are
looked at. Units and money are ledger quantities, integers with 6 decimals. Re-balancing is
`acme.domain.rebalancing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from acme.domain import quantities as q
from acme.domain.orders import KIND_RANK, TERMINAL, assert_transition, order_id

# `received` among a pot's open orders is a switch's buy that is still to be made.
PENDING_STATES = frozenset({"received", "accepted", "batched", "placed", "unknown"})
BOOKED_STATES = frozenset({"executed", "part_executed"})


@dataclass(frozen=True)
class Asset:
    """What admission asks of an asset: price of P and newest price (6 decimals), if accepted."""

    asset_id: str
    unit_decimals: int
    price: int | None
    last_price: int | None
    stress: int
    suspended: bool
    settlement_date: date


@dataclass
class Order:
    """An order: what was asked, its state and what is reserved for it (6 decimals)."""

    order_id: str
    book: str
    source: str
    source_ref: str
    received_at: datetime
    dealing_date: date
    pot_id: str
    kind: str
    asset_id: str | None = None
    to_asset_id: str | None = None
    quantity_type: str | None = None
    side: str | None = None
    units: int | None = None
    amount: int | None = None
    risk_profile_id: str | None = None
    reserved: int = 0
    state: str = "received"
    line_id: str | None = None
    allocated_units: int = 0
    consideration: int = 0
    settlement_date: date | None = None

    @property
    def age(self) -> tuple[date, datetime, str]:
        """Oldest first: by dealing date, `received_at`, `order_id`."""
        return (self.dealing_date, self.received_at, self.order_id)

    @property
    def is_trade(self) -> bool:
        """A trade goes into a batch; a cash order does not."""
        return self.side is not None

    @property
    def rest(self) -> int:
        """What an amount withdrawal still has to reserve."""
        return (self.amount or 0) - self.reserved


@dataclass
class Pot:
    """A pot with its settled balances and its orders that are not in a terminal state."""

    book: str
    pot_id: str
    risk_profile_id: str
    opened_on: date
    status: str
    cash: int = 0
    units: dict[str, int] = field(default_factory=dict)
    holds_units: bool = False
    orders: list[Order] = field(default_factory=list)

    def open_withdrawals(self) -> list[Order]:
        """Return the open withdrawals of an amount, oldest first."""
        found = [o for o in self.orders if o.kind == "withdrawal" and o.amount is not None]
        return sorted((o for o in found if o.state not in TERMINAL), key=lambda o: o.age)

    def waiting_switch_buys(self) -> list[Order]:
        """Return the buys of booked switches that are still to be made, oldest first."""
        return sorted((o for o in self.orders if o.state == "received"), key=lambda o: o.age)

    def has_trades(self) -> bool:
        """Say whether an order is unbooked or unsettled."""
        return any(o.is_trade and o.state not in TERMINAL for o in self.orders)

    def available_cash(self, assets: Mapping[str, Asset]) -> int:
        """Return the cash that may be promised, never below zero (`rules §4`)."""
        return max(self.cash - sum(_commitment(o, assets) for o in self.orders), 0)


def _commitment(order: Order, assets: Mapping[str, Asset]) -> int:
    """Return the cash that an unreserved buy will take when it settles."""
    if order.side != "B" or order.reserved:
        return 0
    if order.state in BOOKED_STATES:
        return order.consideration
    if order.state not in PENDING_STATES:
        return 0
    if order.quantity_type == "A":
        return order.amount or 0
    asset = assets[order.asset_id or ""]
    cost = q.stressed_cost(order.units or 0, asset.last_price or 0, asset.stress)
    return cost * q.QUANTITIES_PER_PENNY


@dataclass(frozen=True)
class Move:
    """A movement of cash or units to post: `contribution`, `reservation` or `payment`."""

    kind: str
    order: Order
    asset_id: str
    quantity: int


@dataclass(frozen=True)
class Transition:
    """A change of an order's state, with the reason of a rejection."""

    order: Order
    from_state: str
    to_state: str
    reason: str | None


@dataclass
class Decisions:
    """What admission decided, in the order in which it was decided."""

    moves: list[Move] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    taken: list[Order] = field(default_factory=list)
    reprofiled: set[tuple[str, str]] = field(default_factory=set)


class Admission:
    """One run's decide, for the pots it touches."""

    def __init__(
        self,
        run_date: date,
        currency: str,
        cut_off: datetime,
        assets: Mapping[str, Asset],
        profiles: frozenset[str],
        pots: Mapping[str, Pot],
    ) -> None:
        """Hold the state as of the close of P; `pots` are changed in place."""
        self.run_date = run_date
        self.currency = currency
        self.cut_off = cut_off
        self.assets = assets
        self.profiles = profiles
        self.pots = pots
        self.decisions = Decisions()

    def decide(self, orders: Iterable[Order]) -> Decisions:
        """Run the steps of `rules §4` up to, not including, re-balancing."""
        pots = [self.pots[pot_id] for pot_id in sorted(self.pots)]
        exhausted = [
            p for p in pots if p.open_withdrawals() and not p.holds_units and not p.has_trades()
        ]
        for pot in pots:
            for order in pot.open_withdrawals():
                self._reserve_withdrawal(pot, order)
        for pot in exhausted:
            self._pay_shortfall(pot)
        for pot in pots:
            for order in pot.waiting_switch_buys():
                self._make_switch_buy(pot, order)
        for order in sorted(orders, key=lambda o: (KIND_RANK[o.kind], o.received_at, o.order_id)):
            self._take(order)
        for pot in pots:
            if pot.status == "closing":
                self._close(pot)
        return self.decisions

    def _move(self, order: Order, to_state: str, reason: str | None = None) -> None:
        assert_transition(order.state, to_state)
        self.decisions.transitions.append(Transition(order, order.state, to_state, reason))
        order.state = to_state

    def _post(self, kind: str, order: Order, asset_id: str, quantity: int) -> None:
        if quantity:
            self.decisions.moves.append(Move(kind, order, asset_id, quantity))

    def _reserve_cash(self, pot: Pot, order: Order, quantity: int) -> None:
        self._post("reservation", order, self.currency, quantity)
        order.reserved += quantity
        pot.cash -= quantity

    def _reserve_withdrawal(self, pot: Pot, order: Order) -> None:
        self._reserve_cash(pot, order, min(order.rest, pot.available_cash(self.assets)))
        if order.rest == 0:
            self._pay_reserved(order, None)

    def _pay_reserved(self, order: Order, reason: str | None) -> None:
        self._post("payment", order, self.currency, order.reserved)
        order.reserved = 0
        self._move(order, "settled", reason)

    def _pay_shortfall(self, pot: Pot) -> None:
        for order in pot.open_withdrawals():
            if order.reserved:
                self._pay_reserved(order, "short_paid")
            else:
                self._move(order, "rejected", "insufficient_cash")

    def _make_switch_buy(self, pot: Pot, order: Order) -> None:
        """Make the buy once its cash is there in time; it reserves only settled proceeds."""
        sale_open = any(
            o.order_id == order.source_ref for o in pot.orders if o.state not in TERMINAL
        )
        asset = self.assets[order.asset_id or ""]
        if sale_open and order.settlement_date and asset.settlement_date < order.settlement_date:
            return
        self.decisions.taken.append(order)
        order.dealing_date, order.settlement_date = self.run_date, None
        reason = self._objection(order)
        if reason is not None:
            self._move(order, "rejected", reason)
            return
        self._move(order, "accepted")
        if not sale_open:
            self._reserve_cash(pot, order, order.amount or 0)

    def _take(self, order: Order) -> None:
        self.decisions.taken.append(order)
        reason = self._objection(order)
        if reason is not None:
            self._move(order, "rejected", reason)
            return
        pot = self.pots[order.pot_id]
        pot.orders.append(order)
        self._move(order, "accepted")
        getattr(self, f"_accept_{order.kind}")(pot, order)

    def _objection(self, order: Order) -> str | None:
        """Return the first reason of `rules §4` for which an order is rejected."""
        pot = self.pots.get(order.pot_id)
        if pot is None or self.run_date < pot.opened_on:
            return "unknown_pot"
        if pot.status == "closed" or (pot.status == "closing" and _refused_while_closing(order)):
            return "closed_pot"
        if order.kind == "profile_change" and order.risk_profile_id not in self.profiles:
            return "unknown_profile"
        return self._asset_objection(order) or self._quantity_objection(order, pot)

    def _asset_objection(self, order: Order) -> str | None:
        named = [self.assets.get(a) for a in (order.asset_id, order.to_asset_id) if a is not None]
        if any(asset is None for asset in named):
            return "unknown_asset"
        known = [asset for asset in named if asset is not None]
        if any(asset.suspended for asset in known):
            return "asset_suspended"
        if any(asset.price is None for asset in known):
            return "no_price"
        return None

    def _quantity_objection(self, order: Order, pot: Pot) -> str | None:
        if order.amount is not None and order.amount % q.QUANTITIES_PER_PENNY:
            return "too_many_decimals"
        if order.units is not None and order.units % self._quantum(order):
            return "too_many_decimals"
        if order.kind in ("sell", "switch"):
            available = pot.units.get(order.asset_id or "", 0)
            wanted = available if order.units is None else order.units
            return "insufficient_units" if wanted > available or wanted <= 0 else None
        if order.kind == "buy" and order.source != "switch":
            short = (order.amount or 0) > pot.available_cash(self.assets)
            return "insufficient_cash" if short else None
        return None

    def _quantum(self, order: Order) -> int:
        return q.unit_quantum(self.assets[order.asset_id or ""].unit_decimals)

    def _accept_contribution(self, pot: Pot, order: Order) -> None:
        self._post("contribution", order, self.currency, order.amount or 0)
        pot.cash += order.amount or 0
        self._move(order, "settled")

    def _accept_profile_change(self, pot: Pot, order: Order) -> None:
        if order.risk_profile_id is not None and order.risk_profile_id != pot.risk_profile_id:
            pot.risk_profile_id = order.risk_profile_id
            self.decisions.reprofiled.add((pot.book, pot.pot_id))
        self._move(order, "settled")

    def _accept_sell(self, pot: Pot, order: Order) -> None:
        asset_id = order.asset_id or ""
        order.units = pot.units[asset_id] if order.units is None else order.units
        order.side, order.quantity_type = "S", "U"
        self._post("reservation", order, asset_id, order.units)
        order.reserved = order.units
        pot.units[asset_id] -= order.units

    _accept_switch = _accept_sell

    def _accept_buy(self, pot: Pot, order: Order) -> None:
        order.side, order.quantity_type = "B", "A"
        self._reserve_cash(pot, order, order.amount or 0)

    def _accept_withdrawal(self, pot: Pot, order: Order) -> None:
        if order.amount is None:
            pot.status = "closing"
            return
        self._reserve_withdrawal(pot, order)

    def _close(self, pot: Pot) -> None:
        """Sell what can be sold; once nothing is left, pay everything and close (`rules §4`)."""
        for asset_id in sorted(pot.units):
            asset = self.assets.get(asset_id)
            if asset is None or asset.suspended or asset.price is None or pot.units[asset_id] <= 0:
                continue
            self._sell_to_close(pot, asset_id)
        if pot.holds_units or pot.has_trades() or pot.cash < 0:
            return
        self._pay_shortfall(pot)
        everything = self._withdrawal_of_all(pot)
        self._post("reservation", everything, self.currency, pot.cash)
        self._post("payment", everything, self.currency, pot.cash)
        pot.cash = 0
        self._move(everything, "settled")
        pot.status = "closed"

    def _withdrawal_of_all(self, pot: Pot) -> Order:
        return next(
            o
            for o in pot.orders
            if o.kind == "withdrawal" and o.amount is None and o.state not in TERMINAL
        )

    def _sell_to_close(self, pot: Pot, asset_id: str) -> None:
        cause = self._withdrawal_of_all(pot)
        reference = f"{cause.order_id}:{asset_id}:{self.run_date}"
        sale = replace(
            cause,
            order_id=order_id("withdrawal", reference),
            source="withdrawal",
            source_ref=reference,
            received_at=self.cut_off,
            dealing_date=self.run_date,
            kind="sell",
            asset_id=asset_id,
            units=pot.units[asset_id],
            state="received",
        )
        self.decisions.taken.append(sale)
        pot.orders.append(sale)
        self._move(sale, "accepted")
        self._accept_sell(pot, sale)


def _refused_while_closing(order: Order) -> bool:
    return order.kind in ("buy", "switch") or (order.kind == "withdrawal" and order.amount is None)
