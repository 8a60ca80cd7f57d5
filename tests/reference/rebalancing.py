"""Re-balancing (rules §5)."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.contracts import Row
from tests.reference.deciding import own_order, sell_everything
from tests.reference.numbers import ZERO, money, trunc
from tests.reference.orders import Order, Pot
from tests.reference.paying import claims_on_cash, stressed_cost

if TYPE_CHECKING:
    from tests.reference.world import World


@dataclass
class Exposure:
    """`u_i` and `c`: what a pot will have when all that is under way is done (rules §5)."""

    units: dict[str, Fraction]
    cash: Fraction


def rebalance(world: "World") -> None:
    """Re-balance every open pot (rules §5)."""
    for pot in world.pots.values():
        if pot.status == "open" and pot.opened_on <= world.run_date:
            _rebalance_pot(world, pot)


def _rebalance_pot(world: "World", pot: Pot) -> None:
    weights = world.landing.weights_on(pot.profile, world.run_date)
    parameters = world.landing.parameters_on(pot.profile, world.run_date)
    if weights is None or parameters is None or parameters["schedule"] == "none":
        return
    unbooked = [order for order in pot.trades.values() if not order.booked]
    prices = _prices(world, pot, weights, unbooked)
    if prices is None:
        return  # holding or targeting an asset without accepted price: skipped
    exposure = _exposure(world, pot, unbooked, prices)
    units, cash = exposure.units, exposure.cash
    value = sum((money(units[asset] * prices[asset]) for asset in prices), ZERO) + cash
    if value <= 0:
        if pot.withdrawals:
            sales = sell_everything(
                world, pot, "rebalancing", lambda asset: _reference(world, pot, asset)
            )
            _report(world, pot, sales)
        return
    targets = {asset: weights.get(asset, ZERO) for asset in sorted(prices)}
    if not _is_due(world, pot, exposure, prices, targets, weights.get("CASH", ZERO), parameters):
        return
    changes = _changes(world, pot, exposure, prices, targets, value, parameters, unbooked)
    sales = _sell(world, pot, changes)
    buys = _cap(world, pot, {a: d for a, d in changes.items() if d > 0}, prices, parameters)
    orders = [
        own_order(
            world,
            pot,
            "rebalancing",
            _reference(world, pot, asset),
            "buy",
            asset,
            bought,
        )
        for asset, bought in buys.items()
    ]
    _report(world, pot, sales + orders)


def _reference(world: "World", pot: Pot, asset: str) -> str:
    """`{book}:{pot}:{asset}:{T}` (rules §5.5)."""
    return f"{pot.book}:{pot.pot_id}:{asset}:{world.run_date}"


def _report(world: "World", pot: Pot, orders: list[Order]) -> None:
    for order in orders:
        world.today.trades[pot.pot_id, order.asset] = (order.side, order.units)


def _prices(
    world: "World", pot: Pot, weights: dict[str, Fraction], unbooked: list[Order]
) -> dict[str, Fraction] | None:
    """The price of every asset held, under way or targeted; None if one is missing (§5)."""
    held: dict[str, Fraction] = defaultdict(Fraction)
    for (_, asset), quantity in world.holdings(pot).items():
        held[asset] += quantity
    needed = {asset for asset, quantity in held.items() if quantity}
    needed |= {asset for asset, weight in weights.items() if weight}
    for order in unbooked:
        needed |= {order.asset, order.to_asset}
    needed |= {sale.to_asset for sale in pot.waiting.values()}
    needed -= {None, world.currency, "CASH"}
    prices = {asset: world.price(asset) for asset in needed}
    if None in prices.values() or any(world.version(asset) is None for asset in needed):
        return None
    return prices


def _exposure(
    world: "World", pot: Pot, unbooked: list[Order], prices: dict[str, Fraction]
) -> Exposure:
    """`u_i` and `c` (rules §5)."""
    units = dict.fromkeys(prices, ZERO)
    cash = ZERO
    for (_, asset), quantity in world.holdings(pot).items():
        if asset == world.currency:
            cash += quantity
        elif asset in units:
            units[asset] += quantity
    cash -= sum((order.amount for order in pot.withdrawals), ZERO)

    def buy_for(asset: str, amount: Fraction) -> None:
        units[asset] += trunc(amount / prices[asset], world.version(asset).decimals)

    for order in unbooked:
        if order.quantity_type == "A":
            buy_for(order.asset, order.amount)
            cash -= order.amount
            continue
        worth = money(order.units * prices[order.asset])
        if order.side == "B":
            units[order.asset] += order.units
            cash -= worth
        else:
            units[order.asset] -= order.units
            if order.kind == "switch":
                buy_for(order.to_asset, worth)
            else:
                cash += worth
    for sale in pot.waiting.values():
        buy_for(sale.to_asset, sale.proceeds)
        cash -= sale.proceeds
    return Exposure(units, cash)


def _is_due(
    world: "World",
    pot: Pot,
    exposure: Exposure,
    prices: dict[str, Fraction],
    targets: dict[str, Fraction],
    cash_weight: Fraction,
    parameters: Row,
) -> bool:
    """Drift of an asset or of cash, cash below zero, a new profile, or daily (rules §5.1)."""
    if parameters["schedule"] == "daily" or pot.reprofiled == world.run_date or exposure.cash < 0:
        return True
    worth = {asset: exposure.units[asset] * prices[asset] for asset in prices}
    value = sum((money(amount) for amount in worth.values()), ZERO) + exposure.cash
    band = parameters["drift_band"] * value
    if any(abs(worth[asset] - targets[asset] * value) > band for asset in prices):
        return True
    return abs(exposure.cash - cash_weight * value) > parameters["cash_band"] * value


def _changes(
    world: "World",
    pot: Pot,
    exposure: Exposure,
    prices: dict[str, Fraction],
    targets: dict[str, Fraction],
    value: Fraction,
    parameters: Row,
    unbooked: list[Order],
) -> dict[str, Fraction]:
    """`Δ_i` of every asset, less those dropped (rules §5.2)."""
    opposite = {(order.asset, order.side) for order in unbooked if order.third_party}
    changes = {}
    for asset, weight in targets.items():
        price = prices[asset]
        target = trunc(weight * value / price, world.version(asset).decimals)
        change = target - exposure.units[asset]
        must_sell = change < 0 and exposure.cash < 0
        too_small = money(abs(change) * price) < parameters["min_trade"] and not must_sell
        suspended = (pot.book, asset) in world.today.suspended
        against = (asset, "S" if change > 0 else "B") in opposite
        if change and not (too_small or suspended or against):
            changes[asset] = change
    return changes


def _sell(world: "World", pot: Pot, changes: dict[str, Fraction]) -> list[Order]:
    """`min(|Δ_i|, available units)`; zero makes no order (rules §5.3)."""
    sales = []
    for asset, change in changes.items():
        available = max(world.settled(pot, asset), ZERO)
        units = trunc(min(-change, available), world.version(asset).decimals)
        if change < 0 and units:
            reference = _reference(world, pot, asset)
            sales.append(own_order(world, pot, "rebalancing", reference, "sell", asset, units))
    return sales


def _cap(
    world: "World",
    pot: Pot,
    buys: dict[str, Fraction],
    prices: dict[str, Fraction],
    parameters: Row,
) -> dict[str, Fraction]:
    """Buys capped so that one bad day cannot overdraw the pot (rules §5.4)."""
    if not buys:
        return {}
    first = min(world.settlement_date(world.version(asset)) for asset in buys)
    room = _known_cash(world, pot, first) + _stressed_sales(world, pot, first, prices)
    need = sum((stressed_cost(world, asset, units) for asset, units in buys.items()), ZERO)
    if need <= room:
        return buys
    capped = {
        asset: trunc(units * max(room, ZERO) / need, world.version(asset).decimals)
        for asset, units in buys.items()
    }
    return {
        asset: units
        for asset, units in capped.items()
        if units and money(units * prices[asset]) >= parameters["min_trade"]
    }


def _known_cash(world: "World", pot: Pot, first: date) -> Fraction:
    """`A`: settled cash, what booked sales bring in time, less every claim (rules §5.4)."""
    cash = world.settled(pot, world.currency) - claims_on_cash(world, pot)
    for order in pot.trades.values():
        if order.side == "S" and order.booked:
            in_time = world.close < order.line.settlement_date <= first
            cash += order.got_money if in_time else ZERO
    return cash - sum((order.amount - order.held for order in pot.withdrawals), ZERO)


def _stressed_sales(world: "World", pot: Pot, first: date, prices: dict[str, Fraction]) -> Fraction:
    """What this run's sells of the pot bring on a bad day, switch sales excluded (§5.4)."""
    room = ZERO
    for order in pot.trades.values():
        if order.kind != "sell" or order.dealing_date != world.run_date or order.booked:
            continue
        version = world.version(order.asset)
        if world.settlement_date(version) <= first:
            room += money(order.units * prices[order.asset]) * (1 - version.stress)
    return room
