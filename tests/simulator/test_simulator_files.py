"""What is dropped: shapes, hashes, determinism, row order."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from outbox_stub import FIRST, LAST, all_rows, contents, dispatch, play

from simulator.calendars import cutoff
from simulator.world import World

DESIGN_COLUMNS = {
    "holidays": "calendar_id,holiday,name",
    "assets": (
        "asset_id,name,currency,custodian_id,calendar_id,unit_decimals,settlement_days,stress,"
        "price_limit,valid_from"
    ),
    "risk_profiles": "risk_profile_id,asset_id,weight,valid_from",
    "risk_profile_parameters": (
        "risk_profile_id,drift_band,cash_band,min_trade,schedule,valid_from"
    ),
    "pots": "pot_id,member_ref,risk_profile_id,book,opened_on",
    "opening_positions": "as_of,pot_id,asset_id,units",
    "closing_prices": "price_date,asset_id,currency,closing_price",
    "orders": (
        "source,source_ref,received_at,pot_id,kind,asset_id,to_asset_id,units,amount,"
        "risk_profile_id"
    ),
    "confirmations": (
        "confirmation_id,instruction_id,event,event_date,units,price,consideration,"
        "settlement_date,amends"
    ),
    "statements": (
        "statement_id,custodian_id,statement_date,basis,page,pages,asset_id,units"
    ),
}  # fmt: skip


def test_every_file_has_the_header_of_its_feed_and_its_hash(june: Path) -> None:
    found = contents(june)
    assert {name.split("/")[0] for name in found} == set(DESIGN_COLUMNS)
    for name, data in found.items():
        if name.endswith(".csv"):
            header, *rows = data.decode().splitlines()
            assert header == DESIGN_COLUMNS[name.split("/")[0]]
            assert rows
            told = found[f"{name}.sha256"].decode().split()
            assert told == [hashlib.sha256(data).hexdigest(), name.split("/")[1]]
        else:
            assert name.endswith(".csv.sha256")


def test_same_seed_same_bytes_in_another_folder(june: Path, tmp_path: Path) -> None:
    play(World(tmp_path, 7, 300, FIRST, LAST), tmp_path)
    assert contents(tmp_path) == contents(june)


def test_another_seed_other_orders(june: Path, tmp_path: Path) -> None:
    world = World(tmp_path, 8, 300, FIRST, LAST)
    world.orders_before(FIRST)
    name = f"orders/orders_EMPLOYER-ALDER_{FIRST}.csv"
    assert contents(tmp_path)[name] != contents(june)[name]


def test_a_new_process_and_a_longer_span_go_on_with_equal_bytes(june: Path, tmp_path: Path) -> None:
    days = World(tmp_path, 7, 300, FIRST, LAST).business_dates()
    for day in days[:12]:
        dispatch(tmp_path, day)
    World(tmp_path, 7, 300, FIRST, date(2020, 12, 1)).before(days[12])
    whole = contents(june)
    for name, data in contents(tmp_path).items():
        assert whole[name] == data


def test_calling_again_drops_equal_bytes(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world()
    play(world, tmp_path)
    once = contents(tmp_path)
    world.reference()
    for day in reversed(world.business_dates()):
        world.before(day)
    assert contents(tmp_path) == once


def test_shuffle_is_a_permutation_of_the_rows(june: Path, tmp_path: Path) -> None:
    play(World(tmp_path, 7, 300, FIRST, LAST, shuffle=3), tmp_path)
    plain, shuffled = contents(june), contents(tmp_path)
    assert plain.keys() == shuffled.keys()
    moved = 0
    for name, data in plain.items():
        if name.endswith(".csv"):
            header, *rows = data.splitlines()
            other, *permuted = shuffled[name].splitlines()
            assert other == header
            assert Counter(permuted) == Counter(rows)
            moved += permuted != rows
    assert moved > 100


def test_no_part_file_is_left(june: Path) -> None:
    assert not [name for name in contents(june) if "/." in name]


def test_profiles_sum_to_one_and_positions_name_known_things(june: Path) -> None:
    weights: dict[str, Decimal] = {}
    for row in all_rows(june, "risk_profiles"):
        total = weights.get(row["risk_profile_id"], Decimal(0))
        weights[row["risk_profile_id"]] = total + Decimal(row["weight"])
    assert set(weights.values()) == {Decimal(1)}
    assert len(weights) >= 5
    pots = {row["pot_id"]: row for row in all_rows(june, "pots")}
    assert len(pots) == 300
    assert {row["risk_profile_id"] for row in pots.values()} <= set(weights)
    assert all(row["opened_on"] < "2020-05-29" for row in pots.values())
    assets = {row["asset_id"]: int(row["unit_decimals"]) for row in all_rows(june, "assets")}
    for row in all_rows(june, "opening_positions"):
        assert row["as_of"] == "2020-05-29"
        assert row["pot_id"] in pots
        assert len(row["units"].split(".")[1]) == assets[row["asset_id"]]
        assert Decimal(row["units"]) > 0


def test_pots_start_between_the_promised_values(june: Path) -> None:
    price = {"USD": Decimal(1)}
    for row in all_rows(june, "closing_prices"):
        if row["price_date"] == "2020-05-29":
            price[row["asset_id"]] = Decimal(row["closing_price"])
    worth: dict[str, Decimal] = {}
    for row in all_rows(june, "opening_positions"):
        value = Decimal(row["units"]) * price[row["asset_id"]]
        worth[row["pot_id"]] = worth.get(row["pot_id"], Decimal(0)) + value
    assert min(worth.values()) > 450
    assert max(worth.values()) < 265_000


def test_orders_come_before_the_cutoff_but_for_a_few(june: Path) -> None:
    late, kinds, keys = 0, set(), set()
    for path in (june / "inbox" / "orders").glob("*.csv"):
        match = re.search(r"\d{4}-\d\d-\d\d", path.name)
        assert match
        day = date.fromisoformat(match.group())
        for row in path.read_text().splitlines()[1:]:
            source, source_ref, received_at, _, kind, *_ = row.split(",")
            keys.add((source, source_ref))
            kinds.add(kind)
            received = int(datetime.fromisoformat(received_at).timestamp())
            assert received_at.endswith("+01:00")
            assert received < cutoff(day) + 4 * 3600
            late += received >= cutoff(day)
    total = sum(1 for _ in all_rows(june, "orders"))
    assert len(keys) == total
    assert 0 < late < total // 20
    assert kinds == {"contribution", "withdrawal", "buy", "sell", "switch", "profile_change"}


def test_dates_outside_the_sample_are_refused(make_world: Callable[..., World]) -> None:
    with pytest.raises(ValueError, match="2019-12-03"):
        make_world(first=date(2019, 12, 2))
    with pytest.raises(ValueError, match="2021-01-15"):
        make_world(last=date(2021, 1, 18))
    with pytest.raises(ValueError, match="run date"):
        make_world().before(date(2020, 6, 6))


def test_summer_time_starts_within_a_weekend(tmp_path: Path) -> None:
    world = World(tmp_path, 7, 3_000, date(2020, 3, 27), date(2020, 3, 30))
    world.orders_before(date(2020, 3, 30))
    offsets = {row["received_at"][-6:] for row in all_rows(tmp_path, "orders")}
    assert offsets == {"+00:00", "+01:00"}
