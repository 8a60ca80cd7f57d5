"""Re-balancing of one pot in exact fractions, straight from the text of `rules §5`.

Shares no arithmetic with `acme.domain`: it is what the benchmark compares the kernel to.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

Row = dict[str, Any]
PENNY = Fraction(1, 100)
BOOKED = ("executed", "part_executed")
DONE = ("settled", "rejected", "cancelled")


def money(exact: Fraction) -> Fraction:
    """Round half-even to 2 decimals."""
    return round(exact * 100) * PENNY


def trunc(exact: Fraction, decimals: int) -> Fraction:
    """Cut towards zero at so many decimals."""
    return Fraction(math.trunc(exact * 10**decimals), 10**decimals)


@dataclass(frozen=True)
class Terms:
    """Assets by id (rows of the market), weights by asset, the parameters of the profile."""

    assets: dict[str, Row]
    weights: dict[str, Fraction]
    parameters: Row
    currency: str
    run_date: date
    as_of: date

    def price(self, asset: str) -> Fraction | None:
        """Return the accepted price of P."""
        price = self.assets[asset]["price"]
        return None if price is None else Fraction(price)

    def stressed(self, asset: str, units: Fraction) -> Fraction:
        """Return the stressed cost of a unit buy (§5.4)."""
        row = self.assets[asset]
        return money(units * Fraction(row["last_price"]) * (1 + Fraction(row["stress"]))) + PENNY


def rebalance(
    pot: Row, balances: list[Row], orders: list[Row], terms: Terms
) -> dict[str, tuple[Any, ...]]:
    """Return asset ('' = the pot) → (outcome, value, delta, trade) of one pot's decisions."""
    return dict(_Pot(pot, balances, orders, terms).decisions())


