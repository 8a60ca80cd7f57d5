"""Random assets, profiles and pots for re-balancing, as the reference's records and as frames."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import strategies as st
from rebalancing_reference import RefAsset, RefPot, RefProfile

from acme.domain import rebalancing

AS_OF, RUN_DATE = date(2026, 3, 10), date(2026, 3, 11)
OPENED = date(2020, 1, 1)
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
CURRENCY = "USD"
ASSETS = ("A", "B", "C", "D")
D2, D6, D8 = pl.Decimal(18, 2), pl.Decimal(18, 6), pl.Decimal(9, 8)
QUANTITY = pl.Decimal(28, 6)

ORDER_SCHEMA = {
    "book": pl.String,
    "order_id": pl.String,
    "source": pl.String,
    "source_ref": pl.String,
    "received_at": pl.Datetime("us", "UTC"),
    "dealing_date": pl.Date,
    "pot_id": pl.String,
    "kind": pl.String,
    "asset_id": pl.String,
    "to_asset_id": pl.String,
    "quantity_type": pl.String,
    "side": pl.String,
    "units": D6,
    "amount": D2,
    "reserved": QUANTITY,
    "state": pl.String,
    "line_id": pl.String,
    "allocated_units": D6,
    "consideration": D2,
    "settlement_date": pl.Date,
}
BALANCE_SCHEMA = {
    "book": pl.String,
    "pot_id": pl.String,
    "state": pl.String,
    "asset_id": pl.String,
    "quantity": QUANTITY,
}
POT_SCHEMA = {
    "book": pl.String,
    "pot_id": pl.String,
    "risk_profile_id": pl.String,
    "opened_on": pl.Date,
    "status": pl.String,
    "reprofiled": pl.Boolean,
}


@dataclass
class World:
    """Everything one re-balancing sees."""

    assets: dict[str, RefAsset]
    profiles: dict[str, RefProfile]
    pots: dict[str, RefPot] = field(default_factory=dict)


def decimal(value: Fraction | None) -> Decimal | None:
    """Return an exact decimal of at most 8 places."""
    if value is None:
        return None
    scaled = value * 10**8
    assert scaled.denominator == 1, value
    return Decimal(scaled.numerator).scaleb(-8)


def market_frame(assets: dict[str, RefAsset], books: tuple[str, ...] = ("live",)) -> pl.DataFrame:
    rows = [
        (
            book,
            name,
            a.decimals,
            decimal(a.price),
            decimal(a.last),
            decimal(a.stress),
            a.settles,
            a.suspended,
        )
        for book in books
        for name, a in assets.items()
    ]
    schema = {
        "book": pl.String,
        "asset_id": pl.String,
        "unit_decimals": pl.Int32,
        "price": D6,
        "last_price": D6,
        "stress": D8,
        "settlement_date": pl.Date,
        "suspended": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def market(world: World) -> rebalancing.Market:
    return rebalancing.Market(market_frame(world.assets), CURRENCY, RUN_DATE, AS_OF)


def profile_frames(profiles: dict[str, RefProfile]) -> rebalancing.Profiles:
    weights = [
        (name, asset, decimal(w))
        for name, p in profiles.items()
        for asset, w in (*p.weights.items(), ("CASH", p.cash_weight))
    ]
    parameters = [
        (name, decimal(p.drift_band), decimal(p.cash_band), decimal(p.min_trade), p.schedule)
        for name, p in profiles.items()
    ]
    return rebalancing.Profiles(
        pl.DataFrame(
            weights,
            schema={"risk_profile_id": pl.String, "asset_id": pl.String, "weight": D8},
            orient="row",
        ),
        pl.DataFrame(
            parameters,
            schema={
                "risk_profile_id": pl.String,
                "drift_band": D8,
                "cash_band": D8,
                "min_trade": D2,
                "schedule": pl.String,
            },
            orient="row",
        ),
    )


def pot_frame(pots: dict[str, RefPot], book: str = "live") -> pl.DataFrame:
    rows = [(book, name, p.profile, OPENED, p.status, p.reprofiled) for name, p in pots.items()]
    return pl.DataFrame(rows, schema=POT_SCHEMA, orient="row")


def balance_frame(pots: dict[str, RefPot], book: str = "live") -> pl.DataFrame:
    rows = [
        (book, name, state, asset, decimal(quantity))
        for name, pot in pots.items()
        for asset, states in ((CURRENCY, pot.cash), *pot.units.items())
        for state, quantity in states.items()
        if quantity
    ]
    return pl.DataFrame(rows, schema=BALANCE_SCHEMA, orient="row")


def order_row(pot_id: str, number: int, order: dict, book: str = "live") -> dict:
    trade = order["kind"] in {"buy", "sell", "switch"}
    by_amount = order["kind"] == "buy" and order.get("amount") is not None
    return {
        "book": book,
        "order_id": f"{pot_id}-{number}",
        "source": order["source"],
        "source_ref": f"{pot_id}-{number}",
        "received_at": NOON,
        "dealing_date": order["dealt"],
        "pot_id": pot_id,
        "kind": order["kind"],
        "asset_id": order.get("asset"),
        "to_asset_id": order.get("to"),
        "quantity_type": None if not trade else "A" if by_amount else "U",
        "side": None if not trade else "B" if order["kind"] == "buy" else "S",
        "units": decimal(order.get("units")),
        "amount": decimal(order.get("amount")),
        "reserved": decimal(order["reserved"]),
        "state": order["state"],
        "line_id": None,
        "allocated_units": decimal(order.get("executed", Fraction(0))),
        "consideration": decimal(order.get("consideration", Fraction(0))),
        "settlement_date": order.get("settles"),
    }


def order_frame(pots: dict[str, RefPot], book: str = "live") -> pl.DataFrame:
    rows = [
        order_row(pot_id, number, order, book)
        for pot_id, pot in pots.items()
        for number, order in enumerate(pot.orders)
    ]
    return pl.DataFrame(rows, schema=ORDER_SCHEMA)


def run(world: World) -> rebalancing.Result:
    return rebalancing.rebalance(
        pot_frame(world.pots),
        balance_frame(world.pots),
        order_frame(world.pots),
        profile_frames(world.profiles),
        market(world),
    )


def trades_of(result: rebalancing.Result) -> dict[str, dict[str, Fraction]]:
    """Return signed units by pot and asset."""
    found: dict[str, dict[str, Fraction]] = {}
    for row in result.trades.iter_rows(named=True):
        signed = Fraction(row["units"]) * (1 if row["side"] == "B" else -1)
        found.setdefault(row["pot_id"], {})[row["asset_id"]] = signed
    return found


def outcomes_of(result: rebalancing.Result) -> dict[str, str]:
    whole = result.decisions.filter(pl.col("asset_id") == "")
    return dict(whole.select("pot_id", "outcome").iter_rows())


# Strategies. A coarse world has round prices, weights and holdings, so band edges are met exactly.

POUND = Fraction(1)


def fractions(low: int, high: int, decimals: int) -> st.SearchStrategy[Fraction]:
    scale = 10**decimals
    return st.integers(low * scale, high * scale).map(lambda n: Fraction(n, scale))


def one_in(n: int) -> st.SearchStrategy[bool]:
    return st.integers(1, n).map(lambda k: k == n)


@st.composite
def asset(draw: st.DrawFn, *, coarse: bool, whole: bool = False) -> RefAsset:
    if coarse:
        price = Fraction(draw(st.sampled_from(["1", "2", "2.5", "5", "10"])))
        decimals = draw(st.sampled_from([0, 2, 4]))
        stress = Fraction(draw(st.sampled_from(["0", "0.05", "0.1", "0.25"])))
    else:
        price = draw(st.integers(1, 10**9)) * Fraction(1, 10**6)
        decimals = draw(st.integers(0, 6))
        stress = draw(st.integers(0, 10**8)) * Fraction(1, 10**8)
    missing = not whole and draw(one_in(15))
    return RefAsset(
        price=None if missing else price,
        last=price,
        stress=stress,
        decimals=decimals,
        settles=RUN_DATE + timedelta(draw(st.integers(0, 3))),
        suspended=not whole and draw(one_in(12)),
    )


@st.composite
def profile(draw: st.DrawFn, *, coarse: bool) -> RefProfile:
    scale = 20 if coarse else 10**8
    marks = sorted(draw(st.lists(st.integers(0, scale), min_size=3, max_size=4)))
    parts = [b - a for a, b in zip([0, *marks], [*marks, scale], strict=True)]
    names = draw(st.permutations(ASSETS))[: len(parts) - 1]
    weights = {n: Fraction(p, scale) for n, p in zip(names, parts[1:], strict=True)}
    band = st.sampled_from(["0", "0.05", "0.1", "0.25", "0.5"]).map(Fraction)
    fine_band = st.integers(0, 3 * 10**7).map(lambda n: Fraction(n, 10**8))
    return RefProfile(
        weights=weights,
        cash_weight=Fraction(parts[0], scale),
        drift_band=draw(band if coarse else fine_band),
        cash_band=draw(band if coarse else fine_band),
        min_trade=draw(st.sampled_from(["0", "0.01", "1", "10", "50"]).map(Fraction)),
        schedule=draw(st.sampled_from(["drift", "drift", "drift", "daily", "none"])),
    )


def _reserve(pot: RefPot, asset_id: str, quantity: Fraction) -> None:
    """Add a reserve: what an order reserved came on top of what is settled now."""
    where = pot.cash if asset_id == CURRENCY else pot.units.setdefault(asset_id, {})
    where["reserved"] = where.get("reserved", Fraction(0)) + quantity


def _fly(pot: RefPot, asset_id: str, quantity: Fraction) -> None:
    where = pot.cash if asset_id == CURRENCY else pot.units.setdefault(asset_id, {})
    where["in_flight"] = where.get("in_flight", Fraction(0)) + quantity


@st.composite
def order(draw: st.DrawFn, pot: RefPot, assets: dict[str, RefAsset], *, coarse: bool) -> dict:
    """Draw an order and put its reserve or its execution into the pot's balances."""
    what = draw(
        st.sampled_from(
            [
                "buy",
                "sell",
                "switch",
                "unit_buy",
                "unit_sell",
                "switch_buy",
                "booked_buy",
                "booked_amount_buy",
                "booked_sell",
                "booked_switch",
                "withdrawal",
            ]
        )
    )
    asset_id = draw(st.sampled_from(ASSETS))
    decimals = assets[asset_id].decimals
    units = (
        draw(st.integers(1, 60)) * POUND
        if coarse
        else draw(st.integers(1, 60 * 10**decimals).map(lambda n: Fraction(n, 10**decimals)))
    )
    amount = (
        draw(st.integers(1, 30)) * 10 * POUND
        if coarse
        else draw(st.integers(1, 50000).map(lambda n: Fraction(n, 100)))
    )
    settles = RUN_DATE + timedelta(draw(st.integers(-3, 3)))
    # What is still unbooked: taken in this run, or placed in an earlier one.
    state, dealt = draw(
        st.sampled_from(
            [
                ("accepted", RUN_DATE),
                ("placed", AS_OF),
                ("unknown", AS_OF - timedelta(3)),
            ]
        )
    )
    base = {
        "source": "employer",
        "kind": what,
        "asset": asset_id,
        "state": state,
        "dealt": dealt,
        "reserved": Fraction(0),
        "settles": None,
    }
    booked = {
        "state": draw(st.sampled_from(["executed", "part_executed"])),
        "dealt": AS_OF,
        "settles": settles,
        "executed": units,
        "consideration": amount,
    }
    other = draw(st.sampled_from([a for a in ASSETS if a != asset_id]))
    if what.startswith("booked"):
        return base | booked | _booked(pot, what, asset_id, other, units, amount)
    if what == "withdrawal":
        part = draw(st.sampled_from([Fraction(0), amount / 2, amount - Fraction(1, 100)]))
        reserved = Fraction(int(part * 100), 100)
        _reserve(pot, CURRENCY, reserved)
        return base | {"asset": None, "state": "accepted", "amount": amount, "reserved": reserved}
    if what == "switch_buy":
        waiting, unreserved = draw(st.booleans()), draw(st.booleans())
        reserved = Fraction(0) if waiting or unreserved else amount
        _reserve(pot, CURRENCY, reserved)
        made = {"source": "switch", "kind": "buy", "amount": amount, "reserved": reserved}
        return base | made | ({"state": "received"} if waiting else {})
    return base | _unbooked(pot, what, asset_id, other, units, amount)


