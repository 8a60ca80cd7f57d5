"""A made-up scheme of many pots for the re-balancing benchmark: the same figures on every machine.

Pots hold the five assets of their profile and cash. About 22 % have drifted over their band; a few
per cent have something reserved, in flight or ordered. No figure resembles a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl

from acme.domain import quantities as q
from acme.domain.rebalancing import Market, Profiles
from acme.lakehouse import contracts

P, T = date(2020, 6, 10), date(2020, 6, 11)
CURRENCY = "GBP"
DRIFTED_PERCENT = 24
# Profiles: eight plain ones, one never re-balanced, one with a suspended and one with an unpriced
# asset; of a hundred pots so many have each of the last three.
PLAIN, SELF_SELECT, SUSPENDED, UNPRICED = 8, 8, 9, 10
RARE_PERCENT = 3
WEIGHTS = (40_000_000, 25_000_000, 15_000_000, 10_000_000, 8_000_000)
ROWS_PER_GROUP = 500_000
TABLES = ("pots", "balances", "orders", "assets", "weights", "parameters")

BALANCE_COLUMNS = ["book", "pot_id", "state", "asset_id", "quantity"]


@dataclass(frozen=True)
class Inputs:
    """What `rebalancing.rebalance` takes."""

    pots: pl.DataFrame
    balances: pl.DataFrame
    orders: pl.DataFrame
    profiles: Profiles
    market: Market


def pot_name(number: int) -> str:
    """Return the id of a pot; ids sort as their numbers do."""
    return f"P{number:08d}"


def ranges(pots: int, parts: int) -> list[tuple[str, str]]:
    """Cut the pots into `parts` ranges: first id and the id after the last."""
    cuts = [pots * part // parts for part in range(parts + 1)]
    return [(pot_name(first), pot_name(after)) for first, after in pairwise(cuts)]


def read(folder: Path, pots: tuple[str, str] | None = None) -> Inputs:
    """Read a scheme's tables, of all pots or of a range of ids."""

    def table(name: str) -> pl.DataFrame:
        scan = pl.scan_parquet(folder / f"{name}.parquet")
        if pots is not None and name in ("pots", "balances", "orders"):
            scan = scan.filter(pl.col("pot_id") >= pots[0], pl.col("pot_id") < pots[1])
        return scan.collect()

    frames = {name: table(name) for name in TABLES}
    return Inputs(
        frames["pots"],
        frames["balances"],
        frames["orders"],
        Profiles(frames["weights"], frames["parameters"]),
        Market(frames["assets"], CURRENCY, T, P),
    )


def make(folder: Path, pots: int) -> None:
    """Write the tables of a scheme of so many pots, sorted as the lake sorts them."""
    folder.mkdir(parents=True, exist_ok=True)
    assets, weights = _assets(), _weights()
    members = _members(pots)
    holdings = _holdings(members, assets, weights)
    special = _special(members, holdings)
    balances = pl.concat([_settled(members, holdings), special["balances"]])
    tables = {
        "pots": members.select(
            "book",
            "pot_id",
            "risk_profile_id",
            pl.lit("open").alias("status"),
            (pl.col("chance") == 0).alias("reprofiled"),
        ),
        "balances": balances.sort("pot_id", "state", "asset_id").with_columns(
            q.as_decimal(pl.col("quantity"), q.QUANTITY)
        ),
        "orders": special["orders"].sort("order_id"),
        "assets": assets,
        "weights": weights,
        "parameters": _parameters(),
    }
    for name, frame in tables.items():
        frame.write_parquet(folder / f"{name}.parquet", row_group_size=ROWS_PER_GROUP)


def _assets() -> pl.DataFrame:
    numbers = range(12)
    return pl.DataFrame(
        {
            "book": ["live"] * 12,
            "asset_id": [f"FUND{n:02d}" for n in numbers],
            "unit_decimals": [0 if n == 11 else 2 if n == 7 else 4 for n in numbers],
            "price": [None if n == 10 else _price(n) for n in numbers],
            "last_price": [_price(n) for n in numbers],
            "stress": [Decimal("0.10") + Decimal(n) / 100 for n in numbers],
            "settlement_date": [date(2020, 6, 12 + n % 4) for n in numbers],
            "suspended": [n == 9 for n in numbers],
        },
        schema_overrides={"price": q.PRICE, "last_price": q.PRICE, "stress": q.RATIO},
    )


def _price(number: int) -> Decimal:
    return Decimal("0.871233") + Decimal("7.413157") * number


def _profile(number: int) -> str:
    return f"PROFILE{number:02d}"


