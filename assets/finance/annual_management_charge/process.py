"""The annual management charge: units that a pot owes for a month, per fund."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from acme.domain import holdings, ledger
from acme.domain import quantities as q
from acme.domain.day import Day
from acme.domain.reference import assets_on

MONTHS = 12
# A rate counts basis points with 4 decimals: 10^4 of a point, 10^4 points in one.
RATE_SCALE = 10**4 * 10**4
NOTHING = pl.lit(0, dtype=pl.Int128)


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Charge what open live pots held at the close of P, in all states, by the rate of P.

    Due are `units × rate / 12`, truncated at the fund's decimals. Charged is what is due, or what
    the run of T has left available where that is less: what was sold by then cannot be taken.
    """
    balances = inputs["core.ledger_balances"]
    left = holdings.left_by_the_run(balances, inputs["core.ledger_postings"], day.run_date)
    available = holdings.of_pots(left, [ledger.SETTLED]).rename({"units": "available_units"})
    pots = inputs["core.pots"].filter(
        (pl.col("book") == holdings.LIVE_BOOK) & (pl.col("status") != "closed")
    )
    assets = assets_on(inputs["core.assets"], day.run_date).select("asset_id", "unit_decimals")
    held = holdings.of_pots(balances).filter(
        (pl.col("units") > 0) & (pl.col("asset_id") != day.currency)
    )
    rows = (
        held.join(pots.select("pot_id"), on="pot_id")
        .join(_rates_on(inputs["finance.charge_rates"], day.as_of), on="asset_id")
        .join(assets, on="asset_id")
        .join(available, on=["pot_id", "asset_id"], how="left")
        .with_columns(pl.col("available_units").fill_null(0).cast(q.QUANTITY))
    )
    q.assert_bounds("charge", q.largest(rows, "units"), q.largest(rows, "annual_rate_bp"))
    quantum = q.unit_quantum_expr(pl.col("unit_decimals"))
    owed = q.minor("units") * q.minor("annual_rate_bp") // (MONTHS * RATE_SCALE * quantum) * quantum
    taken = pl.min_horizontal(owed, pl.max_horizontal(q.minor("available_units"), NOTHING))
    charges = rows.select(
        "pot_id",
        "asset_id",
        pl.lit(day.as_of.replace(day=1)).alias("charge_month"),
        "units",
        "available_units",
        "annual_rate_bp",
        q.as_decimal(owed, q.QUANTITY).alias("due_units"),
        q.as_decimal(taken, q.QUANTITY).alias("charge_units"),
    )
    return {"finance.management_charges": charges}


def _rates_on(rates: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return asset_id, annual_rate_bp: the newest rate of each fund with `valid_from` ≤ day."""
    return (
        rates.filter(pl.col("valid_from") <= day)
        .sort("valid_from")
        .group_by("asset_id")
        .last()
        .select("asset_id", "annual_rate_bp")
    )
