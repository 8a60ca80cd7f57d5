"""Corrections after booking: which lines are booked again, and what that leaves over (`rules §7`).

A correction never edits: the journals of a line are reversed and booked again. Lines:
stage.open_lines columns; bookings: stage.open_bookings, one row per order of a booked line.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from acme.domain import ledger
from acme.domain import quantities as q
from acme.domain.booking import Entries
from acme.domain.ledger import RESERVED, SETTLED, Leg

BATCH_DATE = r"^B-(\d{4}-\d{2}-\d{2})-"
SUSPENSE = "suspense/correction"
WANTED_SCHEMA: dict[str, pl.DataType] = {
    "dealing_date": pl.Date(),
    "instruction_id": pl.String(),
    "asset_id": pl.String(),
}


# ---- lines that ended ---------------------------------------------------------------------------


def news(landed: pl.DataFrame, waiting: pl.DataFrame, before: date, as_of: date) -> pl.DataFrame:
    """Return the events that count in this run for the first time.

    landed: core.confirmations of the run; waiting: events of earlier runs. Of the latter only
    those dated after `before`, up to which the run before this one counted.
    """
    due = waiting.filter(pl.col("event_date") > before)
    columns = [c for c in landed.columns if c != "run_date"]
    return pl.concat([landed.select(columns), due.select(columns)]).filter(
        pl.col("event_date") <= as_of
    )


def line_prices(price_book: pl.DataFrame, holds: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Return price_date, asset_id, closing_price of the dates that lines were dealt on.

    The price book reaches back to the oldest open line. An ended line was booked with the price of
    its date, which still counts unless it is on hold (`rules §10`); holds: stage.price_holds.
    """
    key = ["price_date", "asset_id"]
    held = holds.select(
        pl.col("key").str.split("|").list.get(0).str.to_date().alias("price_date"),
        pl.col("key").str.split("|").list.slice(1).list.join("|").alias("asset_id"),
    )
    columns = [*key, "closing_price"]
    known = price_book.select(columns)
    booked = (
        lines.filter(pl.col("booked_price").is_not_null())
        .select(
            pl.col("dealing_date").alias("price_date"),
            "asset_id",
            pl.col("booked_price").alias("closing_price"),
        )
        .unique(key)
        .join(held, on=key, how="anti")
        .join(known, on=key, how="anti")
    )
    return pl.concat([known, booked]).sort(key)


def wanted(
    events: pl.DataFrame, open_lines: pl.DataFrame, prices: pl.DataFrame, as_of: date
) -> pl.DataFrame:
    """Name the ended lines that news of this run may correct; WANTED_SCHEMA.

    events: those that count for the first time in this run; an id that is not of our making
    names no line. prices: price_date, asset_id accepted in this run. Only a line dealt before
    `as_of` can have ended.
    """
    strangers = events.join(open_lines, on="instruction_id", how="anti").select(
        pl.col("instruction_id")
        .str.extract(BATCH_DATE)
        .str.to_date("%Y-%m-%d", strict=False)
        .alias("dealing_date"),
        "instruction_id",
        pl.lit(None, dtype=pl.String).alias("asset_id"),
    )
    late = prices.select(
        pl.col("price_date").alias("dealing_date"),
        pl.lit(None, dtype=pl.String).alias("instruction_id"),
        "asset_id",
    )
    return (
        pl.concat([strangers.cast(pl.Schema(WANTED_SCHEMA)), late.cast(pl.Schema(WANTED_SCHEMA))])
        .filter(pl.col("dealing_date") < as_of)
        .unique()
        .sort("dealing_date", "instruction_id", "asset_id")
    )


def reopened(ended: pl.DataFrame, needed: pl.DataFrame, open_lines: pl.DataFrame) -> pl.DataFrame:
    """Return the latest row of each ended line that `needed` (result of `wanted`) names.

    ended: stage.closed_lines of every run since, `run_date` included. A line that is open again
    is not looked up.
    """
    latest = ended.sort("run_date").unique("line_id", keep="last")
    # A null names nothing: it joins with no row.
    named = latest.join(needed, on="instruction_id", how="semi")
    priced = latest.join(needed, on=["dealing_date", "asset_id"], how="semi")
    return (
        pl.concat([named, priced])
        .unique("line_id")
        .join(open_lines, on="line_id", how="anti")
        .sort("line_id")
    )


