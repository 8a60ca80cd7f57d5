"""What the reconciliation should show."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day
from acme.domain.two_sides import MATCHED


def what_is_due_was_received(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the contributions that are missing, unannounced or of another amount."""
    del day
    return inputs["payroll.contribution_reconciliation"].filter(pl.col("class") != MATCHED)
