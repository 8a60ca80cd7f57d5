"""What custodians answer, and what that makes of orders, pots and lines: one week, many stories.

Each section is a story: its files, by the run before which they arrive, and then its figures.
"""

import hashlib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from acme.domain.orders import order_id
from acme.operations import enquiries
from tests.scenarios.driver import D1, D2, D3, D4, D5, History, Scenario, d

pytestmark = pytest.mark.xdist_group("trading-history")

history = History([D1, D2, D3, D4, D5])
before = history.before


def sent(day: object, line: str) -> str:
    """Return an instruction id of the live batch, by custodian, asset, side and type."""
    return f"B-{day}-live-{line}"


def oid(ref: str) -> str:
    return order_id("T", ref)


def lucky(orders: Iterable[str]) -> str:
    """Return the order that gets the odd minor unit of the batch of D1 (rules §1, ties)."""
    return min(orders, key=lambda o: hashlib.sha256(f"B-{D1}-live:{o}".encode()).hexdigest())


def allocated(played: Scenario, day: object, asset: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Return order → allocated units, consideration of an asset."""
    frame = played.frame("allocations", day).filter(pl.col("asset_id") == asset)
    rows = frame.select("order_id", "units", "consideration").iter_rows()
    return {order: (units, money) for order, units, money in rows}


def journals(played: Scenario, day: object, order: str) -> list[tuple[object, ...]]:
    frame = played.frame("ledger_journals", day).filter(pl.col("order_id") == order)
    return frame.select("kind", "effective_date").sort("kind").rows()


# ---- several partial fills, and a penny that three orders claim ---------------------------------

history.asset("PF")
for n in "123":
    history.pot(f"pf{n}", PF="1.0000")
    before(D1).order(f"pf{n}", D1, f"pf{n}", "sell", asset="PF", units="1.0000")
PF = sent(D1, "NORTH-PF-S-U")
before(D2).executed("pf-1", PF, D1, "1.0000", "10", "10.00")
before(D3).executed("pf-2", PF, D2, "2.0000", "10.005", "20.01")


def test_a_line_is_booked_when_its_last_fill_has_come(played: Scenario) -> None:
    assert played.instructions(D1)[PF] == "3.0000"
    assert allocated(played, D2, "PF") == {}
    # 10.00 + 20.01 = 30.01 over three equal orders: 10.00 each, one penny to the lowest hash.
    orders = [oid("pf1"), oid("pf2"), oid("pf3")]
    shares = {o: (d("1.0000"), d("10.00")) for o in orders}
    shares[lucky(orders)] = (d("1.0000"), d("10.01"))
    assert allocated(played, D3, "PF") == shares
    # Booked with the effective date of the dealing, known two runs later.
    assert journals(played, D3, oid("pf1")) == [("allocation", D1)]
    money = shares[oid("pf1")][1]
    assert played.pot(D3, "pf1") == {
        ("reserved", "PF"): d("1"),
        ("in_flight", "PF"): d("-1"),
        ("in_flight", "USD"): money,
    }
    # 10.005 is not the closing price of D1: reported, but no reason to suspend the asset.
    assert ("NORTH", "PF", "price", "open") in played.breaks(D3)
    assert ("PF",) not in played.rows("suspended_assets", D3, "asset_id")


# ---- units that three equal amounts claim -------------------------------------------------------

history.asset("TI")
for n in "123":
    history.pot(f"ti{n}", USD="10.00")
    before(D1).order(f"ti{n}", D1, f"ti{n}", "buy", asset="TI", amount="10.00")
history.price(D1, "TI", "30")
TI = sent(D1, "NORTH-TI-B-A")
before(D2).executed("ti-1", TI, D1, "1.0000", "30", "30.00")


def test_tied_units_go_to_the_lowest_hash(played: Scenario) -> None:
    assert played.instructions(D1)[TI] == "30.00"
    # 1.0000 / 3: 0.3333 each, 0.0001 left over, equal remainders.
    orders = [oid("ti1"), oid("ti2"), oid("ti3")]
    shares = {o: (d("0.3333"), d("10.00")) for o in orders}
    shares[lucky(orders)] = (d("0.3334"), d("10.00"))
    assert allocated(played, D2, "TI") == shares


# ---- a rejected instruction ---------------------------------------------------------------------

history.asset("RJ")
history.pot("rj1", RJ="8.0000")
history.pot("rj2", USD="40.00")
before(D1).order("rj1", D1, "rj1", "sell", asset="RJ", units="5.0000")
before(D1).order("rj2", D1, "rj2", "buy", asset="RJ", amount="25.00")
before(D2).told("rj-1", sent(D1, "NORTH-RJ-S-U"), "rejected", D1)
before(D2).told("rj-2", sent(D1, "NORTH-RJ-B-A"), "rejected", D1)


def test_a_rejected_instruction_returns_what_was_reserved(played: Scenario) -> None:
    # Units and amounts are different lines: a sale does not cross with an amount.
    assert played.instructions(D1)[sent(D1, "NORTH-RJ-S-U")] == "5.0000"
    assert played.instructions(D1)[sent(D1, "NORTH-RJ-B-A")] == "25.00"
    for order in (oid("rj1"), oid("rj2")):
        assert played.moves(D2, order) == [("rejected", "custodian_rejected")]
        assert journals(played, D2, order) == [("allocation", D1)]
    assert played.pot(D2, "rj1") == {("settled", "RJ"): d("8")}
    assert played.pot(D2, "rj2") == {("settled", "USD"): d("40")}
    assert allocated(played, D2, "RJ") == {}


# ---- executed in part, the rest cancelled -------------------------------------------------------

history.asset("PE")
history.pot("pe1", PE="10.0000")
history.pot("pe2", PE="3.0000")
before(D1).order("pe1", D1, "pe1", "sell", asset="PE", units="7.0000")
before(D1).order("pe2", D1, "pe2", "sell", asset="PE", units="3.0000")
PE = sent(D1, "NORTH-PE-S-U")
before(D2).executed("pe-1", PE, D1, "4.0000", "10", "40.00")
before(D2).told("pe-2", PE, "cancelled", D1)
before(D4).settled("pe-3", PE, D3, "4.0000", "40.00")


def test_a_cancelled_rest_is_shared_and_returned(played: Scenario) -> None:
    # 4.0000 over 7 : 3 is 2.8 and 1.2; 40.00 over 2.8 : 1.2 is 28.00 and 12.00.
    assert allocated(played, D2, "PE") == {
        oid("pe1"): (d("2.8"), d("28.00")),
        oid("pe2"): (d("1.2"), d("12.00")),
    }
    assert played.moves(D2, oid("pe1")) == [("part_executed", None)]
    # 10 held: 3 never ordered + 4.2 returned are settled again, 2.8 stay reserved.
    assert played.pot(D2, "pe1") == {
        ("settled", "PE"): d("7.2"),
        ("reserved", "PE"): d("2.8"),
        ("in_flight", "PE"): d("-2.8"),
        ("in_flight", "USD"): d("28"),
    }
    assert played.moves(D4, oid("pe1")) == [("settled", None)]
    assert played.pot(D4, "pe1") == {("settled", "PE"): d("7.2"), ("settled", "USD"): d("28")}
    assert played.pot(D4, "pe2") == {("settled", "PE"): d("1.8"), ("settled", "USD"): d("12")}


# ---- crossing with a net of zero ----------------------------------------------------------------

history.asset("CZ")
history.profile("P-CZ", CZ="0.5", CASH="0.5")
history.pot("cz1", "P-CZ")
history.pot("cz2", CZ="50.0000")
before(D1).order("cz1", D1, "cz1", "contribution", amount="1000.00")
before(D1).order("cz2", D1, "cz2", "sell", asset="CZ", units="50.0000")
history.price(D1, "CZ", "10.50")


def test_what_crosses_whole_never_goes_out(played: Scenario) -> None:
    # V = 1,000: 0.5 of it buys 50.0000 at 10; stressed 50·10·1.1 + 0.01 = 550.01 of 1,000.00.
    assert played.trades(D1)["cz1", "CZ"] == d("50")
    line = played.frame("batch_lines", D1).filter(pl.col("asset_id") == "CZ")
    assert line.select("gross_buys", "gross_sells", "crossed", "net", "side").rows() == [
        (d("50"), d("50"), d("50"), d("0"), "")
    ]
    assert line["instruction_id"].to_list() == [None]
    assert not [i for i in played.instructions(D1) if "-CZ-" in i]
    # Both sides at the closing price of D1, which nobody knew: money(50 · 10.50) = 525.00.
    bought = order_id("rebalancing", f"live:cz1:CZ:{D1}")
    assert allocated(played, D2, "CZ") == {
        bought: (d("50"), d("525.00")),
        oid("cz2"): (d("50"), d("525.00")),
    }
    assert ("in_flight", "CZ") not in played.balances(D2, "custodian/NORTH")


def test_an_internal_line_settles_on_its_date(played: Scenario) -> None:
    # Two business dates after D1 is D3, which has closed for the run of D4.
    assert played.pot(D3, "cz2")["in_flight", "USD"] == d("525")
    assert journals(played, D4, oid("cz2")) == [("settlement", D3)]
    assert played.pot(D4, "cz1") == {("settled", "CZ"): d("50"), ("settled", "USD"): d("475")}
    assert played.pot(D4, "cz2") == {("settled", "USD"): d("525")}


# ---- crossing with a net ------------------------------------------------------------------------

history.asset("CN")
history.profile("P-CN", CN="0.5", CASH="0.5")
history.pot("cn1", "P-CN")
history.pot("cn2", CN="7.0001")
history.pot("cn3", CN="12.9999")
before(D1).order("cn1", D1, "cn1", "contribution", amount="1000.00")
before(D1).order("cn2", D1, "cn2", "sell", asset="CN")
before(D1).order("cn3", D1, "cn3", "sell", asset="CN", units="12.9999")
history.price(D1, "CN", "10.50")
CN = sent(D1, "NORTH-CN-B-U")
before(D2).executed("cn-1", CN, D1, "30.0000", "10.50", "315.00")


def test_only_the_net_goes_out_and_legs_stay_gross(played: Scenario) -> None:
    # Buys 50, sells 7.0001 + 12.9999 = 20: crossed 20, net 30 bought.
    assert played.instructions(D1)[CN] == "30.0000"
    # CX = 20 · 10.50 = 210.00, over 70,001 : 129,999 = 7,350.105 : 13,649.895 pence.
    assert allocated(played, D2, "CN") == {
        order_id("rebalancing", f"live:cn1:CN:{D1}"): (d("50"), d("525.00")),
        oid("cn2"): (d("7.0001"), d("73.50")),
        oid("cn3"): (d("12.9999"), d("136.50")),
    }
    # The custodian's account has the net alone; it is the contra side.
    assert played.balances(D2, "custodian/NORTH")["in_flight", "CN"] == d("-30")


# ---- settlement on the custodian's word ---------------------------------------------------------

history.asset("LS")
history.pot("ls1", LS="6.0000")
before(D1).order("ls1", D1, "ls1", "sell", asset="LS")
LS = sent(D1, "NORTH-LS-S-U")
before(D2).executed("ls-1", LS, D1, "6.0000", "10", "60.00")
before(D4).told("ls-2", LS, "failed", D3)
before(D4).settled("ls-3", LS, D3, "2.0000", "20.00")
before(D5).settled("ls-4", LS, D4, "4.0000", "40.00")


def test_a_line_settles_whole_once_the_custodian_has_said_so(played: Scenario) -> None:
    # Due on D3; on D4 a third of it has settled and the rest failed: nothing moves.
    waiting = {
        ("reserved", "LS"): d("6"),
        ("in_flight", "LS"): d("-6"),
        ("in_flight", "USD"): d("60"),
    }
    assert played.pot(D2, "ls1") == played.pot(D4, "ls1") == waiting
    assert ("NORTH", "LS", "settlement_failed", "open") in played.breaks(D4)
    assert played.moves(D4, oid("ls1")) == []
    assert played.pot(D5, "ls1") == {("settled", "USD"): d("60")}
    assert journals(played, D5, oid("ls1")) == [("settlement", D4)]
    assert played.moves(D5, oid("ls1")) == [("settled", None)]
    assert ("NORTH", "LS", "settlement_failed", "corrected") in played.breaks(D5)


# ---- switches -----------------------------------------------------------------------------------

for asset, settles in {"SA": 2, "SB": 1, "SC": 1, "SM": 0}.items():
    history.asset(asset, settles=settles)
history.pot("sw1", SA="10.0000")
history.pot("sw2", SA="5.0000")
history.pot("sw3", SC="4.0000")
before(D1).order("sw1", D1, "sw1", "switch", asset="SA", to="SB")
before(D1).order("sw2", D1, "sw2", "switch", asset="SA", to="SM", units="5.0000")
before(D1).order("sw3", D1, "sw3", "switch", asset="SC", to="SA")
before(D2).executed("sw-1", sent(D1, "NORTH-SA-S-U"), D1, "15.0000", "10", "150.00")
before(D2).executed("sw-2", sent(D1, "NORTH-SC-S-U"), D1, "4.0000", "10", "40.00")
before(D2).settled("sw-3", sent(D1, "NORTH-SC-S-U"), D1, "4.0000", "40.00")
before(D3).executed("sw-4", sent(D2, "NORTH-SB-B-A"), D2, "10.0000", "10", "100.00")
before(D4).settled("sw-5", sent(D1, "NORTH-SA-S-U"), D3, "15.0000", "150.00")
before(D4).settled("sw-6", sent(D2, "NORTH-SB-B-A"), D3, "10.0000", "100.00")
before(D4).executed("sw-7", sent(D3, "NORTH-SM-B-A"), D3, "5.0000", "10", "50.00")
before(D4).settled("sw-8", sent(D3, "NORTH-SM-B-A"), D3, "5.0000", "50.00")


def reserved(played: Scenario, day: object, order: str) -> Decimal:
    frame = played.frame("stage.open_orders", day).filter(pl.col("order_id") == order)
    return frame["reserved"][0]


def test_a_switch_into_later_settlement_buys_with_unsettled_proceeds(played: Scenario) -> None:
    # Sale settles D3; bought on D2, bonds settle D3 too: not before the sale's.
    buy = order_id("switch", oid("sw1"))
    made = [("accepted", None), ("batched", None), ("placed", None)]
    assert played.moves(D2, buy) == made
    assert played.instructions(D2)[sent(D2, "NORTH-SB-B-A")] == "100.00"
    assert reserved(played, D2, buy) == 0
    assert played.pot(D4, "sw1") == {("settled", "SB"): d("10")}


def test_a_switch_into_earlier_settlement_waits(played: Scenario) -> None:
    # Bought on D2 it would settle on D2, before the sale's D3; on D3 it no longer does.
    buy = order_id("switch", oid("sw2"))
    assert played.moves(D2, buy) == []
    assert [state for state, _ in played.moves(D3, buy)] == ["accepted", "batched", "placed"]
    assert played.instructions(D3)[sent(D3, "NORTH-SM-B-A")] == "50.00"
    assert reserved(played, D3, buy) == 0
    assert played.pot(D4, "sw2") == {("settled", "SM"): d("5")}


def test_a_switch_with_settled_proceeds_reserves_them(played: Scenario) -> None:
    buy = order_id("switch", oid("sw3"))
    assert played.instructions(D2)[sent(D2, "NORTH-SA-B-A")] == "40.00"
    assert reserved(played, D2, buy) == d("40")
    assert played.pot(D3, "sw3") == {("reserved", "USD"): d("40")}


# ---- silence, then an answer --------------------------------------------------------------------

history.asset("UN")
history.pot("un1", UN="1.0000")
before(D1).order("un1", D1, "un1", "sell", asset="UN")
before(D4).executed("un-1", sent(D1, "NORTH-UN-S-U"), D3, "1.0000", "10", "10.00")


def asked_about(played: Scenario, day: date) -> list[tuple[str, str, date]]:
    every = enquiries.unanswered(played.platform.lake, day)
    return every.filter(pl.col("instruction_id").str.contains("-UN-")).rows()


def test_an_unanswered_instruction_becomes_unknown_until_it_is_answered(played: Scenario) -> None:
    # No answer by the close of D2, the next business date: the run of D3 says so.
    assert played.moves(D2, oid("un1")) == []
    assert played.moves(D3, oid("un1")) == [("unknown", "no_answer")]
    assert ("NORTH", "UN", "timing", "open") in played.breaks(D3)
    assert not [i for i in played.instructions(D3) if "-UN-" in i]
    assert asked_about(played, D2) == []
    assert asked_about(played, D3) == [("NORTH", sent(D1, "NORTH-UN-S-U"), D1)]
    assert asked_about(played, D4) == []
    assert played.moves(D4, oid("un1")) == [("executed", None)]
    assert journals(played, D4, oid("un1")) == [("allocation", D1)]
    assert ("NORTH", "UN", "timing", "corrected") in played.breaks(D4)


# ---- confirmed for more than instructed ---------------------------------------------------------

history.asset("OC")
history.pot("oc1", OC="5.0000")
before(D1).order("oc1", D1, "oc1", "sell", asset="OC", units="2.0000")
before(D2).executed("oc-1", sent(D1, "NORTH-OC-S-U"), D1, "3.0000", "10", "30.00")
before(D2).order("oc2", D2, "oc1", "sell", asset="OC", units="1.0000")
before(D3).executed("oc-2", sent(D1, "NORTH-OC-S-U"), D2, "2.0000", "10", "20.00")
before(D3).land("confirmations", f"oc-3,{sent(D1, 'NORTH-OC-S-U')},cancelled,{D2},,,,,oc-1")


def test_more_than_instructed_is_not_booked_and_suspends(played: Scenario) -> None:
    assert allocated(played, D2, "OC") == {}
    assert ("NORTH", "OC", "quantity", "open") in played.breaks(D2)
    assert played.moves(D2, oid("oc2")) == [("rejected", "asset_suspended")]
    # The custodian takes oc-1 back and confirms 2.0000 instead.
    assert allocated(played, D3, "OC") == {oid("oc1"): (d("2"), d("20.00"))}
    assert ("NORTH", "OC", "quantity", "corrected") in played.breaks(D3)
    assert ("OC",) not in played.rows("suspended_assets", D3, "asset_id")


# ---- corrections --------------------------------------------------------------------------------

history.asset("AM")
history.pot("am1", AM="5.0000")
before(D1).order("am1", D1, "am1", "sell", asset="AM", units="2.0000")
before(D2).executed("am-1", sent(D1, "NORTH-AM-S-U"), D1, "1.0000", "10", "10.00")
before(D3).land(
    "confirmations",
    f"am-2,{sent(D1, 'NORTH-AM-S-U')},executed,{D2},2.0000,10,20.00,,am-1",
)


def test_an_amendment_replaces_before_booking(played: Scenario) -> None:
    # 2.0000 instead of, not on top of, 1.0000.
    assert allocated(played, D2, "AM") == {}
    assert allocated(played, D3, "AM") == {oid("am1"): (d("2"), d("20.00"))}
