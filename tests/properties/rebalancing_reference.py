"""A second re-balancing, one pot at a time, in fractions and dictionaries, from `rules §5` alone.

It shares no code with the product. Money and units are `Fraction`; a pot is what a person would
write down: balances by state, orders as dictionaries.
"""

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from math import trunc as towards_zero

UNBOOKED = {"received", "accepted", "batched", "placed", "unknown"}
BOOKED = {"executed", "part_executed"}
OWN_SOURCES = {"rebalancing", "switch", "withdrawal", "opening"}
PENNY = Fraction(1, 100)


@dataclass(frozen=True)
class RefAsset:
    """An asset on T; `price` is the accepted one of P, `last` the newest accepted one."""

    price: Fraction | None
    last: Fraction
    stress: Fraction
    decimals: int
    settles: date
    suspended: bool = False


@dataclass(frozen=True)
class RefProfile:
    """Weights by asset, cash apart, and parameters."""

    weights: dict[str, Fraction]
    cash_weight: Fraction
    drift_band: Fraction
    cash_band: Fraction
    min_trade: Fraction
    schedule: str


@dataclass
class RefPot:
    """A pot: cash and units by state, and its orders that are not in a terminal state."""

    profile: str
    cash: dict[str, Fraction] = field(default_factory=dict)
    units: dict[str, dict[str, Fraction]] = field(default_factory=dict)
    orders: list[dict] = field(default_factory=list)
    status: str = "open"
    reprofiled: bool = False


def money(value: Fraction) -> Fraction:
    """Round half-even to pence; Python's own `round` of a fraction is half-even."""
    return Fraction(round(value * 100), 100)


def cut(value: Fraction, decimals: int) -> Fraction:
    """Cut towards zero."""
    return Fraction(towards_zero(value * 10**decimals), 10**decimals)


def stressed_cost(units: Fraction, price: Fraction, stress: Fraction) -> Fraction:
    return money(units * price * (1 + stress)) + PENNY


def is_sale(order: dict) -> bool:
    return order["kind"] in {"sell", "switch"}


def is_buy(order: dict) -> bool:
    return order["kind"] == "buy"


def unbooked(pot: RefPot) -> list[dict]:
    return [o for o in pot.orders if o["state"] in UNBOOKED and (is_buy(o) or is_sale(o))]


def booked(pot: RefPot) -> list[dict]:
    return [o for o in pot.orders if o["state"] in BOOKED]


def withdrawals(pot: RefPot) -> list[dict]:
    return [o for o in pot.orders if o["kind"] == "withdrawal"]


def named_assets(pot: RefPot) -> set[str]:
    named = set(pot.units)
    for order in unbooked(pot):
        named |= {a for a in (order["asset"], order.get("to")) if a}
    return named


def without_price(pot: RefPot, profile: RefProfile, assets: dict[str, RefAsset]) -> bool:
    """Say whether the pot holds, is about to hold or sell, or targets an asset without price."""
    needed = {a for a, w in profile.weights.items() if w > 0}
    needed |= {a for a, states in pot.units.items() if sum(states.values()) != 0}
    for order in unbooked(pot):
        needed |= {a for a in (order["asset"], order.get("to")) if a}
    return any(assets[a].price is None for a in needed)


def projected(pot: RefPot, assets: dict[str, RefAsset]) -> tuple[dict[str, Fraction], Fraction]:
    """Return u by asset, and c (`rules §5`, first bullets)."""
    u = {a: sum(states.values(), Fraction(0)) for a, states in pot.units.items()}
    c = sum(pot.cash.values(), Fraction(0)) - sum(o["amount"] for o in withdrawals(pot))

    def add(asset: str, units: Fraction) -> None:
        u[asset] = u.get(asset, Fraction(0)) + units

    for order in unbooked(pot):
        asset = assets[order["asset"]]
        if is_buy(order) and order.get("amount") is not None:
            add(order["asset"], cut(order["amount"] / asset.price, asset.decimals))
            c -= order["amount"]
            continue
        worth = money(order["units"] * asset.price)
        add(order["asset"], order["units"] if is_buy(order) else -order["units"])
        if order["kind"] == "switch":
            to = assets[order["to"]]
            add(order["to"], cut(worth / to.price, to.decimals))
        else:
            c += -worth if is_buy(order) else worth
    return u, c


def is_due(
    pot: RefPot,
    profile: RefProfile,
    assets: dict[str, RefAsset],
    u: dict[str, Fraction],
    c: Fraction,
    value: Fraction,
) -> bool:
    off_target = any(
        abs(u.get(a, 0) * (assets[a].price or 0) - profile.weights.get(a, 0) * value)
        > profile.drift_band * value
        for a in set(u) | set(profile.weights)
    )
    cash_off = abs(c - profile.cash_weight * value) > profile.cash_band * value
    return off_target or cash_off or c < 0 or pot.reprofiled or profile.schedule == "daily"


