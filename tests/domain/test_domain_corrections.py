"""Which ended lines come back, which lines are booked again, what is left over (`rules §7`)."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import (
    CUT_OFF,
    KNOWN_AT,
    P,
    T,
    balances,
    confirmations,
    frame,
    lines,
    orders,
    prices,
)

from acme.domain import booking, corrections, execution, ledger

BEFORE, D = P - timedelta(days=1), date(2026, 3, 5)
I1, I2 = f"B-{D}-live-CUST-A-B-U", f"B-{D}-live-CUST-B-S-U"
HOLD = {
    "feed": pl.String,
    "key": pl.String,
    "reason": pl.String,
    "first_run_date": pl.Date,
    "file_sha256": pl.String,
    "candidates": pl.String,
}


def ids(frame_: pl.DataFrame, column: str = "confirmation_id") -> list[str]:
    return sorted(frame_[column])


# ---- news ---------------------------------------------------------------------------------------


def test_news_is_what_counts_for_the_first_time() -> None:
    landed = confirmations(
        {"confirmation_id": "old", "event_date": D},
        {"confirmation_id": "today", "event_date": P},
        {"confirmation_id": "early", "event_date": T},
    )
    waiting = confirmations(
        {"confirmation_id": "counted", "event_date": BEFORE},
        {"confirmation_id": "due", "event_date": P},
        {"confirmation_id": "not due", "event_date": T},
    )
    # What has just landed carries the run it landed in.
    dated = landed.with_columns(pl.lit(T).alias("run_date"))
    for of_today in (landed, dated):
        found = corrections.news(of_today, waiting, BEFORE, P)
        assert ids(found) == ["due", "old", "today"]
        assert found.columns == landed.columns


# ---- looking for ended lines --------------------------------------------------------------------


def wanted(*events: dict, priced: tuple[tuple[date, str, str], ...] = ()) -> list[tuple]:
    numbered = [{"confirmation_id": f"c{n}"} | e for n, e in enumerate(events)]
    open_lines = lines({"instruction_id": "B-2026-03-09-live-CUST-A-B-U"})
    return corrections.wanted(confirmations(*numbered), open_lines, prices(*priced), P).rows()


def test_events_name_the_lines_to_look_for() -> None:
    assert wanted({"instruction_id": I1}, {"instruction_id": I1}) == [(D, I1, None)]


def test_what_is_looked_for_is_sorted_by_date_instruction_and_asset() -> None:
    days = [D - timedelta(days=n) for n in (3, 0, 4, 1)]
    names = [f"B-{day}-live-CUST-{asset}-B-U" for asset in "BA" for day in days]
    priced = tuple((day, asset, "2") for asset in "BA" for day in days)
    assert wanted(*[{"instruction_id": n} for n in names], priced=priced) == [
        (day, name, asset)
        for day in sorted(days)
        for name, asset in [
            (None, "A"),
            (None, "B"),
            (f"B-{day}-live-CUST-A-B-U", None),
            (f"B-{day}-live-CUST-B-B-U", None),
        ]
    ]


@pytest.mark.parametrize(
    "instruction",
    [
        "B-2026-03-09-live-CUST-A-B-U",  # an open line is there already
        "whatever",
        f"X-{D}-live-CUST-A-B-U",
        "B-2026-02-30-live-CUST-A-B-U",  # no such date
        f"B-{P}-live-CUST-A-B-U",  # a line of P is booked in this run at the earliest
        f"B-{T}-live-CUST-A-B-U",  # nothing is dealt yet
    ],
)
def test_events_that_name_no_ended_line(instruction: str) -> None:
    assert wanted({"instruction_id": instruction}) == []


def test_only_a_price_before_p_can_be_of_an_ended_line() -> None:
    assert wanted(priced=((P, "A", "2"), (BEFORE, "A", "2"), (D, "B", "3"))) == [
        (D, None, "B"),
        (BEFORE, None, "A"),
    ]


CLOSED = {"state": "settled", "dealing_date": D, "settled_effective": P}


def reopened(*rows: dict, needed: list[tuple], open_ids: tuple[str, ...] = ()) -> list[tuple]:
    ended = pl.concat(
        [
            lines(CLOSED | {k: v for k, v in row.items() if k != "run_date"}).with_columns(
                pl.lit(row.get("run_date", P)).alias("run_date")
            )
            for row in rows
        ]
    )
    wanted_ = pl.DataFrame(needed, schema=corrections.WANTED_SCHEMA, orient="row")
    open_lines = lines(*[{"line_id": line} for line in open_ids])
    found = corrections.reopened(ended, wanted_, open_lines)
    return found.select("line_id", "run_date").rows()


def test_a_line_is_found_by_its_instruction_or_by_the_price_of_its_date() -> None:
    rows = (
        {"line_id": "L1", "instruction_id": I1, "asset_id": "A"},
        {"line_id": "L2", "instruction_id": I2, "asset_id": "B"},
        {"line_id": "L3", "instruction_id": None, "asset_id": "A", "crossed": "1"},
        {"line_id": "L4", "asset_id": "A", "crossed": "1", "dealing_date": P},
    )
    assert reopened(*rows, needed=[(D, I1, None)]) == [("L1", P)]
    # Where nothing crossed, what was executed may be at another price than the corrected one.
    assert reopened(*rows, needed=[(D, None, "A")]) == [("L1", P), ("L3", P)]
    assert reopened(*rows, needed=[(D, None, "B")]) == [("L2", P)]
    assert reopened(*rows, needed=[(D, None, "C")]) == []
    assert reopened(*rows, needed=[(D, I1, None), (D, None, "A")]) == [("L1", P), ("L3", P)]


def test_a_line_that_ended_twice_comes_back_as_it_ended_last() -> None:
    rows = [{"line_id": "L1", "instruction_id": I1, "run_date": day} for day in (P, BEFORE)]
    assert reopened(*rows, needed=[(D, I1, None)]) == [("L1", P)]
    assert reopened(*rows, needed=[(D, I1, None)], open_ids=("L1",)) == []
    both = {"line_id": "L1", "instruction_id": I1, "crossed": "1"}
    assert reopened(both, needed=[(D, I1, None), (D, None, "A")]) == [("L1", P)]


def test_lines_come_back_in_the_order_of_their_ids() -> None:
    names = [f"L{n * 7 % 50:02}" for n in range(50)]
    rows = [{"line_id": n, "instruction_id": f"{n}:{I1}"} for n in names]
    back = reopened(*rows, needed=[(D, f"{n}:{I1}", None) for n in names])
    assert back == [(n, P) for n in sorted(names)]


# ---- prices of ended lines ----------------------------------------------------------------------


def test_an_ended_line_keeps_the_price_it_was_booked_with() -> None:
    book = prices((P, "A", "2"), (D, "C", "9"))
    holds = frame(HOLD, [{"feed": "closing_prices", "key": f"{D}|B|1"}])
    ended = lines(
        CLOSED | {"asset_id": "A", "booked_price": "3"},
        CLOSED | {"line_id": "L2", "asset_id": "A", "booked_price": "3"},
        CLOSED | {"line_id": "L3", "asset_id": "B|1", "booked_price": "4"},  # on hold
        CLOSED | {"line_id": "L4", "asset_id": "C", "booked_price": "8"},  # corrected to 9
        CLOSED | {"line_id": "L5", "asset_id": "D"},
    )
    assert corrections.line_prices(book, holds, ended).rows() == [
        (D, "A", Decimal(3)),
        (D, "C", Decimal(9)),
        (P, "A", Decimal(2)),
    ]


# ---- settlements taken back ---------------------------------------------------------------------


SETTLEMENT = {"confirmation_id": "s1", "event": "settled"}


@pytest.mark.parametrize(
    ("state", "news", "before", "amended"),
    [
        ("settled", {"confirmation_id": "x", "event": "cancelled", "amends": "s1"}, False, True),
        ("settled", {"confirmation_id": "x", "event": "settled", "amends": "s1"}, False, True),
        ("settled", {"confirmation_id": "x", "event": "executed", "amends": "e1"}, False, False),
        ("settled", {"confirmation_id": "x", "event": "settled"}, False, False),
        ("settled", {"confirmation_id": "x", "event": "executed", "amends": "e1"}, True, True),
        # Stated anew under its own id; an execution stated anew is no amended settlement.
        ("settled", {"confirmation_id": "s1", "event": "settled"}, False, True),
        ("settled", {"confirmation_id": "s1", "event": "failed"}, False, True),
        ("settled", {"confirmation_id": "e1", "event": "settled"}, False, False),
        # Before the line settled, what stands is all that counts.
        ("booked", {"confirmation_id": "x", "event": "cancelled", "amends": "s1"}, False, False),
    ],
)
def test_a_settlement_amended_after_it_counted(
    state: str, news: dict, before: bool, amended: bool
) -> None:
    others = [
        e
        for e in ({"confirmation_id": "e1"}, SETTLEMENT)
        if e["confirmation_id"] != news["confirmation_id"]
    ]
    events = confirmations(*others, news)
    marked = corrections.with_settlement_amended(
        lines({"state": state, "settlement_amended": before}),
        confirmations(news),
        events,
        confirmations({"confirmation_id": "e1"}, SETTLEMENT),
    )
    assert marked["settlement_amended"].to_list() == [amended]


def test_a_line_without_an_instruction_has_no_settlement_to_amend() -> None:
    line = lines({"state": "settled", "instruction_id": None})
    news = confirmations({"confirmation_id": "x", "event": "cancelled", "amends": "s1"})
    told = confirmations(SETTLEMENT)
    marked = corrections.with_settlement_amended(line, news, told, told)
    assert marked["settlement_amended"].to_list() == [False]


# ---- lines that are booked again ----------------------------------------------------------------


def corrected(line: dict, *events: dict, price: str = "10") -> bool:
    numbered = [{"confirmation_id": f"c{n}"} | e for n, e in enumerate(events)]
    base = {"net": "4", "confirmed_units": "4", "confirmed_consideration": "40.00"}
    booked = base | {"state": "booked", "booked_price": "10"} | line
    progressed = execution.progress(lines(booked), confirmations(*numbered))
    judged = execution.with_completeness(progressed, prices((P, "A", price)))
    return corrections.corrected(judged).height == 1


AS_BOOKED = {"units": "4", "consideration": "40.00"}


@pytest.mark.parametrize("state", ["booked", "settled"])
def test_a_complete_line_with_other_figures_is_corrected(state: str) -> None:
    line = {"state": state}
    assert not corrected(line, AS_BOOKED)
    assert corrected(line, AS_BOOKED | {"consideration": "40.01"})
    # Two units short, but the rest was ended.
    short = {"units": "2", "consideration": "40.00"}
    assert not corrected(line, short)
    assert corrected(line, short, {"event": "cancelled"})
    assert corrected(line | {"settlement_amended": True}, AS_BOOKED)


def test_a_line_that_waits_is_not_corrected() -> None:
    assert not corrected({"state": "placed"}, AS_BOOKED | {"consideration": "40.01"})
    assert not corrected({}, AS_BOOKED | {"units": "5", "consideration": "50.00"})
    assert not corrected({"settlement_amended": True}, {"units": "3", "consideration": "40.00"})


def test_a_closing_price_matters_where_something_crossed() -> None:
    assert not corrected({"crossed": "0"}, AS_BOOKED, price="11")
    assert not corrected({"crossed": "2"}, AS_BOOKED, price="10")
    assert corrected({"crossed": "2"}, AS_BOOKED, price="11")
    # A change too small to make a penny is none.
    assert not corrected({"crossed": "0.0001"}, AS_BOOKED, price="10.01")


def test_a_line_whose_price_is_on_hold_waits() -> None:
    base = {"state": "booked", "net": "4", "crossed": "2", "booked_price": "10"}
    progressed = execution.progress(
        lines(base), confirmations(AS_BOOKED | {"confirmation_id": "c"})
    )
    judged = execution.with_completeness(progressed, prices())
    assert corrections.corrected(judged).is_empty()


# ---- the journals of a correction ---------------------------------------------------------------


def bookings(order: dict, corrected_on: date | None = None) -> pl.DataFrame:
    reserve = order.pop("reserve")
    return orders({"order_id": "o1", "line_id": "L1"} | order).with_columns(
        pl.lit(Decimal(reserve), dtype=pl.Decimal(28, 6)).alias("reserve"),
        pl.lit(corrected_on, dtype=pl.Date).alias("corrected_on"),
        pl.lit("CUST").alias("custodian_id"),
        pl.lit("BANK").alias("cash_custodian"),
        pl.lit(CUT_OFF).alias("event_time"),
        pl.lit(CUT_OFF).alias("settled_event_time"),
        pl.lit(D).alias("effective_date"),
        pl.lit(KNOWN_AT).alias("known_at"),
    )


def as_booked(row: pl.DataFrame) -> booking.Entries:
    """Book and, where it had settled, settle the order as it first was."""
    entries = booking.Entries()
    executed = row.with_columns(
        pl.col("reserve").alias("reserved"),
        (pl.col("allocated_units") * 1_000_000).cast(pl.Int128).alias("executed_units"),
        (pl.col("consideration") * 100).cast(pl.Int128).alias("executed_consideration"),
    )
    after = booking.book_allocations(entries, executed, "USD")
    if row["settled_effective"][0] is not None:
        settled = after.with_columns(pl.col("settled_effective").alias("effective_date"))
        booking.book_settlements(entries, settled, "USD")
    return entries


@pytest.mark.parametrize("settled_on", [None, P])
@pytest.mark.parametrize("again", [None, BEFORE])
@pytest.mark.parametrize(
    "order",
    [
        {
            "kind": "sell",
            "side": "S",
            "quantity_type": "U",
            "units": "10",
            "reserve": "10",
            "reserved": "8",
            "allocated_units": "8",
            "consideration": "80.00",
        },
        {
            "kind": "buy",
            "side": "B",
            "quantity_type": "A",
            "amount": "100.00",
            "reserve": "100",
            "reserved": "90",
            "allocated_units": "9",
            "consideration": "90.00",
        },
        {
            "kind": "buy",
            "side": "B",
            "quantity_type": "U",
            "units": "10",
            "reserve": "0",
            "reserved": "0",
            "allocated_units": "10",
            "consideration": "101.00",
        },
    ],
)
def test_a_reversal_takes_back_all_that_was_booked(
    order: dict, again: date | None, settled_on: date | None
) -> None:
    row = bookings(dict(order), again).with_columns(
        pl.lit(settled_on, dtype=pl.Date).alias("settled_effective")
    )
    first = as_booked(row)
    entries = booking.Entries()
    booking.reverse_bookings(entries, row, "USD")
    assert ledger.unbalanced_journals(entries.all_postings()).is_empty()
    nothing = balances().clear()
    assert ledger.fold(
        ledger.fold(nothing, first.all_postings()), entries.all_postings()
    ).is_empty()
    suffix = f":{again}" if again else ""
    expected = [("reversal", f"allocation:o1{suffix}", D)]
    if settled_on:
        expected.append(("reversal", f"settlement:o1{suffix}", settled_on))
    journals = entries.all_journals()
    assert journals.select("kind", "reverses", "effective_date").rows() == expected
    assert journals["journal_id"].to_list() == [f"reversal:{e[1]}" for e in expected]
    originals = set(first.all_journals()["journal_id"])
    assert originals == {e[1] for e in expected}


def test_a_correction_says_so_where_a_state_changes() -> None:
    row = bookings(
        {
            "kind": "sell",
            "side": "S",
            "quantity_type": "U",
            "units": "10",
            "reserve": "10",
            "reserved": "10",
            "state": "settled",
        },
        T,
    )
    for units, money, events in (
        (10, 100, [("settled", "executed", "corrected")]),
        (9, 90, [("settled", "part_executed", "corrected")]),
        (0, 0, [("settled", "rejected", "custodian_rejected")]),
    ):
        entries = booking.Entries()
        executed = row.with_columns(
            pl.lit(units * 10**6, dtype=pl.Int128).alias("executed_units"),
            pl.lit(money * 100, dtype=pl.Int128).alias("executed_consideration"),
        )
        after = booking.book_allocations(entries, executed, "USD")
        assert entries.all_events().select("from_state", "to_state", "reason").rows() == events
        assert after["reserve"].to_list() == [Decimal(10)]
        assert after["reserved"].to_list() == [Decimal(units)]
        assert after["journal_id"].to_list() == [f"allocation:o1:{T}"]
        unchanged = booking.Entries()
        booking.book_allocations(unchanged, executed.with_columns(after["state"]), "USD")
        assert unchanged.all_events().is_empty()


# ---- what is left over --------------------------------------------------------------------------


def test_what_no_pot_can_keep_goes_to_suspense() -> None:
    held = balances(
        {"account": "pot/short", "asset_id": "A", "quantity": "-2"},
        {"account": "pot/short", "asset_id": "B", "quantity": "5"},
        {"account": "pot/short", "asset_id": "C", "quantity": "0.5"},
        {"account": "pot/short", "asset_id": "D", "quantity": "0"},
        {"account": "pot/short", "asset_id": "USD", "quantity": "-9"},
        {"account": "pot/short", "asset_id": "A", "state": "in_flight", "quantity": "-7"},
        {"account": "pot/other", "asset_id": "A", "quantity": "-2"},
        {"account": "pot/closed", "asset_id": "USD", "quantity": "-3"},
        {"account": "pot/closed", "asset_id": "A", "state": "reserved", "quantity": "4"},
        {"account": "pot/closed", "asset_id": "B", "state": "in_flight", "quantity": "4"},
        {"account": "pot/both", "asset_id": "A", "quantity": "-1"},
        {"account": "custodian/short", "asset_id": "A", "quantity": "-1"},
        # A pot may be named as another account is.
        {"account": "suspense/other", "asset_id": "E", "quantity": "-1"},
    )

    def pots(*names: str) -> pl.DataFrame:
        return pl.DataFrame({"book": ["live"] * len(names), "pot_id": list(names)})

    left = corrections.leftovers(
        held, pots("short", "both", "suspense/other"), pots("closed", "both"), "USD"
    )
    assert left.rows() == [
        ("live", "both", "settled", "A", Decimal(-1)),
        ("live", "closed", "reserved", "A", Decimal(4)),
        ("live", "closed", "settled", "USD", Decimal(-3)),
        ("live", "short", "settled", "A", Decimal(-2)),
    ]
    entries = booking.Entries()
    moves = left.with_columns(
        pl.format("m:{}:{}:{}", "pot_id", "asset_id", "state").alias("journal_id"),
        pl.lit(CUT_OFF).alias("event_time"),
        pl.lit(P).alias("effective_date"),
        pl.lit(KNOWN_AT).alias("known_at"),
    )
    corrections.move_to_suspense(entries, moves)
    postings = entries.all_postings()
    assert ledger.unbalanced_journals(postings).is_empty()
    after = ledger.fold(held, postings)
    assert corrections.leftovers(after, pots("short"), pots("closed", "both"), "USD").is_empty()
    suspense = after.filter(pl.col("account") == "suspense/correction")
    assert suspense.select("state", "asset_id", "quantity").rows() == [
        ("settled", "A", Decimal(1)),
        ("settled", "USD", Decimal(-3)),
    ]
    assert set(entries.all_journals()["kind"]) == {"correction"}
