"""What must hold for a batch before it is sealed and sent."""

from __future__ import annotations

import polars as pl

from acme.domain import identities
from acme.domain.day import Day
from acme.domain.process import Frames


def no_order_in_two_batches(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return orders that have been in a batch before."""
    del day
    return identities.batched_twice(inputs["stage.posted_orders"], inputs["stage.batched_orders"])


def netting_conserves_quantity(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return lines whose netting loses or makes quantity."""
    del day
    return identities.misnetted(inputs["core.batch_lines"], inputs["stage.batched_orders"])
