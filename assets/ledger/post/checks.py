"""What must hold after post, or the day stops."""

from __future__ import annotations

import polars as pl

from acme.domain import identities, ledger, overdrafts
from acme.domain.day import Day
from acme.domain.process import Frames


def posted_journals_sum_to_zero(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return journals of post that do not balance."""
    del day
    return ledger.unbalanced_journals(inputs["stage.posted_postings"])


def holdings_equal_custodians(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return assets and states that pots and custodians do not agree on."""
    del day
    return ledger.unbacked_holdings(inputs["core.ledger_balances"])


def no_negative_balance(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return pot balances below zero that nothing can excuse."""
    return ledger.negative_balances(inputs["core.ledger_balances"], day.currency)


def overdrafts_have_a_cause(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return the overdrawn pots for which no cause is known."""
    overdrawn = ledger.overdrawn_pots(inputs["core.ledger_balances"], day.currency)
    return overdrafts.unexplained(overdrawn, inputs["stage.overdraft_causes"])


def allocations_equal_executions(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return lines and sides whose allocations do not add up."""
    del day
    return identities.misallocated(
        inputs["core.allocations"], inputs["stage.booked_sides"].drop("run_date")
    )


def canary_stays_apart(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return quantities at a custodian of the other book."""
    del day
    return ledger.leaked_quantities(inputs["core.ledger_balances"])
