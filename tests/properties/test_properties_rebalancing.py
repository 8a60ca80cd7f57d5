"""Re-balancing against the independent reference, and what must hold for any pots (`rules §5`)."""

import random
from copy import deepcopy
from datetime import date
from fractions import Fraction

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from random_pots import (
    AS_OF,
    CURRENCY,
    RUN_DATE,
    World,
    balance_frame,
    market,
    order_frame,
    outcomes_of,
    pot_frame,
    profile_frames,
    run,
    trades_of,
    worlds,
)
from rebalancing_reference import RefAsset, RefPot, money, rebalance, stressed_cost, withdrawals

from acme.domain import rebalancing


@given(worlds())
def test_trades_and_outcomes_equal_the_reference(world: World) -> None:
    result = run(world)
    expected = {
        name: rebalance(pot, world.profiles, world.assets, RUN_DATE, AS_OF)
        for name, pot in world.pots.items()
    }
    open_pots = {n: o for n, (o, _) in expected.items() if o != "not open"}
    assert outcomes_of(result) == open_pots
    assert trades_of(result) == {n: trades for n, (_, trades) in expected.items() if trades}


@given(worlds(), st.integers(0, 2**32))
def test_row_order_has_no_effect(world: World, seed: int) -> None:
    def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
        rows = list(range(frame.height))
        random.Random(seed).shuffle(rows)
        return frame[rows]

    profiles, assets = profile_frames(world.profiles), market(world)
    other = rebalancing.rebalance(
        shuffled(pot_frame(world.pots)),
        shuffled(balance_frame(world.pots)),
        shuffled(order_frame(world.pots)),
        rebalancing.Profiles(shuffled(profiles.weights), shuffled(profiles.parameters)),
        rebalancing.Market(shuffled(assets.assets), CURRENCY, RUN_DATE, AS_OF),
    )
    result = run(world)
    assert other.decisions.equals(result.decisions)
    assert other.trades.equals(result.trades)


@given(worlds(), st.data())
def test_pots_do_not_depend_on_each_other(world: World, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sorted(world.pots)), min_size=1))
    alone = World(world.assets, world.profiles, {n: world.pots[n] for n in sorted(chosen)})
    everyone = trades_of(run(world))
    assert trades_of(run(alone)) == {n: everyone[n] for n in sorted(chosen) if n in everyone}


@given(worlds(pots_max=3))
def test_books_do_not_depend_on_each_other(world: World) -> None:
    """The same pots in both books; the canary's assets are all suspended."""
    both = rebalancing.rebalance(
        pl.concat([pot_frame(world.pots), pot_frame(world.pots, "canary")]),
        pl.concat([balance_frame(world.pots), balance_frame(world.pots, "canary")]),
        pl.concat([order_frame(world.pots), order_frame(world.pots, "canary")]),
        profile_frames(world.profiles),
        rebalancing.Market(
            pl.concat(
                [
                    market(world).assets,
                    market(world).assets.with_columns(
                        pl.lit("canary").alias("book"), pl.lit(value=True).alias("suspended")
                    ),
                ]
            ),
            CURRENCY,
            RUN_DATE,
            AS_OF,
        ),
    )
    assert both.trades.filter(pl.col("book") == "canary").is_empty()
    live = both.trades.filter(pl.col("book") == "live")
    assert live.equals(run(world).trades)


def with_trades(pot: RefPot, trades: dict[str, Fraction]) -> RefPot:
    """Return the pot with the trades as accepted orders of this run, its sells reserved."""
    after = deepcopy(pot)
    after.reprofiled = False
    for asset_id, units in trades.items():
        order = {
            "source": "rebalancing",
            "asset": asset_id,
            "state": "accepted",
            "dealt": RUN_DATE,
            "settles": None,
            "units": abs(units),
            "reserved": Fraction(0),
        }
        if units < 0:
            states = after.units[asset_id]
            states["settled"] += units
            states["reserved"] = states.get("reserved", Fraction(0)) - units
            order |= {"kind": "sell", "reserved": -units}
        else:
            order |= {"kind": "buy"}
        after.orders.append(order)
    return after


