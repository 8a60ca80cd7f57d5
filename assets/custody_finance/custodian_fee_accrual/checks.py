"""What the accruals should show."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day


def every_holding_has_a_rate_and_a_value(
    day: Day, inputs: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Return the holdings on which no fee can be reckoned."""
    del day
    unknown = pl.col("annual_rate_bp").is_null() | pl.col("market_value").is_null()
    return inputs["custody_finance.custodian_fee_accruals"].filter((pl.col("units") > 0) & unknown)
