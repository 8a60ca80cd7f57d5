"""Closing prices: which landed prices are accepted, which are on hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from acme.domain import holds, pricing
from acme.domain import quantities as q
from acme.domain.day import Day
from acme.domain.reference import assets_on

KEY = ["price_date", "asset_id"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Take the price files of the run in landing order (`rules §10`).

    The price book keeps the newest price of each asset, every price from the oldest open line's
    date on, and what this run accepted, which may correct a line that ended. What no line and no
    valuation can ask for again is left in core.closing_prices.
    """
    book = _opening_book(inputs)
    assets = assets_on(inputs["core.assets"], day.run_date)
    limits = dict(assets.select("asset_id", q.minor("price_limit")).iter_rows())
    landed = inputs["feed.closing_prices"].sort("sequence", "row")
    statuses: list[pl.DataFrame] = []
    news: set[pricing.Key] = set()
    for (_, sha), rows in landed.group_by(["sequence", "file_sha256"], maintain_order=True):
        prices = rows.select(*KEY, q.minor("closing_price")).rows()
        status = pricing.take_file(book, prices, str(sha), limits, day.run_date)
        statuses.append(_rows_with_status(rows, status))
        news |= status.keys()
    columns = [*KEY, "currency", "closing_price", "status", "file_sha256"]
    empty = landed.clear().with_columns(pl.lit("", dtype=pl.String).alias("status")).select(columns)
    dates = inputs["previous.stage.open_lines"]["dealing_date"]
    # What an order was proposed at is the price before its dealing date.
    horizon = min([day.as_of, *[day.calendars.dealing.prev(d) for d in dates.unique()]])
    return {
        "core.closing_prices": pl.concat([empty, *[s.select(columns) for s in statuses]]).unique(
            [*KEY, "closing_price", "file_sha256"]
        ),
        "stage.price_book": _book_frame(pricing.still_needed(book, horizon, news)),
        "stage.price_holds": _held_frame(book),
    }


def _opening_book(inputs: Mapping[str, pl.DataFrame]) -> pricing.PriceBook:
    accepted = {
        (price_date, asset): price
        for price_date, asset, price in inputs["previous.stage.price_book"]
        .select(*KEY, q.minor("closing_price"))
        .iter_rows()
    }
    book = pricing.PriceBook(accepted)
    for row in inputs["previous.stage.price_holds"].iter_rows(named=True):
        price_date, asset_id = row["key"].split("|", 1)
        candidates = tuple(_minor(text) for text in json.loads(row["candidates"]))
        key = (type(row["first_run_date"]).fromisoformat(price_date), asset_id)
        book.held[key] = (row["reason"], candidates, row["file_sha256"], row["first_run_date"])
    return book


def _minor(text: str) -> int:
    return int(Decimal(text).scaleb(6))


def _rows_with_status(rows: pl.DataFrame, status: dict[pricing.Key, str]) -> pl.DataFrame:
    by_key = pl.DataFrame(
        [(d, a, s) for (d, a), s in status.items()],
        schema={"price_date": pl.Date, "asset_id": pl.String, "status": pl.String},
        orient="row",
    )
    return rows.join(by_key, on=KEY)


def _book_frame(prices: dict[pricing.Key, int]) -> pl.DataFrame:
    rows = [(d, a, Decimal(p).scaleb(-6)) for (d, a), p in sorted(prices.items())]
    return pl.DataFrame(
        rows,
        schema={"price_date": pl.Date, "asset_id": pl.String, "closing_price": q.PRICE},
        orient="row",
    )


def _held_frame(book: pricing.PriceBook) -> pl.DataFrame:
    rows = [
        {
            "feed": "closing_prices",
            "key": f"{price_date}|{asset_id}",
            "reason": reason,
            "first_run_date": since,
            "file_sha256": sha,
            "candidates": json.dumps([f"{Decimal(p).scaleb(-6):.6f}" for p in candidates]),
        }
        for (price_date, asset_id), (reason, candidates, sha, since) in sorted(book.held.items())
    ]
    return pl.DataFrame(rows, schema=holds.HOLD_SCHEMA)
