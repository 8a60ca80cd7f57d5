"""Fund switch campaigns: who holds the fund that is left, and the orders that move it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holdings, ledger
from acme.domain import quantities as q
from acme.domain.carried import carried
from acme.domain.day import Day

KEY = ["campaign_id"]
SOURCE = "campaign"


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Keep every campaign, and order the switches of those whose orders leave on T.

    The last file that names a campaign decides, until its orders have left: on the date before it
    deals, or on T where that has passed. Each open pot of the profile that has available units of
    the fund switches all of them; how many that is, is decided when it deals.
    """
    before = inputs["previous.investments.switch_campaigns"]
    done = before.filter(pl.col("order_date") < day.run_date)
    landed = inputs["feed.switch_campaigns"].join(done, on=KEY, how="anti")
    open_ = before.join(done, on=KEY, how="anti")
    current = carried("switch_campaigns", landed, open_, KEY, day.run_date)
    columns = [c for c in before.columns if c != "run_date"]
    known = current.with_columns(_order_date(day, current))
    campaigns = pl.concat([done.select(columns), known.select(columns)])
    leaving = campaigns.filter(
        (pl.col("order_date") == day.run_date) & (pl.col("status") == "planned")
    )
    switches = _switches(day, leaving, inputs)
    return {
        "investments.switch_campaigns": campaigns,
        "investments.campaign_switches": switches.drop("received_at"),
        "feed.orders": _orders(switches),
    }


def _order_date(day: Day, campaigns: pl.DataFrame) -> pl.Series:
    calendar = day.calendars.dealing
    dates = [max(calendar.prev(deal), day.run_date) for deal in campaigns["deal_date"]]
    return pl.Series("order_date", dates, dtype=pl.Date)


def _switches(day: Day, leaving: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return campaign_id, pot_id, the two funds, the units available, source_ref, received_at."""
    left = holdings.left_by_the_run(
        inputs["core.ledger_balances"], inputs["core.ledger_postings"], day.run_date
    )
    available = holdings.of_pots(left, [ledger.SETTLED]).filter(pl.col("units") > 0)
    pots = inputs["core.pots"].filter(
        (pl.col("book") == holdings.LIVE_BOOK) & (pl.col("status") == "open")
    )
    of_profile = pl.col("risk_profile_id").eq_missing(pl.col("of_profile"))
    return (
        leaving.select(
            *KEY, "from_asset_id", "to_asset_id", pl.col("risk_profile_id").alias("of_profile")
        )
        .join(available, left_on="from_asset_id", right_on="asset_id")
        .join(pots.select("pot_id", "risk_profile_id"), on="pot_id")
        .filter(of_profile | pl.col("of_profile").is_null())
        .select(
            *KEY,
            "pot_id",
            "from_asset_id",
            "to_asset_id",
            pl.col("units").alias("available_units"),
            pl.format("{}:{}", "campaign_id", "pot_id").alias("source_ref"),
            # Received at the cut-off of T, an order is for the next dealing date (`rules §2`).
            pl.lit(day.cut_off_instant).dt.cast_time_unit("us").alias("received_at"),
        )
    )


def _orders(switches: pl.DataFrame) -> pl.DataFrame:
    return switches.select(
        pl.lit(SOURCE).alias("source"),
        "source_ref",
        "received_at",
        "pot_id",
        pl.lit("switch").alias("kind"),
        pl.col("from_asset_id").alias("asset_id"),
        "to_asset_id",
        pl.lit(None, dtype=q.UNITS).alias("units"),
        pl.lit(None, dtype=q.UNITS).alias("amount"),
        pl.lit(None, dtype=pl.String).alias("risk_profile_id"),
    )
