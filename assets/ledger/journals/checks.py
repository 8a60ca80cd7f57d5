"""What must hold of the journals that other processes asked for."""

from __future__ import annotations

import polars as pl

from acme.domain import ledger
from acme.domain.day import Day
from acme.domain.process import Frames


def requests_are_booked_or_rejected(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return journals that are lost, in the ledger unasked, or neither booked nor rejected."""
    del day
    requests = inputs["core.journal_requests"].select("request_id", "state", "reason", "journal_id")
    taken = inputs["stage.landed_journals"].select("request_id").unique()
    posted = inputs["stage.requested_journals"].select(
        pl.col("reference").alias("request_id"), pl.col("journal_id").alias("_posted")
    )
    joined = requests.join(taken, on="request_id", how="full", coalesce=True).join(
        posted, on="request_id", how="full", coalesce=True
    )
    booked = (
        (pl.col("state") == "booked")
        & pl.col("reason").is_null()
        & (pl.col("journal_id") == pl.col("_posted"))
    )
    rejected = (
        (pl.col("state") == "rejected")
        & pl.col("reason").is_not_null()
        & pl.col("journal_id").is_null()
        & pl.col("_posted").is_null()
    )
    return joined.filter(~(booked | rejected).fill_null(value=False)).sort("request_id")


def requested_journals_sum_to_zero(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return journals that do not balance."""
    del day
    return ledger.unbalanced_journals(inputs["stage.requested_postings"])


def requested_postings_are_covered(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return what they touch and leave below zero, and what is not posted as settled.

    A pot's cash may have been below zero before: such a pot may be given, and not be taken from.
    """
    del day
    postings = inputs["stage.requested_postings"]
    touched = postings.group_by(ledger.BALANCE_KEY).agg(pl.col("quantity").sum().alias("moved"))
    after = ledger.fold(inputs["core.ledger_balances"], postings).join(
        touched, on=ledger.BALANCE_KEY
    )
    contra = pl.col("account").str.starts_with("custodian/")
    taken = (pl.col("quantity") < 0) & (pl.col("moved") < 0) & ~contra
    return after.filter(taken | (pl.col("state") != ledger.SETTLED)).sort(ledger.BALANCE_KEY)