@given(worlds(pots_max=4))
def test_running_again_at_the_same_prices_proposes_only_what_was_cut(world: World) -> None:
    """What was traded in full is on target: only rounding is left, far below a pound.

    An asset whose trade was dropped or capped may be proposed again; a pot short of cash sells
    without minimum (`rules §5.2`), and pots that sell for a withdrawal have sold what they could.
    """
    first = run(world)
    trades = trades_of(first)
    cut = {
        (r["pot_id"], r["asset_id"])
        for r in first.decisions.iter_rows(named=True)
        if r["asset_id"] and r["delta_units"] != r["trade_units"]
    }
    after = {n: with_trades(p, trades.get(n, {})) for n, p in world.pots.items()}
    second = trades_of(run(World(world.assets, world.profiles, after)))
    for name, again in second.items():
        for asset_id, units in again.items():
            if (name, asset_id) in cut:
                continue
            asset = world.assets[asset_id]
            # A unit order's worth is rounded once per order, a holding's once: pennies, and with
            # them the target moves by at most those pennies and one minor unit.
            slack = Fraction(10, 100) + asset.price / 10**asset.decimals
            assert abs(units) * asset.price <= slack, (name, asset_id, units)


def cash_of(order: dict, asset: RefAsset | None, moved: dict) -> tuple[date, Fraction]:
    """Return when and by how much an order of before changes settled cash, at worst."""
    if order["kind"] == "withdrawal":
        return RUN_DATE, order["reserved"] - order["amount"]
    booked = order["state"] in {"executed", "part_executed"}
    if order["kind"] == "buy":
        if order["reserved"]:
            return RUN_DATE, Fraction(0)
        cost = order["consideration"] if booked else order.get("amount")
        return RUN_DATE, -(cost or stressed_cost(order["units"], asset.last, asset.stress))
    if booked and order["settles"] > AS_OF:
        return order["settles"], order["consideration"]
    if order["kind"] == "sell" and order["state"] == "accepted":
        return asset.settles, money(order["units"] * moved[order["asset"]])
    return RUN_DATE, Fraction(0)


def worst_cash(world: World, pot: RefPot, trades: dict[str, Fraction], moved: dict) -> dict:
    """Return the pot's settled cash after each date, at the moved prices, if sales come in time.

    Sells of earlier runs that are not booked are taken never to arrive, and every commitment of
    before to be paid on T.
    """
    flows: dict[date, Fraction] = {RUN_DATE: pot.cash["settled"]}

    def flow(day: date, amount: Fraction) -> None:
        day = max(day, RUN_DATE)
        flows[day] = flows.get(day, Fraction(0)) + amount

    for o in pot.orders:
        flow(*cash_of(o, world.assets.get(o["asset"]), moved))
    for asset_id, units in trades.items():
        flow(world.assets[asset_id].settles, -money(units * moved[asset_id]))
    total, path = Fraction(0), {}
    for day in sorted(flows):
        total += flows[day]
        path[day] = total
    return path


@given(worlds(pots_max=3, whole_market=True), st.data())
def test_no_price_move_within_stress_overdraws_a_pot_that_bought(
    world: World, data: st.DataObject
) -> None:
    """`rules §5.4`: from the first settlement of a buy on, settled cash stays above zero.

    Every consideration is rounded to the penny on its own, so the promise holds to half a penny
    for each trade (`test_the_rule_leaves_a_penny…` in tests/domain/test_domain_rebalancing.py).
    """
    trades = trades_of(run(world))
    corner = st.sampled_from([-1, Fraction(-1, 3), 0, 1])
    moved = {
        name: asset.price * (1 + data.draw(corner) * asset.stress)
        for name, asset in world.assets.items()
    }
    for name, mine in trades.items():
        buys = [a for a, units in mine.items() if units > 0]
        if not buys:
            continue
        pot = world.pots[name]
        first = min(world.assets[a].settles for a in buys)
        slack = Fraction(len(mine) + len(pot.orders), 100)
        for day, cash in worst_cash(world, pot, mine, moved).items():
            if day >= first:
                assert cash >= -slack, (name, day, cash)


@given(worlds(pots_max=4))
def test_no_trade_is_more_than_the_pot_may_do(world: World) -> None:
    """Sells within available units, quanta whole, never both sides, never a suspended asset."""
    for name, mine in trades_of(run(world)).items():
        pot = world.pots[name]
        for asset_id, units in mine.items():
            asset = world.assets[asset_id]
            assert (units * 10**asset.decimals).denominator == 1
            assert not asset.suspended
            assert asset.price is not None
            settled = pot.units.get(asset_id, {}).get("settled", Fraction(0))
            assert units >= -settled
            if not withdrawals(pot):
                assert world.profiles[pot.profile].schedule != "none"
