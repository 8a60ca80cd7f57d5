"""The price files of the vendor, blemishes included."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from outbox_stub import rows_of

from simulator.vendor import SAMPLE, Vendor
from simulator.world import World


def _names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def _prices(path: Path) -> list[tuple[str, str, str]]:
    return [(row["price_date"], row["asset_id"], row["closing_price"]) for row in rows_of(path)]


def test_holidays_are_the_weekdays_without_a_price() -> None:
    holidays = Vendor().calendar.holidays
    assert len(holidays) == 13
    assert {date(2020, 5, 25), date(2020, 7, 3), date(2020, 12, 25)} <= set(holidays)


def test_an_ordinary_date_has_one_file_of_the_previous_date(
    make_world: Callable[..., World],
) -> None:
    (path,) = make_world().prices_before(date(2020, 6, 9))
    assert path.name == "closing_prices_2020-06-08.csv"
    assert len(_prices(path)) == 5


def test_weekend_rows_arrive_before_the_monday(make_world: Callable[..., World]) -> None:
    paths = make_world().prices_before(date(2020, 6, 22))
    assert _names(paths) == [f"closing_prices_2020-06-{day}.csv" for day in (19, 20, 21)]
    assert ("2020-06-20", "TSP-C", "48.0466") in _prices(paths[1])


def test_both_sets_of_22_and_23_june_are_sent_as_published(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    (first,) = world.prices_before(date(2020, 6, 23))
    rows = _prices(first)
    assert len(rows) == 10
    assert [price for _, asset, price in rows if asset == "TSP-C"] == ["46.0189", "48.4058"]


def test_the_correction_names_each_key_once_with_the_true_price(
    make_world: Callable[..., World],
) -> None:
    paths = make_world().prices_before(date(2020, 6, 24))
    assert _names(paths) == [
        "closing_prices_2020-06-23.csv",
        "closing_prices_2020-06-24_corrections.csv",
    ]
    assert len(_prices(paths[0])) == 10
    corrected = _prices(paths[1])
    assert len(corrected) == len({row[:2] for row in corrected}) == 10
    assert {row[0] for row in corrected} == {"2020-06-22", "2020-06-23"}
    assert ("2020-06-22", "TSP-S", "53.0551") in corrected
    assert corrected[5:] == _prices(paths[0])[:5]


def test_the_second_set_is_that_of_a_month_later() -> None:
    vendor = Vendor()
    assert vendor.conflicting == [date(2020, 6, 22), date(2020, 6, 23)]
    assert vendor.price_text(date(2020, 7, 22), "TSP-C") == "48.4058"
    assert vendor.price_text(date(2020, 6, 22), "TSP-C") == "46.0189"


def test_every_row_of_the_sample_is_sent_once(tmp_path: Path) -> None:
    world = World(tmp_path, 1, 1, date(2019, 12, 3), date(2021, 1, 15))
    lines: list[str] = []
    for day in world.business_dates():
        for path in world.prices_before(day):
            if "corrections" not in path.name:
                lines += path.read_text().splitlines()[1:]
    sample = SAMPLE.read_text().splitlines()[1:]
    assert lines == [line for line in sample if not line.startswith("2021-01-15")]


@pytest.mark.parametrize("true_first", [True, False])
def test_the_true_price_is_the_nearest_to_the_day_before(tmp_path: Path, true_first: bool) -> None:
    pair = ["2020-01-03,A,USD,10.1", "2020-01-03,A,USD,13"]
    rows = ["price_date,asset_id,currency,closing_price", "2020-01-02,A,USD,10"]
    rows += pair if true_first else pair[::-1]
    rows += ["2020-01-06,A,USD,10.2"]
    sample = tmp_path / "sample.csv"
    sample.write_text("\n".join(rows) + "\n")
    vendor = Vendor(sample)
    assert vendor.price_text(date(2020, 1, 3), "A") == "10.1"
    files = dict(vendor.files(date(2020, 1, 6)))
    assert files["closing_prices_2020-01-06_corrections.csv"] == [
        ("2020-01-03", "A", "USD", "10.1")
    ]
