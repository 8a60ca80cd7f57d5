"""What must hold for the run's journals, postings and order events."""

from __future__ import annotations

import polars as pl

from acme.domain import identities, ledger
from acme.domain.day import Day
from acme.domain.process import Frames


def journals_sum_to_zero(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return journals that do not balance."""
    del day
    return ledger.unbalanced_journals(inputs["core.ledger_postings"])


def postings_have_a_journal(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return postings without a journal, and journals without postings."""
    del day
    key = ["book", "journal_id"]
    postings = inputs["core.ledger_postings"].select(key).unique()
    journals = inputs["core.ledger_journals"].select(key)
    return pl.concat(
        [postings.join(journals, on=key, how="anti"), journals.join(postings, on=key, how="anti")]
    )


def no_reservation_overdraws(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return pot balances that this run's own reservations and payments drive below zero."""
    made_today = inputs["core.ledger_postings"].filter(pl.col("effective_date") == day.run_date)
    after = ledger.fold(inputs["core.ledger_balances"], made_today)
    return ledger.negative_balances(after, day.currency)


def orders_move_legally(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return order events that no legal transition allows."""
    del day
    return identities.illegal_transitions(inputs["core.order_events"])
