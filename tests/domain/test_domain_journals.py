"""Journals of other processes: which are booked, why others are not, and what a file states."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from domain_frames import CUT_OFF, KNOWN_AT, P, T, balances, frame, orders
from journal_frames import (
    COMMITTED,
    EVERY_KIND,
    NOON,
    REQUEST,
    SHA,
    TERMS,
    charge,
    journal,
    landed,
    lines,
    outcomes,
    reversal,
    sources,
    terms,
)

from acme.domain import journals
from acme.domain.orders import order_id
from acme.domain.quantities import QuantityOverflowError

CHARGES = "suspense/charges"


def judged(*parts: list[dict], **changed: object) -> dict[str, str]:
    return outcomes(journals.judge(lines(*parts), terms(**changed)))


def flows(*parts: list[dict], **changed: object) -> list[tuple[object, ...]]:
    found = journals.judge(lines(*parts), terms(**changed)).flows
    return found.select("account", "asset_id", "quantity").rows()


# ---- what is booked -----------------------------------------------------------------------------


def test_a_charge_moves_units_to_suspense() -> None:
    found = journals.judge(lines(charge("1", "A", "EQ", "1.5", said="AMC")), TERMS)
    (row,) = found.requests.to_dicts()
    request = order_id("fees", "1")
    assert row == {
        "request_id": request,
        "source": "fees",
        "journal_ref": "1",
        "book": "live",
        "kind": "charge",
        "event_time": NOON,
        "description": "AMC",
        "lines": 2,
        "file_sha256": SHA,
        "reason": None,
        "reverses": None,
        "state": "booked",
        "journal_id": f"charge:{request}",
        "reverses_journal": None,
    }
    assert found.flows.select("account", "asset_id", "quantity", "journal_id").rows() == [
        ("pot/A", "EQ", -1_500_000, f"charge:{request}"),
        (CHARGES, "EQ", 1_500_000, f"charge:{request}"),
    ]


def test_lines_on_one_account_are_one_flow() -> None:
    twice = journal(
        "1", "charge", ("pot/A", "EQ", "-1"), ("pot/A", "EQ", "-2"), (CHARGES, "EQ", "3")
    )
    assert flows(twice) == [("pot/A", "EQ", -3_000_000), (CHARGES, "EQ", 3_000_000)]
    assert journals.judge(lines(twice), TERMS).requests["lines"].to_list() == [3]


@pytest.mark.parametrize(
    ("kind", "moves"),
    [
        ("charge", [("pot/A", "USD", "-5"), (CHARGES, "USD", "5")]),
        ("charge", [("pot/B", "BD", "-7"), (CHARGES, "BD", "7")]),
        ("charge_paid", [(CHARGES, "USD", "-3"), ("custodian/NORTH", "USD", "3")]),
        (
            "distribution",
            [
                ("custodian/NORTH", "USD", "-9"),
                ("pot/A", "USD", "4"),
                ("pot/B", "USD", "4.99"),
                ("suspense/distributions", "USD", "0.01"),
            ],
        ),
        ("distribution", [("custodian/SOUTH", "BD", "-2"), ("pot/A", "BD", "2")]),
        (
            "corporate_action",
            [
                ("pot/A", "EQ", "-10"),
                ("custodian/NORTH", "EQ", "10"),
                ("custodian/SOUTH", "BD", "-5"),
                ("pot/A", "BD", "5"),
            ],
        ),
        ("adjustment", [("pot/A", "EQ", "-1"), ("pot/B", "EQ", "1")]),
        ("adjustment", [("custodian/NORTH", "USD", "-1"), ("suspense/adjustments", "USD", "1")]),
        ("adjustment", [("custodian/NORTH", "EQ", "1"), ("pot/A", "EQ", "-1")]),
    ],
)
def test_every_kind_moves_between_accounts_of_its_own(kind: str, moves: list) -> None:
    assert judged(journal("1", kind, *moves)) == {"1": "booked"}


def test_a_canary_journal_stays_with_the_canary() -> None:
    paid_in = [("custodian/CANARY", "EQ", "-1"), ("pot/X", "EQ", "1")]
    assert judged(journal("1", "distribution", *paid_in, book="canary")) == {"1": "booked"}
    elsewhere = [("custodian/NORTH", "EQ", "-1"), ("pot/X", "EQ", "1")]
    refused = judged(journal("1", "distribution", *elsewhere, book="canary"))
    assert refused == {"1": "wrong_custodian"}


# ---- why others are not -------------------------------------------------------------------------

UNBALANCED = [("pot/A", "EQ", "-1"), (CHARGES, "EQ", "0.9")]


@pytest.mark.parametrize(
    ("reason", "rows"),
    [
        ("source_not_registered", charge("1", "A", "EQ", "1", source="nobody")),
        ("source_not_registered", journal("1", "gift", ("pot/A", "EQ", "1"))),
        ("event_in_the_future", charge("1", "A", "EQ", "1", at=KNOWN_AT + timedelta(seconds=1))),
        (
            "account_not_allowed",
            journal("1", "charge", ("pot/A", "EQ", "1"), (CHARGES, "EQ", "-1")),
        ),
        (
            "account_not_allowed",
            journal("1", "charge", ("pot/A", "EQ", "-1"), ("suspense/correction", "EQ", "1")),
        ),
        (
            "account_not_allowed",
            journal("1", "charge", ("pot/A", "EQ", "-1"), ("custodian/NORTH", "EQ", "1")),
        ),
        (
            "account_not_allowed",
            journal("1", "distribution", ("custodian/NORTH", "EQ", "1"), ("pot/A", "EQ", "-1")),
        ),
        (
            "account_not_allowed",
            journal("1", "charge_paid", (CHARGES, "USD", "1"), ("custodian/NORTH", "USD", "-1")),
        ),
        ("unknown_pot", charge("1", "Z", "EQ", "1")),
        ("unknown_pot", charge("1", "N", "EQ", "1")),
        ("wrong_book", charge("1", "X", "EQ", "1")),
        ("wrong_book", charge("1", "A", "EQ", "1", book="canary")),
        ("closed_pot", charge("1", "C", "EQ", "1")),
        ("unknown_asset", charge("1", "A", "ZZ", "1")),
        (
            "wrong_custodian",
            journal("1", "distribution", ("custodian/SOUTH", "EQ", "-1"), ("pot/A", "EQ", "1")),
        ),
        ("too_many_decimals", charge("1", "A", "EQ", "0.00001")),
        ("too_many_decimals", charge("1", "B", "BD", "0.5")),
        ("too_many_decimals", charge("1", "A", "USD", "0.001")),
        ("nothing_to_post", journal("1", "charge", ("pot/A", "EQ", "0"))),
        (
            "nothing_to_post",
            journal("1", "adjustment", ("pot/A", "EQ", "1"), ("pot/A", "EQ", "-1")),
        ),
        ("unbalanced", journal("1", "charge", *UNBALANCED)),
        (
            "unbalanced",
            journal("1", "charge", ("pot/A", "EQ", "-1"), (CHARGES, "USD", "1")),
        ),
        ("insufficient_units", charge("1", "A", "EQ", "10.0001")),
        ("insufficient_units", charge("1", "A", "BD", "1")),
        ("insufficient_cash", charge("1", "A", "USD", "50.01")),
        (
            "insufficient_cash",
            journal(
                "1", "charge_paid", (CHARGES, "USD", "-3.01"), ("custodian/NORTH", "USD", "3.01")
            ),
        ),
        (
            "insufficient_units",
            journal(
                "1",
                "charge",
                *[("pot/A", "USD", "-50.01"), (CHARGES, "USD", "50.01")],
                *[("pot/A", "BD", "-1"), (CHARGES, "BD", "1")],
            ),
        ),
    ],
)
def test_a_journal_is_rejected_for_the_first_reason(reason: str, rows: list[dict]) -> None:
    assert judged(rows) == {"1": reason}
    assert flows(rows) == []


def test_each_reason_goes_before_the_later_ones() -> None:
    """One journal with everything wrong; what comes first is put right, one thing after another."""
    late = KNOWN_AT + timedelta(hours=1)
    wrong = journal(
        "1",
        "charge",
        ("pot/Z", "EQ", "-1"),
        ("pot/X", "ZZ", "-1"),
        ("pot/C", "BD", "-0.5"),
        ("custodian/SOUTH", "EQ", "3"),
        source="nobody",
        at=late,
    )
    told = []

    def now() -> None:
        told.append(judged(wrong)["1"])

    def mend(**changed: object) -> None:
        for row in wrong:
            row.update(changed)
        now()

    now()
    mend(source="fees")
    mend(event_time=NOON)
    mend(kind="adjustment")
    wrong[0]["account"] = "pot/A"
    now()
    wrong[1]["account"] = "pot/A"
    now()
    wrong[2]["account"] = "pot/B"
    now()
    wrong[1]["asset_id"] = "EQ"
    now()
    wrong[3]["account"] = "custodian/NORTH"
    now()
    wrong[2]["quantity"] = Decimal(-8)
    now()
    wrong[3] |= {"account": "custodian/SOUTH", "asset_id": "BD", "quantity": Decimal(8)}
    wrong[1]["account"], wrong[1]["quantity"] = "pot/B", Decimal(1)
    now()
    wrong[2]["quantity"], wrong[3]["quantity"] = Decimal(-7), Decimal(7)
    now()
    assert told == [
        "source_not_registered",
        "event_in_the_future",
        "account_not_allowed",
        "unknown_pot",
        "wrong_book",
        "closed_pot",
        "unknown_asset",
        "wrong_custodian",
        "too_many_decimals",
        "unbalanced",
        "insufficient_units",
        "booked",
    ]


def test_a_rejected_journal_says_so() -> None:
    (row,) = journals.judge(lines(charge("1", "A", "EQ", "11")), TERMS).requests.to_dicts()
    assert (row["state"], row["reason"]) == ("rejected", "insufficient_units")
    assert row["journal_id"] is None


def test_one_that_is_rejected_leaves_the_others_alone() -> None:
    bad, good = charge("1", "A", "EQ", "11"), charge("2", "A", "EQ", "10")
    assert judged(bad, good) == {"1": "insufficient_units", "2": "booked"}


# ---- who may ask --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "may"),
    [
        ([{"valid_from": T}], True),
        ([{"valid_from": T + timedelta(1)}], False),
        ([{"valid_from": P, "valid_to": T}], True),
        ([{"valid_from": P, "valid_to": P}], False),
        ([{"valid_from": P, "valid_to": P}, {"valid_from": T}], True),
        ([{"valid_from": P}, {"valid_from": T, "valid_to": P}], False),
        ([{"valid_from": P, "valid_to": P}, {"valid_from": T + timedelta(1)}], False),
    ],
)
def test_the_newest_version_says_who_may_ask(versions: list[dict], may: bool) -> None:
    known = sources(*[{"source": "fees", "kind": "charge"} | version for version in versions])
    outcome = "booked" if may else "source_not_registered"
    assert judged(charge("1", "A", "EQ", "1"), sources=known) == {"1": outcome}
    assert judged(charge("1", "A", "EQ", "1"), sources=known.reverse()) == {"1": outcome}


def test_a_source_may_ask_for_its_kinds_alone() -> None:
    known = sources({"source": "fees", "kind": "charge"}, {"source": "other", "kind": "adjustment"})
    moved = journal("2", "adjustment", ("pot/A", "EQ", "-1"), ("pot/B", "EQ", "1"))
    assert judged(charge("1", "A", "EQ", "1"), moved, sources=known) == {
        "1": "booked",
        "2": "source_not_registered",
    }


# ---- cash that is spoken for --------------------------------------------------------------------

PRICED = frame(
    {"asset_id": pl.String, "stress": pl.Decimal(9, 8), "last_price": pl.Decimal(18, 6)},
    [
        {"asset_id": "A", "stress": "0.1", "last_price": "2"},
        {"asset_id": "U", "stress": "0.1", "last_price": None},
    ],
)


def committed(**fields: object) -> list[int]:
    rows = orders({"side": "B", "quantity_type": "U", "units": "5"} | fields)
    return journals.committed_cash(rows, PRICED)["committed"].to_list()


def test_unreserved_buys_speak_for_cash() -> None:
    # money(5 · 2 · 1.1) + 0.01 = 11.01.
    assert committed(state="placed") == [11_010_000]
    assert committed(state="unknown") == [11_010_000]
    assert committed(asset_id="U") == [10_000]
    assert committed(state="executed", consideration="9.87") == [9_870_000]
    assert committed(state="part_executed", consideration="9.87") == [9_870_000]
    amount = {"quantity_type": "A", "units": None, "amount": "7.50"}
    assert committed(state="received", **amount) == [7_500_000]
    assert committed(state="executed", consideration="7.49", **amount) == [7_490_000]
    assert committed(reserved="7.50", **amount) == []
    assert committed(side="S") == []
    # 5,000,000 units that were never priced cost a penny; what is booked needs no price.
    assert committed(asset_id="U", units="5000000") == [10_000]
    assert committed(asset_id="none", state="executed", consideration="9.87") == [9_870_000]


@pytest.mark.parametrize(("price", "fits"), [("840000000000", True), ("860000000000", False)])
def test_a_cost_beyond_128_bits_is_refused(price: str, *, fits: bool) -> None:
    """1,000,000 units at a stress of 1: 10^12 · 0.86 · 10^18 · 2 · 10^8 is above 2^127."""
    dear = PRICED.with_columns(
        pl.lit(Decimal(price)).cast(pl.Decimal(18, 6)).alias("last_price"),
        pl.lit(Decimal(1)).cast(pl.Decimal(9, 8)).alias("stress"),
    )
    rows = orders({"side": "B", "quantity_type": "U", "units": "1000000"})
    if fits:
        found = journals.committed_cash(rows, dear)["committed"]
        assert found.to_list() == [1_680_000_000_000_000_000_010_000]
        return
    with pytest.raises(QuantityOverflowError, match="stressed cost"):
        journals.committed_cash(rows, dear)


def test_buys_of_a_pot_add_up() -> None:
    rows = orders(
        {"side": "B", "state": "executed", "consideration": "1.25"},
        {"side": "B", "state": "executed", "consideration": "2.00"},
        {"side": "B", "state": "executed", "consideration": "4.00", "pot_id": "P2"},
        {"side": "B", "state": "executed", "consideration": "8.00", "book": "canary"},
        {"side": None, "kind": "withdrawal", "amount": "99"},
    )
    found = journals.committed_cash(rows, PRICED)
    assert set(found.rows()) == {
        ("live", "pot/P1", 3_250_000),
        ("live", "pot/P2", 4_000_000),
        ("canary", "pot/P1", 8_000_000),
    }


def test_cash_that_is_spoken_for_is_not_charged() -> None:
    spoken = frame(COMMITTED, [{"book": "live", "account": "pot/A", "committed": 20_000_000}])
    assert judged(charge("1", "A", "USD", "30"), committed=spoken) == {"1": "booked"}
    assert judged(charge("1", "A", "USD", "30.01"), committed=spoken) == {"1": "insufficient_cash"}
    # It is no matter of units.
    assert judged(charge("1", "A", "EQ", "10"), committed=spoken) == {"1": "booked"}


def test_what_is_owed_before_is_paid_before() -> None:
    """50 of settled cash with 60 spoken for: of 15 that come in, 5 may be charged."""
    spoken = frame(COMMITTED, [{"book": "live", "account": "pot/A", "committed": 60_000_000}])
    paid = journal("0", "distribution", ("custodian/NORTH", "USD", "-15"), ("pot/A", "USD", "15"))
    assert judged(paid, charge("1", "A", "USD", "5.01"), committed=spoken) == {
        "0": "booked",
        "1": "insufficient_cash",
    }
    assert judged(paid, charge("1", "A", "USD", "5"), committed=spoken)["1"] == "booked"


# ---- one after the other ------------------------------------------------------------------------


def test_journals_are_taken_by_time_source_and_reference() -> None:
    first = charge("z", "A", "EQ", "6", at=NOON - timedelta(minutes=1))
    later = charge("a", "A", "EQ", "6", at=NOON)
    assert judged(later, first) == {"z": "booked", "a": "insufficient_units"}
    level = charge("b", "A", "EQ", "6", at=NOON)
    assert judged(level, later) == {"a": "booked", "b": "insufficient_units"}
    both = sources(*[{"source": s, "kind": "charge"} for s in ("fees", "early")])
    other = charge("b", "A", "EQ", "6", at=NOON, source="early")
    assert judged(later, other, sources=both) == {"b": "booked", "a": "insufficient_units"}


def test_what_comes_in_before_covers_what_goes_out_after() -> None:
    paid = [("custodian/NORTH", "EQ", "-5"), ("pot/A", "EQ", "5")]
    out = charge("out", "A", "EQ", "12", at=NOON)
    before = journal("in", "distribution", *paid, at=NOON - timedelta(minutes=1))
    after = journal("in", "distribution", *paid, at=NOON + timedelta(minutes=1))
    assert judged(out, before) == {"in": "booked", "out": "booked"}
    assert judged(out, after) == {"in": "booked", "out": "insufficient_units"}


def test_what_comes_in_later_covers_nothing_not_even_the_last_of_six_decimals() -> None:
    held = balances({"account": "pot/A", "asset_id": "FX", "quantity": "9.999999"})
    out = charge("out", "A", "FX", "10", at=NOON)
    moves = [("custodian/SOUTH", "FX", "-1"), ("pot/A", "FX", "1")]
    after = journal("in", "distribution", *moves, at=NOON + timedelta(minutes=1))
    assert judged(out, after, balances=held) == {"out": "insufficient_units", "in": "booked"}


def test_one_that_is_refused_leaves_its_cover_to_the_next() -> None:
    too_much = charge("1", "A", "EQ", "11", at=NOON)
    rest = charge("2", "A", "EQ", "10", at=NOON + timedelta(minutes=1))
    assert judged(too_much, rest) == {"1": "insufficient_units", "2": "booked"}


def test_reserved_units_are_not_charged() -> None:
    # 10 are settled, 99 reserved.
    assert judged(charge("1", "A", "EQ", "10.0001"))["1"] == "insufficient_units"
    reserved = balances(
        {"account": "pot/A", "asset_id": "USD", "state": "reserved", "quantity": "9"}
    )
    assert judged(charge("1", "A", "USD", "1"), balances=reserved) == {"1": "insufficient_cash"}


def test_books_share_no_cover() -> None:
    """The suspense account has the same name in both books, and 3.00 in one."""
    paid = [(CHARGES, "USD", "-3"), ("custodian/CANARY", "USD", "3")]
    canary = journal("c", "charge_paid", *paid, book="canary")
    live = journal("l", "charge_paid", (CHARGES, "USD", "-3"), ("custodian/NORTH", "USD", "3"))
    assert judged(canary, live) == {"c": "insufficient_cash", "l": "booked"}
    both = pl.concat(
        [
            TERMS.balances,
            balances({"book": "canary", "account": CHARGES, "asset_id": "USD", "quantity": "3"}),
        ]
    )
    assert judged(canary, live, balances=both) == {"c": "booked", "l": "booked"}


def test_the_cash_of_a_pot_covers_no_units() -> None:
    only_cash = balances({"account": "pot/A", "asset_id": "USD", "quantity": "50"})
    assert judged(charge("1", "A", "EQ", "1"), balances=only_cash) == {"1": "insufficient_units"}


def test_an_overdrawn_pot_may_be_given_to() -> None:
    """-5 of cash: 3 come in, and units go out; no cash does."""
    overdrawn = balances(
        {"account": "pot/A", "asset_id": "USD", "quantity": "-5"},
        {"account": "pot/A", "asset_id": "EQ", "quantity": "2"},
    )
    paid = journal("in", "distribution", ("custodian/NORTH", "USD", "-3"), ("pot/A", "USD", "3"))
    asked = [paid, charge("eq", "A", "EQ", "2"), charge("usd", "A", "USD", "0.01")]
    assert judged(*asked, balances=overdrawn) == {
        "in": "booked",
        "eq": "booked",
        "usd": "insufficient_cash",
    }


# ---- reversals ----------------------------------------------------------------------------------

OLD = charge("old", "A", "EQ", "4")
OLD_ID = order_id("fees", "old")


def booked_before(*rows: dict, old: list[dict] = OLD) -> dict[str, pl.DataFrame]:
    told = {"run_date": P, "request_id": OLD_ID, "kind": old[0]["kind"], "book": "live"}
    filled = [told | {"state": "booked"} | row for row in rows or ({},)]
    return {
        "earlier": frame(REQUEST, filled),
        "earlier_lines": lines(old).with_columns(pl.lit(P).alias("run_date")),
        "balances": balances({"account": CHARGES, "asset_id": "EQ", "quantity": "4"}),
    }


def test_a_reversal_takes_a_journal_back_whole() -> None:
    found = journals.judge(lines(reversal("r", "old")), terms(**booked_before()))
    (row,) = found.requests.to_dicts()
    assert (row["state"], row["kind"], row["lines"]) == ("booked", "reversal", 1)
    assert row["reverses"] == OLD_ID
    assert row["journal_id"] == f"reversal:{order_id('fees', 'r')}"
    assert row["reverses_journal"] == f"charge:{OLD_ID}"
    assert found.flows.select("account", "asset_id", "quantity").rows() == [
        ("pot/A", "EQ", 4_000_000),
        (CHARGES, "EQ", -4_000_000),
    ]


@pytest.mark.parametrize(
    ("reason", "earlier", "rows"),
    [
        ("unknown_journal", [{"state": "rejected"}], reversal("r", "old")),
        ("unknown_journal", [{}], reversal("r", "other")),
        ("unknown_journal", [{}], reversal("r", "old", on=P - timedelta(1))),
        ("unknown_journal", [{}], reversal("r", "old", on=T)),
        ("unknown_journal", [{}], reversal("r", "old", on=T + timedelta(1))),
        ("not_reversible", [{"kind": "reversal"}], reversal("r", "old")),
        (
            "already_reversed",
            [{}, {"run_date": T, "request_id": "e" * 32, "kind": "reversal"}],
            reversal("r", "old"),
        ),
        ("wrong_book", [{}], reversal("r", "old", book="canary")),
        ("source_not_registered", [{}], reversal("r", "old", source="nobody")),
        ("event_in_the_future", [{}], reversal("r", "old", at=KNOWN_AT + timedelta(1))),
    ],
)
def test_a_reversal_that_takes_nothing_back(
    reason: str, earlier: list[dict], rows: list[dict]
) -> None:
    told = [
        row | ({"reverses": OLD_ID} if row.get("request_id", OLD_ID) != OLD_ID else {})
        for row in earlier
    ]
    assert judged(rows, **booked_before(*told)) == {"r": reason}


def test_a_reversal_that_was_rejected_does_not_count() -> None:
    failed = {"request_id": "e" * 32, "kind": "reversal", "state": "rejected", "reverses": OLD_ID}
    assert judged(reversal("r", "old"), **booked_before({}, failed)) == {"r": "booked"}


def test_another_source_cannot_take_it_back() -> None:
    known = pl.concat([EVERY_KIND, sources({"source": "other", "kind": "reversal"})])
    rows = reversal("r", "old", source="other")
    assert judged(rows, sources=known, **booked_before()) == {"r": "unknown_journal"}


def test_a_reversal_of_two_lines_is_one() -> None:
    (row,) = reversal("r", "old")
    found = journals.judge(lines([row, row | {"line": 2}]), terms(**booked_before()))
    assert outcomes(found) == {"r": "booked"}
    assert found.requests["lines"].to_list() == [2]
    assert found.flows["quantity"].to_list() == [4_000_000, -4_000_000]


def test_the_second_of_two_reversals_comes_too_late() -> None:
    one, two = reversal("r1", "old"), reversal("r2", "old")
    assert judged(two, one, **booked_before()) == {"r1": "booked", "r2": "already_reversed"}


def test_a_reversal_needs_cover() -> None:
    spent = booked_before() | {"balances": balances()}
    assert judged(reversal("r", "old"), **spent) == {"r": "insufficient_units"}


def test_a_reversal_gives_nothing_to_a_closed_pot() -> None:
    old = charge("old", "C", "EQ", "4")
    assert judged(reversal("r", "old"), **booked_before(old=old)) == {"r": "closed_pot"}


def test_journal_and_reversal_of_one_run() -> None:
    new = charge("new", "A", "EQ", "4", at=NOON)
    back = reversal("r", "new", on=T, at=NOON + timedelta(minutes=1))
    assert judged(new, back) == {"new": "booked", "r": "booked"}
    early = reversal("r", "new", on=T, at=NOON - timedelta(minutes=1))
    assert judged(new, early) == {"new": "booked", "r": "unknown_journal"}
    again = reversal("s", "new", on=T, at=NOON + timedelta(minutes=2))
    assert judged(new, back, again)["s"] == "already_reversed"
    of_back = reversal("s", "r", on=T, at=NOON + timedelta(minutes=2))
    assert judged(new, back, of_back)["s"] == "not_reversible"


@pytest.mark.parametrize("quantity", ["11", "0.00001"])
def test_what_is_rejected_is_not_taken_back(quantity: str) -> None:
    new = charge("new", "A", "EQ", quantity, at=NOON)
    back = reversal("r", "new", on=T, at=NOON + timedelta(minutes=1))
    assert judged(new, back)["r"] == "unknown_journal"


def test_a_reversal_gives_its_cover_to_the_next() -> None:
    all_of_it = charge("new", "A", "EQ", "10", at=NOON)
    back = reversal("r", "new", on=T, at=NOON + timedelta(minutes=1))
    next_ = charge("next", "A", "EQ", "9", at=NOON + timedelta(minutes=2))
    assert set(judged(all_of_it, back, next_).values()) == {"booked"}


def test_originals_are_named_by_source_and_reference() -> None:
    found = journals.originals_of(lines(reversal("r", "old"), OLD))
    assert found.rows() == [(order_id("fees", "r"), OLD_ID, P)]


# ---- what a file states -------------------------------------------------------------------------


def gathered(*parts: list[dict], seed: int | None = None) -> pl.DataFrame:
    return journals.gathered(landed(*parts, seed=seed)).sort("journal_ref", "lines")


def test_a_journal_of_a_file_is_one_row() -> None:
    found = gathered(charge("1", "A", "EQ", "1.5"), charge("2", "B", "BD", "1"))
    assert found["journal_ref"].to_list() == ["1", "2"]
    assert found["row"].to_list() == [2, 4]
    assert found["lines"][0] == (
        '{"line":"1","account":"pot/A","asset_id":"EQ","quantity":"-1.500000"},'
        '{"line":"2","account":"suspense/charges","asset_id":"EQ","quantity":"1.500000"}'
    )


def test_the_order_of_its_rows_does_not_matter() -> None:
    rows = [charge("1", "A", "EQ", "1.5"), charge("2", "B", "BD", "1"), reversal("3", "1")]
    values = [*journals.KEY, *journals.HEAD, "lines"]
    straight = gathered(*rows).select(values)
    for seed in range(5):
        assert gathered(*rows, seed=seed).select(values).equals(straight)


def test_equal_rows_count_once() -> None:
    rows = charge("1", "A", "EQ", "1.5")
    assert gathered(rows, rows)["lines"].to_list() == gathered(rows)["lines"].to_list()
    assert gathered(rows, rows)["row"].to_list() == [2]
    kept = journals.lines_of(landed(rows, rows), gathered(rows))
    assert kept.select("line", "row").rows() == [(1, 2), (2, 3)]


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": Decimal(-2)},
        {"account": "pot/B"},
        {"kind": "adjustment"},
        {"description": "another"},
        {"event_time": CUT_OFF},
        {"book": "canary", "line": 3},
    ],
)
def test_a_journal_stated_in_two_ways_is_disputed(other: dict) -> None:
    rows, fine = charge("1", "A", "EQ", "1"), charge("2", "A", "EQ", "1")
    found = gathered(rows, [rows[0] | other], fine)
    assert found["journal_ref"].to_list() == ["1", "1", "1", "2"]
    assert found["lines"].str.count_matches("account").to_list() == [1, 1, 1, 2]


def test_files_are_told_apart() -> None:
    later = charge("1", "A", "EQ", "2", sequence=2)
    found = gathered(charge("1", "A", "EQ", "1"), later)
    assert sorted(found["sequence"]) == [1, 2]
    rows = landed(charge("1", "A", "EQ", "1"), later)
    kept = journals.lines_of(rows, found.filter(pl.col("sequence") == 2))
    assert kept["quantity"].to_list() == [Decimal(-2), Decimal(2)]


def test_no_file_makes_no_journal() -> None:
    nothing = landed()
    found = journals.gathered(nothing)
    assert found.is_empty()
    assert journals.lines_of(nothing, found).is_empty()
    judged_ = journals.judge(lines(), TERMS)
    assert judged_.requests.is_empty()
    assert judged_.flows.is_empty()


def test_every_reason_stands_in_the_contract_of_the_lake() -> None:
    """A reason the table does not know would stop the run that first finds it."""
    from acme.lakehouse import contracts  # noqa: PLC0415  a test of both

    stated = contracts.table("core", "journal_requests").column("reason").enum
    text = Path(journals.__file__).read_text("utf-8")
    assert stated is not None
    assert [f'"{reason}"' in text for reason in stated] == [True] * 16
    kinds = contracts.table("core", "journal_sources").column("kind").enum
    assert kinds == (*journals.MOVES, journals.REVERSAL)