def _unbooked(
    pot: RefPot, what: str, asset_id: str, other: str, units: Fraction, amount: Fraction
) -> dict:
    if what == "unit_buy":
        return {"source": "rebalancing", "kind": "buy", "units": units}
    if what == "buy":
        _reserve(pot, CURRENCY, amount)
        return {"amount": amount, "reserved": amount}
    _reserve(pot, asset_id, units)
    return {
        "source": "rebalancing" if what == "unit_sell" else "employer",
        "kind": "switch" if what == "switch" else "sell",
        "units": units,
        "reserved": units,
        "to": other if what == "switch" else None,
    }


def _booked(
    pot: RefPot, what: str, asset_id: str, other: str, units: Fraction, amount: Fraction
) -> dict:
    sign = 1 if "buy" in what else -1
    _fly(pot, asset_id, sign * units)
    _fly(pot, CURRENCY, -sign * amount)
    if what == "booked_buy":
        return {"source": "rebalancing", "kind": "buy", "units": units}
    if what == "booked_amount_buy":
        _reserve(pot, CURRENCY, amount)
        return {"kind": "buy", "amount": amount, "reserved": amount}
    _reserve(pot, asset_id, units)
    kind = "switch" if what == "booked_switch" else "sell"
    to = other if kind == "switch" else None
    return {"kind": kind, "units": units, "reserved": units, "to": to}


