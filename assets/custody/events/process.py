"""Custody events: confirmations and statements as the custodians sent them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holds
from acme.domain.day import Day

CONFIRMATION = [
    "confirmation_id",
    "instruction_id",
    "event",
    "event_date",
    "units",
    "price",
    "consideration",
    "settlement_date",
    "amends",
    "file_sha256",
]
STATEMENT = [
    "statement_id",
    "custodian_id",
    "statement_date",
    "basis",
    "page",
    "pages",
    "asset_id",
    "units",
    "file_sha256",
    "row",
    "sequence",
]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Take what confirmations say that is new, and keep statements that are ahead of the run.

    A confirmation id that comes again with other values is a correction (`rules §10`): what it
    says now counts instead of what it said.
    """
    resolved = holds.resolve(
        "confirmations",
        inputs["feed.confirmations"],
        ["confirmation_id"],
        inputs["previous.core.holds"],
        day.run_date,
    )
    new = holds.without_repeats(resolved.rows, inputs["accepted.confirmations"])
    landed = (
        inputs["feed.statements"]
        .select(pl.col(STATEMENT))
        .with_columns(pl.col("row").cast(pl.Int64), pl.col("sequence").cast(pl.Int64))
    )
    waiting = inputs["previous.stage.waiting_statements"].select(STATEMENT)
    return {
        "core.confirmations": new.select(CONFIRMATION),
        "core.statements": landed,
        "stage.waiting_statements": pl.concat([waiting, landed]).filter(
            pl.col("statement_date") > day.as_of
        ),
        "stage.confirmation_holds": resolved.holds,
        "restated.confirmations": new.select("key", "values_sha256"),
    }
