"""Journals: what other processes ask the ledger to book, each journal once and whole."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holds, journals
from acme.domain.day import Day


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Take landed journals (`rules §10`); what was taken is immutable, as orders are (`§4`)."""
    rows = inputs["feed.journals"]
    resolved = holds.resolve(
        "journals",
        journals.gathered(rows),
        journals.KEY,
        inputs["previous.core.holds"],
        day.run_date,
    )
    new, quarantined = holds.split_known(
        "journals", resolved.rows, inputs["accepted.journals"], "journal_already_taken"
    )
    return {
        "stage.landed_journals": journals.lines_of(rows, new),
        "stage.journal_holds": resolved.holds,
        "stage.journal_quarantine": quarantined,
        "accepted.journals": new.select("key", "values_sha256"),
    }
