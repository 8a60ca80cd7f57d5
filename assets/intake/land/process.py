"""Land: the holidays that the run goes by."""

from __future__ import annotations

import polars as pl


def holidays(known: pl.DataFrame, landed: pl.DataFrame) -> pl.DataFrame:
    """Add landed holidays to those known: calendar_id, holiday, name; the later name counts."""
    columns = ["calendar_id", "holiday", "name"]
    ordered = landed.sort("sequence", "row").select(columns)
    return (
        pl.concat([known.select(columns), ordered])
        .unique(["calendar_id", "holiday"], keep="last", maintain_order=True)
        .sort("calendar_id", "holiday")
    )
