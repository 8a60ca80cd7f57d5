"""Rows that hold until a later file says otherwise: what a process keeps from date to date."""

from __future__ import annotations

from datetime import date

import polars as pl

from acme.domain import holds

STATED_ON = "stated_on"


def carried(
    feed: str, landed: pl.DataFrame, before: pl.DataFrame, key: list[str], run_date: date
) -> pl.DataFrame:
    """Return key, values and `stated_on` of every row that counts on a date, sorted by key.

    landed: the feed's fields and `holds.ORIGIN`; before: what counted on the date before. The last
    file that names a key decides. Values it states in two ways change nothing (`rules §10`): what
    counted before goes on. `stated_on` is the date whose files gave the values first; a repeat
    leaves it alone.
    """
    values = [c for c in landed.columns if c not in holds.ORIGIN and c not in key]
    nothing_held = pl.DataFrame(schema=holds.HOLD_SCHEMA)
    told = holds.resolve(feed, landed, key, nothing_held, run_date).rows.select(
        *key, *values, pl.lit(run_date, dtype=pl.Date).alias(STATED_ON)
    )
    known = before.select(*key, *values, STATED_ON)
    news = told.join(known, on=[*key, *values], how="anti", nulls_equal=True)
    return pl.concat([known.join(news, on=key, how="anti"), news]).sort(key)
