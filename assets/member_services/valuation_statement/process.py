"""The members' valuation statement: units, price and value of each holding, cash, total."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holdings
from acme.domain import quantities as q
from acme.domain.day import Day

POT = "pot_id"


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Value every open live pot as of the close of P, at the accepted prices of P.

    Holdings are those of all states together. A holding without an accepted price of P has no
    value, and its pot no total: a figure that would have to be guessed is left out.
    """
    pots = inputs["core.pots"].filter((pl.col("book") == "live") & (pl.col("status") != "closed"))
    held = holdings.of_pots(inputs["core.ledger_balances"]).filter(pl.col("units") != 0)
    is_cash = pl.col("asset_id") == day.currency
    lines = _lines(pots, held.filter(~is_cash), _prices(day, inputs))
    cash = held.filter(is_cash).select(POT, pl.col("units").cast(q.CASH).alias("cash"))
    values = lines.group_by(POT).agg(
        pl.col("value").sum().cast(q.CASH), pl.col("value").is_null().sum().alias("unpriced")
    )
    statements = (
        pots.select(POT, "member_ref", pl.lit(day.as_of).alias("valuation_date"))
        .join(cash, on=POT, how="left")
        .join(values, on=POT, how="left")
        .with_columns(pl.col("cash", "value").fill_null(0).cast(q.CASH))
    )
    total = pl.when(pl.col("unpriced").fill_null(0) == 0).then(pl.col("cash") + pl.col("value"))
    return {
        "member_services.valuation_lines": lines,
        "member_services.valuation_statements": statements.select(
            POT, "member_ref", "valuation_date", "cash", total.cast(q.CASH).alias("total")
        ),
    }


def _prices(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return asset_id, price: what the newest file with a price of P says, if it is accepted."""
    runs = ("previous.", "")
    landed = pl.concat(
        [
            inputs[f"{run}core.closing_prices"].join(
                inputs[f"{run}core.run_inputs"]
                .filter(pl.col("feed") == "closing_prices")
                .select("file_sha256", "sequence"),
                on="file_sha256",
            )
            for run in runs
        ]
    ).filter(pl.col("price_date") == day.as_of)
    newest = landed.filter(
        pl.col("sequence") == pl.col("sequence").max().over("asset_id"),
    ).filter(pl.col("status") == "accepted")
    return newest.select("asset_id", pl.col("closing_price").alias("price")).unique()


def _lines(pots: pl.DataFrame, held: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    rows = held.join(pots.select(POT), on=POT).join(prices, on="asset_id", how="left")
    q.assert_bounds("value of a holding", q.largest(rows, "units"), q.largest(rows, "price"))
    value = q.consideration_expr(q.minor("units"), q.minor("price"))
    return rows.select(
        POT, "asset_id", "units", "price", q.as_decimal(value, q.CASH).alias("value")
    )
