"""The postings of every kind of journal, worked by hand (`rules §7`, `§8`)."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import CUT_OFF, KNOWN_AT, P, frame, orders

from acme.domain import booking, ledger
from acme.domain.orders import order_id

SETTLED_ON = date(2026, 3, 12)


def dated(rows: pl.DataFrame, custodian: str = "CUST", cash: str = "BANK") -> pl.DataFrame:
    return rows.with_columns(
        pl.lit(custodian).alias("custodian_id"),
        pl.lit(cash).alias("cash_custodian"),
        pl.lit(None, dtype=pl.Date).alias("corrected_on"),
        pl.lit(CUT_OFF).alias("event_time"),
        pl.lit(P).alias("effective_date"),
        pl.lit(KNOWN_AT).alias("known_at"),
    )


def booked(order: dict, units: str, money: str) -> tuple[booking.Entries, pl.DataFrame]:
    entries = booking.Entries()
    row = dated(orders({"order_id": "o1", "line_id": "L1"} | order)).with_columns(
        pl.lit(int(Decimal(units).scaleb(6)), dtype=pl.Int128).alias("executed_units"),
        pl.lit(int(Decimal(money).scaleb(2)), dtype=pl.Int128).alias("executed_consideration"),
    )
    after = booking.book_allocations(entries, row, "USD")
    assert ledger.unbalanced_journals(entries.all_postings()).is_empty()
    return entries, after


def settled(after: pl.DataFrame) -> booking.Entries:
    entries = booking.Entries()
    frame_ = dated(after.select(orders().columns)).with_columns(
        pl.lit(SETTLED_ON).alias("effective_date")
    )
    booking.book_settlements(entries, frame_, "USD")
    assert ledger.unbalanced_journals(entries.all_postings()).is_empty()
    return entries


def posted(entries: booking.Entries) -> dict[tuple[str, str, str], str]:
    rows = entries.all_postings().select("account", "state", "asset_id", "quantity").rows()
    assert len({row[:3] for row in rows}) == len(rows)
    return {row[:3]: str(row[3].normalize().quantize(Decimal("0.01"))) for row in rows}


def state_of(entries: booking.Entries) -> list[tuple]:
    return (
        entries.all_events().select("from_state", "to_state", "reason", "stage", "sequence").rows()
    )


UNIT_BUY = {
    "source": "rebalancing",
    "kind": "buy",
    "side": "B",
    "quantity_type": "U",
    "units": "10",
}
AMOUNT_BUY = {
    "kind": "buy",
    "side": "B",
    "quantity_type": "A",
    "amount": "100.00",
    "reserved": "100",
}
SELL = {"kind": "sell", "side": "S", "quantity_type": "U", "units": "10", "reserved": "10"}
POT, CUST, BANK = "pot/P1", "custodian/CUST", "custodian/BANK"


def test_a_unit_buy_reserves_nothing_and_pays_from_settled() -> None:
    entries, after = booked(UNIT_BUY, "10", "25.50")
    assert posted(entries) == {
        (POT, "in_flight", "A"): "10.00",
        (CUST, "in_flight", "A"): "-10.00",
        (POT, "in_flight", "USD"): "-25.50",
        (BANK, "in_flight", "USD"): "25.50",
    }
    assert state_of(entries) == [("placed", "executed", None, "post", 0)]
    row = after.row(0, named=True)
    assert (row["state"], row["reserved"], row["allocated_units"], row["consideration"]) == (
        "executed",
        Decimal(0),
        Decimal(10),
        Decimal("25.50"),
    )
    assert posted(settled(after)) == {
        (POT, "in_flight", "A"): "-10.00",
        (CUST, "in_flight", "A"): "10.00",
        (POT, "in_flight", "USD"): "25.50",
        (BANK, "in_flight", "USD"): "-25.50",
        (POT, "settled", "A"): "10.00",
        (CUST, "settled", "A"): "-10.00",
        (POT, "settled", "USD"): "-25.50",
        (BANK, "settled", "USD"): "25.50",
    }


def test_a_part_executed_unit_buy() -> None:
    entries, after = booked(UNIT_BUY, "4", "10.20")
    assert state_of(entries) == [("placed", "part_executed", None, "post", 0)]
    assert posted(entries)[POT, "in_flight", "A"] == "4.00"
    assert posted(settled(after))[POT, "settled", "USD"] == "-10.20"


def test_an_amount_buy_pays_from_its_reserve() -> None:
    entries, after = booked(AMOUNT_BUY, "40", "100.00")
    # Nothing returns; the executed 100 stays reserved until it settles.
    assert posted(entries) == {
        (POT, "in_flight", "A"): "40.00",
        (CUST, "in_flight", "A"): "-40.00",
        (POT, "in_flight", "USD"): "-100.00",
        (BANK, "in_flight", "USD"): "100.00",
    }
    assert after["reserved"].to_list() == [Decimal(100)]
    assert after["state"].to_list() == ["executed"]
    assert posted(settled(after)) == {
        (POT, "in_flight", "A"): "-40.00",
        (CUST, "in_flight", "A"): "40.00",
        (POT, "in_flight", "USD"): "100.00",
        (BANK, "in_flight", "USD"): "-100.00",
        (POT, "settled", "A"): "40.00",
        (CUST, "settled", "A"): "-40.00",
        (POT, "reserved", "USD"): "-100.00",
        (BANK, "settled", "USD"): "100.00",
    }


def test_a_part_executed_amount_buy_returns_the_rest() -> None:
    entries, after = booked(AMOUNT_BUY, "24", "60.01")
    # 100.00 less 60.01 returns from reserved to settled.
    assert posted(entries) == {
        (POT, "reserved", "USD"): "-39.99",
        (POT, "settled", "USD"): "39.99",
        (POT, "in_flight", "A"): "24.00",
        (CUST, "in_flight", "A"): "-24.00",
        (POT, "in_flight", "USD"): "-60.01",
        (BANK, "in_flight", "USD"): "60.01",
    }
    assert state_of(entries) == [("placed", "part_executed", None, "post", 0)]
    assert after["reserved"].to_list() == [Decimal("60.01")]
    assert posted(settled(after))[POT, "reserved", "USD"] == "-60.01"


@pytest.mark.parametrize("kind", ["sell", "switch"])
def test_a_sale_delivers_from_its_reserve(kind: str) -> None:
    entries, after = booked(SELL | {"kind": kind}, "10", "30.00")
    assert posted(entries) == {
        (POT, "in_flight", "A"): "-10.00",
        (CUST, "in_flight", "A"): "10.00",
        (POT, "in_flight", "USD"): "30.00",
        (BANK, "in_flight", "USD"): "-30.00",
    }
    assert after["reserved"].to_list() == [Decimal(10)]
    assert posted(settled(after)) == {
        (POT, "in_flight", "A"): "10.00",
        (CUST, "in_flight", "A"): "-10.00",
        (POT, "in_flight", "USD"): "-30.00",
        (BANK, "in_flight", "USD"): "30.00",
        (POT, "reserved", "A"): "-10.00",
        (CUST, "settled", "A"): "10.00",
        (POT, "settled", "USD"): "30.00",
        (BANK, "settled", "USD"): "-30.00",
    }


def test_a_part_executed_sale_returns_units() -> None:
    entries, after = booked(SELL, "7", "21.00")
    assert posted(entries) == {
        (POT, "reserved", "A"): "-3.00",
        (POT, "settled", "A"): "3.00",
        (POT, "in_flight", "A"): "-7.00",
        (CUST, "in_flight", "A"): "7.00",
        (POT, "in_flight", "USD"): "21.00",
        (BANK, "in_flight", "USD"): "-21.00",
    }
    assert posted(settled(after))[POT, "reserved", "A"] == "-7.00"


@pytest.mark.parametrize("order", [SELL, AMOUNT_BUY])
def test_an_order_allocated_nothing_is_rejected_and_gets_its_reserve_back(order: dict) -> None:
    entries, after = booked(order, "0", "0")
    asset, quantity = ("A", "10.00") if order is SELL else ("USD", "100.00")
    assert posted(entries) == {
        (POT, "reserved", asset): f"-{quantity}",
        (POT, "settled", asset): quantity,
    }
    assert state_of(entries) == [("placed", "rejected", "custodian_rejected", "post", 0)]
    assert after["reserved"].to_list() == [Decimal(0)]


def test_a_unit_buy_allocated_nothing_leaves_no_journal() -> None:
    entries, after = booked(UNIT_BUY, "0", "0")
    assert entries.all_journals().is_empty()
    assert entries.all_postings().is_empty()
    assert after["state"].to_list() == ["rejected"]


@pytest.mark.parametrize(
    ("order", "units", "money"),
    [
        (UNIT_BUY, "0.0001", "0"),  # too little to cost a penny
        (SELL, "0.0001", "0"),
        (AMOUNT_BUY, "0", "0.01"),  # a penny that buys no unit
    ],
)
def test_an_order_allocated_anything_is_not_rejected(order: dict, units: str, money: str) -> None:
    entries, after = booked(order, units, money)
    assert state_of(entries) == [("placed", "part_executed", None, "post", 0)]
    assert after.select("allocated_units", "consideration").row(0) == (
        Decimal(units),
        Decimal(money),
    )


def test_a_sale_that_no_reserve_stands_behind_delivers_from_settled() -> None:
    entries, after = booked(SELL | {"reserved": "0"}, "10", "30.00")
    assert (POT, "reserved", "A") not in posted(entries)
    assert posted(settled(after)) == {
        (POT, "in_flight", "A"): "10.00",
        (CUST, "in_flight", "A"): "-10.00",
        (POT, "in_flight", "USD"): "-30.00",
        (BANK, "in_flight", "USD"): "30.00",
        (POT, "settled", "A"): "-10.00",
        (CUST, "settled", "A"): "10.00",
        (POT, "settled", "USD"): "30.00",
        (BANK, "settled", "USD"): "-30.00",
    }


def test_an_unknown_order_is_executed_from_unknown() -> None:
    entries, _ = booked(UNIT_BUY | {"state": "unknown"}, "10", "25.50")
    assert state_of(entries) == [("unknown", "executed", None, "post", 0)]


def test_journals_say_what_they_are_about() -> None:
    entries, after = booked(SELL, "10", "30.00")
    assert entries.all_journals().rows(named=True) == [
        {
            "book": "live",
            "journal_id": "allocation:o1",
            "kind": "allocation",
            "reference": "o1",
            "order_id": "o1",
            "line_id": "L1",
            "event_time": CUT_OFF,
            "effective_date": P,
            "known_at": KNOWN_AT,
            "reverses": None,
        }
    ]
    settlement = settled(after)
    journal = settlement.all_journals().row(0, named=True)
    assert (journal["journal_id"], journal["kind"], journal["effective_date"]) == (
        "settlement:o1",
        "settlement",
        SETTLED_ON,
    )
    assert settlement.all_postings()["effective_date"].unique().to_list() == [SETTLED_ON]
    assert state_of(settlement) == [("executed", "settled", None, "post", 0)]


POSITION = {
    "as_of": pl.Date,
    "pot_id": pl.String,
    "asset_id": pl.String,
    "units": pl.Decimal(18, 6),
    "event_time": pl.Datetime("us", "UTC"),
    "known_at": pl.Datetime("us", "UTC"),
}


def test_opening_positions_are_settled_against_the_custodian_of_the_book() -> None:
    entries = booking.Entries()
    base = {"as_of": P, "event_time": CUT_OFF, "known_at": KNOWN_AT}
    booking.open_positions(
        entries,
        frame(
            POSITION,
            [
                base | {"pot_id": "P1", "asset_id": "A", "units": "12.5"},
                base | {"pot_id": "P1", "asset_id": "USD", "units": "7.25"},
                base | {"pot_id": "C1", "asset_id": "A", "units": "1"},
            ],
        ),
        pl.DataFrame({"pot_id": ["P1", "C1"], "book": ["live", "canary"]}),
        pl.DataFrame({"asset_id": ["A", "USD"], "custodian_id": ["CUST", "BANK"]}),
    )
    rows = entries.all_postings().select("book", "account", "state", "asset_id", "quantity").rows()
    assert {row[:4]: row[4] for row in rows} == {
        ("live", POT, "settled", "A"): Decimal("12.5"),
        ("live", CUST, "settled", "A"): Decimal("-12.5"),
        ("live", POT, "settled", "USD"): Decimal("7.25"),
        ("live", BANK, "settled", "USD"): Decimal("-7.25"),
        ("canary", "pot/C1", "settled", "A"): Decimal(1),
        ("canary", "custodian/CANARY", "settled", "A"): Decimal(-1),
    }
    journals = entries.all_journals()
    assert set(journals["effective_date"]) == {P}
    assert journals["journal_id"].n_unique() == 3


@pytest.mark.parametrize(("pot", "asset"), [("P9", "A"), ("P1", "Z")])
def test_an_opening_position_of_an_unknown_pot_or_asset_is_an_error(pot: str, asset: str) -> None:
    base = {"as_of": P, "event_time": CUT_OFF, "known_at": KNOWN_AT, "units": "1"}
    known = base | {"pot_id": "P1", "asset_id": "A"}
    entries = booking.Entries()
    with pytest.raises(ValueError, match=f"'pot_id': '{pot}', 'asset_id': '{asset}'"):
        booking.open_positions(
            entries,
            frame(POSITION, [known, base | {"pot_id": pot, "asset_id": asset}]),
            pl.DataFrame({"pot_id": ["P1"], "book": ["live"]}),
            pl.DataFrame({"asset_id": ["A"], "custodian_id": ["CUST"]}),
        )
    assert entries.all_postings().is_empty()


SWITCH = SELL | {"kind": "switch", "to_asset_id": "B", "settlement_date": SETTLED_ON}


def test_a_booked_switch_calls_for_a_buy_of_its_proceeds() -> None:
    _, after = booked(SWITCH, "10", "30.01")
    bought = booking.switch_buys(after).select(orders().columns).row(0, named=True)
    wanted = {
        "order_id": order_id("switch", "o1"),
        "source": "switch",
        "source_ref": "o1",
        "kind": "buy",
        "asset_id": "B",
        "to_asset_id": None,
        "side": "B",
        "quantity_type": "A",
        "units": None,
        "amount": Decimal("30.01"),
        "reserved": Decimal(0),
        "state": "received",
        "line_id": None,
        "allocated_units": Decimal(0),
        "consideration": Decimal(0),
        "pot_id": "P1",
        "settlement_date": SETTLED_ON,
    }
    assert {name: bought[name] for name in wanted} == wanted


def test_proceeds_of_a_penny_are_bought_for() -> None:
    _, after = booked(SWITCH, "0.0001", "0.01")
    assert booking.switch_buys(after)["amount"].to_list() == [Decimal("0.01")]


def test_no_buy_without_proceeds() -> None:
    for order, units, money in ((SWITCH, "0", "0"), (SWITCH, "0.0001", "0"), (SELL, "10", "30.00")):
        _, after = booked(order, units, money)
        assert booking.switch_buys(after).is_empty()


def test_the_canary_book_has_one_custodian() -> None:
    books = pl.DataFrame({"book": ["live", "canary"], "c": ["CUST", "CUST"]})
    found = books.select(booking.custodian_of(pl.col("book"), pl.col("c")).alias("c"))
    assert found["c"].to_list() == ["CUST", "CANARY"]


def test_event_sequences_run_per_order() -> None:
    entries = booking.Entries()
    rows = orders({"order_id": "a"}, {"order_id": "b"}).with_columns(
        pl.lit("accepted").alias("from_state"),
        pl.lit("batched").alias("to_state"),
        pl.lit(CUT_OFF).alias("event_time"),
    )
    entries.event(rows, "deal")
    entries.event(rows.with_columns(pl.lit("placed").alias("to_state")), "deal")
    found = entries.all_events().select("order_id", "to_state", "sequence").rows()
    assert set(found) == {
        ("a", "batched", 0),
        ("b", "batched", 0),
        ("a", "placed", 1),
        ("b", "placed", 1),
    }
