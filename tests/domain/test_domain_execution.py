"""What stands, when a line is complete, who gets what, when a line settles (`rules §7`)."""

import hashlib
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from domain_frames import P, T, column, confirmations, lines, orders, prices

from acme.domain import execution
from acme.domain.quantities import QuantityOverflowError

TWO_AGO = date(2026, 3, 9)
PROGRESS = ["executed_units", "executed_consideration", "settled_units", "settled_consideration"]


def standing_ids(*rows: dict) -> set[str]:
    numbered = [{"confirmation_id": f"c{n}"} | row for n, row in enumerate(rows, 1)]
    return set(execution.standing(confirmations(*numbered), P)["confirmation_id"])


def test_what_nothing_amends_stands() -> None:
    assert standing_ids({}, {}) == {"c1", "c2"}
    assert standing_ids({}, {"amends": "c1"}) == {"c2"}
    # A chain: each replaces the one before.
    assert standing_ids({}, {"amends": "c1"}, {"amends": "c2"}) == {"c3"}


def test_a_cancellation_that_names_an_event_removes_it_and_ends_nothing() -> None:
    assert standing_ids({}, {}, {"event": "cancelled", "amends": "c1"}) == {"c2"}
    assert standing_ids({}, {"amends": "c1"}, {"event": "cancelled", "amends": "c2"}) == set()
    assert standing_ids({}, {"event": "cancelled"}) == {"c1", "c2"}


def test_events_after_p_wait_and_so_do_their_amendments() -> None:
    assert standing_ids({"event_date": T}) == set()
    assert standing_ids({}, {"event_date": T, "amends": "c1"}) == {"c1"}


def test_only_another_confirmation_amends() -> None:
    """`rules §7`: what no *other* confirmation amends stands; one that names itself still does."""
    assert standing_ids({"amends": "c1"}) == {"c1"}


def test_a_settlement_event_can_be_amended() -> None:
    settled = {"event": "settled"}
    assert standing_ids({}, settled, settled | {"amends": "c2"}) == {"c1", "c3"}


def progress_of(*events: dict, **line: object) -> dict:
    numbered = [{"confirmation_id": f"c{n}"} | row for n, row in enumerate(events, 1)]
    frame = execution.progress(lines(dict(line)), execution.standing(confirmations(*numbered), P))
    return frame.row(0, named=True)


PART = {"units": "40", "price": "2", "consideration": "80.00"}


def test_progress_adds_up_partial_fills() -> None:
    found = progress_of(PART, PART | {"units": "60", "consideration": "120.00"}, net="100")
    assert [found[n] for n in PROGRESS] == [100_000_000, 20_000, 0, 0]
    assert found["answered"]
    assert not found["ended"]


def test_progress_counts_settlements_apart_and_takes_the_last_date() -> None:
    settled = {"event": "settled", "units": "20", "consideration": "40.00"}
    found = progress_of(PART, settled | {"event_date": TWO_AGO}, settled)
    assert [found[n] for n in PROGRESS] == [40_000_000, 8_000, 40_000_000, 8_000]
    assert found["settled_on"] == P


@pytest.mark.parametrize(
    ("events", "answered", "ended"),
    [
        ([], False, False),
        ([PART], True, False),
        ([{"event": "rejected"}], True, True),
        ([{"event": "cancelled"}], True, True),
        ([PART, {"event": "cancelled"}], True, True),
        ([PART, {"event": "cancelled", "amends": "c1"}, PART], True, False),
        ([{"event": "failed"}], False, False),
        ([PART | {"instruction_id": "another"}], False, False),
        # One answer is an answer, whatever else was told.
        ([{"event": "failed"}, PART, {"event": "settled"}], True, False),
        ([{"event": "failed"}, {"event": "rejected"}], True, True),
    ],
)
def test_answers_and_ends(events: list[dict], answered: bool, ended: bool) -> None:
    found = progress_of(*events, net="100")
    assert (found["answered"], found["ended"]) == (answered, ended)


CLOSE = prices((P, "A", "2"))


def complete(*events: dict, closing: pl.DataFrame = CLOSE, **line: object) -> tuple[bool, bool]:
    numbered = [{"confirmation_id": f"c{n}"} | row for n, row in enumerate(events, 1)]
    frame = execution.with_completeness(
        execution.progress(lines(dict(line)), execution.standing(confirmations(*numbered), P)),
        closing,
    )
    row = frame.row(0, named=True)
    return row["complete"], row["over_confirmed"]


