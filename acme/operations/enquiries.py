"""Instructions whose answer is lost: what a custodian is asked about, by id (`rules §6`)."""

from __future__ import annotations

from datetime import date

import polars as pl

from acme.lakehouse.lake import Lake

LINES = "stage.open_lines"
ORDERS = "stage.open_orders"
COLUMNS = ("custodian_id", "instruction_id", "dealing_date")


def unanswered(lake: Lake, run_date: date) -> pl.DataFrame:
    """Return the instructions to ask about after a published date.

    Columns: custodian_id, instruction_id, dealing_date; ordered by them. An instruction is asked
    about once its orders are `unknown`: no answer by the close of the next business date. It is
    never placed under another id.
    """
    frames = lake.read(run_date, [LINES, ORDERS])
    return without_answer(frames[LINES], frames[ORDERS])


def without_answer(lines: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Return COLUMNS of the lines that have `unknown` orders."""
    unknown = orders.filter(pl.col("state") == "unknown")
    return lines.join(unknown, on="line_id", how="semi").select(COLUMNS).sort(COLUMNS)
