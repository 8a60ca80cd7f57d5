"""What custodians and price vendors take back after a line was booked or had settled (rules §7).

Each section is a story: its files, by the run before which they arrive, and then its figures.
Every price is 10 unless said otherwise; a pot of profile SELF does only what it is told.
"""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from acme.domain.orders import order_id
from tests.scenarios.driver import D1, D2, D3, D4, D5, D6, D7, History, Scenario, d

pytestmark = pytest.mark.xdist_group("corrections-history")

history = History([D1, D2, D3, D4, D5, D6, D7])
before = history.before


def sent(day: date, line: str) -> str:
    """Return an instruction id of the live batch, by custodian, asset, side and type."""
    return f"B-{day}-live-{line}"


def oid(ref: str) -> str:
    return order_id("T", ref)


def amends(
    day: date, ref: str, instruction: str, event: str, on: date, values: str, old: str
) -> None:
    """Land an event that names an earlier one; values are units, price, consideration."""
    before(day).land("confirmations", f"{ref},{instruction},{event},{on},{values},,{old}")


def allocated(played: Scenario, day: date, ref: str) -> list[tuple[Decimal, Decimal, bool]]:
    """Return units, consideration and whether it replaces an earlier one, of an order."""
    frame = played.frame("allocations", day).filter(pl.col("order_id") == oid(ref))
    return [(u, c, r is not None) for u, c, r in frame["units", "consideration", "reverses"].rows()]


def journals(played: Scenario, day: date, ref: str) -> list[tuple[object, ...]]:
    """Return kind, effective date and original of an order's journals of a run."""
    frame = played.frame("ledger_journals", day).filter(pl.col("order_id") == oid(ref))
    return sorted(frame.select("kind", "effective_date", "reverses").rows(), key=str)


def state(played: Scenario, day: date, ref: str) -> list[tuple[str, str | None]]:
    return played.moves(day, oid(ref))


def found(played: Scenario, day: date, asset: str) -> list[tuple[str, str]]:
    """Return class and state of the breaks of an asset."""
    frame = played.frame("reconciliation_breaks", day).filter(pl.col("asset_id") == asset)
    return sorted(frame.select("class", "state").rows())


# ---- a better price, while the line is in flight ------------------------------------------------

history.asset("CR")
history.pot("cr1", CR="5.0000")
before(D1).order("cr1", D1, "cr1", "sell", asset="CR", units="2.0000")
CR = sent(D1, "NORTH-CR-S-U")
before(D2).executed("cr-1", CR, D1, "2.0000", "10", "20.00")
amends(D3, "cr-2", CR, "executed", D2, "2.0000,10.5,21.00", "cr-1")


def test_a_booked_line_is_reversed_and_booked_again(played: Scenario) -> None:
    assert played.pot(D2, "cr1")["in_flight", "USD"] == d("20")
    assert played.pot(D3, "cr1") == {
        ("settled", "CR"): d("3"),
        ("reserved", "CR"): d("2"),
        ("in_flight", "CR"): d("-2"),
        ("in_flight", "USD"): d("21"),
    }
    original = f"allocation:{oid('cr1')}"
    # The old effective date, known two runs later, and linked.
    assert journals(played, D3, "cr1") == [
        ("allocation", D1, None),
        ("reversal", D1, original),
    ]
    assert allocated(played, D3, "cr1") == [(d("2"), d("21.00"), True)]
    # 10.5 is not the closing price; the amendment as such is no break.
    assert found(played, D3, "CR") == [("price", "open")]
    assert state(played, D3, "cr1") == []


# ---- a settled line that a confirmation changes -------------------------------------------------

history.asset("SE", settles=1)
history.pot("se1", SE="5.0000")
before(D1).order("se1", D1, "se1", "sell", asset="SE", units="2.0000")
SE = sent(D1, "NORTH-SE-S-U")
before(D2).executed("se-1", SE, D1, "2.0000", "10", "20.00")
before(D3).settled("se-2", SE, D2, "2.0000", "20.00")
amends(D5, "se-3", SE, "executed", D4, "2.0000,9.5,19.00", "se-1")


def test_a_settled_line_settles_again_in_the_same_run(played: Scenario) -> None:
    assert played.pot(D3, "se1") == {("settled", "SE"): d("3"), ("settled", "USD"): d("20")}
    assert played.pot(D4, "se1") == played.pot(D3, "se1")
    assert played.pot(D5, "se1") == {("settled", "SE"): d("3"), ("settled", "USD"): d("19")}
    order = oid("se1")
    assert journals(played, D5, "se1") == [
        ("allocation", D1, None),
        ("reversal", D1, f"allocation:{order}"),
        ("reversal", D2, f"settlement:{order}"),
        ("settlement", D2, None),
    ]
    assert state(played, D5, "se1") == [("executed", "corrected"), ("settled", None)]
    assert played.pot(D6, "se1") == played.pot(D5, "se1")


