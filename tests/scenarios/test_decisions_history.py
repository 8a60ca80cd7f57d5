"""What a run decides, and what prices, orders and statements do to it: one week, many stories.

Each section is a story: its files, by the run before which they arrive, and then its figures.
"""

from decimal import Decimal

import polars as pl
import pytest

from acme.domain.orders import order_id
from tests.scenarios.driver import D0, D1, D2, D3, D4, D5, History, Scenario, d

pytestmark = pytest.mark.xdist_group("decisions-history")

history = History([D1, D2, D3, D4, D5])
before = history.before


def sent(day: object, line: str) -> str:
    return f"B-{day}-live-{line}"


def oid(ref: str) -> str:
    return order_id("T", ref)


def booked(played: Scenario, day: object, asset: str) -> list[tuple[str, Decimal, Decimal, object]]:
    """Return pot, units, consideration, effective date of an asset's allocations."""
    frame = played.frame("allocations", day).filter(pl.col("asset_id") == asset)
    return sorted(frame.select("pot_id", "units", "consideration", "effective_date").rows())


def held(played: Scenario, day: object) -> dict[str, str]:
    """Return what is on hold: key → reason."""
    return dict(played.frame("holds", day).select("key", "reason").iter_rows())


# ---- a withdrawal reserved in parts, then paid --------------------------------------------------

history.asset("WD")
history.pot("wd1", WD="10.0000", USD="30.00")
before(D1).order("wd1", D1, "wd1", "withdrawal", amount="100.00")
before(D2).order("wd2", D2, "wd1", "contribution", amount="50.00")
before(D3).order("wd3", D3, "wd1", "contribution", amount="20.00")


def test_a_withdrawal_reserves_what_there_is_until_it_can_be_paid(played: Scenario) -> None:
    units = {("settled", "WD"): d("10")}
    # 30 of 100 reserved on D1; withdrawals come before contributions, so 50 waits from D2 to D3.
    assert played.pot(D2, "wd1") == units | {("reserved", "USD"): d("30")}
    reserve = {("reserved", "USD"): d("30"), ("settled", "USD"): d("50")}
    assert played.pot(D3, "wd1") == units | reserve
    # 30 + 50 reserved on D3; the last 20 on D4, and then all 100.00 leaves.
    reserve = {("reserved", "USD"): d("80"), ("settled", "USD"): d("20")}
    assert played.pot(D4, "wd1") == units | reserve
    assert f"{oid('wd1')} OUT 100.00" in played.cash_file(D4)
    assert not [m for day in (D1, D2, D3) for m in played.cash_file(day) if oid("wd1") in m]
    assert played.moves(D1, oid("wd1")) == [("accepted", None)]
    assert played.moves(D4, oid("wd1")) == [("settled", None)]
    assert played.pot(D5, "wd1") == units


# ---- withdrawals that can never be reserved in full ---------------------------------------------

history.pot("sp1", USD="30.00")
before(D1).order("sp1", D1, "sp1", "withdrawal", amount="100.00")
before(D1).order("sp2", D1, "sp1", "withdrawal", amount="5.00", at="10:00:00")


def test_an_exhausted_pot_pays_what_it_reserved(played: Scenario) -> None:
    assert played.moves(D1, oid("sp1")) == [("accepted", None)]
    assert played.moves(D2, oid("sp1")) == [("settled", "short_paid")]
    assert played.moves(D2, oid("sp2")) == [("rejected", "insufficient_cash")]
    assert f"{oid('sp1')} OUT 30.00" in played.cash_file(D2)
    assert not [m for m in played.cash_file(D2) if oid("sp2") in m]
    assert played.pot(D3, "sp1") == {}


# ---- a withdrawal of all ------------------------------------------------------------------------

