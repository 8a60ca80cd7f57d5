"""The identities of a run's books that hold on every date, or nothing is published (`rules §8`).

Each function returns the rows that break it: an empty frame is a proof. Identities of the ledger
alone (1, 2, 3, 6) are in `acme.domain.ledger`.
"""

from __future__ import annotations

import polars as pl

from acme.domain.orders import CORRECTION_REASONS, CORRECTIONS, TERMINAL, TRANSITIONS
from acme.domain.quantities import QUANTITY


def misallocated(allocations: pl.DataFrame, booked: pl.DataFrame) -> pl.DataFrame:
    """Identity 4: lines and sides whose allocations do not add up to what was executed.

    booked: line_id, side, units, consideration (decimals) of the lines booked in this run.
    """
    shared = allocations.group_by("line_id", "side").agg(
        pl.col("units").sum().alias("allocated_units"),
        pl.col("consideration").sum().alias("allocated_consideration"),
    )
    return (
        booked.join(shared, on=["line_id", "side"], how="full", coalesce=True)
        # A side that executed nothing has no row.
        .with_columns(pl.exclude("line_id", "side").fill_null(0))
        .filter(
            (pl.col("units") != pl.col("allocated_units"))
            | (pl.col("consideration") != pl.col("allocated_consideration"))
        )
        .sort("line_id", "side")
    )


def illegal_transitions(events: pl.DataFrame) -> pl.DataFrame:
    """Identity 5: order events that no legal transition allows, or that do not follow on.

    events: order_id, sequence, from_state, to_state, reason of one run. Only a correction leaves
    a terminal state, and names itself.
    """
    move = ["from_state", "to_state"]
    legal = pl.DataFrame(
        [(*pair, False) for pair in sorted(TRANSITIONS)]
        + [(*pair, True) for pair in sorted(CORRECTIONS)],
        schema={"from_state": pl.String, "to_state": pl.String, "_correcting": pl.Boolean},
        orient="row",
    )
    named = pl.col("reason").is_in(CORRECTION_REASONS).fill_null(value=False)
    unlawful = (
        events.join(legal, on=move, how="left")
        .filter(pl.col("_correcting").is_null() | (pl.col("_correcting") & ~named))
        .select("order_id", *move)
    )
    twice = (
        events.filter(pl.col("to_state").is_in(sorted(TERMINAL)))
        .filter(pl.len().over("order_id") > 1)
        .select("order_id", *move)
    )
    broken = (
        events.sort("order_id", "sequence")
        .with_columns(pl.col("to_state").shift(1).over("order_id").alias("_before"))
        .filter(pl.col("_before") != pl.col("from_state"))
        .select("order_id", *move)
    )
    return pl.concat([unlawful, twice, broken]).unique().sort("order_id", *move)


def batched_twice(open_orders: pl.DataFrame, batched: pl.DataFrame) -> pl.DataFrame:
    """Identity 5: orders batched in this run that already had a line before it."""
    earlier = open_orders.filter(pl.col("line_id").is_not_null()).select("order_id")
    repeated = batched.filter(pl.col("order_id").is_duplicated()).select("order_id")
    return pl.concat(
        [batched.join(earlier, on="order_id", how="semi").select("order_id"), repeated]
    )


def misnetted(lines: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Lines whose gross is not that of their orders, or whose crossed and net do not follow.

    lines: core.batch_lines; orders: stage.batched_orders. Gross and net by book, asset and
    quantity type, since a line is all of them (`rules §6`).
    """
    key = ["book", "asset_id", "quantity_type"]
    quantity = pl.coalesce(pl.col("units").cast(QUANTITY), pl.col("amount").cast(QUANTITY))
    members = orders.group_by(key).agg(
        quantity.filter(pl.col("side") == "B").sum().alias("_buys"),
        quantity.filter(pl.col("side") == "S").sum().alias("_sells"),
        pl.len().cast(pl.Int64).alias("_count"),
    )
    joined = lines.join(members, on=key, how="full", coalesce=True)
    side = (
        pl.when(pl.col("gross_buys") > pl.col("gross_sells"))
        .then(pl.lit("B"))
        .when(pl.col("gross_buys") < pl.col("gross_sells"))
        .then(pl.lit("S"))
        .otherwise(pl.lit(""))
    )
    holds = (
        (pl.col("gross_buys") == pl.col("_buys"))
        & (pl.col("gross_sells") == pl.col("_sells"))
        & (pl.col("order_count") == pl.col("_count"))
        & (pl.col("crossed") == pl.min_horizontal("gross_buys", "gross_sells"))
        & (pl.col("crossed") + pl.col("net") == pl.max_horizontal("gross_buys", "gross_sells"))
        & (pl.col("side") == side)
    )
    return joined.filter(~holds.fill_null(value=False)).select("line_id", *key).sort(key)
