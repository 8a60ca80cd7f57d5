"""Daybook: the journals, postings and order events of the whole run, in one place each."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day

WRITERS = ("posted", "requested", "admitted", "rebalanced")
# Nothing moves an order on behalf of another process.
OF_ORDERS = ("posted", "admitted", "rebalanced", "dealt")


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Bring together what post, other processes, admission and re-balancing made (`rules §8`)."""
    del day

    def together(what: str, writers: tuple[str, ...]) -> pl.DataFrame:
        return pl.concat([inputs[f"stage.{w}_{what}"].drop("run_date") for w in writers])

    events = together("order_events", OF_ORDERS).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).over("order_id").alias("sequence")
    )
    return {
        "core.ledger_journals": together("journals", WRITERS),
        "core.ledger_postings": together("postings", WRITERS),
        "core.order_events": events,
    }