history.asset("CL")
history.pot("cl1", CL="10.0000", USD="12.34")
before(D1).order("cl1", D1, "cl1", "withdrawal")
before(D2).order("cl2", D2, "cl1", "buy", asset="CL", amount="5.00")
before(D2).order("cl3", D2, "cl1", "contribution", amount="5.00")
before(D2).order("cl4", D2, "cl1", "withdrawal", at="10:00:00")
CL = sent(D1, "NORTH-CL-S-U")
before(D2).executed("cl-1", CL, D1, "10.0000", "10", "100.00")
before(D4).settled("cl-2", CL, D3, "10.0000", "100.00")
before(D5).order("cl5", D5, "cl1", "contribution", amount="1.00")


def status(played: Scenario, day: object, pot: str) -> str:
    return played.frame("pots", day).filter(pl.col("pot_id") == pot)["status"][0]


def test_a_withdrawal_of_all_closes_the_pot_once_everything_is_cash(played: Scenario) -> None:
    sale = order_id("withdrawal", f"{oid('cl1')}:CL:{D1}")
    states = [state for state, _ in played.moves(D1, sale)]
    assert states == ["accepted", "batched", "placed"]
    assert played.instructions(D1)[CL] == "10.0000"
    assert status(played, D1, "cl1") == status(played, D3, "cl1") == "closing"
    assert played.moves(D2, oid("cl2")) == [("rejected", "closed_pot")]
    assert played.moves(D2, oid("cl4")) == [("rejected", "closed_pot")]
    assert played.moves(D2, oid("cl3"))[-1] == ("settled", None)
    # 12.34 + 5.00 + 100.00, once the sale has settled.
    assert f"{oid('cl1')} OUT 117.34" in played.cash_file(D4)
    assert played.moves(D4, oid("cl1")) == [("settled", None)]
    assert status(played, D4, "cl1") == "closed"
    assert played.pot(D5, "cl1") == {}
    assert played.moves(D5, oid("cl5")) == [("rejected", "closed_pot")]


# ---- a change of profile ------------------------------------------------------------------------

history.asset("PA", settles=2, stress="0.10")
history.asset("PB", settles=1, stress="0.05")
history.profile("PC1", PA="0.5", PB="0.4", CASH="0.1")
history.profile("PC2", PA="0.9", CASH="0.1")
for pot, profile in {"pc1": "PC2", "pc2": "PC1", "pc3": "NONE"}.items():
    history.pot(pot, "PC1", PA="50.0000", PB="40.0000", USD="100.00")
    before(D1).order(pot, D1, pot, "profile_change", profile=profile)


def test_a_change_to_another_profile_makes_the_pot_due(played: Scenario) -> None:
    # V = 500 + 400 + 100 = 1,000: PA 0.9 · 1,000 / 10 = 90, PB none.
    # Buying 40 PA costs 400 · 1.1 + 0.01 = 440.01 stressed; there are 100 in cash and, settling
    # earlier, 400 · (1 − 0.05) = 380 from the sale of PB: 480, so it is not capped.
    assert played.trades(D1)["pc1", "PA"] == d("40")
    assert played.trades(D1)["pc1", "PB"] == d("-40")
    assert played.moves(D1, oid("pc1")) == [("accepted", None), ("settled", None)]


def test_a_change_to_the_same_or_no_profile_does_not(played: Scenario) -> None:
    assert played.outcomes(D1, "pc2") == {"": "not_due"}
    assert played.moves(D1, oid("pc2")) == [("accepted", None), ("settled", None)]
    assert played.outcomes(D1, "pc3") == {"": "not_due"}
    assert played.moves(D1, oid("pc3")) == [("rejected", "unknown_profile")]


# ---- an order that is there before its pot ------------------------------------------------------

before(D1).order("ep1", D1, "ep1", "contribution", amount="5.00", at="12:00:00")
before(D2).land("pots", "ep1,M-ep1,SELF,canary,2024-01-01")


def test_a_waiting_order_finds_the_pot_that_lands_meanwhile(played: Scenario) -> None:
    assert played.moves(D2, oid("ep1")) == [("accepted", None), ("settled", None)]
    taken = played.frame("orders", D2).filter(pl.col("order_id") == oid("ep1"))
    assert taken["book"].to_list() == ["canary"]


