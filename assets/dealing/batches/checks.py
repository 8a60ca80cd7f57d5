"""What must hold for the states of batches."""

from __future__ import annotations

import polars as pl

from acme.domain import batch_life
from acme.domain.day import Day
from acme.domain.process import Frames


def batches_move_legally(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return batches that moved between states no transition joins."""
    del day
    return batch_life.illegal_moves(inputs["core.batch_states"])
