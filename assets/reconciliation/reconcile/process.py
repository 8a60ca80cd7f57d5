"""Reconcile: our books, the custodians' statements and the confirmations, as of the close of P."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import breaks, execution, matching
from acme.domain.day import Day
from acme.domain.reference import assets_on


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Find what differs, carry what is known of it, suspend what it touches (`rules §9`)."""
    assets = assets_on(inputs["core.assets"], day.run_date)
    cash_custodian = assets.filter(pl.col("asset_id") == day.currency)["custodian_id"][0]
    confirmations = inputs["stage.open_confirmations"].filter(pl.col("event_date") <= day.as_of)
    events = execution.standing(confirmations.drop("run_date"), day.as_of)
    lines = execution.with_completeness(
        execution.progress(inputs["stage.posted_lines"].drop("run_date"), events),
        inputs["stage.price_book"],
    )
    delivered = pl.concat([inputs["core.statements"], inputs["previous.stage.waiting_statements"]])
    statements = matching.current_statements(delivered.drop("run_date"), day.as_of)
    found = pl.concat(
        [
            matching.compare_statements(
                statements,
                inputs["core.ledger_balances"],
                matching.awaited(lines, day.currency, cash_custodian),
            ),
            matching.compare_instructions(lines, events, day.calendars.dealing.prev(day.as_of)),
            matching.unknown_instructions(events, lines),
        ]
    )
    earlier = inputs["previous.core.reconciliation_breaks"].drop("run_date")
    whole = matching.statement_pages(statements).filter("whole")
    carried = breaks.carry(
        found,
        earlier,
        breaks.disproved(earlier, whole, confirmations, lines),
        day.run_date,
        day.calendars.dealing,
    )
    return {
        "core.reconciliation_breaks": carried,
        "core.suspended_assets": breaks.suspended_assets(carried, day.currency),
    }