# ---- the cut-off, later files, and orders that were taken ---------------------------------------

for asset in ("LO", "RP", "CH"):
    history.asset(asset)
    history.pot(asset.lower(), **{asset: "20.0000"})
before(D1).order("lo1", D1, "lo", "sell", asset="LO", units="1.0000", at="12:00:00")
before(D1).order("lo2", D1, "lo", "sell", asset="LO", units="2.0000", at="11:59:59.999999")
before(D2).order("lo3", D1, "lo", "sell", asset="LO", units="3.0000")


def test_the_cut_off_instant_itself_is_late(played: Scenario) -> None:
    assert played.instructions(D1)[sent(D1, "NORTH-LO-S-U")] == "2.0000"
    # lo1 came at the cut-off; lo3 came in time but landed after the run of D1.
    assert played.instructions(D2)[sent(D2, "NORTH-LO-S-U")] == "4.0000"
    orders = played.frame("orders", D2).filter(pl.col("asset_id") == "LO")
    assert sorted(orders.select("order_id", "dealing_date").rows()) == sorted(
        [(oid("lo1"), D2), (oid("lo3"), D2)]
    )


before(D1).order("rp1", D2, "rp", "sell", asset="RP", units="1.0000")
before(D2).order("rp1", D2, "rp", "sell", asset="RP", units="2.0000")


def test_a_waiting_order_is_replaced_by_a_later_file(played: Scenario) -> None:
    assert not [i for i in played.instructions(D1) if "-RP-" in i]
    assert played.instructions(D2)[sent(D2, "NORTH-RP-S-U")] == "2.0000"


before(D1).order("ch1", D1, "ch", "sell", asset="CH", units="1.0000")
before(D1).order("ch2", D1, "ch", "sell", asset="CH", units="2.0000")
before(D2).order("ch1", D1, "ch", "sell", asset="CH", units="9.0000")
before(D2).order("ch2", D1, "ch", "sell", asset="CH", units="2.0000")
before(D2).order("ch3", D2, "ch", "sell", asset="CH", units="4.0000")


def test_a_taken_order_never_changes(played: Scenario) -> None:
    assert played.instructions(D1)[sent(D1, "NORTH-CH-S-U")] == "3.0000"
    # Of the three rows one is new, one repeats (no effect), one differs: refused alone.
    assert played.instructions(D2)[sent(D2, "NORTH-CH-S-U")] == "4.0000"
    refused = played.frame("quarantined_rows", D2).select("feed", "key", "rule").rows()
    assert refused == [("orders", "T|ch1", "order_already_taken")]
    assert played.moves(D2, oid("ch1")) == played.moves(D2, oid("ch2")) == []


# ---- prices on hold -----------------------------------------------------------------------------

history.asset("PH")
history.profile("P-PH", PH="0.5", CASH="0.5")
history.pot("ph1", "P-PH")
history.pot("ph2", PH="21.0000")
before(D1).order("ph1", D1, "ph1", "contribution", amount="1000.00")
before(D1).order("ph2", D1, "ph2", "sell", asset="PH", units="20.0000")
history.price(D1, "PH", "10.50", "10.60")
before(D2).executed("ph-1", sent(D1, "NORTH-PH-B-U"), D1, "30.0000", "10.50", "315.00")
before(D2).order("ph3", D2, "ph2", "sell", asset="PH", units="1.0000")
before(D3).land("closing_prices", f"{D1},PH,USD,10.50")


