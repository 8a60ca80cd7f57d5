"""Sharing a total among orders by largest remainder (`rules §1`, Split); not when to."""

from __future__ import annotations

import hashlib

import polars as pl

from acme.domain import quantities as q


def tie_break(batch_id: str, order_id: str) -> str:
    """Return the hexadecimal SHA-256 that decides between equal remainders; the lowest wins."""
    return hashlib.sha256(f"{batch_id}:{order_id}".encode()).hexdigest()


def split(frame: pl.DataFrame, group: list[str], total: str, weight: str, out: str) -> pl.DataFrame:
    """Add `out`: the share of `total` of every row of its group, in proportion to `weight`.

    `frame` has `group`, batch_id, order_id and the Int128 columns `total` (equal within a group,
    not negative) and `weight` (not negative). Exact share, floor, then one minor unit each to the
    largest remainders; ties to the lowest `tie_break`. The shares of a group sum to its total.
    A group whose weights are all zero can only share a total of zero: anything else raises
    `ValueError`. Row order of the result is that of `frame`.
    """
    q.assert_bounds(f"split of {total}", q.largest(frame, total), q.largest(frame, weight))
    shared = (
        frame.with_row_index("_row")
        .with_columns(pl.col(weight).sum().over(group).alias("_weights"))
        .with_columns(
            pl.max_horizontal(pl.col("_weights"), pl.lit(1, dtype=pl.Int128)).alias("_divisor")
        )
        .with_columns((pl.col(total) * pl.col(weight) // pl.col("_divisor")).alias("_floor"))
        .with_columns(
            (pl.col(total) * pl.col(weight) - pl.col("_floor") * pl.col("_divisor")).alias("_rest"),
            (pl.col(total) - pl.col("_floor").sum().over(group)).alias("_left"),
        )
    )
    impossible = shared.filter((pl.col("_weights") == 0) & (pl.col(total) != 0))
    if not impossible.is_empty():
        row = impossible.row(0, named=True)
        raise ValueError(f"nothing to share {total}={row[total]} over in {[row[g] for g in group]}")
    contested = (pl.col("_left") > 0) & pl.struct([*group, "_rest"]).is_duplicated()
    ties = shared.filter(contested).select("_row", "batch_id", "order_id")
    ties = ties.with_columns(
        pl.Series(
            "_tie",
            [tie_break(b, o) for b, o in ties.select("batch_id", "order_id").iter_rows()],
            dtype=pl.String,
        )
    ).select("_row", "_tie")
    ranked = (
        shared.join(ties, on="_row", how="left")
        .sort("_rest", "_tie", descending=[True, False])
        .with_columns(pl.int_range(pl.len()).over(group).alias("_rank"))
    )
    return (
        ranked.with_columns(
            (pl.col("_floor") + (pl.col("_rank") < pl.col("_left")).cast(pl.Int128)).alias(out)
        )
        .sort("_row")
        .drop("_row", "_weights", "_divisor", "_floor", "_rest", "_left", "_tie", "_rank")
    )
