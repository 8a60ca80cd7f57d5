"""What the switches must keep."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day


def a_pot_switches_a_fund_once(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the switches of funds that two campaigns would move out of the same pot."""
    del day
    switches = inputs["investments.campaign_switches"]
    return switches.filter(pl.struct("pot_id", "from_asset_id").is_duplicated())
