"""Decide (rules §4): withdrawals, switch buys, the orders of T, closing pots."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.contracts import Row
from tests.reference.numbers import ZERO, fits, trunc
from tests.reference.orders import Order, Pot
from tests.reference.paying import (
    available_cash,
    pay,
    pay_short,
    receive,
    reserve,
    reserve_for,
)

if TYPE_CHECKING:
    from tests.reference.world import World

# rules §4: contributions and profile changes, sells and switches, buys, withdrawals.
RANK = {
    "contribution": 0,
    "profile_change": 0,
    "sell": 1,
    "switch": 1,
    "buy": 2,
    "withdrawal": 3,
}
MONEY_DECIMALS = 2


def decide(world: "World") -> None:
    """Everything before re-balancing, in the order of rules §4."""
    pots = list(world.pots.values())
    empty = [pot for pot in pots if pot.withdrawals and _is_idle(world, pot)]
    for pot in pots:
        for order in list(pot.withdrawals):
            reserve_for(world, pot, order)
    for pot in empty:
        pay_short(world, pot)
    for pot in pots:
        _make_switch_buys(world, pot)
    for order in _orders_of_the_day(world):
        _take(world, order)
    for pot in pots:
        if pot.status == "closing":
            _wind_down(world, pot)


def _is_idle(world: "World", pot: Pot) -> bool:
    """No units in any state, no order unbooked or unsettled, no switch's buy to come (§4)."""
    return not pot.trades and not pot.waiting and not world.holds_units(pot)


# -- switch buys ------------------------------------------------------------------------------


def _make_switch_buys(world: "World", pot: Pot) -> None:
    """The buy of a booked switch, once its timing allows (rules §4)."""
    for sale in sorted(pot.waiting.values(), key=lambda order: order.age_key):
        version = world.version(sale.to_asset)
        in_time = (
            version is not None and world.settlement_date(version) >= sale.line.settlement_date
        )
        if not in_time and not sale.line.ended:
            continue
        del pot.waiting[sale.order_id]
        buy = Order(
            source="switch",
            source_ref=sale.order_id,
            received_at=world.run_time,
            dealing_date=world.run_date,
            pot_id=pot.pot_id,
            kind="buy",
            asset=sale.to_asset,
            amount=sale.proceeds,
        )
        world.move(buy, "received")
        reason = _closed(pot, buy) or _untradable(world, pot, buy)
        if reason:
            world.move(buy, "rejected", reason)
            continue
        buy.reserves = sale.line.ended
        if buy.reserves:
            reserve(world, pot, world.currency, buy.amount)
        admit(world, buy)


def admit(world: "World", order: Order) -> None:
    """A trade order is accepted: it is part of the batch of T."""
    order.price_seen = world.price(order.asset)
    version = world.version(order.asset)
    order.stress_seen = version.stress if version else ZERO
    world.move(order, "accepted")
    world.today.admitted.append(order)


# -- the orders of T --------------------------------------------------------------------------


def _orders_of_the_day(world: "World") -> list[Order]:
    """Orders whose time is before the cut-off of T, by kind, received_at, order_id (§2, §4)."""
    landing = world.landing
    cutoff = world.run_time
    due = [key for key, row in landing.pending_orders.items() if row["received_at"] < cutoff]
    orders = []
    for key in due:
        row = landing.pending_orders.pop(key)
        landing.taken[key] = row
        orders.append(_order(world, row))
    return sorted(orders, key=lambda o: (RANK[o.kind], o.received_at, o.order_id))


def _order(world: "World", row: Row) -> Order:
    return Order(
        source=row["source"],
        source_ref=row["source_ref"],
        received_at=row["received_at"],
        dealing_date=world.run_date,
        pot_id=row["pot_id"],
        kind=row["kind"],
        asset=row["asset_id"],
        to_asset=row["to_asset_id"],
        units=row["units"],
        amount=row["amount"],
        profile=row["risk_profile_id"],
    )


def _take(world: "World", order: Order) -> None:
    """Accept an order, or reject it whole for the first reason that applies (rules §4)."""
    world.move(order, "received")
    pot = world.pots.get(order.pot_id)
    reason = _refusal(world, pot, order)
    if reason:
        world.move(order, "rejected", reason)
    elif order.kind == "contribution":
        world.move(order, "accepted")
        receive(world, pot, order)
        world.move(order, "settled")
    elif order.kind == "profile_change":
        world.move(order, "accepted")
        if order.profile != pot.profile:
            pot.reprofiled = world.run_date
        pot.profile = order.profile
        world.move(order, "settled")
    elif order.kind == "withdrawal":
        world.move(order, "accepted")
        _withdraw(world, pot, order)
    elif order.kind == "buy":
        order.reserves = True
        reserve(world, pot, world.currency, order.amount)
        admit(world, order)
    else:
        _sell(world, pot, order)