@st.composite
def near_target(draw: st.DrawFn, world: World) -> RefPot:
    """Draw a pot on its target, or off it by its drift band exactly, or by a minor unit more."""
    name = draw(st.sampled_from(sorted(world.profiles)))
    profile_ = world.profiles[name]
    made = RefPot(profile=name)
    value = draw(st.integers(1, 20)) * 1000 * POUND
    made.cash["settled"] = value
    shifted = draw(st.sampled_from(ASSETS))
    push = draw(st.sampled_from([-1, 0, 1]))
    for asset_id, weight in profile_.weights.items():
        asset_ = world.assets[asset_id]
        minor = Fraction(1, 10**asset_.decimals)
        units = weight * value / asset_.last
        if asset_id == shifted:
            units += push * (profile_.drift_band * value / asset_.last)
            units += draw(st.sampled_from([-1, 0, 1])) * minor
        units = max(units // minor * minor, Fraction(0))
        worth = units * asset_.last
        if units and (worth * 100).denominator == 1:
            made.units[asset_id] = {"settled": units}
            made.cash["settled"] -= worth
    return made


@st.composite
def pot(draw: st.DrawFn, world: World, *, coarse: bool, orders_max: int = 4) -> RefPot:
    if coarse and draw(one_in(3)):
        return draw(near_target(world))
    made = RefPot(
        profile=draw(st.sampled_from(sorted(world.profiles))),
        status="open" if not draw(one_in(20)) else draw(st.sampled_from(["closing", "closed"])),
        reprofiled=draw(one_in(8)),
    )
    if coarse:
        cash = draw(st.integers(-4, 40)) * 25 * POUND
    else:
        cash = draw(st.integers(-20000, 400000)) * Fraction(1, 100)
    made.cash["settled"] = cash
    for asset_id in draw(st.lists(st.sampled_from(ASSETS), unique=True, max_size=4)):
        decimals = world.assets[asset_id].decimals
        held = (
            draw(st.integers(1, 20)) * 10 * POUND
            if coarse
            else draw(
                st.integers(1, 500 * 10**decimals).map(lambda n, d=decimals: Fraction(n, 10**d))
            )
        )
        made.units[asset_id] = {"settled": held}
    count = draw(st.integers(0, orders_max))
    for _ in range(count):
        made.orders.append(draw(order(made, world.assets, coarse=coarse)))
    return made


@st.composite
def worlds(
    draw: st.DrawFn, pots_max: int = 6, orders_max: int = 4, *, whole_market: bool = False
) -> World:
    """Draw assets, profiles and up to `pots_max` pots; about half of the worlds are coarse."""
    coarse = draw(st.booleans())
    world = World(
        assets={a: draw(asset(coarse=coarse, whole=whole_market)) for a in ASSETS},
        profiles={f"R{n}": draw(profile(coarse=coarse)) for n in range(2)},
    )
    for n in range(draw(st.integers(1, pots_max))):
        world.pots[f"P{n}"] = draw(pot(world, coarse=coarse, orders_max=orders_max))
    return world
