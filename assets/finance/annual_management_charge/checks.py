"""What the charges must keep."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import quantities as q
from acme.domain.day import Day
from acme.domain.reference import assets_on

# A twelfth of a rate in basis points with 4 decimals.
PARTS = 12 * 10**8


def charges_are_a_twelfth_of_the_rate(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the charges whose exact amount is not within one minor unit above what is due."""
    assets = assets_on(inputs["core.assets"], day.run_date).select("asset_id", "unit_decimals")
    short = q.minor("units") * q.minor("annual_rate_bp") - q.minor("due_units") * PARTS
    quantum = q.unit_quantum_expr(pl.col("unit_decimals"))
    return (
        inputs["finance.management_charges"]
        .join(assets, on="asset_id")
        .filter((short < 0) | (short >= PARTS * quantum))
    )


def charges_are_available(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the charges below zero, above what is due, or above what the pot has."""
    del day
    charge, available = pl.col("charge_units"), pl.col("available_units")
    covered = (charge <= available) | ((charge == 0) & (available < 0))
    return inputs["finance.management_charges"].filter(
        (charge < 0) | (charge > pl.col("due_units")) | ~covered
    )
