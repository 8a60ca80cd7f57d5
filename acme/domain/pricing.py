"""Which closing prices are accepted, held or last known (`rules §10`, `design price_limit`)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from acme.domain import quantities as q

Key = tuple[date, str]


@dataclass
class PriceBook:
    """Accepted closing prices and the keys on hold.

    `accepted` maps (price_date, asset_id) to a price at 6 decimals; `held` maps the same key to
    (reason, candidate prices, file_sha256, first run date).
    """

    accepted: dict[Key, int]
    held: dict[Key, tuple[str, tuple[int, ...], str, date]] = field(default_factory=dict)

    def by_asset(self) -> dict[str, dict[date, int]]:
        """Return the accepted prices of each asset by date."""
        prices: dict[str, dict[date, int]] = {}
        for (price_date, asset_id), price in self.accepted.items():
            prices.setdefault(asset_id, {})[price_date] = price
        return prices


def newest_before(prices: dict[date, int], day: date) -> int | None:
    """Return the price of the newest date before `day`, None if there is none."""
    dates = [d for d in prices if d < day]
    return prices[max(dates)] if dates else None


def beyond_limit(price: int, previous: int, limit: int | None) -> bool:
    """Say whether a move is larger than the asset's believable one; `limit` has 8 decimals."""
    if limit is None:
        return False
    return abs(price - previous) * q.RATIO_SCALE > limit * previous


def take_file(
    book: PriceBook,
    rows: list[tuple[date, str, int]],
    file_sha256: str,
    limits: dict[str, int | None],
    run_date: date,
) -> dict[Key, str]:
    """Take one file's rows (price_date, asset_id, price) and return each key's status.

    Rows of one file that disagree put their key on hold; one value releases a hold or replaces
    an accepted price; a first value beyond the asset's `price_limit` is held until a later file
    repeats the key (`rules §10`). Keys are taken in date order, so the row order has no effect.
    """
    candidates: dict[Key, set[int]] = {}
    for price_date, asset_id, price in rows:
        candidates.setdefault((price_date, asset_id), set()).add(price)
    status: dict[Key, str] = {}
    known = book.by_asset()
    for key in sorted(candidates):
        price_date, asset_id = key
        prices = tuple(sorted(candidates[key]))
        of_asset = known.setdefault(asset_id, {})
        previous = newest_before(of_asset, price_date)
        reason = _hold_reason(book, key, prices, previous, limits.get(asset_id))
        if reason is None:
            book.accepted[key] = of_asset[price_date] = prices[0]
            book.held.pop(key, None)
            status[key] = "accepted"
            continue
        book.accepted.pop(key, None)
        of_asset.pop(price_date, None)
        since = book.held[key][3] if key in book.held else run_date
        book.held[key] = (reason, prices, file_sha256, since)
        status[key] = "held"
    return status


def _hold_reason(
    book: PriceBook, key: Key, prices: tuple[int, ...], previous: int | None, limit: int | None
) -> str | None:
    if len(prices) > 1:
        return "conflicting_rows"
    unseen = key not in book.held and key not in book.accepted
    if unseen and previous is not None and beyond_limit(prices[0], previous, limit):
        return "price_limit"
    return None


def still_needed(
    book: PriceBook, horizon: date, news: AbstractSet[Key] = frozenset()
) -> dict[Key, int]:
    """Return the accepted prices from `horizon` on, the newest before it of each asset, `news`."""
    newest: dict[str, date] = {}
    for price_date, asset_id in book.accepted:
        if price_date < horizon:
            newest[asset_id] = max(newest.get(asset_id, price_date), price_date)
    kept = {(d, a) for a, d in newest.items()} | news
    return {k: p for k, p in book.accepted.items() if k[0] >= horizon or k in kept}


def prices_of(price_book: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return asset_id, closing_price of the accepted prices of `day`."""
    return price_book.filter(pl.col("price_date") == day).select("asset_id", "closing_price")


def last_prices(price_book: pl.DataFrame, day: date) -> pl.DataFrame:
    """Return asset_id, closing_price: the newest accepted price up to `day` of each asset."""
    return (
        price_book.filter(pl.col("price_date") <= day)
        .sort("price_date")
        .group_by("asset_id")
        .last()
        .select("asset_id", "closing_price")
    )
