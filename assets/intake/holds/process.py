"""Holds: every key that waits for a single value, and every row that was refused alone."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Bring the holds and quarantined rows of all feeds together (`rules §10`)."""
    del day
    held = ("reference", "order", "price", "confirmation", "journal", "break_action")
    holds = [inputs[f"stage.{name}_holds"] for name in held]
    refused = ("reference", "order", "journal", "break_action")
    rows = [inputs[f"stage.{name}_quarantine"] for name in refused]
    return {
        "core.holds": pl.concat(holds).drop("run_date"),
        "core.quarantined_rows": pl.concat(rows).drop("run_date"),
    }
