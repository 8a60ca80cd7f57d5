"""Re-balance: unit orders that bring drifted pots back to their profile."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import ledger, pot_ranges, pricing, rebalancing
from acme.domain import quantities as q
from acme.domain.booking import Entries
from acme.domain.day import Day
from acme.domain.ledger import RESERVED, SETTLED, Leg
from acme.domain.orders import order_id
from acme.domain.reference import assets_on, profiles_on


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Re-balance every open pot (`rules §5`) and reserve the units of its sells."""
    orders = inputs["stage.admitted_orders"].drop("run_date")
    pots = (
        inputs["core.pots"]
        .join(
            inputs["stage.reprofiled_pots"].select(
                "book", "pot_id", pl.lit(value=True).alias("reprofiled")
            ),
            on=["book", "pot_id"],
            how="left",
        )
        .with_columns(pl.col("reprofiled").fill_null(value=False))
    )
    market = _market(day, inputs, pots)
    result = pot_ranges.rebalance(
        pots,
        _pot_balances(inputs),
        orders,
        rebalancing.Profiles(
            profiles_on(inputs["core.risk_profiles"], day.run_date),
            profiles_on(inputs["core.risk_profile_parameters"], day.run_date),
        ),
        market,
        pot_ranges.POTS_PER_RANGE,
    )
    trades = _identified(day, result.trades)
    new = _as_orders(day, trades, orders)
    entries = Entries()
    _post(day, entries, new)
    return {
        "core.rebalancing_decisions": result.decisions,
        "core.rebalancing_trades": trades,
        "stage.rebalanced_orders": pl.concat([orders, new]),
        "stage.rebalanced_journals": entries.all_journals(),
        "stage.rebalanced_postings": entries.all_postings(),
        "stage.rebalanced_order_events": entries.all_events(),
    }


def _pot_balances(inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return book, pot_id, state, asset_id, quantity, with what this run has posted so far."""
    made = [inputs[f"stage.{who}_postings"] for who in ("requested", "admitted")]
    return (
        ledger.fold(inputs["core.ledger_balances"], pl.concat(made))
        .filter(pl.col("account").str.starts_with("pot/"))
        .with_columns(pl.col("account").str.strip_prefix("pot/").alias("pot_id"))
        .select("book", "pot_id", "state", "asset_id", "quantity")
    )


def _market(day: Day, inputs: Mapping[str, pl.DataFrame], pots: pl.DataFrame) -> rebalancing.Market:
    assets = assets_on(inputs["core.assets"], day.run_date).filter(
        pl.col("asset_id") != day.currency
    )
    settlement = [
        day.calendars.settlement_date(day.run_date, calendar, days)
        for calendar, days in assets.select("calendar_id", "settlement_days").iter_rows()
    ]
    price_book = inputs["stage.price_book"]
    suspended = inputs["core.suspended_assets"].select(
        "book", "asset_id", pl.lit(value=True).alias("suspended")
    )
    frame = (
        assets.select("asset_id", "unit_decimals", "stress")
        .with_columns(pl.Series("settlement_date", settlement, dtype=pl.Date))
        .join(
            pricing.prices_of(price_book, day.as_of).rename({"closing_price": "price"}),
            on="asset_id",
            how="left",
        )
        .join(
            pricing.last_prices(price_book, day.as_of).rename({"closing_price": "last_price"}),
            on="asset_id",
            how="left",
        )
        .join(pots.select("book").unique(), how="cross")
        .join(suspended, on=["book", "asset_id"], how="left")
        .with_columns(pl.col("suspended").fill_null(value=False))
    )
    return rebalancing.Market(frame, day.currency, day.run_date, day.as_of)


def _identified(day: Day, trades: pl.DataFrame) -> pl.DataFrame:
    """Give each trade its id; running again makes the same orders (`rules §5.5`)."""
    named = trades.with_columns(
        pl.format(
            "{}:{}:{}:{}", "book", "pot_id", "asset_id", pl.lit(day.run_date.isoformat())
        ).alias("source_ref")
    )
    ids = [order_id("rebalancing", ref) for ref in named["source_ref"]]
    return named.with_columns(pl.Series("order_id", ids, dtype=pl.String))


def _as_orders(day: Day, trades: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    sells = pl.col("side") == "S"
    given = {
        "source": pl.lit("rebalancing"),
        "received_at": pl.lit(day.cut_off_instant),
        "dealing_date": pl.lit(day.run_date),
        "kind": pl.when(sells).then(pl.lit("sell")).otherwise(pl.lit("buy")),
        "quantity_type": pl.lit("U"),
        "reserved": pl.when(sells).then(pl.col("units")).otherwise(pl.lit(0)),
        "state": pl.lit("accepted"),
        "allocated_units": pl.lit(0),
        "consideration": pl.lit(0),
    }
    absent = [n for n in like.columns if n not in given and n not in trades.columns]
    return trades.with_columns(**given, **{n: pl.lit(None) for n in absent}).select(
        pl.col(name).cast(dtype) for name, dtype in like.schema.items()
    )


def _post(day: Day, entries: Entries, orders: pl.DataFrame) -> None:
    frame = orders.with_columns(
        pl.format("reservation:{}:{}", "order_id", pl.lit(day.run_date.isoformat())).alias(
            "journal_id"
        ),
        pl.lit(day.cut_off_instant).alias("event_time"),
        pl.lit(day.run_date).alias("effective_date"),
        pl.lit(day.known_at).alias("known_at"),
        pl.lit("received").alias("from_state"),
        pl.lit("accepted").alias("to_state"),
    )
    sold, pot = q.minor("reserved"), ledger.pot_account()
    entries.journal(
        frame.filter(pl.col("side") == "S"),
        "reservation",
        "order_id",
        [
            Leg(pot, SETTLED, pl.col("asset_id"), -1 * sold),
            Leg(pot, RESERVED, pl.col("asset_id"), sold),
        ],
    )
    entries.event(frame, "decide")