def test_a_line_with_crossing_waits_for_its_closing_price(played: Scenario) -> None:
    # Two prices in one file: none is accepted, nothing of the asset is dealt, the pot is skipped.
    assert held(played, D2) == {
        f"{D1}|PH": "conflicting_rows",
        f"{D1}|PN": "conflicting_rows",
        f"{D1}|PL": "price_limit",
    }
    assert played.moves(D2, oid("ph3")) == [("rejected", "no_price")]
    assert played.outcomes(D2, "ph1") == {"": "no_price"}
    assert booked(played, D2, "PH") == []
    # Released by a later file's single value: 50 · 10.50 and CX = 20 · 10.50, dated D1.
    assert booked(played, D3, "PH") == [
        ("ph1", d("50"), d("525.00"), D1),
        ("ph2", d("20"), d("210.00"), D1),
    ]
    assert f"{D1}|PH" not in held(played, D3)


history.asset("PN")
history.pot("pn1", PN="5.0000")
before(D1).order("pn1", D1, "pn1", "sell", asset="PN")
history.price(D1, "PN", "10.00", "11.00")
before(D2).executed("pn-1", sent(D1, "NORTH-PN-S-U"), D1, "5.0000", "10", "50.00")


def test_a_line_without_crossing_needs_no_closing_price(played: Scenario) -> None:
    assert booked(played, D2, "PN") == [("pn1", d("5"), d("50.00"), D1)]
    # Nobody ever said which it was.
    assert f"{D1}|PN" in held(played, D5)


history.asset("PL", limit="0.25")
history.pot("pl1", PL="5.0000")
history.price(D1, "PL", "12.51")
history.price(D2, "PL", "12.50")
before(D3).land("closing_prices", f"{D1},PL,USD,12.51")


def test_an_unbelievable_move_waits_for_a_second_file(played: Scenario) -> None:
    # 10 → 12.51 is more than a quarter; repeated it counts, and 12.51 → 12.50 is believable.
    status = {
        day: played.frame("closing_prices", day)
        .filter((pl.col("asset_id") == "PL") & (pl.col("price_date") == D1))["status"]
        .to_list()
        for day in (D2, D3)
    }
    assert status == {D2: ["held"], D3: ["accepted"]}
    assert f"{D1}|PL" not in held(played, D3)


# ---- no price of P ------------------------------------------------------------------------------

history.asset("MP")
history.profile("P-MP", MP="0.5", CASH="0.5")
history.pot("mp1", "P-MP")
history.pot("mp2", MP="3.0000", USD="10.00")
history.price(D1, "MP")
before(D2).order("mp1", D2, "mp1", "contribution", amount="1000.00")
before(D2).order("mp2", D2, "mp2", "sell", asset="MP", units="1.0000")
before(D2).order("mp3", D2, "mp2", "buy", asset="MP", amount="10.00")
before(D2).order("mp4", D2, "mp2", "switch", asset="WD", to="MP")


def test_without_a_price_of_p_nothing_of_the_asset_is_dealt(played: Scenario) -> None:
    for order in ("mp2", "mp3", "mp4"):
        assert played.moves(D2, oid(order)) == [("rejected", "no_price")]
    # The pot targets the asset and is skipped; its contribution is taken all the same.
    assert played.outcomes(D2, "mp1") == {"": "no_price"}
    assert f"{oid('mp1')} IN 1000.00" in played.cash_file(D2)
    assert not [i for i in played.instructions(D2) if "-MP-" in i]
    assert played.trades(D3)["mp1", "MP"] == d("50")


# ---- a break that suspends an asset -------------------------------------------------------------

history.asset("QB", custodian="QUAY")
history.profile("P-QB", QB="0.5", CASH="0.5")
history.pot("qb1", QB="10.0000")
history.pot("qb2", "P-QB")
before(D1).statement("q0", "QUAY", D0, "QB,9.0000")
before(D1).order("qb1", D1, "qb1", "sell", asset="QB", units="1.0000")
before(D1).order("qb2", D1, "qb2", "contribution", amount="1000.00")
before(D2).statement("q1", "QUAY", D1, "QB,10.0000")
before(D2).order("qb3", D2, "qb1", "sell", asset="QB", units="1.0000")


