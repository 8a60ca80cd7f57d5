"""Reconcile: our books, the custodians' statements and the confirmations, as of the close of P."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import break_workflow, breaks, execution, matching
from acme.domain.day import Day


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Find what differs, carry what is known and done, suspend what it touches (`rules §9`)."""
    holds = inputs["stage.confirmation_holds"]
    stated = _together(inputs, "stage.open_confirmations", "stage.closed_confirmations")
    confirmations = execution.not_on_hold(stated, holds).filter(pl.col("event_date") <= day.as_of)
    events = execution.standing(confirmations, day.as_of)
    lines = execution.with_completeness(
        execution.progress(_together(inputs, "stage.posted_lines", "stage.closed_lines"), events),
        inputs["stage.line_prices"],
        execution.disputed(stated, holds, day.as_of),
    )
    delivered = pl.concat([inputs["core.statements"], inputs["previous.stage.waiting_statements"]])
    statements = matching.current_statements(delivered.drop("run_date"), day.as_of)
    every = pl.concat(
        [
            matching.compare_statements(
                statements,
                inputs["core.ledger_balances"],
                matching.awaited(lines, day.currency),
            ),
            matching.compare_instructions(lines, events, day.calendars.dealing.prev(day.as_of)),
            matching.unknown_instructions(events, lines),
            matching.suspended_corrections(inputs["stage.suspense_moves"]),
        ]
    )
    found = breaks.with_ids(every)
    earlier = inputs["previous.core.reconciliation_breaks"].drop("run_date")
    whole = matching.statement_pages(statements).filter("whole")
    carried = breaks.carry(
        found,
        earlier,
        breaks.disproved(earlier, whole, _amended(inputs, confirmations), stated, lines),
        day.run_date,
        day.calendars.dealing,
    )
    worked, outcomes = break_workflow.apply(carried, found, inputs["stage.break_actions"])
    return {
        "core.reconciliation_breaks": worked,
        "core.break_actions": outcomes,
        "core.suspended_assets": breaks.suspended_assets(worked, day.currency),
    }


def _amended(inputs: Mapping[str, pl.DataFrame], events: pl.DataFrame) -> frozenset[str]:
    before = [
        inputs[name].select("confirmation_id")
        for name in ("previous.stage.open_confirmations", "stage.reopened_confirmations")
    ]
    return breaks.amended(events, inputs["core.confirmations"], pl.concat(before))


def _together(inputs: Mapping[str, pl.DataFrame], opened: str, ended: str) -> pl.DataFrame:
    """Return what is open after post and what ended in it."""
    return pl.concat([inputs[opened], inputs[ended]]).drop("run_date")
