"""What the payments must keep."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import quantities as q
from acme.domain.day import Day


def payments_sum_to_what_is_paid(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the announcements whose payments are not what the custodian said he pays."""
    due = _due(day, inputs).filter(pl.col("total").is_not_null())
    paid = pl.col("amount").fill_null(0)
    return due.filter(paid != pl.col("total"))


def what_is_paid_is_the_rate_times_units(
    day: Day, inputs: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Return the announcements that pay another amount than was announced for each unit."""
    due = _due(day, inputs)
    q.assert_bounds("income", q.largest(due, "units"), q.largest(due, "amount_per_unit"))
    announced = q.consideration_expr(q.minor("units").fill_null(0), q.minor("amount_per_unit"))
    return due.filter(announced != q.minor("amount").fill_null(0))


def _due(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return what is distributed on T, with the units and the amount of its payments."""
    paid = (
        inputs["corporate_actions.income_payments"]
        .group_by("announcement_id")
        .agg(pl.col("units").sum(), pl.col("amount").sum().cast(q.CASH))
    )
    return (
        inputs["corporate_actions.income_announcements"]
        .filter(pl.col("distribution_date") == day.run_date)
        .select("announcement_id", "amount_per_unit", "total")
        .join(paid, on="announcement_id", how="left")
        .sort("announcement_id")
    )