def _weights() -> pl.DataFrame:
    rows = []
    for profile in range(11):
        assets = [(profile + step) % 9 for step in range(5)]
        if profile in (SUSPENDED, UNPRICED):
            assets[-1] = profile
        rows += [
            (_profile(profile), f"FUND{asset:02d}", weight)
            for asset, weight in zip(assets, WEIGHTS, strict=True)
        ]
        rows.append((_profile(profile), "CASH", q.RATIO_SCALE - sum(WEIGHTS)))
    frame = pl.DataFrame(rows, schema=["risk_profile_id", "asset_id", "weight"], orient="row")
    weight = q.as_decimal(pl.col("weight"), q.RATIO)
    return frame.with_columns(weight).sort("risk_profile_id", "asset_id")


def _parameters() -> pl.DataFrame:
    profiles = range(11)
    return pl.DataFrame(
        {
            "risk_profile_id": [_profile(n) for n in profiles],
            "drift_band": [Decimal("0.02")] * 11,
            "cash_band": [Decimal("0.03")] * 11,
            "min_trade": [Decimal("1.00") * (1 + n % 3) for n in profiles],
            "schedule": ["none" if n == SELF_SELECT else "bands" for n in profiles],
        },
        schema_overrides={"drift_band": q.RATIO, "cash_band": q.RATIO, "min_trade": q.CASH},
    )