FULL = {"units": "100", "price": "2", "consideration": "200.00"}


@pytest.mark.parametrize("state", ["placed", "booked", "settled"])
def test_what_was_booked_with_a_confirmation_on_hold_stays(state: str) -> None:
    stated = confirmations({"confirmation_id": "c1"}, {"confirmation_id": "c2"} | {"event_date": T})
    known = execution.disputed(stated, pl.DataFrame({"key": ["c1", "c2"]}), P)
    assert known == {"I1"}
    assert execution.disputed(stated, pl.DataFrame({"key": ["c2"]}), P) == frozenset()
    # What stands without it, the end of the rest, would make the line complete at nothing.
    events = confirmations({"confirmation_id": "c3", "event": "cancelled"})
    progressed = execution.progress(lines({"state": state}), execution.standing(events, P))
    row = execution.with_completeness(progressed, CLOSE, known).row(0, named=True)
    assert (row["complete"], row["disputed"]) == (state == "placed", state != "placed")


NO_PRICE = prices()


@pytest.mark.parametrize(
    ("events", "line", "closing", "expected"),
    [
        ([], {}, CLOSE, (False, False)),
        ([PART], {}, CLOSE, (False, False)),
        ([FULL], {}, CLOSE, (True, False)),
        # No closing price is needed where nothing crosses.
        ([FULL], {}, NO_PRICE, (True, False)),
        ([FULL], {"crossed": "1"}, NO_PRICE, (False, False)),
        ([FULL], {"crossed": "1"}, prices((TWO_AGO, "A", "2"), (T, "A", "2")), (False, False)),
        ([FULL], {"crossed": "1"}, CLOSE, (True, False)),
        ([PART, {"event": "cancelled"}], {}, CLOSE, (True, False)),
        ([{"event": "rejected"}], {}, CLOSE, (True, False)),
        ([PART, {"event": "rejected"}], {"crossed": "5"}, NO_PRICE, (False, False)),
        # One minor unit too many: not booked, ended or not.
        ([FULL, PART | {"units": "0.0001"}], {}, CLOSE, (False, True)),
        ([FULL, PART | {"units": "0.0001"}, {"event": "cancelled"}], {}, CLOSE, (False, True)),
        # One short.
        ([FULL | {"units": "99.9999"}], {}, CLOSE, (False, False)),
        # A fill removed again.
        ([FULL, {"event": "cancelled", "amends": "c1"}], {}, CLOSE, (False, False)),
        ([FULL | {"units": "120"}, FULL | {"amends": "c1"}], {}, CLOSE, (True, False)),
    ],
)
def test_completeness_of_unit_lines(
    events: list[dict], line: dict, closing: pl.DataFrame, expected: tuple
) -> None:
    assert complete(*events, closing=closing, **({"net": "100"} | line)) == expected


@pytest.mark.parametrize(
    ("consideration", "expected"),
    [("199.99", (False, False)), ("200.00", (True, False)), ("200.01", (False, True))],
)
def test_an_amount_line_counts_its_consideration(consideration: str, expected: tuple) -> None:
    spent = {"units": "77", "price": "2.6", "consideration": consideration}
    assert complete(spent, quantity_type="A", net="200") == expected


def test_a_net_of_zero_waits_for_the_price_alone() -> None:
    crossing = {"crossed": "30", "net": "0", "side": "", "instruction_id": None}
    assert complete(**crossing) == (True, False)
    assert complete(closing=NO_PRICE, **crossing) == (False, False)


def ready(events: list[dict], closing: pl.DataFrame = CLOSE, **line: object) -> pl.DataFrame:
    numbered = [{"confirmation_id": f"c{n}"} | row for n, row in enumerate(events, 1)]
    frame = execution.with_completeness(
        execution.progress(lines(dict(line)), execution.standing(confirmations(*numbered), P)),
        closing,
    )
    assert frame["complete"].all()
    return frame


def sides(frame: pl.DataFrame) -> dict[str, tuple[int, int]]:
    totals = execution.side_totals(frame)
    assert totals["side"].n_unique() == totals.height
    return {
        s: (u, c)
        for s, u, c in totals.select("side", "side_units", "side_consideration").iter_rows()
    }


