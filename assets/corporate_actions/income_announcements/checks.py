"""What the announcements should keep."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day


def announcements_came_in_time(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the announcements of T that came after the run of their ex date."""
    return inputs["corporate_actions.income_announcements"].filter(
        (pl.col("state") == "too_late") & (pl.col("stated_on") == day.run_date)
    )
