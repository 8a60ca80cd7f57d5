"""Land: the holidays that the run goes by."""

from __future__ import annotations

from datetime import date

import polars as pl

from acme.domain import holds

KEY = ["calendar_id", "holiday"]


def holidays(known: pl.DataFrame, landed: pl.DataFrame, run_date: date) -> pl.DataFrame:
    """Add landed holidays to those known: calendar_id, holiday, name; the later name counts.

    One that a file names twice with different names is on hold, so it is not added (`rules §10`).
    """
    columns = [*KEY, "name"]
    none_held = pl.DataFrame(schema=holds.HOLD_SCHEMA)
    new = holds.resolve("holidays", landed, KEY, none_held, run_date).rows.select(columns)
    return pl.concat([known.select(columns).join(new, on=KEY, how="anti"), new]).sort(KEY)