def test_sides_of_a_crossed_line() -> None:
    # Buys 150, sells 50: 50 cross at 2.01 = 100.50; 100 were bought outside for 200.00.
    frame = ready(
        [FULL],
        prices((P, "A", "2.01")),
        gross_buys="150",
        gross_sells="50",
        crossed="50",
        net="100",
        side="B",
    )
    assert sides(frame) == {"B": (150_000_000, 30_050), "S": (50_000_000, 10_050)}


def test_sides_where_sells_outweigh() -> None:
    frame = ready(
        [FULL],
        prices((P, "A", "2.01")),
        gross_buys="50",
        gross_sells="150",
        crossed="50",
        net="100",
        side="S",
    )
    assert sides(frame) == {"S": (150_000_000, 30_050), "B": (50_000_000, 10_050)}


def test_crossed_consideration_rounds_half_even_once() -> None:
    # 0.5 x 2.01 = 1.005: the tie goes to 1.00 on both sides.
    frame = ready(
        [],
        prices((P, "A", "2.01")),
        gross_buys="0.5",
        gross_sells="0.5",
        crossed="0.5",
        net="0",
        side="",
        instruction_id=None,
    )
    assert sides(frame) == {"B": (500_000, 100), "S": (500_000, 100)}


def test_a_crossing_beyond_128_bits_stops_the_day() -> None:
    """`rules §1`: products are exact, and an overflow raises. 10^27 x 10^18 are 10^45."""
    huge = str(10**21)
    frame = ready(
        [],
        prices((P, "A", str(10**12 - 1))),
        gross_buys=huge,
        gross_sells=huge,
        crossed=huge,
        net="0",
        side="",
        instruction_id=None,
    )
    with pytest.raises(QuantityOverflowError, match="crossed consideration"):
        execution.side_totals(frame)


def test_sides_without_crossing() -> None:
    frame = ready([PART, {"event": "cancelled"}], NO_PRICE, gross_buys="100", net="100", side="B")
    assert sides(frame) == {"B": (40_000_000, 8_000)}


def by_hash(orders_: list[str]) -> list[str]:
    return sorted(orders_, key=lambda o: hashlib.sha256(f"B-1:{o}".encode()).hexdigest())


def allocated(frame: pl.DataFrame, *members: dict) -> dict[str, tuple[int, int]]:
    rows = [
        {"line_id": "L1", "quantity_type": "U", "kind": "buy", "side": "B"} | m for m in members
    ]
    out = execution.allocate(frame, orders(*rows))
    assert out.height == len(members)
    return {
        o: (u, c)
        for o, u, c in out.select(
            "order_id", "executed_units", "executed_consideration"
        ).iter_rows()
    }


def test_a_partial_fill_is_shared_by_ordered_units() -> None:
    # 40 of 100 at 2.00, cancelled. Orders 50, 30, 20: 20, 12, 8 units and 40, 24, 16 pounds.
    frame = ready([PART, {"event": "cancelled"}], net="100", gross_buys="100")
    found = allocated(
        frame,
        {"order_id": "a", "units": "50"},
        {"order_id": "b", "units": "30"},
        {"order_id": "c", "units": "20"},
    )
    assert found == {"a": (20_000_000, 4_000), "b": (12_000_000, 2_400), "c": (8_000_000, 1_600)}


def test_units_are_shared_in_the_asset_s_own_minor_unit() -> None:
    # 10 units of 0 decimals over three equal orders: 3.33 each; the one left goes by hash.
    # Consideration by allocated units: 100.00 x 4/10 and 3/10.
    frame = ready(
        [{"units": "10", "price": "10", "consideration": "100.00"}, {"event": "cancelled"}],
        net="30",
        gross_buys="30",
        unit_decimals=0,
    )
    names = ["a", "b", "c"]
    lucky = by_hash(names)[0]
    found = allocated(frame, *[{"order_id": n, "units": "10"} for n in names])
    assert found == {n: (4_000_000, 4_000) if n == lucky else (3_000_000, 3_000) for n in names}


def test_consideration_follows_allocated_not_ordered_units() -> None:
    # One unit of no decimals filled for 10.00; orders of 1 and 2: 0.33 and 0.67, so b has it all.
    frame = ready(
        [{"units": "1", "price": "10", "consideration": "10.00"}, {"event": "cancelled"}],
        net="3",
        gross_buys="3",
        unit_decimals=0,
    )
    found = allocated(frame, {"order_id": "a", "units": "1"}, {"order_id": "b", "units": "2"})
    assert found == {"a": (0, 0), "b": (1_000_000, 1_000)}


