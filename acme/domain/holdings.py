"""What live pots hold, as figures per pot and asset; which states count is the caller's choice."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import polars as pl

from acme.domain import ledger
from acme.domain import quantities as q

LIVE_BOOK = "live"
POT = "pot_id"
PREFIX = "pot/"


def of_pots(balances: pl.DataFrame, states: Collection[str] | None = None) -> pl.DataFrame:
    """Return pot_id, asset_id, units (QUANTITY) of live pots: the sum of `states`, default all."""
    mine = (pl.col("book") == LIVE_BOOK) & pl.col("account").str.starts_with(PREFIX)
    if states is not None:
        mine &= pl.col("state").is_in(list(states))
    return (
        balances.filter(mine)
        .with_columns(pl.col("account").str.strip_prefix(PREFIX).alias(POT))
        .group_by(POT, "asset_id")
        .agg(pl.col("quantity").sum().cast(q.QUANTITY).alias("units"))
        .sort(POT, "asset_id")
    )


def left_by_the_run(balances: pl.DataFrame, postings: pl.DataFrame, run_date: date) -> pl.DataFrame:
    """Return balances as the run of T leaves them: those of the close of P, and its own of T.

    postings: core.ledger_postings of T. What it posted for earlier dates is in the balances.
    """
    return ledger.fold(balances, postings.filter(pl.col("effective_date") == run_date))
