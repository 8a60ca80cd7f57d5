"""What processes beside the business day live from: its dates, its figures, and its cash."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from outbox_stub import FIRST, LAST, all_rows, contents, dispatch, play, rows_of

from simulator.exact import half_even, parse_fixed
from simulator.scheme import FUNDS
from simulator.world import World

EX, PAID = date(2020, 6, 10), date(2020, 6, 15)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a June 2020 with others, 300 pots; not to be changed."""
    home = tmp_path_factory.mktemp("others")
    play(World(home, 7, 300, FIRST, LAST, others=True), home)
    return home


def held(home: Path, asset_id: str) -> dict[str, int]:
    """Statement date to what NORTH states of an asset, in its minor units."""
    decimals = 2 if asset_id == "USD" else 4
    return {
        row["statement_date"]: parse_fixed(row["units"], decimals)
        for row in all_rows(home, "statements")
        if row["asset_id"] == asset_id
    }


def test_what_holds_from_the_start_is_as_its_header_says(others: Path) -> None:
    sources = [(r["source"], r["kind"], r["owner"]) for r in all_rows(others, "journal_sources")]
    assert sources == [
        ("management_charge", "charge", "team:finance"),
        ("income_distribution", "distribution", "team:corporate_actions"),
    ]
    for feed, named in (("charge_rates", "asset_id"), ("custodian_fee_rates", "custodian_id")):
        rows = list(all_rows(others, feed))
        assert {r[named] for r in rows} == (
            set(FUNDS) if named == "asset_id" else {"NORTH", "SOUTH"}
        )
        assert {r["valid_from"] for r in rows} == {"2003-01-01"}
        assert all(parse_fixed(r["annual_rate_bp"], 4) > 0 for r in rows)


def test_beside_them_nothing_differs_but_the_cash(june: Path, others: Path) -> None:
    plain, more = contents(june), contents(others)
    assert plain.keys() < more.keys()
    changed = {name for name in plain if plain[name] != more[name]}
    assert {name.split("/")[0] for name in changed} == {"statements"}
    assert all("NORTH" in name and name.split("_")[2][:10] >= str(PAID) for name in changed)


def test_income_is_announced_then_stated_in_all_then_paid(june: Path, others: Path) -> None:
    first, second = all_rows(others, "income_announcements")
    assert (first["announcement_id"], first["asset_id"]) == ("TSP-F-2020-06", "TSP-F")
    assert (first["ex_date"], first["pay_date"], first["total"]) == (str(EX), str(PAID), "")
    assert second == first | {"total": second["total"]}
    units = held(others, "TSP-F")["2020-06-09"]
    total = half_even(units * parse_fixed(first["amount_per_unit"], 6), 10**8)
    assert parse_fixed(second["total"], 2) == total > 0
    with_income, without = held(others, "USD"), held(june, "USD")
    gained = {day: with_income[day] - without[day] for day in without}
    assert gained == {day: total if day >= str(PAID) else 0 for day in without}


def test_nobody_is_paid_what_nobody_heard_of(tmp_path: Path) -> None:
    first = date(2020, 6, 9)
    world = World(tmp_path, 7, 50, first, LAST, others=True)
    play(world, tmp_path)
    assert list(all_rows(tmp_path, "income_announcements")) == []
    plain = World(tmp_path / "plain", 7, 50, first, LAST)
    play(plain, tmp_path / "plain")
    assert held(tmp_path, "USD") == held(tmp_path / "plain", "USD")


def schedules(home: Path) -> Iterator[tuple[str, str, str, str]]:
    for row in all_rows(home, "contribution_schedules"):
        yield row["employer"], row["pot_id"], row["due_date"], row["amount"]


def test_schedules_are_what_is_paid_but_for_a_few(tmp_path: Path) -> None:
    world = World(tmp_path, 7, 2_000, FIRST, LAST, others=True)
    for day in world.business_dates():
        world.orders_before(day)
    world.others_before(FIRST)
    paid = {
        (row["source"], row["pot_id"], row["source_ref"][:10], row["amount"])
        for row in all_rows(tmp_path, "orders")
        if row["kind"] == "contribution" and row["source"].startswith("EMPLOYER")
    }
    due = set(schedules(tmp_path))
    missing, unannounced = due - paid, paid - due
    assert ("EMPLOYER-ALDER", "P0000000", "2020-06-01", "75.00") in missing
    off = {row[:3] for row in missing} & {row[:3] for row in unannounced}
    assert len(off) + 1 == len(missing)
    assert 0 < len(off) < len(unannounced) < 30 < len(due & paid)


def test_a_month_that_has_begun_is_scheduled_from_then_on(tmp_path: Path) -> None:
    first = date(2020, 6, 9)
    World(tmp_path, 7, 300, first, LAST, others=True).others_before(first)
    dates = {due for _, _, due, _ in schedules(tmp_path)}
    assert min(dates) >= str(first)


def test_one_campaign_a_month(others: Path) -> None:
    (row,) = all_rows(others, "switch_campaigns")
    assert (row["campaign_id"], row["deal_date"]) == ("TSP-I-2020-06", "2020-06-05")
    assert (row["from_asset_id"], row["to_asset_id"]) == ("TSP-I", "TSP-C")
    (path,) = (others / "inbox" / "switch_campaigns").glob("*.csv")
    assert rows_of(path) == [row]


def test_a_new_process_goes_on_with_equal_bytes(others: Path, tmp_path: Path) -> None:
    days = World(tmp_path, 7, 300, FIRST, LAST).business_dates()
    for day in days[:12]:
        dispatch(tmp_path, day)
    World(tmp_path, 7, 300, FIRST, date(2020, 12, 1), others=True).before(days[12])
    whole = contents(others)
    for name, data in contents(tmp_path).items():
        assert whole[name] == data