def test_an_amount_line_shares_units_and_money_by_amount() -> None:
    # 100.00 and 50.00 spent at 3: 50.0000 units, 33.3333 and 16.6667 (.33 and .67 of a minor unit).
    frame = ready(
        [{"units": "50", "price": "3", "consideration": "150.00"}],
        quantity_type="A",
        net="150",
        gross_buys="150",
    )
    found = allocated(
        frame,
        {"order_id": "a", "quantity_type": "A", "amount": "100.00"},
        {"order_id": "b", "quantity_type": "A", "amount": "50.00"},
    )
    assert found == {"a": (33_333_300, 10_000), "b": (16_666_700, 5_000)}


def test_an_amount_line_shares_money_by_amount_where_units_do_not_divide() -> None:
    # 100.00 and 50.00 buy one unit of an asset without decimals: a has it, b has paid its third.
    frame = ready(
        [{"units": "1", "price": "150", "consideration": "150.00"}],
        quantity_type="A",
        net="150",
        gross_buys="150",
        unit_decimals=0,
    )
    found = allocated(
        frame,
        {"order_id": "a", "quantity_type": "A", "amount": "100.00"},
        {"order_id": "b", "quantity_type": "A", "amount": "50.00"},
    )
    assert found == {"a": (1_000_000, 10_000), "b": (0, 5_000)}


def test_orders_of_other_lines_get_nothing_of_a_line() -> None:
    frame = ready([FULL], net="100", gross_buys="100")
    order = {"line_id": "L1", "quantity_type": "U", "kind": "buy", "side": "B", "units": "100"}
    members = orders(order | {"order_id": "a"}, order | {"order_id": "b", "line_id": "L2"})
    assert execution.allocate(frame, members)["order_id"].to_list() == ["a"]


def test_both_sides_of_a_crossed_line_are_shared() -> None:
    # Sells 60 outweigh buys 25; 25 cross at 2 = 50.00; 20 of 35 outside for 40.10, rest cancelled.
    # Sells: 45 units, 90.10 over 40 and 20 ordered: 30 and 15 units; 60.0667 and 30.0333.
    frame = ready(
        [{"units": "20", "price": "2.005", "consideration": "40.10"}, {"event": "cancelled"}],
        gross_buys="25",
        gross_sells="60",
        crossed="25",
        net="35",
        side="S",
    )
    found = allocated(
        frame,
        {"order_id": "buy", "units": "25"},
        {"order_id": "s1", "units": "40", "side": "S", "kind": "sell"},
        {"order_id": "s2", "units": "20", "side": "S", "kind": "switch"},
    )
    assert found == {
        "buy": (25_000_000, 5_000),
        "s1": (30_000_000, 6_007),
        "s2": (15_000_000, 3_003),
    }


def test_a_rejected_line_allocates_nothing_outside() -> None:
    frame = ready([{"event": "rejected"}], net="10", gross_buys="10")
    assert allocated(frame, {"order_id": "a", "units": "10"}) == {"a": (0, 0)}


def test_a_fill_of_no_units_for_money_does_not_stop_the_day() -> None:
    """A custodian may confirm 0 units and 5.00 (the file's contract allows it), then cancel.

    The money has no units to be shared by; nothing is lost if it is shared by ordered units.
    """
    frame = ready(
        [{"units": "0", "price": "2", "consideration": "5.00"}, {"event": "cancelled"}],
        net="10",
        gross_buys="10",
    )
    found = allocated(frame, {"order_id": "a", "units": "5"}, {"order_id": "b", "units": "5"})
    assert sum(c for _, c in found.values()) == 500


def settles(
    *events: dict, as_of: date = P, resettles_on: date | None = None, **line: object
) -> list[tuple[str, date]]:
    numbered = [{"confirmation_id": f"c{n}"} | row for n, row in enumerate(events, 1)]
    frame = execution.progress(
        lines({"state": "booked"} | line), execution.standing(confirmations(*numbered), as_of)
    )
    frame = frame.with_columns(pl.lit(resettles_on, dtype=pl.Date).alias("resettles_on"))
    return execution.settling(frame, as_of).select("line_id", "settled_effective").rows()


BOOKED = {"confirmed_units": "100", "confirmed_consideration": "200.00"}
SETTLED = {"event": "settled", "units": "100", "consideration": "200.00"}