# ---- lines that change --------------------------------------------------------------------------


def with_settlement_amended(
    lines: pl.DataFrame, news: pl.DataFrame, events: pl.DataFrame, before: pl.DataFrame
) -> pl.DataFrame:
    """Mark settled lines of which a `settled` event is amended, or stated anew, in this run.

    news: events that count for the first time; events: every event up to P; before: events as
    they were stated before this run.
    """
    settled = pl.col("event") == "settled"
    by_name = news.select("instruction_id", pl.col("amends").alias("confirmation_id")).join(
        events.filter(settled), on="confirmation_id", how="semi"
    )
    anew = news.select("instruction_id", "confirmation_id").join(
        before.filter(settled), on="confirmation_id", how="semi"
    )
    amended = pl.concat([by_name, anew])["instruction_id"]
    now = (pl.col("state") == "settled") & pl.col("instruction_id").is_in(amended.to_list())
    return lines.with_columns(
        (pl.col("settlement_amended") | now.fill_null(value=False)).alias("settlement_amended")
    )


def corrected(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the booked lines that are complete with other figures than they were booked with.

    lines: result of `acme.domain.execution.with_completeness`. One whose settlement was amended
    counts: it is booked again to be in flight again. An incomplete one waits (`rules §7`).
    """
    crossed = q.minor("crossed")
    other = (
        (pl.col("executed_units") != q.minor("confirmed_units"))
        | (pl.col("executed_consideration") != q.minor("confirmed_consideration"))
        # Without a price nothing crossed: no change is known, and null counts as none.
        | (
            q.consideration_expr(crossed, q.minor("closing_price"))
            != q.consideration_expr(crossed, q.minor("booked_price"))
        )
    )
    return lines.filter(
        pl.col("state").is_in(["booked", "settled"])
        & pl.col("complete")
        & (other | pl.col("settlement_amended"))
    )


# ---- what is left over --------------------------------------------------------------------------


def leftovers(
    balances: pl.DataFrame, corrected_pots: pl.DataFrame, closed_pots: pl.DataFrame, currency: str
) -> pl.DataFrame:
    """Return book, pot_id, state, asset_id, quantity that belong in suspense (`rules §7`).

    Units a correction needs and the pot no longer has (below zero), and what it leaves in a
    closed pot. corrected_pots, closed_pots: book, pot_id. What is in flight stays until it
    settles.
    """
    held = balances.filter(
        pl.col("account").str.starts_with("pot/") & pl.col("state").is_in([SETTLED, RESERVED])
    ).with_columns(pl.col("account").str.strip_prefix("pot/").alias("pot_id"))
    key = ["book", "pot_id"]
    in_closed = held.join(closed_pots, on=key, how="semi")
    short = (
        held.join(corrected_pots, on=key, how="semi")
        .join(closed_pots, on=key, how="anti")
        .filter((pl.col("asset_id") != currency) & (pl.col("quantity") < 0))
    )
    return (
        pl.concat([in_closed, short])
        .select(*key, "state", "asset_id", "quantity")
        .sort(*key, "asset_id", "state")
    )


def move_to_suspense(entries: Entries, moves: pl.DataFrame) -> None:
    """Post `leftovers` from the pots to `suspense/correction`.

    moves: result of `leftovers` with journal_id, event_time, effective_date, known_at.
    """
    asset, quantity = pl.col("asset_id"), q.minor("quantity")
    for state in (SETTLED, RESERVED):
        entries.journal(
            moves.filter(pl.col("state") == state),
            "correction",
            "pot_id",
            [
                Leg(ledger.pot_account(), state, asset, -1 * quantity),
                Leg(pl.lit(SUSPENSE), SETTLED, asset, quantity),
            ],
        )
