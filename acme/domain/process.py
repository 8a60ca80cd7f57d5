"""What a process is: a pure function over frames, and the checks that hold its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from acme.domain.day import Day

Frames = Mapping[str, pl.DataFrame]
# From the frames a process declares to the frames it writes, both by dataset name.
Process = Callable[[Day, Frames], dict[str, pl.DataFrame]]
# From the frames a check declares to the rows that break it; none is a pass.
Check = Callable[[Day, Frames], pl.DataFrame]