def test_a_line_settles_whole_once_covered() -> None:
    assert settles(FULL, **BOOKED) == []
    assert settles(FULL, SETTLED, **BOOKED) == [("L1", P)]
    assert settles(FULL, SETTLED | {"units": "99.9999"}, **BOOKED) == []
    assert settles(FULL, SETTLED | {"consideration": "199.99"}, **BOOKED) == []
    half = {"event": "settled", "units": "50", "consideration": "100.00"}
    assert settles(FULL, half, **BOOKED) == []
    assert settles(FULL, half | {"event_date": TWO_AGO}, half, **BOOKED) == [("L1", P)]
    # The effective date is the last event's, not the run's.
    assert settles(FULL, SETTLED | {"event_date": TWO_AGO}, **BOOKED) == [("L1", TWO_AGO)]


def test_an_external_line_never_settles_by_date() -> None:
    assert settles(FULL, as_of=date(2026, 4, 30), **BOOKED) == []
    assert settles(FULL, {"event": "failed"}, as_of=date(2026, 4, 30), **BOOKED) == []


@pytest.mark.parametrize("part", [{"confirmed_units": "100"}, {"confirmed_consideration": "200"}])
def test_units_or_money_alone_are_an_external_part(part: dict) -> None:
    """Free of payment, or money for no units: it settles when the custodian says so."""
    due = part | {"settlement_date": TWO_AGO}
    assert settles(**due) == []
    assert settles(SETTLED, **due) == [("L1", P)]


def test_a_corrected_line_settles_again_with_its_old_effective_date() -> None:
    """`rules §7`: in the run that corrects it, whatever the old events cover."""
    corrected = {"confirmed_units": "120", "confirmed_consideration": "240.00"}
    for events in ([], [SETTLED]):
        found = settles(*events, resettles_on=TWO_AGO, **corrected)
        assert found == [("L1", TWO_AGO)]
    assert settles(resettles_on=TWO_AGO, crossed="10", net="0", settlement_date=T) == [
        ("L1", TWO_AGO)
    ]


def test_a_line_without_external_part_settles_on_its_date() -> None:
    due = {"settlement_date": P, "crossed": "10", "net": "0"}
    assert settles(**due) == [("L1", P)]
    assert settles(as_of=TWO_AGO, **due) == []
    # Seen late, it is effective on its settlement date.
    assert settles(as_of=T, **due) == [("L1", P)]
    assert Decimal(lines(due)["confirmed_units"][0]) == 0


def test_column_order_of_lines_has_no_effect() -> None:
    many = lines({"line_id": "L1"}, {"line_id": "L2", "instruction_id": "I2"})
    events = confirmations({"confirmation_id": "c1", "units": "1", "consideration": "1.00"})
    found = execution.progress(many[::-1], events).sort("line_id")
    assert column(found, "executed_units") == [1_000_000, 0]


# ---- stated anew, or disputed -------------------------------------------------------------------


def test_a_confirmation_counts_as_it_was_last_stated() -> None:
    now = confirmations({"confirmation_id": "a", "units": "3"}, {"confirmation_id": "b"})
    waiting = confirmations({"confirmation_id": "a", "units": "2"}, {"confirmation_id": "c"})
    ended = confirmations(
        {"confirmation_id": "a", "units": "1"}, {"confirmation_id": "c", "units": "9"}
    )
    dated = now.with_columns(pl.lit(T).alias("run_date"))
    last = execution.as_last_stated(dated, waiting.select(reversed(waiting.columns)), ended)
    assert last.columns == now.columns
    assert last.select("confirmation_id", "units").sort("confirmation_id").rows() == [
        ("a", Decimal(3)),
        ("b", now["units"][1]),
        ("c", waiting["units"][1]),
    ]


def test_confirmations_keep_the_order_they_were_stated_in() -> None:
    names = [f"c{n * 7 % 50}" for n in range(50)]
    stated = confirmations(*[{"confirmation_id": name} for name in names])
    again = execution.as_last_stated(stated[:20], stated[10:])
    assert again["confirmation_id"].to_list() == names


def test_a_confirmation_on_hold_counts_for_nothing() -> None:
    told = confirmations({"confirmation_id": "a"}, {"confirmation_id": "b|c"})
    holds = pl.DataFrame({"key": ["a"], "feed": ["confirmations"]})
    assert execution.not_on_hold(told, holds)["confirmation_id"].to_list() == ["b|c"]