def test_a_quantity_break_suspends_its_asset_until_a_statement_clears_it(played: Scenario) -> None:
    assert ("QUAY", "QB", "quantity", "open") in played.breaks(D1)
    found = played.frame("reconciliation_breaks", D1).filter(pl.col("class") == "quantity")
    assert found.select("ours", "theirs", "difference").rows() == [(d("10"), d("9"), d("-1"))]
    assert played.rows("suspended_assets", D1, "asset_id", "since") == [("QB", D1)]
    assert played.moves(D1, oid("qb1")) == [("rejected", "asset_suspended")]
    assert played.outcomes(D1, "qb2") == {"": "due", "QB": "asset_suspended"}
    # The rest of the batch went on.
    assert played.instructions(D1)[CL] == "10.0000"
    # The statement of D1 no longer shows it: corrected and resumed in that same run.
    assert ("QUAY", "QB", "quantity", "corrected") in played.breaks(D2)
    assert played.rows("suspended_assets", D2, "asset_id") == []
    # 50 bought by the pot that had to wait, 1 sold: 49 go out, 1 crosses.
    assert played.instructions(D2)[sent(D2, "QUAY-QB-B-U")] == "49.0000"


# ---- statements that are missing, torn, or ahead of us ------------------------------------------

history.asset("ST", custodian="STOW")
history.pot("st1", ST="5.0000")
before(D2).statement("s1", "STOW", D1, "ST,5.0000")


def test_a_missing_statement_is_a_break_until_one_comes(played: Scenario) -> None:
    def stale(day: object) -> list[tuple[object, ...]]:
        frame = played.frame("reconciliation_breaks", day).filter(pl.col("custodian_id") == "STOW")
        return frame.select("asset_id", "class", "state", "first_seen", "age").rows()

    assert stale(D1) == [(None, "stale_statement", "open", D1, 0)]
    assert stale(D2) == [(None, "stale_statement", "corrected", D1, 1)]
    # None for D2 again: the same break is open again, as old as it is.
    assert stale(D3) == [(None, "stale_statement", "open", D1, 2)]


history.asset("PG", custodian="PAGE")
history.pot("pg1", PG="5.0000")
before(D1).statement("p0", "PAGE", D0, "PG,4.0000", page=1, pages=2)
before(D2).statement("p1", "PAGE", D1, "PG,3.0000", page=1, pages=2)
before(D2).statement("p1", "PAGE", D1, "PG,2.0000", page=2, pages=2)


def test_a_statement_without_its_second_page_is_not_compared(played: Scenario) -> None:
    def mine(day: object) -> list[tuple[object, ...]]:
        return [b for b in played.breaks(day) if b[0] == "PAGE"]

    assert mine(D1) == [("PAGE", None, "statement_defect", "open")]
    assert ("PG",) not in played.rows("suspended_assets", D1, "asset_id")
    # Both pages: lines of one asset are summed, 3 + 2 = 5, which agrees.
    assert mine(D2) == [("PAGE", None, "statement_defect", "corrected")]


history.asset("TR", custodian="TRAD")
history.pot("tr1", TR="5.0000")
before(D1).order("tr1", D1, "tr1", "sell", asset="TR", units="2.0000")
before(D2).executed("tr-1", sent(D1, "TRAD-TR-S-U"), D1, "1.0000", "10", "10.00")
before(D2).statement("t1", "TRAD", D1, "TR,4.0000", basis="traded")
before(D3).statement("t2", "TRAD", D2, "TR,3.5000", basis="traded")


def test_what_stands_confirmed_but_unbooked_is_timing(played: Scenario) -> None:
    # They count the first fill, we book the line whole: 4 against 5 is that one unit.
    assert ("TRAD", "TR", "timing", "open") in played.breaks(D2)
    assert ("TR",) not in played.rows("suspended_assets", D2, "asset_id")
    # 3.5 against 5 is not: the asset is suspended.
    assert ("TRAD", "TR", "quantity", "open") in played.breaks(D3)
    assert ("TRAD", "TR", "timing", "corrected") in played.breaks(D3)
    assert ("TR",) in played.rows("suspended_assets", D3, "asset_id")
