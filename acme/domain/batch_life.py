"""The life of a batch after its seal: its states, and the moves between them (`rules §6`, `§7`)."""

from __future__ import annotations

from typing import Final

import polars as pl

# A batch is sealed in the run of its dealing date and placed by its publication; it is as far as
# the slowest of its lines. One without a line that went out skips what it has nothing for.
TRANSITIONS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("sealed", "placed"),
        ("sealed", "executed"),
        ("sealed", "settled"),
        ("placed", "executed"),
        ("placed", "settled"),
        ("executed", "settled"),
    }
)
# A correction of a settled line that does not settle again in the same run (`rules §7`).
CORRECTIONS: Final[frozenset[tuple[str, str]]] = frozenset({("settled", "executed")})
SCHEMA: Final = pl.Schema(
    {
        "book": pl.String,
        "batch_id": pl.String,
        "dealing_date": pl.Date,
        "from_state": pl.String,
        "state": pl.String,
        "lines_placed": pl.Int64,
        "lines_booked": pl.Int64,
    }
)


def states(earlier: pl.DataFrame, open_lines: pl.DataFrame, sealed: pl.DataFrame) -> pl.DataFrame:
    """Return SCHEMA by batch_id: every batch sealed today, not settled yesterday, or open again.

    earlier: SCHEMA of the run before. open_lines: book, batch_id, dealing_date, state (`placed`,
    `booked` or `settled`) of the lines open after this run's deal. sealed: book, batch_id,
    dealing_date of today's batches. from_state is null on the day of the seal.
    """
    lines = open_lines.group_by("book", "batch_id", "dealing_date").agg(
        (pl.col("state") == "placed").sum().cast(pl.Int64).alias("lines_placed"),
        (pl.col("state") == "booked").sum().cast(pl.Int64).alias("lines_booked"),
    )
    key = ["book", "batch_id", "dealing_date"]
    known = pl.concat([sealed.select(key), earlier.select(key), lines.select(key)]).unique()
    before = earlier.select(*key, pl.col("state").alias("_before"))
    today = pl.col("batch_id").is_in(sealed["batch_id"].to_list())
    return (
        known.join(lines, on=key, how="left")
        .join(before, on=key, how="left")
        .with_columns(
            pl.col("lines_placed", "lines_booked").fill_null(0),
            # What nobody carried any more had settled.
            pl.when(~today).then(pl.col("_before").fill_null("settled")).alias("from_state"),
            pl.when(today)
            .then(pl.lit("sealed"))
            .when(pl.col("lines_placed") > 0)
            .then(pl.lit("placed"))
            .when(pl.col("lines_booked") > 0)
            .then(pl.lit("executed"))
            .otherwise(pl.lit("settled"))
            .alias("state"),
        )
        # One that had settled, and is settled still, is told no more.
        .filter(pl.col("from_state").ne_missing("settled") | (pl.col("state") != "settled"))
        .select(SCHEMA.names())
        .sort("batch_id")
    )


def illegal_moves(moved: pl.DataFrame) -> pl.DataFrame:
    """Return the batches whose move no transition allows; a batch may stay where it is."""
    legal = pl.DataFrame(
        sorted(TRANSITIONS | CORRECTIONS),
        schema={"from_state": pl.String, "state": pl.String},
        orient="row",
    )
    return (
        moved.filter(pl.col("from_state") != pl.col("state"))
        .join(legal, on=["from_state", "state"], how="anti")
        .sort("batch_id")
    )