# ---- confirmations stated anew under their old id -----------------------------------------------

history.asset("AN", settles=1)
history.pot("an1", AN="5.0000")
before(D1).order("an1", D1, "an1", "sell", asset="AN", units="2.0000")
AN = sent(D1, "NORTH-AN-S-U")
# More than instructed, put right a run later; then another price, after the line has settled.
before(D2).executed("an-1", AN, D1, "2.5000", "10", "20.00")
before(D3).executed("an-1", AN, D1, "2.0000", "10", "20.00")
before(D3).settled("an-2", AN, D2, "2.0000", "20.00")
before(D5).executed("an-1", AN, D1, "2.0000", "9.5", "19.00")
# Two rows that disagree hold it; what was booked stays; a single value releases it.
before(D6).land(
    "confirmations",
    f"an-1,{AN},executed,{D1},2.0000,9,18.00,,",
    f"an-1,{AN},executed,{D1},2.0000,8,16.00,,",
)
before(D7).executed("an-1", AN, D1, "2.0000", "8", "16.00")


def test_a_confirmation_stated_anew_is_a_correction(played: Scenario) -> None:
    assert ("quantity", "open") in found(played, D2, "AN")
    assert played.pot(D2, "an1") == {("settled", "AN"): d("3"), ("reserved", "AN"): d("2")}
    assert ("quantity", "corrected") in found(played, D3, "AN")
    assert played.pot(D3, "an1") == {("settled", "AN"): d("3"), ("settled", "USD"): d("20")}
    assert played.pot(D4, "an1") == played.pot(D3, "an1")
    assert played.pot(D5, "an1") == {("settled", "AN"): d("3"), ("settled", "USD"): d("19")}
    assert played.pot(D6, "an1") == played.pot(D5, "an1")
    assert played.rows("holds", D6, "feed", "key") == [("confirmations", "an-1")]
    assert played.pot(D7, "an1") == {("settled", "AN"): d("3"), ("settled", "USD"): d("16")}
    assert allocated(played, D7, "an1") == [(d("2"), d("16.00"), True)]
    assert played.rows("holds", D7, "key") == []


# ---- a settlement that is taken back ------------------------------------------------------------

history.asset("UN", settles=1)
history.pot("un1", UN="5.0000")
before(D1).order("un1", D1, "un1", "sell", asset="UN", units="2.0000")
UN = sent(D1, "NORTH-UN-S-U")
before(D2).executed("un-1", UN, D1, "2.0000", "10", "20.00")
before(D3).settled("un-2", UN, D2, "2.0000", "20.00")
amends(D4, "un-3", UN, "cancelled", D3, ",,", "un-2")
before(D6).settled("un-4", UN, D5, "2.0000", "20.00")


def test_a_line_whose_settlement_is_cancelled_is_in_flight_again(played: Scenario) -> None:
    in_flight = {
        ("settled", "UN"): d("3"),
        ("reserved", "UN"): d("2"),
        ("in_flight", "UN"): d("-2"),
        ("in_flight", "USD"): d("20"),
    }
    assert played.pot(D3, "un1") == {("settled", "UN"): d("3"), ("settled", "USD"): d("20")}
    assert played.pot(D4, "un1") == in_flight
    assert played.pot(D5, "un1") == in_flight
    assert state(played, D4, "un1") == [("executed", "corrected")]
    assert played.pot(D6, "un1") == {("settled", "UN"): d("3"), ("settled", "USD"): d("20")}
    assert state(played, D6, "un1") == [("settled", None)]
    assert ("settlement", D5, None) in journals(played, D6, "un1")


# ---- fewer units than the pot still has ---------------------------------------------------------

history.asset("SU", settles=1)
history.pot("su1", USD="20.00")
before(D1).order("su1", D1, "su1", "buy", asset="SU", amount="20.00")
SU = sent(D1, "NORTH-SU-B-A")
before(D2).executed("su-1", SU, D1, "2.0000", "10", "20.00")
before(D3).settled("su-2", SU, D2, "2.0000", "20.00")
before(D3).order("su2", D3, "su1", "sell", asset="SU", units="1.5000")
amends(D4, "su-3", SU, "executed", D3, "1.0000,20,20.00", "su-1")