class _Pot:
    def __init__(self, pot: Row, balances: list[Row], orders: list[Row], terms: Terms) -> None:
        self.pot, self.balances, self.terms = pot, balances, terms
        self.orders = [o for o in orders if o["state"] not in DONE]
        self.unbooked = [o for o in self.orders if o["state"] not in BOOKED and o["side"]]
        self.booked = [o for o in self.orders if o["state"] in BOOKED]
        self.withdrawals = [
            o
            for o in self.orders
            if o["kind"] == "withdrawal" and not o["side"] and o["amount"] is not None
        ]
        self.units = self._units()
        self.cash = self._cash()

    def _held(self, asset: str, state: str | None = None) -> Fraction:
        rows = [b for b in self.balances if b["asset_id"] == asset and state in {None, b["state"]}]
        return sum((Fraction(b["quantity"]) for b in rows), Fraction(0))

    def _worth(self, order: Row) -> Fraction:
        if order["quantity_type"] == "A":
            return Fraction(order["amount"])
        return money(Fraction(order["units"]) * (self.terms.price(order["asset_id"]) or 0))

    def _units(self) -> dict[str, Fraction]:
        units: dict[str, Fraction] = defaultdict(Fraction)
        for row in self.balances:
            if row["asset_id"] != self.terms.currency:
                units[row["asset_id"]] += Fraction(row["quantity"])
        for order in self.unbooked:
            asset = order["asset_id"]
            if order["quantity_type"] == "U":
                units[asset] += (1 if order["side"] == "B" else -1) * Fraction(order["units"])
            else:
                units[asset] += self._bought(asset, Fraction(order["amount"]))
            if order["kind"] == "switch":
                to_asset = order["to_asset_id"]
                units[to_asset] += self._bought(to_asset, self._worth(order))
        return units

    def _bought(self, asset: str, amount: Fraction) -> Fraction:
        price = self.terms.price(asset)
        decimals = self.terms.assets[asset]["unit_decimals"]
        return Fraction(0) if price is None else trunc(amount / price, decimals)

    def _cash(self) -> Fraction:
        cash = self._held(self.terms.currency)
        cash -= sum(Fraction(o["amount"]) for o in self.withdrawals)
        for order in self.unbooked:
            if order["side"] == "B":
                cash -= self._worth(order)
            elif order["kind"] != "switch":
                cash += self._worth(order)
        return cash

    def _targets(self) -> dict[str, Fraction]:
        return {a: w for a, w in self.terms.weights.items() if a != "CASH"}

    def decisions(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        targets = self._targets()
        held = {asset for asset, units in self.units.items() if units}
        targeted = {asset for asset, weight in targets.items() if weight}
        assets = sorted(held | targeted | {o["asset_id"] for o in self.unbooked})
        value = self.cash + sum(
            money(self.units[a] * (self.terms.price(a) or 0)) for a in self.units
        )
        outcome = self._outcome(assets, targets, value)
        yield "", (outcome, value, None, None)
        if outcome == "due":
            yield from self._trades(assets, targets, value)
        elif outcome == "no_value" and self.withdrawals:
            for asset in assets:
                free = self._held(asset, "settled")
                if free > 0 and not self.terms.assets[asset]["suspended"]:
                    yield asset, ("trade", None, -free, -free)

    def _outcome(self, assets: list[str], targets: dict[str, Fraction], value: Fraction) -> str:
        rules = self.terms.parameters
        if rules["schedule"] == "none":
            return "self_select"
        if any(self.terms.price(a) is None for a in assets):
            return "no_price"
        if value <= 0:
            return "no_value"
        off = [
            abs(self.units[a] * self.terms.price(a) - targets.get(a, 0) * value)
            > Fraction(rules["drift_band"]) * value
            for a in assets
        ]
        weight = self.terms.weights.get("CASH", 0)
        cash_off = abs(self.cash - weight * value) > Fraction(rules["cash_band"]) * value
        forced = self.pot["reprofiled"] or rules["schedule"] == "daily"
        return "due" if any(off) or cash_off or self.cash < 0 or forced else "not_due"

    def _trades(
        self, assets: list[str], targets: dict[str, Fraction], value: Fraction
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        sells, buys = {}, {}
        for asset in assets:
            price, row = self.terms.price(asset), self.terms.assets[asset]
            target = trunc(targets.get(asset, 0) * value / price, row["unit_decimals"])
            delta = target - self.units[asset]
            if delta == 0:
                continue
            small = money(abs(delta) * price) < Fraction(self.terms.parameters["min_trade"])
            against = "B" if delta < 0 else "S"
            if small and not (delta < 0 and self.cash < 0):
                yield asset, ("below_min_trade", None, delta, 0)
            elif row["suspended"]:
                yield asset, ("asset_suspended", None, delta, 0)
            elif any(o["asset_id"] == asset and o["side"] == against for o in self.unbooked):
                yield asset, ("opposite_order", None, delta, 0)
            elif delta < 0:
                sells[asset] = min(-delta, self._held(asset, "settled"))
                outcome = "trade" if sells[asset] else "nothing_available"
                yield asset, (outcome, None, delta, -sells[asset])
            else:
                buys[asset] = delta
        yield from self._capped(buys, sells)

    def _capped(
        self, buys: dict[str, Fraction], sells: dict[str, Fraction]
    ) -> Iterator[tuple[str, tuple[Any, ...]]]:
        if not buys:
            return
        terms = self.terms
        room = self._room(min(terms.assets[a]["settlement_date"] for a in buys), sells)
        need = sum(terms.stressed(a, units) for a, units in buys.items())
        for asset, delta in buys.items():
            trade, price = delta, terms.price(asset)
            if need > room:
                trade = trunc(delta * max(room, 0) / need, terms.assets[asset]["unit_decimals"])
                if money(trade * price) < Fraction(terms.parameters["min_trade"]):
                    trade = Fraction(0)
            yield asset, ("trade" if trade else "no_room", None, delta, trade)

    def _room(self, earliest: date, sells: dict[str, Fraction]) -> Fraction:
        """Return A and what the sells of this run surely bring by the day the first buy settles."""
        terms = self.terms
        room = self._held(terms.currency, "settled")
        for order in self.booked:
            if order["side"] == "S" and terms.as_of < order["settlement_date"] <= earliest:
                room += Fraction(order["consideration"])
            if order["side"] == "B" and not order["reserved"]:
                room -= Fraction(order["consideration"])
        for order in self.unbooked:
            if order["side"] == "B" and order["quantity_type"] == "U":
                room -= terms.stressed(order["asset_id"], Fraction(order["units"]))
            elif order["side"] == "B" and not order["reserved"]:
                room -= Fraction(order["amount"])
        room -= sum(Fraction(o["amount"]) - Fraction(o["reserved"]) for o in self.withdrawals)
        sold = [(a, money(units * terms.price(a))) for a, units in sells.items()]
        sold += [
            (o["asset_id"], self._worth(o))
            for o in self.unbooked
            if o["side"] == "S"
            and o["kind"] != "switch"
            and o["state"] == "accepted"
            and o["dealing_date"] == terms.run_date
        ]
        for asset, worth in sold:
            row = terms.assets[asset]
            if row["settlement_date"] <= earliest:
                room += worth * (1 - Fraction(row["stress"]))
        return room
