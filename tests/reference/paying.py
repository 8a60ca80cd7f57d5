"""Cash that is free, reserved and paid (rules §4, §6)."""

from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.books import reservation
from tests.reference.numbers import PENNY, ZERO, money
from tests.reference.orders import Order, Pot

if TYPE_CHECKING:
    from tests.reference.world import World


def stressed_cost(world: "World", asset: str, units: Fraction) -> Fraction:
    """`money(units·p_i·(1+stress_i)) + 0.01`, at the last accepted price (rules §5.4)."""
    price = world.price(asset)
    if price is None:
        price = world.landing.last_price(asset, world.close) or ZERO
    version = world.version(asset) or world.landing.version_or_first(asset, world.run_date)
    return money(units * price * (1 + version.stress)) + PENNY


def claims_on_cash(world: "World", pot: Pot) -> Fraction:
    """What settled cash is needed for although nothing is reserved (rules §4, §5.4).

    Considerations of booked, unsettled buys without reserve, stressed cost of unit buys not yet
    booked, amounts of switch buys, made or waiting, without reserve and not yet booked.
    """
    claims = ZERO
    for order in pot.trades.values():
        if order.side != "B" or order.reserves:
            continue
        if order.booked:
            claims += order.got_money
        elif order.quantity_type == "U":
            claims += stressed_cost(world, order.asset, order.units)
        else:
            claims += order.amount
    return claims + sum((sale.proceeds for sale in pot.waiting.values()), ZERO)


def available_cash(world: "World", pot: Pot) -> Fraction:
    """Settled cash less the claims on it; never below zero (rules §4)."""
    free = world.settled(pot, world.currency) - claims_on_cash(world, pot)
    return max(free, ZERO)


def reserve(world: "World", pot: Pot, asset: str, quantity: Fraction) -> None:
    """Move from `settled` to `reserved` (rules §4)."""
    world.ledger.post(pot.book, reservation(pot.account, asset, quantity))


def receive(world: "World", pot: Pot, order: Order) -> None:
    """A contribution: cash into the pot's `settled` (rules §4, §6)."""
    _cash(world, pot, "settled", order.amount)
    world.today.cash[order.order_id] = ("IN", order.amount)


def pay(world: "World", pot: Pot, order: Order, amount: Fraction, state: str) -> None:
    """A payment out of a pot; none for 0.00 (rules §6)."""
    if amount:
        _cash(world, pot, state, -amount)
        world.today.cash[order.order_id] = ("OUT", amount)


def _cash(world: "World", pot: Pot, state: str, amount: Fraction) -> None:
    custodian = f"custodian/{world.cash_custodian(pot.book)}"
    world.ledger.post(
        pot.book,
        [
            (pot.account, state, world.currency, amount),
            (custodian, "settled", world.currency, -amount),
        ],
    )


def reserve_for(world: "World", pot: Pot, order: Order) -> None:
    """A withdrawal reserves `min(rest, available cash)`; full, it is paid in this run (§4)."""
    part = min(order.amount - order.held, available_cash(world, pot))
    reserve(world, pot, world.currency, part)
    order.held += part
    if order.held == order.amount:
        pay(world, pot, order, order.held, "reserved")
        pot.withdrawals.remove(order)
        world.move(order, "settled")


def pay_short(world: "World", pot: Pot) -> None:
    """Open withdrawals, oldest first, are paid what they reserved, or rejected (rules §4)."""
    for order in pot.withdrawals:
        if order.held:
            pay(world, pot, order, order.held, "reserved")
            world.move(order, "settled", "short_paid")
        else:
            world.move(order, "rejected", "insufficient_cash")
    pot.withdrawals = []
