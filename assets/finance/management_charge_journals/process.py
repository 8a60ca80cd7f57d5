"""Journals for the month's charges: what each pot gives to suspense/charges."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time

import polars as pl

from acme.domain import ledger
from acme.domain import quantities as q
from acme.domain.day import Day

# As the registered source of the feed journal_sources, and as the kind of decision 20.
SOURCE, KIND = "management_charge", "charge"
COLLECTED = "suspense/charges"


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Write one journal per pot that is charged anything; its name is month and pot.

    A pot's journal is booked whole or not at all, and stops no other pot's.
    """
    charges = (
        inputs["finance.management_charges"]
        .filter(pl.col("charge_units") > 0)
        .with_columns(
            pl.format("{}:{}", pl.col("charge_month").dt.strftime("%Y-%m"), "pot_id").alias(
                "journal_ref"
            ),
            pl.col("asset_id").rank("ordinal").over("pot_id").cast(pl.Int32).alias("_place"),
        )
    )
    # Two lines for every fund: what the pot gives, and what suspense is given.
    given = charges.with_columns(
        (2 * pl.col("_place") - 1).alias("line"),
        ledger.pot_account().alias("account"),
        (-pl.col("charge_units")).alias("quantity"),
    )
    taken = charges.with_columns(
        (2 * pl.col("_place")).alias("line"),
        pl.lit(COLLECTED).alias("account"),
        pl.col("charge_units").alias("quantity"),
    )
    lines = pl.concat([given, taken]).select(
        pl.lit(SOURCE).alias("source"),
        "journal_ref",
        pl.col("line").cast(pl.Int32),
        pl.lit("live").alias("book"),
        pl.lit(KIND).alias("kind"),
        # The charge falls due as T begins, which is before any run that can book it.
        pl.lit(datetime.combine(day.run_date, time(), UTC)).alias("event_time"),
        "account",
        "asset_id",
        pl.col("quantity").cast(q.UNITS),
        pl.lit(None, dtype=pl.String).alias("reverses"),
        pl.lit(None, dtype=pl.Date).alias("reverses_run_date"),
        pl.format(
            "Annual management charge of {}", pl.col("charge_month").dt.strftime("%Y-%m")
        ).alias("description"),
    )
    requests = charges.group_by("journal_ref", "pot_id", "charge_month").agg(
        pl.len().cast(pl.Int32).alias("funds")
    )
    return {
        "finance.charge_requests": requests.with_columns(pl.lit(SOURCE).alias("source")),
        "feed.journals": lines,
    }
