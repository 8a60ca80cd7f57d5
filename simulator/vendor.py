"""The price vendor: a sample of published prices sent as they are, blemishes and corrections.

No price is invented or repaired here. Which of several published prices is true is decided by
data: the one nearest to the previous business date's true price (the earlier row on a tie).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from simulator.calendars import Calendar, missing_weekdays
from simulator.exact import PRICE_DECIMALS, parse_fixed
from simulator.scheme import Row

SAMPLE = Path(__file__).parent / "data" / "closing_prices_2020.csv"

PriceFile = tuple[str, list[Row]]


class Vendor:
    """Knows the sample, the calendar it implies, and the true price of every business date."""

    def __init__(self, sample: Path = SAMPLE) -> None:
        self._rows: dict[date, list[Row]] = {}
        with sample.open(encoding="utf-8", newline="") as file:
            for row in list(csv.reader(file))[1:]:
                self._rows.setdefault(date.fromisoformat(row[0]), []).append(tuple(row))
        self.calendar = Calendar(missing_weekdays(self._rows))
        days = self.calendar.dates(min(self._rows), max(self._rows))
        self.first, self.last = days[0], days[-1]
        self._true: dict[tuple[date, str], Row] = {}
        self.conflicting = [day for day in days if self._settle_truth(day)]

    def _settle_truth(self, day: date) -> bool:
        """Fixes the true rows of ``day``; whether it had several prices for one asset."""
        previous = self.calendar.prev(day)
        candidates: dict[str, list[Row]] = {}
        for row in self._rows[day]:
            candidates.setdefault(row[1], []).append(row)
        conflict = False
        for asset_id, rows in candidates.items():
            before = self._true.get((previous, asset_id), rows[0])
            self._true[day, asset_id] = min(rows, key=lambda row: abs(_price(row) - _price(before)))
            conflict = conflict or len({_price(row) for row in rows}) > 1
        return conflict

    def price(self, day: date, asset_id: str) -> int:
        """The true closing price of a business date, in ``10**-6``."""
        return _price(self._true[day, asset_id])

    def price_text(self, day: date, asset_id: str) -> str:
        """The true closing price of a business date, as published."""
        return self._true[day, asset_id][3]

    def files(self, run_date: date) -> Iterator[PriceFile]:
        """Name and rows of every price file that arrives before the run of ``run_date``.

        One file per date with published rows from the previous business date on, weekends
        included, rows verbatim; after the last of several conflicting dates also a correction.
        """
        day = self.calendar.prev(run_date)
        corrected = self._corrected(day)
        while day < run_date:
            if day in self._rows:
                yield f"closing_prices_{day}.csv", self._rows[day]
            day += timedelta(days=1)
        if corrected:
            rows = [row for (at, _), row in self._true.items() if at in corrected]
            yield f"closing_prices_{run_date}_corrections.csv", rows

    def _corrected(self, day: date) -> set[date]:
        """The run of conflicting business dates that ends on ``day``, if one does."""
        run: set[date] = set()
        if self.calendar.next(day) in self.conflicting:
            return run
        while day in self.conflicting:
            run.add(day)
            day = self.calendar.prev(day)
        return run


def _price(row: Row) -> int:
    return parse_fixed(row[3], PRICE_DECIMALS)