def test_units_the_pot_no_longer_has_go_to_suspense(played: Scenario) -> None:
    # 2.0000 bought, 1.5000 reserved for a sale, 0.5000 left; the correction takes 1.0000.
    assert played.pot(D4, "su1") == {("reserved", "SU"): d("1.5")}
    assert played.balances(D4, "suspense/correction")["settled", "SU"] == d("-0.5")
    assert ("consideration", "open") in found(played, D4, "SU")
    # A break of its own, which no statement closes: it is there on the next day too.
    assert found(played, D5, "SU").count(("consideration", "open")) == found(
        played, D4, "SU"
    ).count(("consideration", "open"))
    assert ("SU",) not in played.rows("suspended_assets", D4, "asset_id")


# ---- a correction that leaves the line incomplete -----------------------------------------------

history.asset("IN", settles=1)
history.pot("in1", IN="5.0000")
before(D1).order("in1", D1, "in1", "sell", asset="IN", units="2.0000")
IN = sent(D1, "NORTH-IN-S-U")
before(D2).executed("in-1", IN, D1, "2.0000", "10", "20.00")
before(D3).settled("in-2", IN, D2, "2.0000", "20.00")
amends(D4, "in-3", IN, "executed", D3, "1.0000,10,10.00", "in-1")
before(D6).executed("in-4", IN, D5, "1.0000", "11", "11.00")


def test_an_incomplete_correction_waits_until_the_line_is_complete(played: Scenario) -> None:
    settled = {("settled", "IN"): d("3"), ("settled", "USD"): d("20")}
    assert played.pot(D4, "in1") == settled
    assert found(played, D4, "IN") == [("quantity", "open")]
    assert ("IN",) in played.rows("suspended_assets", D4, "asset_id")
    assert played.pot(D5, "in1") == settled
    assert found(played, D5, "IN") == [("quantity", "open")]
    assert played.pot(D6, "in1") == {("settled", "IN"): d("3"), ("settled", "USD"): d("21")}
    assert ("quantity", "corrected") in found(played, D6, "IN")
    assert ("IN",) not in played.rows("suspended_assets", D6, "asset_id")


# ---- a line that was rejected, and then was not -------------------------------------------------

history.asset("RX", settles=1)
history.pot("rx1", RX="5.0000")
before(D1).order("rx1", D1, "rx1", "sell", asset="RX", units="2.0000")
RX = sent(D1, "NORTH-RX-S-U")
before(D2).told("rx-1", RX, "rejected", D1)
amends(D4, "rx-2", RX, "executed", D3, "2.0000,10,20.00", "rx-1")
before(D5).settled("rx-3", RX, D4, "2.0000", "20.00")


def test_a_rejection_that_is_replaced_by_an_execution(played: Scenario) -> None:
    assert played.pot(D2, "rx1") == {("settled", "RX"): d("5")}
    assert state(played, D2, "rx1") == [("rejected", "custodian_rejected")]
    assert played.pot(D4, "rx1") == {
        ("settled", "RX"): d("3"),
        ("reserved", "RX"): d("2"),
        ("in_flight", "RX"): d("-2"),
        ("in_flight", "USD"): d("20"),
    }
    assert state(played, D4, "rx1") == [("executed", "corrected")]
    assert allocated(played, D4, "rx1") == [(d("2"), d("20.00"), False)]
    assert played.pot(D5, "rx1") == {("settled", "RX"): d("3"), ("settled", "USD"): d("20")}


# ---- executions taken back whole ----------------------------------------------------------------

history.asset("XX", settles=1)
history.pot("xx1", XX="5.0000")
before(D1).order("xx1", D1, "xx1", "sell", asset="XX", units="2.0000")
XX = sent(D1, "NORTH-XX-S-U")
before(D2).executed("xx-1", XX, D1, "2.0000", "10", "20.00")
before(D3).settled("xx-2", XX, D2, "2.0000", "20.00")
amends(D4, "xx-3", XX, "cancelled", D3, ",,", "xx-1")
before(D4).told("xx-4", XX, "rejected", D3)


def test_an_execution_cancelled_after_settlement_gives_everything_back(played: Scenario) -> None:
    assert played.pot(D4, "xx1") == {("settled", "XX"): d("5")}
    assert state(played, D4, "xx1") == [("rejected", "custodian_rejected")]
    assert allocated(played, D4, "xx1") == [(d("0"), d("0.00"), True)]


# ---- a switch whose sale is taken back, and executed after all -----------------------------------

