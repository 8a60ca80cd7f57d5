"""Reopen: the ended lines that news of this run may correct, as they were when they ended."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import corrections
from acme.domain.day import Day


def wanted(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Name the lines to look for: the first table to look back for is read from that date on."""
    events = corrections.news(
        inputs["core.confirmations"],
        inputs["previous.stage.open_confirmations"],
        day.calendars.dealing.prev(day.as_of),
        day.as_of,
    )
    prices = inputs["core.closing_prices"].filter(pl.col("status") == "accepted")
    return corrections.wanted(events, inputs["previous.stage.open_lines"], prices, day.as_of)


def found(
    day: Day, inputs: Mapping[str, pl.DataFrame], needed: pl.DataFrame, ended: pl.DataFrame
) -> pl.DataFrame:
    """Return those of the ended lines that are looked for."""
    del day
    return corrections.reopened(ended, needed, inputs["previous.stage.open_lines"])


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Bring the lines back, with the closing prices of their dates (`rules §7`, Corrections)."""
    del day
    lines = inputs["history.stage.closed_lines"]
    same_run = ["run_date", "line_id"]
    bookings = inputs["history.stage.closed_bookings"].join(lines, on=same_run, how="semi")
    events = inputs["history.stage.closed_confirmations"].join(
        lines, on=["run_date", "instruction_id"], how="semi"
    )
    return {
        "stage.reopened_lines": lines.drop("run_date"),
        "stage.reopened_bookings": bookings.drop("run_date"),
        "stage.reopened_confirmations": events.drop("run_date"),
        "stage.line_prices": corrections.line_prices(
            inputs["stage.price_book"], inputs["stage.price_holds"], lines
        ),
    }
