"""Contributions expected against contributions received, over the month of T up to T."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import quantities as q
from acme.domain.day import Day

KEYS = ["employer", "pot_id", "month"]


def left(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return what was announced as due in the month of T, T included; zero is nothing due."""
    announced = inputs["payroll.contribution_schedules"].with_columns(
        pl.col("due_date").dt.month_start().alias("month")
    )
    due = (pl.col("month") == day.run_date.replace(day=1)) & (pl.col("due_date") <= day.run_date)
    return _summed(announced.filter(due)).filter(pl.col("amount") != 0)


def right(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return what was accepted in the month of T: of the dates before, and of T."""
    month = day.run_date.replace(day=1)
    before = (
        inputs["previous.payroll.contribution_reconciliation"]
        .filter((pl.col("month") == month) & pl.col("right_amount").is_not_null())
        .select(*KEYS, pl.col("right_amount").alias("amount"))
    )
    # The movement says that the money was taken, its order from whom and for which pot.
    orders = inputs["core.orders"].filter(pl.col("kind") == "contribution")
    today = (
        inputs["core.cash_movements"]
        .filter((pl.col("direction") == "IN") & (pl.col("book") == "live"))
        .join(
            orders.select(pl.col("order_id").alias("movement_id"), "source", "pot_id"),
            on="movement_id",
        )
        .select(
            pl.col("source").alias("employer"),
            "pot_id",
            pl.lit(month, dtype=pl.Date).alias("month"),
            "amount",
        )
    )
    return _summed(pl.concat([before, today]))


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by(KEYS).agg(pl.col("amount").sum().cast(q.CASH)).sort(KEYS)
