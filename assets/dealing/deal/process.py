"""Deal: the accepted trade orders of T netted into lines and instructions."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import batching
from acme.domain import quantities as q
from acme.domain.booking import Entries, custodian_of
from acme.domain.day import Day
from acme.domain.pricing import prices_of
from acme.domain.reference import assets_on, cash_custodian


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Batch every accepted trade order of T, one batch per book (`rules §6`)."""
    orders = inputs["stage.rebalanced_orders"].drop("run_date")
    trading = pl.col("side").is_not_null() & (pl.col("state") == "accepted")
    batched = batching.with_lines(orders.filter(trading), _terms(day, inputs), day.run_date)
    lines = batching.net(batched)
    entries = Entries()
    for before, after in (("accepted", "batched"), ("batched", "placed")):
        entries.event(
            batched.with_columns(
                pl.lit(before).alias("from_state"),
                pl.lit(after).alias("to_state"),
                pl.lit(day.cut_off_instant).alias("event_time"),
            ),
            "deal",
        )
    placed = batched.with_columns(pl.lit("placed").alias("state")).select(orders.columns)
    cash = cash_custodian(inputs["core.assets"], day.run_date, day.currency)
    new_lines = _reckoned_with(day, inputs, lines).with_columns(
        pl.lit(day.run_date).alias("dealing_date"),
        pl.lit("placed").alias("state"),
        pl.lit(0, dtype=q.UNITS).alias("confirmed_units"),
        pl.lit(0, dtype=q.CASH).alias("confirmed_consideration"),
        custodian_of(pl.col("book"), pl.lit(cash)).alias("cash_custodian"),
        pl.lit(None, dtype=q.PRICE).alias("booked_price"),
        pl.lit(None, dtype=pl.Date).alias("settled_effective"),
        pl.lit(value=False).alias("settlement_amended"),
    )
    open_lines = inputs["stage.posted_lines"].drop("run_date")
    return {
        "core.batch_lines": lines,
        "core.instructions": batching.instructions(lines, day.run_date, day.currency),
        "stage.batched_orders": batched.select(
            "book",
            "batch_id",
            "order_id",
            "kind",
            "asset_id",
            "side",
            "quantity_type",
            "units",
            "amount",
        ),
        "stage.open_orders": pl.concat([orders.filter(~trading.fill_null(value=False)), placed]),
        "stage.open_lines": pl.concat([open_lines, new_lines.select(open_lines.columns)]),
        "stage.dealt_order_events": entries.all_events(),
    }


def _reckoned_with(
    day: Day, inputs: Mapping[str, pl.DataFrame], lines: pl.DataFrame
) -> pl.DataFrame:
    """Add the price and the stress that the orders of a line were made with (`rules §5.4`)."""
    assets = assets_on(inputs["core.assets"], day.run_date)
    known = prices_of(inputs["stage.price_book"], day.as_of).select(
        "asset_id", pl.col("closing_price").alias("proposal_price")
    )
    return lines.join(known, on="asset_id", how="left").join(
        assets.select("asset_id", "stress"), on="asset_id", how="left"
    )


def _terms(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    assets = assets_on(inputs["core.assets"], day.run_date)
    dates = [
        day.calendars.settlement_date(day.run_date, calendar, days)
        for calendar, days in assets.select("calendar_id", "settlement_days").iter_rows()
    ]
    return assets.with_columns(pl.Series("settlement_date", dates, dtype=pl.Date))
