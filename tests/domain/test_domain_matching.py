"""Every class of break, and the agreements that are none (`rules §9`)."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import P, T, balances, confirmations, frame, lines, prices, statements

from acme.domain import execution, matching

TWO_AGO = date(2026, 3, 9)
OURS = [
    {"account": "custodian/CUST", "asset_id": "A", "quantity": "-100"},
    {"account": "custodian/CUST", "asset_id": "A", "state": "in_flight", "quantity": "-20"},
    {"account": "custodian/BANK", "asset_id": "USD", "quantity": "-500.25"},
    {"account": "pot/P1", "asset_id": "A", "quantity": "100"},
]
BANK = {"custodian_id": "BANK", "statement_id": "S2", "asset_id": "USD", "units": "500.25"}


def found(
    *rows: dict,
    ours: list[dict] | None = None,
    open_lines: pl.DataFrame | None = None,
    events: pl.DataFrame | None = None,
) -> list[tuple]:
    """Return (custodian, asset, class, reference, difference)."""
    progressed = execution.progress(
        lines() if open_lines is None else open_lines,
        execution.standing(confirmations() if events is None else events, P),
    )
    result = matching.compare_statements(
        matching.current_statements(statements(*rows), P),
        balances(*(OURS if ours is None else ours)),
        matching.awaited(progressed, "USD"),
    )
    assert dict(result.schema) == matching.FOUND_SCHEMA
    columns = ("custodian_id", "asset_id", "class", "reference", "difference")
    return sorted(result.select(columns).rows(), key=str)


A100 = {"asset_id": "A", "units": "100"}


def test_equal_statements_have_no_break() -> None:
    assert found(A100, BANK) == []
    assert found(A100 | {"basis": "traded", "units": "120"}, BANK) == []
    both = A100 | {"basis": "traded", "units": "120", "statement_id": "S3"}
    assert found(A100, both, BANK) == []


def test_each_statement_is_compared_on_its_own_basis() -> None:
    assert found(A100 | {"basis": "traded"}, BANK) == [
        ("CUST", "A", "quantity", "statement:traded", Decimal(-20)),
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([A100 | {"units": "100.000001"}], ("A", "quantity", Decimal("0.000001"))),
        ([A100 | {"units": "99"}], ("A", "quantity", Decimal(-1))),
        ([{"asset_id": None, "units": None}], ("A", "missing_at_custodian", Decimal(-100))),
        ([A100, {"asset_id": "B", "units": "5"}], ("B", "missing_in_ledger", Decimal(5))),
        (
            [A100, {"asset_id": "USD", "units": "0.01"}],
            ("USD", "missing_in_ledger", Decimal("0.01")),
        ),
    ],
)
def test_differences(rows: list[dict], expected: tuple) -> None:
    ((custodian, asset, kind, reference, difference),) = found(*rows, BANK)
    assert (custodian, reference) == ("CUST", "statement:settled")
    assert (asset, kind, difference) == expected


def test_no_line_and_no_balance_agree() -> None:
    assert found(A100, {"asset_id": "B", "units": "0"}, BANK) == []
    assert found({"asset_id": None, "units": None}, BANK, ours=[OURS[2]]) == []


def test_cash_is_reconciled_to_the_penny() -> None:
    assert found(A100, BANK | {"units": "500.26"}) == [
        ("BANK", "USD", "quantity", "statement:settled", Decimal("0.01")),
    ]


def test_lines_of_an_asset_are_summed_and_equal_rows_dropped() -> None:
    sixty, forty = A100 | {"units": "60"}, A100 | {"units": "40"}
    assert found(sixty, forty, BANK) == []
    assert found(sixty, sixty, forty, BANK) == []  # the same row again in the same file
    # The same line on another page is another line.
    fifty = A100 | {"units": "50", "pages": 2}
    assert found(fifty | {"page": 1}, fifty | {"page": 2}, BANK) == []


@pytest.mark.parametrize(
    ("pages", "defect"),
    [
        ([(1, 1)], False),
        ([(1, 2), (2, 2)], False),
        ([(1, 2)], True),
        ([(2, 2)], True),
        ([(1, 3), (3, 3)], True),
        ([(1, 2), (2, 3)], True),
        ([(0, 1)], True),
        ([(0, 2), (2, 2)], True),
        ([(2, 1)], True),
        ([(1, 2), (3, 2)], True),
    ],
)
def test_pages_must_be_whole(pages: list[tuple[int, int]], defect: bool) -> None:
    part = Decimal(7) if defect else Decimal(100) / len(pages)
    rows = [A100 | {"units": str(part), "page": p, "pages": n} for p, n in pages]
    result = found(*rows, BANK)
    if defect:
        # No comparison: the wrong units of a defective statement are no second break.
        assert result == [("CUST", None, "statement_defect", "statement:settled", None)]
    else:
        assert result == []


def test_the_latest_landed_statement_counts() -> None:
    wrong = A100 | {"units": "1", "file_sha256": "f0", "sequence": 1, "statement_id": "S0"}
    right = A100 | {"file_sha256": "f2", "sequence": 2}
    assert found(wrong, right, BANK) == []
    assert found(wrong | {"sequence": 3}, right, BANK)[0][2] == "quantity"
    # One page of a statement sent again replaces that page.
    again = [
        A100 | {"units": u, "page": p, "pages": 2, "file_sha256": f, "sequence": s}
        for u, p, f, s in (("60", 1, "f1", 1), ("41", 2, "f1", 1), ("40", 2, "f2", 2))
    ]
    assert found(*again, BANK) == []
    # Sent again as one page, under the same id, it is another statement.
    whole = A100 | {"file_sha256": "f2", "sequence": 2}
    assert found(*again[:2], whole, BANK) == []
    assert found(*again[:2], whole | {"units": "99"}, BANK)[0][2] == "quantity"
    # Its statement then is the latest, though another one landed in between.
    between = A100 | {"units": "1", "file_sha256": "f3", "sequence": 2, "statement_id": "S0"}
    again[-1] |= {"sequence": 3}
    assert found(*again, between, BANK) == []


def test_statements_of_other_dates_do_not_count() -> None:
    late = A100 | {"units": "1", "statement_date": T, "sequence": 9}
    old = A100 | {"units": "1", "statement_date": TWO_AGO, "sequence": 9}
    assert found(A100, late, old, BANK) == []


def test_no_statement_is_stale_where_a_balance_is_believed() -> None:
    assert found(BANK) == [("CUST", None, "stale_statement", "statement", None)]
    assert found() == [
        ("BANK", None, "stale_statement", "statement", None),
        ("CUST", None, "stale_statement", "statement", None),
    ]
    assert found(ours=[]) == []
    # Either basis is a statement.
    assert found(A100 | {"basis": "traded", "units": "120"}, BANK) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [
                A100 | {"page": 3, "pages": 3},
                A100 | {"page": 1, "pages": 2},
                A100 | {"page": 1, "pages": 2, "asset_id": "B"},
            ],
            ("statement_defect", "statement S1: pages 1,3 of 2,3"),
        ),
        ([A100 | {"units": "99"}], ("quantity", "ours 100.000000, theirs 99.000000")),
        (
            [A100, {"asset_id": "B", "units": "5"}],
            ("missing_in_ledger", "ours 0.000000, theirs 5.000000"),
        ),
        (
            [{"asset_id": None, "units": None}],
            ("missing_at_custodian", "ours 100.000000, theirs 0.000000"),
        ),
        ([], ("stale_statement", "no statement of this date was delivered")),
    ],
)
def test_what_a_statement_s_break_tells(rows: list[dict], expected: tuple) -> None:
    """The same whatever the order of the rows."""
    for given in (rows, rows[::-1]):
        result = matching.compare_statements(
            matching.current_statements(statements(*given, BANK), P),
            balances(*OURS),
            matching.awaited(execution.progress(lines(), confirmations()), "USD"),
        )
        assert result.select("class", "evidence").rows() == [expected]


def test_what_is_sold_and_not_settled_is_no_balance_on_the_traded_basis() -> None:
    """100 settled and all of it sold: a custodian that still shows 3 shows what we do not have."""
    sold = [OURS[0], OURS[1] | {"quantity": "100"}, OURS[2]]
    assert found(A100 | {"basis": "traded", "units": "3"}, BANK, ours=sold) == [
        ("CUST", "A", "missing_in_ledger", "statement:traded", Decimal(3)),
    ]


def test_a_balance_in_flight_alone_is_believed_too() -> None:
    """The first trade at a custodian: nothing settled, 20 in flight, and it sends nothing."""
    assert found(BANK, ours=[OURS[1], OURS[2]]) == [
        ("CUST", None, "stale_statement", "statement", None),
    ]


def test_the_canary_s_custodian_is_reconciled_in_its_own_book() -> None:
    ours = [{"book": "canary", "account": "custodian/CANARY", "asset_id": "A", "quantity": "-1"}]
    assert found({"custodian_id": "CANARY", "asset_id": "A", "units": "1"}, ours=ours) == []
    assert (
        found({"custodian_id": "CANARY", "asset_id": "A", "units": "2"}, ours=ours)[0][2]
        == "quantity"
    )


BUY_LINE = {"net": "10", "side": "B"}
BOUGHT = {"confirmation_id": "c1", "units": "4", "price": "2", "consideration": "8.00"}


@pytest.mark.parametrize(
    ("theirs", "kind"), [("124", "timing"), ("120", None), ("123", "quantity"), ("130", "quantity")]
)
def test_what_stands_confirmed_but_is_not_booked_is_timing_on_the_traded_basis(
    theirs: str, kind: str | None
) -> None:
    bank = BANK | {"basis": "traded", "units": "492.25"}
    result = found(
        A100 | {"basis": "traded", "units": theirs},
        bank,
        open_lines=lines(BUY_LINE),
        events=confirmations(BOUGHT),
    )
    assert ("BANK", "USD", "timing", "statement:traded", Decimal("-8.00")) in result
    assert [r[2] for r in result if r[1] == "A"] == ([kind] if kind else [])


def test_a_sale_is_timing_the_other_way() -> None:
    result = found(
        A100 | {"basis": "traded", "units": "116"},
        BANK | {"basis": "traded", "units": "508.25"},
        open_lines=lines(BUY_LINE | {"side": "S"}),
        events=confirmations(BOUGHT),
    )
    assert [r[2] for r in result] == ["timing", "timing"]


def test_settled_events_of_lines_not_settled_are_timing_on_the_settled_basis() -> None:
    settled = BOUGHT | {"confirmation_id": "c2", "event": "settled"}
    for state in ("placed", "booked"):
        result = found(
            A100 | {"units": "104"},
            BANK | {"units": "492.25"},
            open_lines=lines(BUY_LINE | {"state": state}),
            events=confirmations(BOUGHT, settled),
        )
        assert [r[2] for r in result] == ["timing", "timing"]
    # What has settled is in our books: it is not awaited a second time.
    result = found(
        A100 | {"units": "104"},
        BANK,
        open_lines=lines(BUY_LINE | {"state": "settled"}),
        events=confirmations(BOUGHT, settled),
    )
    assert [r[2] for r in result] == ["quantity"]
    # An execution alone explains nothing on the settled basis.
    result = found(
        A100 | {"units": "104"}, BANK, open_lines=lines(BUY_LINE), events=confirmations(BOUGHT)
    )
    assert [r[2] for r in result] == ["quantity"]


def test_what_several_lines_of_an_asset_await_is_added_up() -> None:
    """A unit line bought 4 for 8.00, an amount line 3 for 6.00: 7 more units, 14.00 less cash."""
    other = BUY_LINE | {"line_id": "L2", "instruction_id": "I2", "quantity_type": "A"}
    bought = {"instruction_id": "I2", "confirmation_id": "c2", "units": "3", "price": "2"}
    result = found(
        A100 | {"basis": "traded", "units": "127"},
        BANK | {"basis": "traded", "units": "486.25"},
        open_lines=lines(BUY_LINE, other),
        events=confirmations(BOUGHT, bought | {"consideration": "6.00"}),
    )
    assert [r[2] for r in result] == ["timing", "timing"]


def test_a_booked_line_is_not_awaited_on_the_traded_basis() -> None:
    result = found(
        A100 | {"basis": "traded", "units": "124"},
        BANK | {"basis": "traded"},
        open_lines=lines(BUY_LINE | {"state": "booked"}),
        events=confirmations(BOUGHT),
    )
    assert [r[2] for r in result] == ["quantity"]


def instructions(
    line: dict, *events: dict, closing: str | None = "2", overdue_from: date = TWO_AGO
) -> list[tuple]:
    """Return (class, reference, ours, theirs)."""
    numbered = [{"confirmation_id": f"c{n}"} | e for n, e in enumerate(events, 1)]
    standing = execution.standing(confirmations(*numbered), P)
    book = prices((P, "A", closing)) if closing else prices()
    progressed = execution.with_completeness(execution.progress(lines(line), standing), book)
    result = matching.compare_instructions(progressed, standing, overdue_from)
    assert dict(result.schema) == matching.FOUND_SCHEMA
    assert set(result["custodian_id"]) <= {"CUST"}
    assert set(result["asset_id"]) <= {"A"}
    return sorted(result.select("class", "reference", "ours", "theirs").rows(), key=str)


FILL = {"units": "10", "price": "2", "consideration": "20.00"}


def test_a_clean_fill_has_no_break() -> None:
    assert instructions(BUY_LINE, FILL) == []
    # A line that crossed whole sent no instruction and waits for no answer.
    inside = BUY_LINE | {"side": "", "instruction_id": None, "net": "0"}
    assert instructions(inside | {"dealing_date": TWO_AGO}) == []


def test_confirmed_for_more_than_instructed() -> None:
    over = instructions(BUY_LINE, FILL, FILL | {"units": "0.0001", "consideration": "0.00"})
    assert over == [("quantity", "I1", Decimal(10), Decimal("10.0001"))]
    amount = BUY_LINE | {"quantity_type": "A", "net": "19.99"}
    assert instructions(amount, FILL) == [("quantity", "I1", Decimal("19.99"), Decimal(20))]
    # Once booked it is told as an amendment, and once only.
    more = FILL | {"units": "1", "consideration": "2.00"}
    assert instructions(BOOKED, FILL, more) == [("quantity", "I1", Decimal(10), Decimal(11))]


def test_confirmed_for_more_than_instructed_after_it_was_booked() -> None:
    amount = BOOKED | {"quantity_type": "A", "net": "20"}
    dear = FILL | {"amends": "c1", "consideration": "20.01"}
    assert instructions(amount, FILL, dear) == [("quantity", "I1", Decimal(20), Decimal("20.01"))]


@pytest.mark.parametrize(
    ("dealt", "events", "kinds"),
    [
        (P, [], []),  # next(P) = T has not closed yet
        (TWO_AGO, [], ["timing"]),
        (date(2026, 3, 6), [], ["timing"]),
        (TWO_AGO, [{"event": "rejected"}], []),
        (TWO_AGO, [{"event": "failed"}], ["settlement_failed", "timing"]),
    ],
)
def test_an_instruction_without_answer(dealt: date, events: list[dict], kinds: list[str]) -> None:
    found_ = instructions(BUY_LINE | {"dealing_date": dealt}, *events)
    assert [row[0] for row in found_] == kinds


BOOKED = BUY_LINE | {
    "state": "booked",
    "confirmed_units": "10",
    "confirmed_consideration": "20.00",
}


def test_a_failed_settlement() -> None:
    assert instructions(BOOKED, FILL, {"event": "failed"}) == [
        ("settlement_failed", "I1", None, None),
    ]
    # A failure that a settlement made good is none any more.
    assert instructions(BOOKED | {"state": "settled"}, FILL, {"event": "failed"}) == []


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ({"state": "settled", "settled_effective": TWO_AGO}, True),
        ({"state": "settled", "settled_effective": P}, False),
        ({"confirmed_units": "0", "confirmed_consideration": "0", "crossed": "1"}, True),
        # Rejected whole: there is nothing to settle.
        ({"confirmed_units": "0", "confirmed_consideration": "0"}, False),
        ({"state": "placed", "confirmed_units": "0", "confirmed_consideration": "0"}, True),
    ],
)
def test_a_settlement_that_fails_after_or_without_another(line: dict, failed: bool) -> None:
    found_ = instructions(BOOKED | line, {"event": "failed", "event_date": P})
    assert ("settlement_failed" in {row[0] for row in found_}) == failed


@pytest.mark.parametrize(
    ("amendment", "expected"),
    [
        ({}, []),
        ({"units": "9", "consideration": "18.00"}, [("quantity", "I1", Decimal(10), Decimal(9))]),
        (
            {"consideration": "20.01"},
            [
                ("consideration", "I1:booked", Decimal(20), Decimal("20.01")),
                ("consideration", "c2", None, Decimal("20.01")),
            ],
        ),
        (
            # The same money for fewer units.
            {"units": "9"},
            [
                ("consideration", "c2", None, Decimal(20)),
                ("quantity", "I1", Decimal(10), Decimal(9)),
            ],
        ),
        (
            {"event": "cancelled", "units": None, "price": None, "consideration": None},
            [("quantity", "I1", Decimal(10), Decimal(0))],
        ),
    ],
)
def test_an_amendment_of_a_booked_line_shows(amendment: dict, expected: list) -> None:
    amended = FILL | {"amends": "c1"} | amendment
    assert instructions(BOOKED, FILL, amended) == expected
    # It was answered, however long ago it was dealt.
    old = BOOKED | {"dealing_date": TWO_AGO}
    assert "timing" not in [row[0] for row in instructions(old, FILL, amended)]


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (FILL | {"price": "2.000001"}, [("price", "c1", Decimal(2), Decimal("2.000001"))]),
        (FILL | {"consideration": "20.01"}, [("consideration", "c1", None, Decimal("20.01"))]),
        (
            FILL | {"price": "2.5"},
            [
                ("consideration", "c1", None, Decimal(20)),
                ("price", "c1", Decimal(2), Decimal("2.5")),
            ],
        ),
        (
            {"units": "0.5", "price": "2.01", "consideration": "1.00"},
            [("price", "c1", Decimal(2), Decimal("2.01"))],
        ),  # 1.005 is 1.00
    ],
)
def test_price_and_arithmetic_of_a_unit_fill(fill: dict, expected: list) -> None:
    assert instructions(BUY_LINE, fill) == expected


@pytest.mark.parametrize(
    ("units", "broken"), [("3.3333", False), ("3.3334", True), ("3.333", True), ("3.3332", True)]
)
def test_an_amount_fill_buys_the_truncated_units(units: str, broken: bool) -> None:
    # 10.00 at 3 is 3.3333.
    line = BUY_LINE | {"quantity_type": "A", "net": "10"}
    fill = {"units": units, "price": "3", "consideration": "10.00"}
    assert [r[0] for r in instructions(line, fill, closing="3")] == (
        ["consideration"] if broken else []
    )


def test_an_amount_fill_is_judged_as_a_whole() -> None:
    # 10.00 at 300 buys 0.0333, which at 300 would be 9.99.
    line = BUY_LINE | {"quantity_type": "A", "net": "10"}
    fill = {"units": "0.0333", "price": "300", "consideration": "10.00"}
    assert instructions(line, fill, closing="300") == []
    # Half of it is spent: how the units are parted is the custodian's affair.
    half = {"units": "1.6", "price": "3", "consideration": "5.00"}
    assert instructions(line, half, closing="3") == []
    assert instructions(line, half, half, closing="3") == [
        ("consideration", "I1", Decimal("3.3333"), Decimal("3.2"))
    ]
    # Nobody knows what it buys without a price.
    assert instructions(line, fill, closing=None) == []


def test_only_an_amount_line_buys_what_its_money_does() -> None:
    # 20 units instructed, and 20.00 paid for them.
    fill = {"units": "20", "price": "1", "consideration": "20.00"}
    assert instructions(BUY_LINE | {"net": "20"}, fill) == [("price", "c1", Decimal(2), Decimal(1))]


def test_only_executions_have_a_price_to_be_judged() -> None:
    settled = FILL | {"event": "settled", "price": "3"}
    assert instructions(BOOKED, FILL, settled) == []


@pytest.mark.parametrize(
    ("line", "events", "closing", "expected"),
    [
        (
            BUY_LINE,
            [FILL | {"units": "10.0001"}],
            "2",
            ("quantity", None, "confirmed for more than was instructed; not booked"),
        ),
        (
            BUY_LINE | {"dealing_date": TWO_AGO},
            [],
            "2",
            ("timing", None, "instruction without any answer"),
        ),
        (
            BOOKED,
            [FILL, {"event": "failed"}],
            "2",
            ("settlement_failed", None, "the custodian reports a failed settlement"),
        ),
        (
            BUY_LINE,
            [FILL | {"price": "2.5", "consideration": "25.00"}],
            "2",
            ("price", Decimal("0.5"), "confirmed at another price than the closing price"),
        ),
        (
            BUY_LINE,
            [FILL | {"consideration": "20.01"}],
            "2",
            ("consideration", None, "units 10.000000 at 2.000000 do not make 20.01"),
        ),
        (
            BOOKED,
            [FILL | {"units": "9", "consideration": "18.00"}],
            "2",
            ("quantity", None, "amended after it was booked"),
        ),
        (
            BUY_LINE | {"quantity_type": "A"},
            [{"units": "3.3332", "price": "3", "consideration": "10.00"}],
            "3",
            (
                "consideration",
                Decimal("-0.0001"),
                "units are not what the amount buys at the closing price",
            ),
        ),
    ],
)
def test_what_an_instruction_s_break_tells(
    line: dict, events: list[dict], closing: str, expected: tuple
) -> None:
    numbered = [{"confirmation_id": f"c{n}"} | e for n, e in enumerate(events, 1)]
    told = confirmations(*numbered)
    judged = execution.with_completeness(
        execution.progress(lines(line), told), prices((P, "A", closing))
    )
    result = matching.compare_instructions(judged, told, TWO_AGO)
    assert result.select("class", "difference", "evidence").rows() == [expected]


def test_no_price_break_without_a_closing_price() -> None:
    assert instructions(BUY_LINE, FILL, closing=None) == []


def test_an_amended_fill_breaks_no_more() -> None:
    wrong = FILL | {"price": "3", "consideration": "30.00"}
    assert instructions(BUY_LINE, wrong, FILL | {"amends": "c1"}) == []


def test_events_of_instructions_nobody_sent() -> None:
    events = confirmations(
        {"confirmation_id": "c2", "instruction_id": "X"},
        {"confirmation_id": "c1", "instruction_id": "X"},
        {"confirmation_id": "c3"},
    )
    result = matching.unknown_instructions(events, lines(BUY_LINE))
    columns = ["book", "custodian_id", "asset_id", "class", "reference", "evidence"]
    assert result.select(columns).rows() == [
        ("live", "", None, "unknown", "X", "confirmation c1 names no open instruction")
    ]


def test_each_balance_that_a_correction_left_in_suspense_is_a_break() -> None:
    """`rules §7`: one of class `consideration` each, of the asset and custodian that hold it."""
    schema = dict.fromkeys(
        ("book", "pot_id", "journal_id", "custodian_id", "asset_id", "state"), pl.String
    )
    move = {"book": "live", "custodian_id": "CUST", "state": "settled"}
    moves = frame(
        schema | {"quantity": pl.Decimal(28, 6)},
        [
            move | {"pot_id": "P1", "journal_id": "J1", "asset_id": "A", "quantity": "-0.5"},
            move | {"pot_id": "P2", "journal_id": "J2", "asset_id": "B", "quantity": "3"},
        ],
    )
    result = matching.suspended_corrections(moves)
    assert dict(result.schema) == matching.FOUND_SCHEMA
    text = "a correction left {} of pot {} in suspense"
    columns = ["book", "custodian_id", "asset_id", "class", "reference", "difference", "evidence"]
    both = ("live", "CUST")
    assert result.select(columns).rows() == [
        (*both, "A", "consideration", "J1", Decimal("-0.5"), text.format("-0.500000", "P1")),
        (*both, "B", "consideration", "J2", Decimal(3), text.format("3.000000", "P2")),
    ]


@pytest.mark.parametrize(
    ("instruction", "book"),
    [
        ("B-2026-03-10-canary-CANARY-A-B-U", "canary"),
        ("B-2026-03-10-live-canary-A-B-U", "live"),
        ("B-canary-A-B-U", "live"),
    ],
)
def test_an_unknown_instruction_is_of_the_book_its_id_names(instruction: str, book: str) -> None:
    events = confirmations({"instruction_id": instruction})
    assert list(matching.unknown_instructions(events, lines(BUY_LINE))["book"]) == [book]


def test_row_order_has_no_effect_on_the_current_statement() -> None:
    rows = statements(
        A100, A100 | {"asset_id": "B"}, BANK, A100 | {"sequence": 2, "file_sha256": "f9"}
    )
    forward = matching.current_statements(rows, P)
    backward = matching.current_statements(rows[::-1], P)
    keys = ["custodian_id", "asset_id", "units", "sequence"]
    assert forward.select(keys).sort(keys).equals(backward.select(keys).sort(keys))