history.asset("SW", settles=1)
history.asset("SX", settles=1)
history.pot("sw1", SW="5.0000")
before(D1).order("sw1", D1, "sw1", "switch", asset="SW", to="SX", units="2.0000")
SW, SX = sent(D1, "NORTH-SW-S-U"), sent(D2, "NORTH-SX-B-A")
before(D2).executed("sw-1", SW, D1, "2.0000", "10", "20.00")
before(D3).executed("sx-1", SX, D2, "2.0000", "10", "20.00")
amends(D4, "sw-2", SW, "cancelled", D3, ",,", "sw-1")
before(D4).told("sw-3", SW, "rejected", D3)
amends(D5, "sw-4", SW, "executed", D4, "2.0000,11,22.00", "sw-3")


def test_a_switch_buys_once_whatever_becomes_of_its_sale(played: Scenario) -> None:
    bought = order_id("switch", oid("sw1"))
    assert [state for state, _ in played.moves(D2, bought)] == ["accepted", "batched", "placed"]
    assert played.moves(D3, bought) == [("executed", None)]
    assert state(played, D4, "sw1") == [("rejected", "custodian_rejected")]
    # Nothing has settled: the custodian has not said so yet.
    assert state(played, D5, "sw1") == [("executed", "corrected")]
    assert state(played, D6, "sw1") == []
    assert allocated(played, D5, "sw1") == [(d("2"), d("22.00"), False)]
    # The first proceeds are spent; what the second booking brought more stays in the pot.
    for day in (D4, D5, D6):
        assert played.moves(day, bought) == []


# ---- a closing price corrected after dealing ----------------------------------------------------

history.asset("PX", settles=1)
history.pot("px1", PX="5.0000")
history.profile("PXONLY", PX="1")
before(D1).order("px1", D1, "px1", "sell", asset="PX", units="4.0000")
history.pot("px3", "PXONLY", USD="30.00")
PX = sent(D1, "NORTH-PX-S-U")


# px3 is all cash and wants 3.0000: one stressed day caps it to trunc(3 * 30.00 / 33.01) = 2.7264,
# which it buys of what px1 sells; 1.2736 go outside.
before(D2).land("confirmations", f"px-1,{PX},executed,{D1},1.2736,10,12.74,,")
before(D3).settled("px-2", PX, D2, "1.2736", "12.74")
before(D5).land("closing_prices", f"{D1},PX,USD,11")


def test_a_corrected_price_books_the_crossed_part_again(played: Scenario) -> None:
    line = played.frame("batch_lines", D1).filter(pl.col("asset_id") == "PX")
    assert line.select("crossed", "net").row(0) == (d("2.7264"), d("1.2736"))
    # At 10, 27.26 crossed; at 11, 29.99: what px3 pays more, px1 gets.
    assert played.pot(D4, "px1")["settled", "USD"] == d("40.00")
    assert played.pot(D5, "px1")["settled", "USD"] == d("42.73")
    assert played.pot(D4, "px3") == {("settled", "PX"): d("2.7264"), ("settled", "USD"): d("2.74")}
    assert played.pot(D5, "px3") == {("settled", "PX"): d("2.7264"), ("settled", "USD"): d("0.01")}
    assert ("reversal", D1, f"allocation:{oid('px1')}") in journals(played, D5, "px1")


# ---- the same, early, late, twice ---------------------------------------------------------------

ORDERS = ("123", "132", "213", "231", "312", "321")
for perm in ORDERS:
    history.asset(f"P{perm}", settles=1)
    history.pot(f"p{perm}", **{f"P{perm}": "5.0000"})
    before(D1).order(f"p{perm}", D1, f"p{perm}", "sell", asset=f"P{perm}", units="2.0000")
    line = sent(D1, f"NORTH-P{perm}-S-U")
    told = {
        "1": f"p{perm}-1,{line},executed,{D1},2.0000,10,20.00,,",
        "2": f"p{perm}-2,{line},executed,{D1},2.0000,9.5,19.00,,p{perm}-1",
        "3": f"p{perm}-3,{line},settled,{D1},2.0000,,20.00,{D1},",
    }
    for run, event in zip((D2, D4, D6), perm, strict=True):
        before(run).land("confirmations", told[event])


@pytest.mark.parametrize("perm", ORDERS)
def test_the_order_of_arrival_does_not_change_the_end(played: Scenario, perm: str) -> None:
    assert played.pot(D6, f"p{perm}") == {
        ("settled", f"P{perm}"): d("3"),
        ("settled", "USD"): d("19"),
    }
    assert played.pot(D7, f"p{perm}") == played.pot(D6, f"p{perm}")
