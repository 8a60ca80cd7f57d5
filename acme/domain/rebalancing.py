"""Re-balancing: what each open pot should trade to come back to its profile (`rules §5`).

Three steps, each a frame in and a frame out: `project` (what a pot will hold once all orders are
done), `find_due` (value and drift), `propose` (targets, drops, sells, buys within the cash that
one bad day leaves). Internally Int128 minor units: units, prices and quantities 6 decimals, cash
in pence, ratios 8 decimals. No result depends on the row order, and pots do not depend on each
other, so any ranges of pots may be worked apart.

There are millions of positions, so pots are numbered once: `pot` is a pot's row in
`Projection.pots`, `row` its row in the frame of pots that a step works on, and what a pot has is
fetched by these numbers instead of joined by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from acme.domain import quantities as q
from acme.domain.admission import PENDING_STATES
from acme.domain.ledger import SETTLED
from acme.domain.orders import RESERVED_SOURCES
from acme.domain.reference import CASH

POT = ["book", "pot_id"]
CASH_PARTS = ["cash", "settled", "promised", "withdrawals"]
ASSET_TERMS = ["price", "stress", "quantum", "suspended", "settlement_date"]
ORDER_FLAGS = ["has_order", "has_buy", "has_sell"]
ZERO = pl.lit(0, dtype=pl.Int128)
# price (6) × ratio (8) × … compared at 12 decimals: ratio × pence carries 10.
PER_RATIO_PENCE = 10**2


@dataclass(frozen=True)
class Market:
    """What re-balancing knows of the assets on T.

    assets: book, asset_id, unit_decimals, price (DECIMAL, of P, null where not accepted),
    last_price, stress, settlement_date (of a deal of T), suspended.
    """

    assets: pl.DataFrame
    currency: str
    run_date: date
    as_of: date


@dataclass(frozen=True)
class Profiles:
    """Weights (risk_profile_id, asset_id, weight) and parameters of the profiles valid on T."""

    weights: pl.DataFrame
    parameters: pl.DataFrame


@dataclass(frozen=True)
class Result:
    """What re-balancing decided.

    decisions: book, pot_id, asset_id ('' = the pot), outcome, value, delta_units, trade_units.
    trades: book, pot_id, asset_id, side, units DECIMAL.
    """

    decisions: pl.DataFrame
    trades: pl.DataFrame


@dataclass(frozen=True)
class Projection:
    """What pots will hold.

    pots: POT of every pot with a balance or an order. positions: POT, asset_id, units, available,
    has_order (any unbooked), has_buy, has_sell (a third party's unbooked), pot. cash: POT, cash (c
    of §5), settled, promised (what §5.4 subtracts), withdrawals (how many are open), pot.
    booked_sells: POT, settlement_date, pence. new_sells: POT, settlement_date, room.
    """

    pots: pl.DataFrame
    positions: pl.DataFrame
    cash: pl.DataFrame
    booked_sells: pl.DataFrame
    new_sells: pl.DataFrame


def project(balances: pl.DataFrame, orders: pl.DataFrame, market: Market) -> Projection:
    """Return what pots hold with everything in flight and every unbooked order counted.

    balances: book, pot_id, state, asset_id, quantity, one row for each of the first four, with the
    postings of this run's admission. orders: stage.admitted_orders (not terminal).
    """
    assets = market.assets.select(
        "book",
        "asset_id",
        "unit_decimals",
        "settlement_date",
        q.minor("price").alias("_price"),
        q.minor("last_price").alias("_last"),
        q.minor("stress").alias("_stress"),
    )
    balances, orders, pots = _numbered(balances, orders)
    pending = (
        orders.filter(pl.col("state").is_in(list(PENDING_STATES)) & pl.col("side").is_not_null())
        .join(assets, on=["book", "asset_id"], how="left")
        .with_columns(
            pl.when(pl.col("side") == "B").then(1).otherwise(-1).cast(pl.Int128).alias("_sign"),
            q.minor("units").alias("_units"),
            q.minor("amount").alias("_pence"),
            (pl.col("quantity_type") == "U").alias("_in_units"),
            (~pl.col("source").is_in(sorted(RESERVED_SOURCES))).alias("_third_party"),
            (pl.col("kind") == "switch").alias("_switch"),
        )
    )
    _assert_products(pending, balances, assets)
    quantum = q.unit_quantum_expr(pl.col("unit_decimals"))
    bought = pl.col("_pence") * (q.UNIT_SCALE * q.PRICE_SCALE // q.CASH_SCALE)
    pending = pending.with_columns(
        (
            pl.col("_sign")
            * pl.when("_in_units")
            .then(pl.col("_units"))
            .otherwise(bought // (pl.col("_price") * quantum) * quantum)
        ).alias("_expected"),
        pl.when("_in_units")
        .then(q.consideration_expr(pl.col("_units"), pl.col("_price")))
        .otherwise(pl.col("_pence"))
        .alias("_worth"),
    )
    quiet, busy = _quiet_and_busy(balances, orders)
    switched = _switched(pending, assets)
    return Projection(
        pots=pots,
        positions=_positions(quiet, busy, pending, switched, market.currency, pots),
        cash=_cash(quiet, busy, orders, pending, market.currency, pots),
        booked_sells=_booked_sells(orders, market.as_of),
        new_sells=_new_sells(pending, market.run_date),
    )


def _numbered(
    balances: pl.DataFrame, orders: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return balances and orders with `pot`, and the pots that it numbers."""
    number, held = _runs(balances)
    if not _is_sorted(held):
        balances = balances.sort(POT)
        number, held = _runs(balances)
    ordering = orders.select(POT).unique()
    holders = held.with_row_index("pot").join(ordering, on=POT)
    others = ordering.join(holders, on=POT, how="anti")
    numbers = pl.concat([holders, others.with_row_index("pot", offset=held.height)])
    pots = pl.concat([held, others])
    return balances.with_columns(number), orders.join(numbers, on=POT), pots


