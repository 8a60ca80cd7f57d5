"""Which version of effective-dated reference data counts on a date (`rules §2`, `§5`)."""

from __future__ import annotations

from datetime import date

import polars as pl

CASH = "CASH"


def assets_on(assets: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return the newest version of each asset with `valid_from ≤ day`, sorted by asset_id."""
    return (
        assets.filter(pl.col("valid_from") <= day)
        .sort("valid_from")
        .group_by("asset_id")
        .last()
        .sort("asset_id")
    )


def profiles_on(profiles: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return the whole set of each profile with the newest `valid_from ≤ day` (`rules §5`).

    Works on weights and on parameters: every row of the newest set is kept, none of an older one.
    """
    known = profiles.filter(pl.col("valid_from") <= day)
    newest = known.group_by("risk_profile_id").agg(pl.col("valid_from").max())
    return known.join(newest, on=["risk_profile_id", "valid_from"]).sort(
        ["risk_profile_id", *(["asset_id"] if "asset_id" in profiles.columns else [])]
    )


def cash_custodian(assets: pl.DataFrame, day: date, currency: str) -> str:
    """Return who holds the cash on a day: the custodian of the currency's version of that day."""
    return str(assets_on(assets, day).filter(pl.col("asset_id") == currency)["custodian_id"][0])