def available(pot: RefPot, asset: str) -> Fraction:
    return pot.units.get(asset, {}).get("settled", Fraction(0))


def sell_everything(pot: RefPot, assets: dict[str, RefAsset]) -> dict[str, Fraction]:
    return {
        a: -available(pot, a)
        for a in pot.units
        if available(pot, a) > 0 and assets[a].price is not None and not assets[a].suspended
    }


def opposed(pot: RefPot, asset: str, delta: Fraction) -> bool:
    """Say whether a third party's unbooked order of the pot goes the other way in that asset."""
    for order in unbooked(pot):
        if order["source"] in OWN_SOURCES or order["asset"] != asset:
            continue
        if is_sale(order) == (delta > 0):
            return True
    return False


def early_cash(pot: RefPot, assets: dict[str, RefAsset], first: date, as_of: date) -> Fraction:
    """Return A of `rules §5.4`."""
    a = pot.cash.get("settled", Fraction(0))
    for order in booked(pot):
        if is_sale(order) and as_of < order["settles"] <= first:
            a += order["consideration"]
        if is_buy(order) and order["reserved"] == 0:
            a -= order["consideration"]
    for order in unbooked(pot):
        if not is_buy(order):
            continue
        if order.get("amount") is None:
            asset = assets[order["asset"]]
            a -= stressed_cost(order["units"], asset.last, asset.stress)
        elif order["source"] == "switch" and order["reserved"] == 0:
            a -= order["amount"]
    return a - sum(o["amount"] - o["reserved"] for o in withdrawals(pot))


def rebalance(
    pot: RefPot,
    profiles: dict[str, RefProfile],
    assets: dict[str, RefAsset],
    run_date: date,
    as_of: date,
) -> tuple[str, dict[str, Fraction]]:
    """Return what becomes of the pot, and its trades: signed units by asset."""
    profile = profiles[pot.profile]
    if pot.status != "open":
        return "not open", {}
    if profile.schedule == "none":
        return "self_select", {}
    if without_price(pot, profile, assets):
        return "no_price", {}
    u, c = projected(pot, assets)
    value = sum((money(n * assets[a].price) for a, n in u.items() if n), Fraction(0)) + c
    if value <= 0:
        return "no_value", sell_everything(pot, assets) if withdrawals(pot) else {}
    if not is_due(pot, profile, assets, u, c, value):
        return "not_due", {}
    return "due", _trades(pot, profile, assets, u, c, value, run_date, as_of)


def _trades(
    pot: RefPot,
    profile: RefProfile,
    assets: dict[str, RefAsset],
    u: dict[str, Fraction],
    c: Fraction,
    value: Fraction,
    run_date: date,
    as_of: date,
) -> dict[str, Fraction]:
    sells: dict[str, Fraction] = {}
    buys: dict[str, Fraction] = {}
    for a in set(u) | {x for x, w in profile.weights.items() if w > 0}:
        asset = assets[a]
        if asset.price is None:
            continue
        target = cut(profile.weights.get(a, Fraction(0)) * value / asset.price, asset.decimals)
        delta = target - u.get(a, Fraction(0))
        if delta == 0:
            continue
        small = money(abs(delta) * asset.price) < profile.min_trade
        if small and not (delta < 0 and c < 0):
            continue
        if asset.suspended or opposed(pot, a, delta):
            continue
        if delta > 0:
            buys[a] = delta
        elif available(pot, a) > 0:
            sells[a] = min(-delta, available(pot, a))
    buys = _capped(pot, profile, assets, sells, buys, run_date, as_of)
    return {a: -n for a, n in sells.items()} | buys


def _capped(
    pot: RefPot,
    profile: RefProfile,
    assets: dict[str, RefAsset],
    sells: dict[str, Fraction],
    buys: dict[str, Fraction],
    run_date: date,
    as_of: date,
) -> dict[str, Fraction]:
    if not buys:
        return {}
    first = min(assets[a].settles for a in buys)
    room = early_cash(pot, assets, first, as_of)
    third_party = [
        (o["asset"], o["units"])
        for o in pot.orders
        if o["kind"] == "sell" and o["state"] == "accepted" and o["dealt"] == run_date
    ]
    for a, units in [*sells.items(), *third_party]:
        if assets[a].settles <= first:
            room += money(units * assets[a].price) * (1 - assets[a].stress)
    need = sum(stressed_cost(n, assets[a].price, assets[a].stress) for a, n in buys.items())
    if need <= room:
        return buys
    capped = {
        a: cut(n * max(room, Fraction(0)) / need, assets[a].decimals) for a, n in buys.items()
    }
    return {
        a: n for a, n in capped.items() if n > 0 and money(n * assets[a].price) >= profile.min_trade
    }