def _refusal(world: "World", pot: Pot | None, order: Order) -> str:
    """The first reason that applies, in the order of rules §4; empty for none."""
    if pot is None or world.run_date < pot.opened_on:
        return "unknown_pot"
    return (
        _closed(pot, order)
        or _unknown_profile(world, order)
        or (_untradable(world, pot, order) if order.asset is not None else "")
        or _too_many_decimals(world, order)
        or _insufficient(world, pot, order)
    )


def _closed(pot: Pot, order: Order) -> str:
    """A closing pot takes no buys, no switches and no second *all* (rules §4)."""
    takes_whole = order.kind == "withdrawal" and order.amount is None
    unwanted = order.kind in {"buy", "switch"} or takes_whole
    if pot.status == "closed" or (pot.status == "closing" and unwanted):
        return "closed_pot"
    return ""


def _unknown_profile(world: "World", order: Order) -> str:
    if order.kind == "profile_change" and order.profile not in world.landing.known_profiles:
        return "unknown_profile"
    return ""


def _untradable(world: "World", pot: Pot, order: Order) -> str:
    """Unknown, suspended or without price of P; a switch tests both its assets (rules §4)."""
    assets = [order.asset] if order.to_asset is None else [order.asset, order.to_asset]
    if any(asset == world.currency or world.version(asset) is None for asset in assets):
        return "unknown_asset"
    if any((pot.book, asset) in world.today.suspended for asset in assets):
        return "asset_suspended"
    if any(world.price(asset) is None for asset in assets):
        return "no_price"
    return ""


def _too_many_decimals(world: "World", order: Order) -> str:
    fine = (order.amount is None or fits(order.amount, MONEY_DECIMALS)) and (
        order.units is None or fits(order.units, world.version(order.asset).decimals)
    )
    return "" if fine else "too_many_decimals"


def _insufficient(world: "World", pot: Pot, order: Order) -> str:
    if order.kind in {"sell", "switch"}:
        available = _sellable(world, pot, order.asset)
        wanted = order.units if order.units is not None else available
        if wanted > available or not available:
            return "insufficient_units"
    if order.kind == "buy" and order.amount > available_cash(world, pot):
        return "insufficient_cash"
    return ""


def _sellable(world: "World", pot: Pot, asset: str) -> Fraction:
    """Available units, as fine as the asset can be sold (rules §1, §4)."""
    available = max(world.settled(pot, asset), ZERO)
    return trunc(available, world.version(asset).decimals)


def _sell(world: "World", pot: Pot, order: Order) -> None:
    """A sale, or a switch's, reserves its units (rules §4)."""
    if order.units is None:
        order.units = _sellable(world, pot, order.asset)
    order.reserves = True
    reserve(world, pot, order.asset, order.units)
    admit(world, order)


def _withdraw(world: "World", pot: Pot, order: Order) -> None:
    """Of an amount: reserves when taken (it alone); of *all*: the pot is closing (rules §4)."""
    if order.amount is None:
        pot.status, pot.whole = "closing", order
    else:
        pot.withdrawals.append(order)
        pot.withdrawals.sort(key=lambda open_order: open_order.age_key)
        reserve_for(world, pot, order)


# -- closing pots -----------------------------------------------------------------------------


def sell_everything(
    world: "World", pot: Pot, source: str, reference: Callable[[str], str]
) -> list[Order]:
    """Every available unit whose asset is not suspended and has a price is sold (§4, §5)."""
    sales = []
    assets = sorted(a for state, a in world.holdings(pot) if state == "settled")
    for asset in assets:
        if asset == world.currency or world.version(asset) is None:
            continue
        units = _sellable(world, pot, asset)
        suspended = (pot.book, asset) in world.today.suspended
        if suspended or world.price(asset) is None or not units:
            continue
        sales.append(own_order(world, pot, source, reference(asset), "sell", asset, units))
    return sales


def own_order(
    world: "World", pot: Pot, source: str, source_ref: str, kind: str, asset: str, units: Fraction
) -> Order:
    """Make a unit order of our own; a sale reserves its units, a buy nothing (§4, §5.5)."""
    order = Order(
        source=source,
        source_ref=source_ref,
        received_at=world.run_time,
        dealing_date=world.run_date,
        pot_id=pot.pot_id,
        kind=kind,
        asset=asset,
        units=units,
    )
    world.move(order, "received")
    if kind == "sell":
        order.reserves = True
        reserve(world, pot, asset, units)
    admit(world, order)
    return order


def _wind_down(world: "World", pot: Pot) -> None:
    """Sell what can be sold; with nothing held, in flight or open, pay out and close (§4)."""
    whole = pot.whole.order_id
    sell_everything(world, pot, "withdrawal", lambda asset: f"{whole}:{asset}:{world.run_date}")
    in_flight = any(state == "in_flight" for state, _ in world.holdings(pot))
    if in_flight or not _is_idle(world, pot):
        return
    cash = world.settled(pot, world.currency)
    if cash < 0:
        return  # only a correction leaves this: the pot waits for its money
    pay_short(world, pot)
    pay(world, pot, pot.whole, world.settled(pot, world.currency), "settled")
    world.move(pot.whole, "settled")
    pot.status, pot.whole = "closed", None
