"""Announcements of income as known on a date, and when each is distributed."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.carried import carried
from acme.domain.day import Day

KEY = ["announcement_id"]
# What decides who is entitled: only a date that is still to come can change it.
ENTITLES = ["announcement_id", "asset_id", "ex_date"]
ANNOUNCED, TOO_LATE = "announced", "too_late"


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Keep every announcement; the last file that names one decides, until it is distributed.

    It is distributed by the last date whose journals are booked on the pay date, or by T where
    that has passed, and not before the ex date. One that comes after the run of its ex date is too
    late: who held the fund then is not known to later dates, so people decide.
    """
    before = inputs["previous.corporate_actions.income_announcements"]
    done = before.filter(pl.col("distribution_date") < day.run_date)
    landed = inputs["feed.income_announcements"].join(done, on=KEY, how="anti")
    open_ = before.join(done, on=KEY, how="anti")
    current = carried("income_announcements", landed, open_, KEY, day.run_date)
    unchanged = current.filter(pl.col("stated_on") < day.run_date)
    restated = current.filter(pl.col("stated_on") == day.run_date)
    known_in_time = pl.struct(ENTITLES).is_in(
        open_.filter(pl.col("state") == ANNOUNCED).select(pl.struct(ENTITLES)).to_series().implode()
    )
    in_time = (pl.col("ex_date") > day.as_of) | known_in_time
    restated = restated.with_columns(
        pl.when(in_time).then(pl.lit(ANNOUNCED)).otherwise(pl.lit(TOO_LATE)).alias("state"),
        _distribution_date(day, restated).alias("distribution_date"),
    ).with_columns(pl.when(pl.col("state") == ANNOUNCED).then("distribution_date"))
    columns = [c for c in before.columns if c != "run_date"]
    kept = unchanged.join(open_.select(*KEY, "state", "distribution_date"), on=KEY)
    tables = [frame.select(columns) for frame in (done, kept, restated)]
    return {"corporate_actions.income_announcements": pl.concat(tables)}


def _distribution_date(day: Day, rows: pl.DataFrame) -> pl.Series:
    calendar = day.calendars.dealing
    dates = [
        max(calendar.prev(pay), day.run_date, ex)
        for pay, ex in rows.select("pay_date", "ex_date").iter_rows()
    ]
    # An ex date that is no business date is the next one's run.
    moved = [d if calendar.is_business_date(d) else calendar.next(d) for d in dates]
    return pl.Series(moved, dtype=pl.Date)