def _draw(seed: int, below: int) -> pl.Expr:
    """Return integers 0 … below-1 that depend on the pot's number alone."""
    mixed = (pl.col("number") * 2_654_435_761 + seed * 40_503_000_017) % 4_294_967_291
    return (mixed * 69_069 + mixed // 65_536) % 4_294_967_279 // 7 % below


def _members(pots: int) -> pl.DataFrame:
    """Return number, book, pot_id, risk_profile_id, wealth (pence) and the draws of each pot."""
    kind = _draw(1, 100)
    profile = (
        pl.when(kind < RARE_PERCENT)
        .then(SELF_SELECT)
        .when(kind < 2 * RARE_PERCENT)
        .then(SUSPENDED)
        .when(kind < 3 * RARE_PERCENT)
        .then(UNPRICED)
        .otherwise(kind % PLAIN)
    )
    return pl.select(number=pl.int_range(pots, dtype=pl.Int64)).with_columns(
        pl.lit("live").alias("book"),
        pl.format("P{}", pl.col("number").cast(pl.String).str.zfill(8)).alias("pot_id"),
        pl.format("PROFILE{}", profile.cast(pl.String).str.zfill(2)).alias("risk_profile_id"),
        (100_000 + _draw(2, 20_000_000)).cast(pl.Int128).alias("wealth"),
        (_draw(3, 100) < DRIFTED_PERCENT).alias("drifted"),
        _draw(4, 1000).alias("chance"),
    )


def _holdings(members: pl.DataFrame, assets: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """Return each pot's units of its profile's assets: near their targets, or drifted."""
    terms = weights.join(assets, on="asset_id").select(
        "risk_profile_id",
        "asset_id",
        q.minor("weight").alias("weight"),
        q.minor("last_price").alias("price"),
        q.unit_quantum_expr(pl.col("unit_decimals")).alias("quantum"),
    )
    largest = pl.col("weight") == WEIGHTS[0]
    noise = (_draw(5, 20_001) + pl.col("price") % 977 - 10_000 - 488).cast(pl.Int128)
    drift = pl.when(pl.col("drifted") & largest).then(120_000).otherwise(0)
    # Weight (8) × pence (2) over price (6) carries 4 decimals; 10² more make units at 6.
    scaled = pl.col("weight") * pl.col("wealth") * 100 * (10**6 + noise + drift)
    quantum = pl.col("quantum")
    units = scaled // (pl.col("price") * 10**6 * quantum) * quantum
    return (
        members.join(terms, on="risk_profile_id")
        .with_columns(units.alias("units"))
        .filter(pl.col("units") > 0)
    )


def _settled(members: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    units = holdings.select(
        "book",
        "pot_id",
        pl.lit("settled").alias("state"),
        "asset_id",
        pl.col("units").alias("quantity"),
    )
    pence = pl.col("wealth") * 2 // 100 + _draw(6, 5_000)
    cash = members.select(
        "book",
        "pot_id",
        pl.lit("settled").alias("state"),
        pl.lit(CURRENCY).alias("asset_id"),
        (pence * q.QUANTITIES_PER_PENNY).alias("quantity"),
    )
    return pl.concat([units, cash]).select(BALANCE_COLUMNS)


def _special(members: pl.DataFrame, holdings: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the orders of about 4 % of the pots, and the balances that stand behind them.

    By the pot's draw in a thousand: 10 sell, 10 buy, 3 switch, 7 withdraw, 5 have a booked sell,
    5 a booked buy; the draws do not overlap.
    """
    largest = holdings.filter(pl.col("weight") == WEIGHTS[0])
    smallest = holdings.filter(pl.col("weight") == WEIGHTS[-1])
    chance = pl.col("chance")
    # A whole number of units, so that any unit_decimals will do.
    some = pl.col("units") // (20 * 10**6) * 10**6
    worth = pl.col("wealth") // 50
    cost = (some * pl.col("price") // 10**10).alias("cost")
    sellers = largest.filter((chance >= 10) & (chance < 20)).with_columns(some.alias("some"))
    buyers = smallest.filter((chance >= 20) & (chance < 30)).with_columns(worth.alias("some"))
    switchers = largest.filter((chance >= 30) & (chance < 33)).with_columns(some.alias("some"))
    leavers = members.filter((chance >= 33) & (chance < 40)).with_columns(
        pl.lit(None, dtype=pl.String).alias("asset_id"),
        worth.alias("some"),
    )
    sold = largest.filter((chance >= 40) & (chance < 45)).with_columns(some.alias("some"), cost)
    bought = smallest.filter((chance >= 45) & (chance < 50)).with_columns(some.alias("some"), cost)
    to_asset = pl.lit("FUND00").alias("to_asset_id")
    reserved = pl.col("some") // 2 * q.QUANTITIES_PER_PENNY
    orders = [
        _orders(sellers, "sell", "S", "accepted", units="some", reserved=pl.col("some")),
        _orders(
            buyers,
            "buy",
            "B",
            "accepted",
            amount="some",
            reserved=pl.col("some") * q.QUANTITIES_PER_PENNY,
        ),
        _orders(
            switchers.with_columns(to_asset),
            "switch",
            "S",
            "placed",
            units="some",
            reserved=pl.col("some"),
        ),
        _orders(leavers, "withdrawal", None, "accepted", amount="some", reserved=reserved),
        _orders(sold, "sell", "S", "executed", units="some", consideration="cost"),
        _orders(bought, "buy", "B", "executed", units="some", consideration="cost"),
    ]
    money = pl.lit(CURRENCY)
    pence = pl.col("cost") * q.QUANTITIES_PER_PENNY
    balances = [
        _balance(sellers, "reserved", pl.col("asset_id"), pl.col("some")),
        _balance(buyers, "reserved", money, pl.col("some") * q.QUANTITIES_PER_PENNY),
        _balance(switchers, "reserved", pl.col("asset_id"), pl.col("some")),
        _balance(leavers, "reserved", money, reserved),
        _balance(sold, "in_flight", pl.col("asset_id"), -1 * pl.col("some")),
        _balance(sold, "in_flight", money, pence),
        _balance(bought, "in_flight", pl.col("asset_id"), pl.col("some")),
        _balance(bought, "in_flight", money, -1 * pence),
    ]
    not_zero = pl.col("quantity") != 0
    return {"orders": pl.concat(orders), "balances": pl.concat(balances).filter(not_zero)}


def _balance(frame: pl.DataFrame, state: str, asset: pl.Expr, quantity: pl.Expr) -> pl.DataFrame:
    return frame.select(
        "book",
        "pot_id",
        pl.lit(state).alias("state"),
        asset.alias("asset_id"),
        quantity.cast(pl.Int128).alias("quantity"),
    )


def _orders(
    frame: pl.DataFrame,
    kind: str,
    side: str | None,
    state: str,
    *,
    units: str | None = None,
    amount: str | None = None,
    consideration: str | None = None,
    reserved: pl.Expr | None = None,
) -> pl.DataFrame:
    """Return orders of `kind`, one per row of `frame`, in the columns of the lake's orders."""
    schema = {
        name: dtype
        for name, dtype in contracts.table("stage", "admitted_orders").polars_schema.items()
        if name != "run_date"
    }

    def minor(column: str | None, dtype: pl.Decimal) -> pl.Expr:
        return pl.lit(None) if column is None else q.as_decimal(pl.col(column), dtype)

    booked = state == "executed"
    zero = pl.lit(0, dtype=pl.Int128)
    cost = pl.col(consideration) if consideration else zero
    given = {
        "order_id": pl.format("{}-{}", pl.lit(kind), "pot_id"),
        "source": pl.lit("administrator"),
        "source_ref": pl.format("{}-{}", pl.lit(kind), "pot_id"),
        "dealing_date": pl.lit(P if booked or state == "placed" else T),
        "kind": pl.lit(kind),
        "side": pl.lit(side),
        "state": pl.lit(state),
        "quantity_type": pl.lit(None if side is None else "U" if units else "A"),
        "units": minor(units, q.UNITS),
        "amount": minor(amount, q.CASH),
        "reserved": q.as_decimal(zero if reserved is None else reserved, q.QUANTITY),
        "allocated_units": minor(units, q.UNITS) if booked else q.as_decimal(zero, q.UNITS),
        "consideration": q.as_decimal(cost, q.CASH),
        "settlement_date": pl.lit(date(2020, 6, 12) if booked else None),
    }
    absent = {n: pl.lit(None) for n in schema if n not in given and n not in frame.columns}
    return frame.with_columns(**given, **absent).select(
        pl.col(name).cast(dtype) for name, dtype in schema.items()
    )
