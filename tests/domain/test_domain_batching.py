"""Lines, netting, instruction ids and the bytes that leave (`rules §6`)."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import CASH, T, frame, orders

from acme.domain import batching

TERMS = pl.DataFrame(
    {
        "asset_id": ["A", "B", "C"],
        "custodian_id": ["CUST", "CUST", "OTHER"],
        "unit_decimals": [4, 0, 6],
        "settlement_date": [date(2026, 3, 12), date(2026, 3, 13), date(2026, 3, 11)],
    }
)


def netted(*rows: dict) -> dict[str, dict]:
    numbered = [
        {"order_id": f"o{n}", "state": "accepted", "dealing_date": T} | r
        for n, r in enumerate(rows)
    ]
    lines = batching.net(batching.with_lines(orders(*numbered), TERMS, T))
    assert lines["line_id"].is_sorted()
    return {row["line_id"]: row for row in lines.iter_rows(named=True)}


def buy(units: str, **more: str) -> dict:
    return {"kind": "buy", "side": "B", "quantity_type": "U", "units": units} | more


def sell(units: str, **more: str) -> dict:
    return {"kind": "sell", "side": "S", "quantity_type": "U", "units": units} | more


def amount(pounds: str, **more: str) -> dict:
    return {"kind": "buy", "side": "B", "quantity_type": "A", "amount": pounds} | more


def test_ids() -> None:
    assert batching.batch_id(T, "canary") == "B-2026-03-11-canary"
    lines = netted(buy("1"), amount("5"), sell("2", book="canary"))
    assert {i: r["instruction_id"] for i, r in lines.items()} == {
        "B-2026-03-11-live-CUST-A-U": "B-2026-03-11-live-CUST-A-B-U",
        "B-2026-03-11-live-CUST-A-A": "B-2026-03-11-live-CUST-A-B-A",
        "B-2026-03-11-canary-CANARY-A-U": "B-2026-03-11-canary-CANARY-A-S-U",
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([buy("7"), buy("5"), sell("9")], ("12", "9", "9", "3", "B")),
        ([buy("7"), sell("5"), sell("9.5")], ("7", "14.5", "7", "7.5", "S")),
        ([buy("7"), sell("5"), sell("2")], ("7", "7", "7", "0", "")),
        ([buy("0.0001")], ("0.0001", "0", "0", "0.0001", "B")),
        # The smallest net there is, of an asset dealt to six decimals.
        (
            [buy("5.000001", asset_id="C"), sell("5", asset_id="C")],
            ("5.000001", "5", "5", "0.000001", "B"),
        ),
        (
            [buy("5", asset_id="C"), sell("5.000001", asset_id="C")],
            ("5", "5.000001", "5", "0.000001", "S"),
        ),
        ([sell("0.0001", kind="switch")], ("0", "0.0001", "0", "0.0001", "S")),
    ],
)
def test_netting(rows: list[dict], expected: tuple) -> None:
    (line,) = netted(*rows).values()
    found = tuple(
        f"{line[n].normalize():f}" for n in ("gross_buys", "gross_sells", "crossed", "net")
    )
    assert (*found, line["side"]) == expected
    assert line["order_count"] == len(rows)
    assert (line["instruction_id"] is None) == (line["side"] == "")


def test_amounts_and_units_make_separate_lines() -> None:
    lines = netted(buy("10"), amount("12.34"), amount("0.01"))
    assert lines["B-2026-03-11-live-CUST-A-A"]["net"] == Decimal("12.35")
    assert lines["B-2026-03-11-live-CUST-A-U"]["net"] == Decimal(10)


def test_lines_carry_the_asset_s_terms() -> None:
    lines = netted(buy("1", asset_id="B"), buy("1", asset_id="C"))
    assert lines["B-2026-03-11-live-CUST-B-U"]["settlement_date"] == date(2026, 3, 13)
    assert lines["B-2026-03-11-live-CUST-B-U"]["unit_decimals"] == 0
    assert lines["B-2026-03-11-live-OTHER-C-U"]["settlement_date"] == T


def test_books_do_not_net_against_each_other() -> None:
    lines = netted(buy("10"), sell("10", book="canary"))
    assert {r["side"] for r in lines.values()} == {"B", "S"}


def test_members_keep_their_line() -> None:
    given = orders({"order_id": "a"} | buy("1"), {"order_id": "b", "book": "canary"} | buy("1"))
    members = batching.with_lines(given, TERMS, T)
    assert members.select("order_id", "line_id", "batch_id", "custodian_id").rows() == [
        ("a", "B-2026-03-11-live-CUST-A-U", "B-2026-03-11-live", "CUST"),
        ("b", "B-2026-03-11-canary-CANARY-A-U", "B-2026-03-11-canary", "CANARY"),
    ]


def test_an_order_of_an_asset_without_terms_is_not_lost() -> None:
    """It has no line, and that shows; were it gone, nobody would miss it."""
    given = orders({"order_id": "a"} | buy("1"), {"order_id": "b", "asset_id": "Z"} | buy("1"))
    members = batching.with_lines(given, TERMS, T)
    assert dict(members.select("order_id", "line_id").rows()) == {
        "a": "B-2026-03-11-live-CUST-A-U",
        "b": None,
    }


def instructed(*rows: dict) -> pl.DataFrame:
    numbered = [{"order_id": f"o{n}"} | r for n, r in enumerate(rows)]
    lines = batching.net(batching.with_lines(orders(*numbered), TERMS, T))
    return batching.instructions(lines, T, "USD")


def test_only_the_net_goes_out() -> None:
    found = instructed(buy("7"), sell("5"), buy("3", asset_id="B"), sell("3", asset_id="B"))
    assert found.select("instruction_id", "side", "units", "amount").rows() == [
        ("B-2026-03-11-live-CUST-A-B-U", "B", Decimal(2), None),
    ]


def test_instructions_come_in_the_order_of_their_ids() -> None:
    # By line an amount comes before units; by instruction the buy comes before the sale.
    given = orders({"order_id": "a"} | sell("1"), {"order_id": "b"} | amount("5"))
    lines = batching.net(batching.with_lines(given, TERMS, T))
    expected = ["B-2026-03-11-live-CUST-A-B-A", "B-2026-03-11-live-CUST-A-S-U"]
    for either in (lines, lines.reverse()):
        found = batching.instructions(either, T, "USD")
        assert found["instruction_id"].to_list() == expected


def test_the_bytes_of_an_instruction_file() -> None:
    found = instructed(
        sell("1234567.8901"),
        buy("3", asset_id="B"),
        sell("0.000001", asset_id="C"),
        amount("1000000.1"),
    )
    assert batching.instruction_file(found[::-1]) == (
        b"instruction_id,batch_id,dealing_date,custodian_id,asset_id,side,quantity_type,units,amount,currency\n"
        b"B-2026-03-11-live-CUST-A-B-A,B-2026-03-11-live,2026-03-11,CUST,A,B,A,,1000000.10,USD\n"
        b"B-2026-03-11-live-CUST-A-S-U,B-2026-03-11-live,2026-03-11,CUST,A,S,U,1234567.8901,,USD\n"
        b"B-2026-03-11-live-CUST-B-B-U,B-2026-03-11-live,2026-03-11,CUST,B,B,U,3,,USD\n"
        b"B-2026-03-11-live-OTHER-C-S-U,B-2026-03-11-live,2026-03-11,OTHER,C,S,U,0.000001,,USD\n"
    )


def test_an_empty_instruction_file_has_its_header() -> None:
    content = batching.instruction_file(instructed(buy("1"), sell("1")))
    assert content == (
        b"instruction_id,batch_id,dealing_date,custodian_id,asset_id,side,quantity_type,units,amount,currency\n"
    )


def test_units_finer_than_the_asset_s_decimals_never_leave_rounded() -> None:
    """After an asset's decimals become fewer, "all available" may be finer than the file can say.

    What the file says and what the books say must be one number: an error, never 1.2346.
    """
    found = instructed(sell("1.234567"))
    with pytest.raises((ValueError, ArithmeticError)):
        batching.instruction_file(found)


def test_a_comma_in_an_identifier_does_not_move_the_columns() -> None:
    """The contract of assets allows a comma in `asset_id` and `custodian_id`."""
    terms = TERMS.with_columns(pl.lit("Bank, The").alias("custodian_id"))
    lines = batching.net(batching.with_lines(orders({"order_id": "a"} | buy("1")), terms, T))
    content = batching.instruction_file(batching.instructions(lines, T, "USD"))
    read = pl.read_csv(content, infer_schema=False)
    assert read["custodian_id"].to_list() == ["Bank, The"]
    assert read["units"].to_list() == ["1.0000"]


def test_the_bytes_of_a_cash_file() -> None:
    schema = {
        "movement_id": pl.String,
        "value_date": pl.Date,
        "direction": pl.String,
        "amount": CASH,
        "currency": pl.String,
    }
    rows = frame(
        schema,
        [
            {
                "movement_id": "b",
                "value_date": T,
                "direction": "OUT",
                "amount": "10",
                "currency": "USD",
            },
            {
                "movement_id": "a",
                "value_date": T,
                "direction": "IN",
                "amount": "0.01",
                "currency": "USD",
            },
        ],
    )
    assert batching.cash_file(rows) == (
        b"movement_id,value_date,direction,amount,currency\n"
        b"a,2026-03-11,IN,0.01,USD\n"
        b"b,2026-03-11,OUT,10.00,USD\n"
    )
    assert batching.cash_file(rows.clear()) == b"movement_id,value_date,direction,amount,currency\n"
