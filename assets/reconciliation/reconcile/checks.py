"""What must hold for the breaks of a run."""

from __future__ import annotations

import polars as pl

from acme.domain import break_workflow
from acme.domain.day import Day
from acme.domain.process import Frames


def breaks_move_legally(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return breaks whose move no transition allows, or that the wrong person closed."""
    del day
    return break_workflow.illegal_moves(
        inputs["previous.core.reconciliation_breaks"],
        inputs["core.reconciliation_breaks"],
        inputs["core.break_actions"],
    )
