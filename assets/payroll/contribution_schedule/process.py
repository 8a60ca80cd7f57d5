"""Contributions that employers announced, as known on a date."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.carried import carried
from acme.domain.day import Day

KEY = ["employer", "pot_id", "due_date"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Keep what is due in the month of T or later; the last file that names a row decides."""
    announced = carried(
        "contribution_schedules",
        inputs["feed.contribution_schedules"],
        inputs["previous.payroll.contribution_schedules"],
        KEY,
        day.run_date,
    )
    still = pl.col("due_date") >= day.run_date.replace(day=1)
    return {"payroll.contribution_schedules": announced.filter(still)}