def _runs(balances: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """Number the runs of rows of one pot, and return the POT of each run."""
    number = balances.select(pl.struct(POT).rle_id()).to_series().alias("pot")
    first_of_run = (number != number.shift(1)).fill_null(value=True)
    return number, balances.select(POT).filter(first_of_run)


def _is_sorted(frame: pl.DataFrame) -> bool:
    """Say whether the rows are in the order of POT; the lake's are, and sorting again is dear."""
    book, pot = pl.col("book"), pl.col("pot_id")
    ascends = (book > book.shift()) | ((book == book.shift()) & (pot >= pot.shift()))
    return bool(frame.select(ascends.all()).item())


def _rows_of(wanted: pl.Series, pots: pl.Series, size: int) -> pl.Series:
    """Return for each number below `size` in `wanted` its row in `pots`; null where it has none."""
    known = pl.DataFrame({"pot": pots}).with_row_index("row").drop_nulls()
    rows = pl.repeat(None, size, dtype=pl.UInt32, eager=True).scatter(known["pot"], known["row"])
    return rows.gather(wanted).alias("row")


def _quiet_and_busy(
    balances: pl.DataFrame, orders: pl.DataFrame
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Return the balances of pots with all settled and no order, and those of all other pots.

    Nothing is to be summed in a quiet pot, and nearly all pots are quiet.
    """
    unsettled = balances.filter(pl.col("state") != SETTLED)["pot"]
    stirred = pl.concat([unsettled, orders["pot"]])
    is_busy = balances["pot"].is_in(stirred.implode()).alias("_busy")
    marked = balances.lazy().with_columns(is_busy)
    return marked.filter(~pl.col("_busy")), marked.filter("_busy")


def _switched(pending: pl.DataFrame, assets: pl.DataFrame) -> pl.DataFrame:
    """Return what unbooked switch sales will buy of the other asset: `trunc(money(u·p) / p_to)`."""
    target = assets.select(
        "book",
        pl.col("asset_id").alias("to_asset_id"),
        pl.col("_price").alias("_to_price"),
        q.unit_quantum_expr(pl.col("unit_decimals")).alias("_to_quantum"),
    )
    scaled = pl.col("_worth") * (q.UNIT_SCALE * q.PRICE_SCALE // q.CASH_SCALE)
    return (
        pending.filter("_switch")
        .join(target, on=["book", "to_asset_id"], how="left")
        .select(
            *POT,
            pl.col("to_asset_id").alias("asset_id"),
            (scaled // (pl.col("_to_price") * pl.col("_to_quantum")) * pl.col("_to_quantum")).alias(
                "units"
            ),
            ZERO.alias("available"),
            pl.lit(value=True).alias("has_order"),
            pl.lit(value=False).alias("has_buy"),
            pl.lit(value=False).alias("has_sell"),
            "pot",
        )
    )


def _positions(
    quiet: pl.LazyFrame,
    busy: pl.LazyFrame,
    pending: pl.DataFrame,
    switched: pl.DataFrame,
    currency: str,
    pots: pl.DataFrame,
) -> pl.DataFrame:
    def held(balances: pl.LazyFrame) -> pl.DataFrame:
        units = q.minor("quantity")
        return (
            balances.filter(pl.col("asset_id") != currency)
            .select(
                *POT,
                "asset_id",
                units.alias("units"),
                pl.when(pl.col("state") == SETTLED).then(units).alias("available"),
                *[pl.lit(value=False).alias(name) for name in ORDER_FLAGS],
                "pot",
            )
            .collect()
        )

    # An amount buy of an asset without price adds no units but still counts as holding it. Nulls
    # add nothing to a sum.
    ordered = pending.select(
        *POT,
        "asset_id",
        pl.col("_expected").alias("units"),
        ZERO.alias("available"),
        pl.lit(value=True).alias("has_order"),
        (pl.col("_third_party") & (pl.col("side") == "B")).alias("has_buy"),
        (pl.col("_third_party") & (pl.col("side") == "S")).alias("has_sell"),
        "pot",
    )
    summed = (
        pl.concat([held(busy), ordered, switched])
        .group_by("pot", "asset_id")
        .agg(pl.col("units", "available").sum(), pl.col(ORDER_FLAGS).any())
    )
    return pl.concat([held(quiet), _named(summed, pots)])


def _named(summed: pl.DataFrame, pots: pl.DataFrame) -> pl.DataFrame:
    """Give rows that were summed by `pot` their POT; `pot` comes last."""
    names = _at(pots, summed["pot"], POT)
    return pl.concat([names, summed.drop("pot"), summed.select("pot")], how="horizontal")


def _at(frame: pl.DataFrame, rows: pl.Series, columns: list[str]) -> pl.DataFrame:
    """Return columns of the numbered rows of `frame`, in the order of `rows`."""
    return frame.select(pl.col(columns).gather(rows))


def _cash(
    quiet: pl.LazyFrame,
    busy: pl.LazyFrame,
    orders: pl.DataFrame,
    pending: pl.DataFrame,
    currency: str,
    pots: pl.DataFrame,
) -> pl.DataFrame:
    """Return POT, cash, settled, promised, withdrawals in pence (Int128)."""
    pence = q.minor("quantity") // q.QUANTITIES_PER_PENNY

    def parts(**given: pl.Expr) -> list[pl.Expr]:
        return [given.get(name, ZERO).cast(pl.Int128).alias(name) for name in CASH_PARTS]

    def held(balances: pl.LazyFrame) -> pl.DataFrame:
        settled = pl.when(pl.col("state") == SETTLED).then(pence)
        return (
            balances.filter(pl.col("asset_id") == currency)
            .select(
                *POT,
                *parts(cash=pence, settled=settled),
                "pot",
            )
            .collect()
        )

    unreserved = pl.col("reserved") == 0
    unit_buy = pl.col("_in_units") & (pl.col("side") == "B")
    stressed = q.stressed_cost_expr(pl.col("_units"), pl.col("_last"), pl.col("_stress"))
    ordered = pending.select(
        *POT,
        *parts(
            cash=pl.when(~pl.col("_switch")).then(-1 * pl.col("_sign") * pl.col("_worth")),
            promised=pl.when(unit_buy)
            .then(stressed)
            # Of what is not in units, all are buys.
            .when(unreserved)
            .then(pl.col("_pence")),
        ),
        "pot",
    )
    # What is not booked has no consideration yet.
    booked_buys = orders.filter((pl.col("side") == "B") & unreserved).select(
        *POT, *parts(promised=q.minor("consideration")), "pot"
    )
    reserved_pence = q.minor("reserved") // q.QUANTITIES_PER_PENNY
    withdrawals = orders.filter(pl.col("kind") == "withdrawal").select(
        *POT,
        *parts(
            cash=-1 * q.minor("amount"),
            promised=q.minor("amount") - reserved_pence,
            withdrawals=pl.lit(1, dtype=pl.Int128),
        ),
        "pot",
    )
    summed = (
        pl.concat([held(busy), ordered, booked_buys, withdrawals])
        .group_by("pot")
        .agg(pl.col(CASH_PARTS).sum())
    )
    return pl.concat([held(quiet), _named(summed, pots)])


def _booked_sells(orders: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Return POT, settlement_date, pence of sells whose settlement date is after P.

    What is not booked has no consideration yet.
    """
    return orders.filter((pl.col("side") == "S") & (pl.col("settlement_date") > as_of)).select(
        *POT, "settlement_date", q.minor("consideration").alias("pence")
    )


def _new_sells(pending: pl.DataFrame, run_date: date) -> pl.DataFrame:
    """Return POT, settlement_date, `room` (10 decimals) of this run's third-party sells."""
    return pending.filter(
        (pl.col("side") == "S")
        & (pl.col("dealing_date") == run_date)
        & (pl.col("state") == "accepted")
        & (pl.col("kind") != "switch")
    ).select(
        *POT,
        pl.col("settlement_date_right").alias("settlement_date"),
        (pl.col("_worth") * (q.RATIO_SCALE - pl.col("_stress"))).alias("room"),
    )


def _assert_products(pending: pl.DataFrame, balances: pl.DataFrame, assets: pl.DataFrame) -> None:
    price = max(q.largest(assets, "_price"), q.largest(assets, "_last"))
    units = max(q.largest(pending, "_units"), q.largest(balances, "quantity"))
    q.assert_bounds("stressed cost", units, price, 4 * q.RATIO_SCALE)


def find_due(
    pots: pl.DataFrame, projection: Projection, profiles: Profiles, market: Market
) -> pl.DataFrame:
    """Value every pot and say whether it is due (`rules §5`, opening and step 1).

    pots: book, pot_id, risk_profile_id, opened_on, status, reprofiled. Returns one row per open pot
    (one opened after T is not open yet): POT, risk_profile_id, schedule, min_trade, cash, settled,
    promised, withdrawals, value (pence), `outcome`: unknown_profile, self_select, no_price,
    no_value, not_due or due, and `pot` (null: the pot has nothing).
    """
    plans = _plans(pots, profiles, market)
    open_pots = (
        pots.filter((pl.col("status") == "open") & (pl.col("opened_on") <= market.run_date))
        .select(*POT, "risk_profile_id", "reprofiled")
        .join(
            plans,
            on=["book", "risk_profile_id"],
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        .join(projection.pots.with_row_index("pot"), on=POT, how="left", maintain_order="left")
    )
    cash_row = _rows_of(open_pots["pot"], projection.cash["pot"], projection.pots.height)
    cash = projection.cash.select(pl.col(CASH_PARTS).gather(cash_row).fill_null(0))
    open_pots = open_pots.hstack(cash).with_row_index("row")
    valued, holdings = _value(open_pots, plans, projection, profiles, market)
    return _judge(valued, holdings)


def _plans(pots: pl.DataFrame, profiles: Profiles, market: Market) -> pl.DataFrame:
    """Return what a book's pots of a profile have in common.

    plan (its number), book, risk_profile_id; of the parameters schedule (null: unknown profile),
    min_trade, drift_band, cash_band; cash_weight, untargetable (a target has no price), large (how
    many assets have a weight above the drift band).
    """
    priced = market.assets.select("book", "asset_id", "price")
    weights = _weights(profiles)
    parameters = profiles.parameters.select(
        "risk_profile_id",
        "schedule",
        *[q.minor(name).alias(name) for name in ("min_trade", "drift_band", "cash_band")],
    )
    of_cash = pl.col("asset_id") == CASH
    facts = (
        weights.join(priced.select("book").unique(), how="cross")
        .join(priced, on=["book", "asset_id"], how="left")
        .join(parameters, on="risk_profile_id")
        .group_by("book", "risk_profile_id")
        .agg(
            pl.col("weight").filter(of_cash).sum().alias("cash_weight"),
            (~of_cash & (pl.col("weight") > 0) & pl.col("price").is_null())
            .any()
            .alias("untargetable"),
            (~of_cash & (pl.col("weight") > pl.col("drift_band"))).sum().alias("large"),
        )
    )
    return (
        pots.select("book", "risk_profile_id")
        .unique()
        .join(parameters, on="risk_profile_id", how="left")
        .join(facts, on=["book", "risk_profile_id"], how="left")
        .with_row_index("plan")
    )


def _weights(profiles: Profiles) -> pl.DataFrame:
    return profiles.weights.select("risk_profile_id", "asset_id", q.minor("weight").alias("weight"))


def _value(
    open_pots: pl.DataFrame,
    plans: pl.DataFrame,
    projection: Projection,
    profiles: Profiles,
    market: Market,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the pots with `V = Σ money(u·p) + c`, and what each of their holdings is worth.

    Pots gain value (pence), unpriced, held_large. Holdings: row, worth (12 decimals), weight.
    """
    price = q.minor("price").alias("price")
    terms = (
        plans.select("plan", "book", "risk_profile_id", "drift_band")
        .join(market.assets.select("book", "asset_id", price), on="book")
        .join(_weights(profiles), on=["risk_profile_id", "asset_id"], how="left")
        .with_columns((pl.col("weight") > pl.col("drift_band")).alias("large"))
        .select("plan", "asset_id", "price", "weight", "large")
    )
    positions = projection.positions
    row = _rows_of(positions["pot"], open_pots["pot"], projection.pots.height)
    holdings = (
        positions.lazy()
        .select("asset_id", "units", "has_order", row, open_pots["plan"].gather(row))
        .join(terms.lazy(), on=["plan", "asset_id"], how="left")
        .select(
            "row",
            (pl.col("units") * pl.col("price")).alias("worth"),
            pl.col("weight").fill_null(0),
            "large",
            (((pl.col("units") != 0) | pl.col("has_order")) & pl.col("price").is_null()).alias(
                "unpriced"
            ),
        )
        .collect()
    )
    sums = (
        holdings.lazy()
        .group_by("row")
        .agg(
            q.half_even_expr(pl.col("worth"), q.PRODUCT_PER_PENNY).sum().alias("holdings"),
            pl.col("unpriced").any(),
            pl.col("large").sum().alias("held_large"),
        )
        .collect()
    )
    sums_row = _rows_of(open_pots["row"], sums["row"], open_pots.height)
    sums = _at(sums, sums_row, ["holdings", "unpriced", "held_large"])
    valued = open_pots.hstack(sums).with_columns(
        (pl.col("cash") + pl.col("holdings").fill_null(0)).alias("value"),
        pl.col("held_large").fill_null(0),
    )
    return valued, holdings


def _drifted(valued: pl.DataFrame, holdings: pl.DataFrame) -> pl.Series:
    """Return the rows of pots with an asset `|u·p - w·V| > drift_band·V`, at 12 decimals."""
    scaled = pl.col("value") * PER_RATIO_PENCE
    pots = valued.select(scaled.alias("value"), (pl.col("drift_band") * scaled).alias("band"))
    row = holdings["row"]
    value, band = pots["value"].gather(row), pots["band"].gather(row)
    off = (pl.col("worth") - pl.col("weight") * value).abs() > band
    return holdings.filter(off)["row"]


def _judge(valued: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    """Name the outcome of every open pot."""
    largest = q.largest(valued, "value")
    q.assert_bounds("weight × value", largest, 2 * q.RATIO_SCALE, PER_RATIO_PENCE)
    drifted = pl.col("row").is_in(_drifted(valued, holdings).implode())
    # An asset of the profile that a pot does not hold is off by its whole weight: |0 - w·V| > d·V.
    missing = pl.col("held_large") < pl.col("large")
    cash_off = (pl.col("cash") * q.RATIO_SCALE - pl.col("cash_weight") * pl.col("value")).abs()
    due = (
        drifted
        | missing
        | (cash_off > pl.col("cash_band") * pl.col("value"))
        | (pl.col("cash") < 0)
        | pl.col("reprofiled")
        | (pl.col("schedule") == "daily")
    )
    outcome = (
        pl.when(pl.col("schedule").is_null())
        .then(pl.lit("unknown_profile"))
        .when(pl.col("schedule") == "none")
        .then(pl.lit("self_select"))
        # Parameters without weights are no profile: nothing is sold for want of a target.
        .when(pl.col("cash_weight").is_null())
        .then(pl.lit("unknown_profile"))
        .when(pl.col("unpriced") | pl.col("untargetable"))
        .then(pl.lit("no_price"))
        .when(pl.col("value") <= 0)
        .then(pl.lit("no_value"))
        .when(due)
        .then(pl.lit("due"))
        .otherwise(pl.lit("not_due"))
    )
    return valued.select(
        *POT,
        "risk_profile_id",
        "schedule",
        "min_trade",
        *CASH_PARTS,
        "value",
        outcome.alias("outcome"),
        "pot",
    )


def propose(
    due: pl.DataFrame, projection: Projection, profiles: Profiles, market: Market
) -> pl.DataFrame:
    """Return POT, asset_id, outcome, delta, trade (Int128, signed) for due pots (`rules §5.2-5.4`).

    due: as `find_due` returns it; the result is in its order, then by asset_id. Pots without value
    and with an open withdrawal sell what is available instead. `row` is the pot's row in `due`.
    """
    pots = due.drop("pot", "row", strict=False).with_row_index("row")
    row = _rows_of(projection.positions["pot"], due["pot"], projection.pots.height)
    positions = projection.positions.with_columns(row)
    terms = _market_terms(market)
    judged = _drop(_deltas(pots, positions, profiles, terms))
    sells = _sell(judged.filter(pl.col("outcome") == "sell"))
    buys = _cap(judged.filter(pl.col("outcome") == "buy"), sells, projection, pots)
    dropped = judged.filter(~pl.col("outcome").is_in(["sell", "buy"])).with_columns(
        ZERO.alias("trade")
    )
    columns = ["row", "asset", "outcome", "delta", "trade"]
    proposed = pl.concat(
        frame.select(columns)
        for frame in (sells, buys, dropped, _sell_for_withdrawals(pots, positions, terms))
    ).sort("row", "asset")
    return pl.concat(
        [
            _at(due, proposed["row"], POT),
            _at(terms, proposed["asset"], ["asset_id"]),
            proposed.select("outcome", "delta", "trade", "row"),
        ],
        how="horizontal",
    )


def _market_terms(market: Market) -> pl.DataFrame:
    """Return the market; `asset` numbers its rows in the order of book and asset_id."""
    return (
        market.assets.sort("book", "asset_id")
        .select(
            "book",
            "asset_id",
            "suspended",
            "settlement_date",
            q.minor("price").alias("price"),
            q.minor("stress").alias("stress"),
            q.unit_quantum_expr(pl.col("unit_decimals")).alias("quantum"),
        )
        .with_row_index("asset")
    )


def _deltas(
    pots: pl.DataFrame, positions: pl.DataFrame, profiles: Profiles, terms: pl.DataFrame
) -> pl.DataFrame:
    """Return the wanted change of every held or targeted asset of the due pots."""
    is_due = pl.col("outcome") == "due"
    # Cash is no asset of the market, and a due pot neither holds nor targets what has no price.
    targets = profiles.weights.join(
        terms.select("book", "asset_id", "asset"), on="asset_id"
    ).select("book", "risk_profile_id", "asset", q.minor("weight").alias("weight"))
    targeted = pots.lazy().filter(is_due).join(targets.lazy(), on=["book", "risk_profile_id"])
    held = (
        positions.filter(pots.select(is_due).to_series().gather(positions["row"]))
        .lazy()
        .join(terms.lazy(), on=["book", "asset_id"])
    )
    wide = (
        targeted.select("row", "asset", "weight")
        .join(
            held.select("row", "asset", "units", "available", *ORDER_FLAGS),
            on=["row", "asset"],
            how="full",
            coalesce=True,
        )
        .with_columns(pl.col("weight", "units", "available").fill_null(0))
        .collect()
    )
    wide = pl.concat(
        [
            wide,
            _at(pots, wide["row"], ["value", "cash", "min_trade", "settled", "promised"]),
            _at(terms, wide["asset"], ASSET_TERMS),
        ],
        how="horizontal",
    )
    value = q.largest(wide, "value")
    q.assert_bounds("weight × value × units", value, q.RATIO_SCALE, 10**2)
    q.assert_bounds("units × price", q.largest(wide, "units"), q.largest(wide, "price"))
    # weight (8) × pence (2) over price (6) carries 4 decimals; 10² more make units at 6.
    target = (
        pl.col("weight")
        * pl.col("value")
        * 10**2
        // (pl.col("price") * pl.col("quantum"))
        * pl.col("quantum")
    )
    return (
        wide.with_columns((target - pl.col("units")).alias("delta"))
        .drop("weight", "value", "units")
        .filter(pl.col("delta") != 0)
        .with_columns(q.consideration_expr(pl.col("delta").abs(), pl.col("price")).alias("worth"))
    )


def _drop(deltas: pl.DataFrame) -> pl.DataFrame:
    """Name the outcome of every delta: a reason for which it is dropped, or sell or buy."""
    selling = pl.col("delta") < 0
    small = (pl.col("worth") < pl.col("min_trade")) & ~(selling & (pl.col("cash") < 0))
    opposed = pl.when(selling).then(pl.col("has_buy")).otherwise(pl.col("has_sell"))
    return deltas.with_columns(
        pl.when(small)
        .then(pl.lit("below_min_trade"))
        .when(pl.col("suspended"))
        .then(pl.lit("asset_suspended"))
        .when(opposed)
        .then(pl.lit("opposite_order"))
        .when(selling)
        .then(pl.lit("sell"))
        .otherwise(pl.lit("buy"))
        .alias("outcome")
    )


def _sell(sells: pl.DataFrame) -> pl.DataFrame:
    """Sell no more than what is available (`rules §5.3`)."""
    return sells.with_columns(
        (-1 * pl.min_horizontal(-1 * pl.col("delta"), "available")).alias("trade")
    ).with_columns(
        pl.when(pl.col("trade") == 0)
        .then(pl.lit("nothing_available"))
        .otherwise(pl.lit("trade"))
        .alias("outcome")
    )


def _cap(
    buys: pl.DataFrame, sells: pl.DataFrame, projection: Projection, pots: pl.DataFrame
) -> pl.DataFrame:
    """Cap buys so that one bad day cannot overdraw the pot (`rules §5.4`)."""
    _assert_costs(buys)
    costed = buys.with_columns(
        q.stressed_cost_expr(pl.col("delta"), pl.col("price"), pl.col("stress")).alias("cost")
    )
    per_pot = costed.group_by("row", "settled", "promised").agg(
        pl.col("settlement_date").min().alias("earliest"),
        (pl.col("cost").sum() * q.RATIO_SCALE).alias("need"),
    )

    def numbered(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.join(pots.select(*POT, "row"), on=POT)

    def until_earliest(frame: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
        return (
            frame.join(per_pot.select("row", "earliest"), on="row")
            .filter(pl.col("settlement_date") <= pl.col("earliest"))
            .group_by("row")
            .agg(pl.col(column).sum().alias(name))
        )

    own_sells = sells.select(
        "row",
        "settlement_date",
        (
            q.consideration_expr(-1 * pl.col("trade"), pl.col("price"))
            * (q.RATIO_SCALE - pl.col("stress"))
        ).alias("room"),
    )
    other_sells = numbered(projection.new_sells).select("row", "settlement_date", "room")
    expected = until_earliest(pl.concat([own_sells, other_sells]), "room", "expected")
    due_in = until_earliest(numbered(projection.booked_sells), "pence", "due_in")
    with_room = (
        per_pot.join(due_in, on="row", how="left")
        .join(expected, on="row", how="left")
        .select(
            "row",
            "need",
            # Nulls, where nothing is due or expected, add nothing.
            pl.sum_horizontal(
                (pl.col("settled") - pl.col("promised")) * q.RATIO_SCALE,
                pl.col("due_in") * q.RATIO_SCALE,
                "expected",
            ).alias("room"),
        )
    )
    joined = costed.join(with_room, on="row")
    q.assert_bounds("units × room", q.largest(joined, "delta"), q.largest(joined, "room"))
    # What is needed is spent, and no more than there is; where all is, every buy stays whole.
    spent = pl.min_horizontal(pl.max_horizontal("room", ZERO), "need")
    capped = joined.with_columns(
        (pl.col("delta") * spent // (pl.col("need") * pl.col("quantum")) * pl.col("quantum")).alias(
            "trade"
        )
    )
    worth = q.consideration_expr(pl.col("trade"), pl.col("price"))
    too_small = (worth < pl.col("min_trade")) | (pl.col("trade") == 0)
    return capped.with_columns(
        pl.when(too_small).then(ZERO).otherwise(pl.col("trade")).alias("trade"),
        pl.when(too_small).then(pl.lit("no_room")).otherwise(pl.lit("trade")).alias("outcome"),
    )


def _assert_costs(buys: pl.DataFrame) -> None:
    q.assert_bounds(
        "stressed cost", q.largest(buys, "delta"), q.largest(buys, "price"), 4 * q.RATIO_SCALE
    )


def _sell_for_withdrawals(
    pots: pl.DataFrame, positions: pl.DataFrame, terms: pl.DataFrame
) -> pl.DataFrame:
    """Sell every available unit of a pot without value that has an open withdrawal (`rules §5`)."""
    leaving = (pots["outcome"] == "no_value") & (pots["withdrawals"] > 0)
    everything = -1 * pl.col("available")
    return (
        positions.filter(leaving.gather(positions["row"]) & (positions["available"] > 0))
        .join(
            terms.filter(pl.col("price").is_not_null() & ~pl.col("suspended")),
            on=["book", "asset_id"],
        )
        .with_columns(
            pl.lit("trade").alias("outcome"), everything.alias("delta"), everything.alias("trade")
        )
    )


def rebalance(
    pots: pl.DataFrame,
    balances: pl.DataFrame,
    orders: pl.DataFrame,
    profiles: Profiles,
    market: Market,
) -> Result:
    """Re-balance every open pot (`rules §5`); see `project`, `find_due`, `propose` for the inputs.

    Decisions are sorted by POT, asset_id; trades likewise.
    """
    projection = project(balances, orders, market)
    judged = find_due(pots, projection, profiles, market).sort(POT).with_row_index("row")
    proposed = propose(judged, projection, profiles, market)
    no_units = pl.lit(None, dtype=q.UNITS)
    of_pots = judged.select(
        *POT,
        pl.lit("").alias("asset_id"),
        "outcome",
        q.as_decimal(pl.col("value"), q.CASH).alias("value"),
        no_units.alias("delta_units"),
        no_units.alias("trade_units"),
        "row",
    )
    of_assets = proposed.select(
        *POT,
        "asset_id",
        "outcome",
        pl.lit(None, dtype=q.CASH).alias("value"),
        q.as_decimal(pl.col("delta"), q.UNITS).alias("delta_units"),
        q.as_decimal(pl.col("trade"), q.UNITS).alias("trade_units"),
        "row",
    )
    trades = proposed.filter(pl.col("trade") != 0).select(
        *POT,
        "asset_id",
        pl.when(pl.col("trade") > 0).then(pl.lit("B")).otherwise(pl.lit("S")).alias("side"),
        q.as_decimal(pl.col("trade").abs(), q.UNITS).alias("units"),
    )
    # Both parts are in order already, a pot's own row before those of its assets.
    decisions = pl.concat([of_pots, of_assets]).sort("row", maintain_order=True).drop("row")
    return Result(decisions, trades)
