"""What the statements must keep."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import quantities as q
from acme.domain.day import Day


def totals_are_sums(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the pots whose total is not their cash and the values of their lines."""
    del day
    lines = (
        inputs["member_services.valuation_lines"]
        .group_by("pot_id")
        .agg(pl.col("value").sum().cast(q.CASH).alias("lines"))
    )
    stated = inputs["member_services.valuation_statements"].filter(pl.col("total").is_not_null())
    return (
        stated.join(lines, on="pot_id", how="left")
        .with_columns(pl.col("lines").fill_null(0).cast(q.CASH))
        .filter(pl.col("total") != pl.col("cash") + pl.col("lines"))
        .select("pot_id", "cash", "lines", "total")
    )
