"""The rates of the annual management charge, as known on a date."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.carried import carried
from acme.domain.day import Day

KEY = ["asset_id", "valid_from"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Keep every rate ever stated; the last file that names a fund and a date decides."""
    rates = carried(
        "charge_rates",
        inputs["feed.charge_rates"],
        inputs["previous.finance.charge_rates"],
        KEY,
        day.run_date,
    )
    return {"finance.charge_rates": rates}
