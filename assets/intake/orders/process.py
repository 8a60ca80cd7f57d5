"""Orders: which third-party orders the decide of T takes, and which wait for a later date."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holds
from acme.domain.day import Day
from acme.domain.orders import order_id

KEY = ["source", "source_ref"]
FIELDS = [
    "received_at",
    "pot_id",
    "kind",
    "asset_id",
    "to_asset_id",
    "units",
    "amount",
    "risk_profile_id",
]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Admit landed rows to their dealing date (`rules §2`, `§4`, `§10`).

    An order that an earlier run took is immutable: an equal row has no effect, another one is
    quarantined alone. A later file replaces an order that still waits.
    """
    resolved = holds.resolve(
        "orders", inputs["feed.orders"], KEY, inputs["previous.core.holds"], day.run_date
    )
    new, quarantined = holds.split_known(
        "orders", resolved.rows, inputs["accepted.orders"], "order_already_taken"
    )
    waiting = inputs["previous.stage.pending_orders"].drop("run_date")
    waiting = waiting.with_columns(holds.key_text(KEY).alias("key"))
    # An equal row again changes nothing, not even the time of an order that waits.
    new = new.join(waiting, on=["key", "values_sha256"], how="anti")
    named = pl.concat([new.select("key"), resolved.holds.select("key")]).unique()
    kept = waiting.join(named, on="key", how="anti").drop("key")
    columns = _columns(kept)
    rows = pl.concat([kept, _dated(day, new, inputs).select(columns)])
    due = rows.filter(pl.col("dealing_date") <= day.run_date).with_columns(
        pl.lit(day.run_date).alias("dealing_date")
    )
    later = rows.filter(pl.col("dealing_date") > day.run_date)
    taken = due.with_columns(holds.key_text(KEY).alias("key"))
    return {
        "core.orders": due.drop("values_sha256"),
        "stage.pending_orders": later,
        "stage.order_holds": resolved.holds,
        "stage.order_quarantine": quarantined,
        "accepted.orders": taken.select("key", "values_sha256"),
    }


def _columns(frame: pl.DataFrame) -> list[str]:
    return [c for c in frame.columns if c != "run_date"]


def _dated(day: Day, rows: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Give new rows their id, book and dealing date."""
    moment = pl.col("received_at" if day.event_clock else "landed_at")
    in_time = moment < day.cut_off_instant
    later = rows.filter(~in_time).select(moment.alias("moment")).to_series()
    dates = {m: day.cut_off.dealing_date(m, day.calendars.dealing) for m in later.unique()}
    pots = inputs["stage.landed_pots"].select("pot_id", "book")
    ids = [order_id(source, ref) for source, ref in rows.select(KEY).iter_rows()]
    return (
        rows.with_columns(
            pl.Series("order_id", ids, dtype=pl.String),
            pl.when(in_time)
            .then(pl.lit(day.run_date))
            .otherwise(moment.replace_strict(dates, default=day.run_date, return_dtype=pl.Date))
            .alias("dealing_date"),
            moment.alias("received_at"),
            pl.col("row").cast(pl.Int64),
        )
        .join(pots, on="pot_id", how="left")
        # An order for a pot nobody knows is rejected in the book of real members.
        .with_columns(pl.col("book").fill_null("live"))
    )
