"""Batches: how far each batch has come, from its seal to the settlement of its last line."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import batch_life
from acme.domain.day import Day


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return the state of every batch that moves or has still to (`rules §6`, `§7`)."""
    del day
    states = batch_life.states(
        inputs["previous.core.batch_states"].drop("run_date"),
        inputs["stage.open_lines"],
        inputs["core.dealing_batches"],
    )
    return {"core.batch_states": states}
