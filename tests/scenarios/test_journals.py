"""Journals of other processes: files in, runs, figures out; late, again, changed, taken back."""

from collections.abc import Iterator
from datetime import date

import pytest

from acme.domain.orders import order_id
from acme.evidence import explain, times
from orchestration.replay import replay
from tests.scenarios.driver import D1, D2, D3, D4, Scenario, d

HELD = {"A": {"EQ": "100", "USD": "50.00"}, "B": {"EQ": "10"}}
KINDS = ("charge", "charge_paid", "distribution", "reversal")


def scheme(scenario: Scenario) -> Scenario:
    scenario.reference({"A": "SELF", "B": "SELF", "C": "SELF"}, HELD)
    scenario.land("journal_sources", *[f"fees,{k},2024-01-01,,team:charges" for k in KINDS])
    return scenario


@pytest.fixture
def fees(scenario: Scenario) -> Scenario:
    return scheme(scenario)


def rows(ref: str, kind: str, day: date, *moves: str, at: str = "09:00:00") -> list[str]:
    """Return the rows of a journal; a move is `account,asset,quantity`."""
    return [
        f"fees,{ref},{n},live,{kind},{day}T{at}Z,{move},,,{ref} of {day}"
        for n, move in enumerate(moves, start=1)
    ]


def charge(ref: str, day: date, pot: str, asset: str, quantity: str, **more: str) -> list[str]:
    moves = (f"pot/{pot},{asset},-{quantity}", f"suspense/charges,{asset},{quantity}")
    return rows(ref, "charge", day, *moves, **more)


def taken_back(ref: str, day: date, of: str, on: date) -> str:
    return f"fees,{ref},1,live,reversal,{day}T10:00:00Z,,,,{of},{on},"


def became(scenario: Scenario, day: date) -> dict[str, str]:
    """Return journal_ref → reason, or `booked`."""
    told = scenario.rows("journal_requests", day, "journal_ref", "state", "reason")
    return {str(ref): str(reason or state) for ref, state, reason in told}


def proceed(scenario: Scenario, closed: date, day: date) -> None:
    scenario.prices(closed)
    scenario.run(day)


# ---- charges ------------------------------------------------------------------------------------


def test_a_charge_is_booked_and_shows_in_the_next_run(fees: Scenario) -> None:
    fees.land("journals", *charge("1", D1, "A", "EQ", "1.5"), *charge("2", D1, "A", "USD", "0.75"))
    fees.run(D1)
    assert became(fees, D1) == {"1": "booked", "2": "booked"}
    # As reservations and cash orders of T: effective on T, in the balances of the next run.
    assert fees.pot(D1, "A") == {("settled", "EQ"): d("100"), ("settled", "USD"): d("50.00")}
    made = fees.frame("ledger_journals", D1).filter(kind="charge")
    assert set(made["effective_date"]) == {D1}
    assert sorted(made["reference"]) == sorted(order_id("fees", ref) for ref in ("1", "2"))
    assert {t.isoformat() for t in made["event_time"]} == {"2024-03-04T09:00:00+00:00"}
    fees.statement("N1", "NORTH", D1, "EQ,110", "USD,50.00")
    proceed(fees, D1, D2)
    assert fees.pot(D2, "A") == {("settled", "EQ"): d("98.5"), ("settled", "USD"): d("49.25")}
    assert fees.balances(D2, "suspense/charges") == {
        ("settled", "EQ"): d("1.5"),
        ("settled", "USD"): d("0.75"),
    }
    # Nothing has left the custodian, who holds what he held; and his statement agrees.
    assert fees.balances(D2, "custodian/NORTH") == {
        ("settled", "EQ"): d("-110"),
        ("settled", "USD"): d("-50.00"),
    }
    assert fees.breaks(D2) == []
    assert fees.cash_file(D1) == []


def test_what_is_charged_is_paid_and_leaves_the_custodian(fees: Scenario) -> None:
    fees.land("journals", *charge("1", D1, "A", "USD", "7.00"))
    fees.run(D1)
    paid = ("suspense/charges,USD,-{0}", "custodian/NORTH,USD,{0}")
    fees.land(
        "journals",
        *rows("2", "charge_paid", D2, *[p.format("7.00") for p in paid]),
        *rows("3", "charge_paid", D2, *[p.format("0.01") for p in paid]),
    )
    proceed(fees, D1, D2)
    assert became(fees, D2) == {"2": "booked", "3": "insufficient_cash"}
    fees.statement("N2", "NORTH", D2, "EQ,110", "USD,43.00")
    proceed(fees, D2, D3)
    assert fees.balances(D3, "suspense/charges") == {}
    assert fees.balances(D3, "custodian/NORTH")["settled", "USD"] == d("-43.00")
    assert fees.breaks(D3) == []


def test_decide_finds_what_a_charge_has_left(fees: Scenario) -> None:
    """30 of 50.00 charged, 60 of 100 units: orders of the same run are admitted on the rest."""
    fees.land("journals", *charge("1", D1, "A", "USD", "30"), *charge("2", D1, "A", "EQ", "60"))
    orders = {
        "dear": fees.order("dear", D1, "A", "buy", asset="BD", amount="20.01", at="09:00:00"),
        "fits": fees.order("fits", D1, "A", "buy", asset="BD", amount="20.00", at="09:00:01"),
        "many": fees.order("many", D1, "A", "sell", asset="EQ", units="40.0001", at="09:00:00"),
        "all": fees.order("all", D1, "A", "sell", asset="EQ", at="09:00:01"),
    }
    fees.run(D1)
    last = {name: fees.moves(D1, order)[-1] for name, order in orders.items()}
    assert last == {
        "dear": ("rejected", "insufficient_cash"),
        "fits": ("placed", None),
        "many": ("rejected", "insufficient_units"),
        "all": ("placed", None),
    }
    assert fees.instructions(D1)[f"B-{D1}-live-NORTH-EQ-S-U"] == "40.0000"


def test_rebalancing_finds_what_a_charge_has_left(scenario: Scenario) -> None:
    scenario.reference({"A": "HALF"}, {"A": {"EQ": "60", "USD": "600.00"}})
    scenario.land("journal_sources", "fees,charge,2024-01-01,,team:charges")
    scenario.land("journals", *charge("1", D1, "A", "USD", "200"))
    scenario.run(D1)
    # V = 60 · 10 + 400 = 1,000; EQ trunc(0.5 · 1,000 / 10) = 50 of 60.
    assert scenario.trades(D1) == {("A", "EQ"): d("-10")}


def test_cash_that_a_buy_will_take_is_not_charged(fees: Scenario) -> None:
    """40.00 of 50.00 stands reserved."""
    fees.order("b", D1, "A", "buy", asset="BD", amount="40.00")
    fees.run(D1)
    fees.land("journals", *charge("1", D2, "A", "USD", "10.01"), *charge("2", D2, "A", "USD", "10"))
    proceed(fees, D1, D2)
    assert became(fees, D2) == {"1": "insufficient_cash", "2": "booked"}


# ---- distributions ------------------------------------------------------------------------------


def test_a_distribution_comes_with_what_the_custodian_has_received(fees: Scenario) -> None:
    """0.30 a unit on 110 units is 33.00: 30.00 and 3.00."""
    moves = ("custodian/NORTH,USD,-33.00", "pot/A,USD,30.00", "pot/B,USD,3.00")
    fees.land("journals", *rows("div", "distribution", D1, *moves))
    bought = fees.order("b", D1, "B", "buy", asset="EQ", amount="3.00")
    fees.run(D1)
    # It is there for the orders of the run.
    assert fees.moves(D1, bought)[-1] == ("placed", None)
    fees.statement("N1", "NORTH", D1, "EQ,110", "USD,83.00")
    proceed(fees, D1, D2)
    assert fees.breaks(D2) == []
    assert fees.pot(D2, "A")["settled", "USD"] == d("80.00")
    assert fees.pot(D2, "B")["reserved", "USD"] == d("3.00")


def test_a_distribution_to_a_closed_pot_is_rejected_whole(fees: Scenario) -> None:
    fees.order("leave", D1, "C", "withdrawal")
    fees.run(D1)
    moves = ("custodian/NORTH,USD,-3.00", "pot/A,USD,2.00", "pot/C,USD,1.00")
    kept = ("custodian/NORTH,USD,-3.00", "pot/A,USD,2.00", "suspense/distributions,USD,1.00")
    fees.land(
        "journals", *rows("1", "distribution", D2, *moves), *rows("2", "distribution", D2, *kept)
    )
    proceed(fees, D1, D2)
    assert became(fees, D2) == {"1": "closed_pot", "2": "booked"}
    proceed(fees, D2, D3)
    assert fees.pot(D3, "A")["settled", "USD"] == d("52.00")
    assert fees.balances(D3, "suspense/distributions") == {("settled", "USD"): d("1.00")}


# ---- rejected, again, late ----------------------------------------------------------------------


def test_every_rejection_is_kept_with_its_reason(fees: Scenario) -> None:
    fees.land(
        "journals",
        *rows("unbalanced", "charge", D1, "pot/A,EQ,-1", "suspense/charges,EQ,0.9"),
        *charge("insufficient", D1, "B", "EQ", "10.0001"),
        *charge("unknown", D1, "Z", "EQ", "1"),
        *charge("fine", D1, "A", "EQ", "0.00001"),
        *charge("future", D1, "A", "EQ", "1", at="12:00:01"),
        *rows("moved", "adjustment", D1, "pot/A,EQ,-1", "pot/B,EQ,1"),
        *charge("good", D1, "A", "EQ", "1"),
    )
    fees.run(D1)
    assert became(fees, D1) == {
        "unbalanced": "unbalanced",
        "insufficient": "insufficient_units",
        "unknown": "unknown_pot",
        "fine": "too_many_decimals",
        "future": "event_in_the_future",
        "moved": "source_not_registered",
        "good": "booked",
    }
    assert fees.frame("ledger_journals", D1).filter(kind="charge").height == 1


def test_an_equal_repeat_has_no_effect_and_a_changed_one_is_quarantined_alone(
    fees: Scenario,
) -> None:
    first, other = charge("1", D1, "A", "EQ", "1"), charge("2", D1, "Z", "EQ", "1")
    fees.land("journals", *first, *other)
    fees.run(D1)
    assert became(fees, D1) == {"1": "booked", "2": "unknown_pot"}
    # The rows in another order, and with a new journal beside them; what was rejected stays so.
    fees.land("journals", *reversed(first), *charge("3", D2, "A", "EQ", "2"), *other)
    fees.land("journals", *charge("1", D1, "A", "EQ", "5"), *charge("2", D1, "A", "EQ", "1"))
    # A line less is another journal, too.
    fees.land("journals", *first[:1])
    proceed(fees, D1, D2)
    assert became(fees, D2) == {"3": "booked"}
    assert fees.rows("quarantined_rows", D2, "feed", "key", "rule") == [
        ("journals", "fees|1", "journal_already_taken"),
        ("journals", "fees|2", "journal_already_taken"),
    ]
    proceed(fees, D2, D3)
    assert fees.pot(D3, "A")["settled", "EQ"] == d("97")


def test_a_later_file_replaces_a_journal_that_no_run_has_taken(fees: Scenario) -> None:
    fees.land("journals", *charge("1", D1, "A", "EQ", "1"))
    fees.land("journals", *charge("1", D1, "A", "EQ", "2"))
    fees.run(D1)
    proceed(fees, D1, D2)
    assert fees.pot(D2, "A")["settled", "EQ"] == d("98")


def test_a_journal_stated_in_two_ways_waits_for_a_single_one(fees: Scenario) -> None:
    one, two = charge("1", D1, "A", "EQ", "1"), charge("1", D1, "A", "EQ", "2")
    report = fees.land("journals", *one, *two, *charge("2", D1, "B", "EQ", "1"))
    assert dict(report.counts) == {"conflicting_rows": 4}
    fees.run(D1)
    assert became(fees, D1) == {"2": "booked"}
    (held,) = fees.frame("holds", D1).to_dicts()
    assert (held["feed"], held["key"], held["reason"]) == (
        "journals",
        "fees|1",
        "conflicting_rows",
    )
    proceed(fees, D1, D2)
    assert fees.frame("holds", D2).height == 1
    fees.land("journals", *two)
    proceed(fees, D2, D3)
    assert became(fees, D3) == {"1": "booked"}
    assert fees.frame("holds", D3).is_empty()


def test_a_late_file_is_taken_by_the_next_run(fees: Scenario) -> None:
    """Its event stays where it was; the books have it from the run that learns of it."""
    fees.run(D1)
    fees.land("journals", *charge("1", D1, "A", "EQ", "1"))
    proceed(fees, D1, D2)
    (made,) = fees.frame("ledger_journals", D2).filter(kind="charge").to_dicts()
    assert made["event_time"].date() == D1
    assert made["effective_date"] == D2
    assert fees.pot(D2, "A")["settled", "EQ"] == d("100")
    proceed(fees, D2, D3)
    assert fees.pot(D3, "A")["settled", "EQ"] == d("99")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("fees,1,1,live,charge,{t},pot/A,EQ,,,,", "fields_by_kind"),
        ("fees,1,1,live,charge,{t},pot/A,EQ,1,old,2024-03-01,", "fields_by_kind"),
        ("fees,1,1,live,reversal,{t},,,,old,,", "fields_by_kind"),
        ("fees,1,1,live,reversal,{t},pot/A,,,old,2024-03-01,", "fields_by_kind"),
        ("fees,1,1,live,charge,{t},A,EQ,1,,,", "pattern"),
        ("fees,1,0,live,charge,{t},pot/A,EQ,1,,,", "bounds"),
        ("fees,1,1,paper,charge,{t},pot/A,EQ,1,,,", "enum"),
        ("fees,1,1,live,charge,2024-03-04T09:00:00,pot/A,EQ,1,,,", "type"),
    ],
)
def test_a_file_that_breaks_its_contract_is_quarantined_whole(
    fees: Scenario, row: str, rule: str
) -> None:
    good = charge("good", D1, "A", "EQ", "1")
    report = fees.land("journals", *good, row.format(t=f"{D1}T09:00:00Z"), ok=False)
    assert report.verdict == "quarantined"
    assert rule in report.counts
    fees.run(D1)
    assert became(fees, D1) == {}


def test_registration_has_dates(fees: Scenario) -> None:
    fees.land("journal_sources", f"fees,charge,2024-01-01,{D1},team:charges")
    fees.land("journals", *charge("1", D1, "A", "EQ", "1"))
    fees.run(D1)
    assert became(fees, D1) == {"1": "booked"}
    fees.land("journals", *charge("2", D2, "A", "EQ", "1"))
    proceed(fees, D1, D2)
    assert became(fees, D2) == {"2": "source_not_registered"}
    fees.land("journal_sources", f"fees,charge,{D3},,team:charges")
    fees.land("journals", *charge("3", D3, "A", "EQ", "1"))
    proceed(fees, D2, D3)
    assert became(fees, D3) == {"3": "booked"}


# ---- taken back ---------------------------------------------------------------------------------


def test_a_journal_is_taken_back_once(fees: Scenario) -> None:
    fees.land("journals", *charge("1", D1, "A", "EQ", "1.5"))
    fees.run(D1)
    fees.land("journals", taken_back("r1", D2, "1", D1), taken_back("wrong", D2, "1", D2))
    proceed(fees, D1, D2)
    assert became(fees, D2) == {"r1": "booked", "wrong": "unknown_journal"}
    (made,) = fees.frame("ledger_journals", D2).filter(kind="reversal").to_dicts()
    assert made["reverses"] == f"charge:{order_id('fees', '1')}"
    fees.land("journals", taken_back("r2", D3, "1", D1))
    proceed(fees, D2, D3)
    assert became(fees, D3) == {"r2": "already_reversed"}
    assert fees.pot(D3, "A") == {("settled", "EQ"): d("100"), ("settled", "USD"): d("50.00")}
    assert fees.balances(D3, "suspense/charges") == {}
    fees.land("journals", taken_back("r3", D4, "r1", D2))
    proceed(fees, D3, D4)
    assert became(fees, D4) == {"r3": "not_reversible"}


# ---- again ------------------------------------------------------------------------------------


def test_a_date_run_again_finds_the_same(fees: Scenario) -> None:
    fees.land("journals", *charge("1", D1, "A", "EQ", "1"), *charge("2", D1, "Z", "EQ", "1"))
    fees.run(D1)
    before = fees.hashes(D1, ("core", "stage"))
    fees.run(D1)
    assert fees.hashes(D1, ("core", "stage")) == before


@pytest.mark.slow
def test_a_replay_finds_the_same_and_a_balance_is_explained(whole: Scenario) -> None:
    """On the whole lake: the second engine agrees, and so does a computation in memory."""
    scheme(whole)
    whole.land("journals", *charge("1", D1, "A", "EQ", "1.5"), *charge("2", D1, "B", "EQ", "11"))
    whole.run(D1)
    moves = ("custodian/NORTH,USD,-11.00", "pot/A,USD,10.00", "pot/B,USD,1.00")
    whole.land("journals", *rows("d", "distribution", D2, *moves), taken_back("r", D2, "1", D1))
    proceed(whole, D1, D2)
    proceed(whole, D2, D3)
    for day in (D1, D2, D3):
        found = replay(whole.platform, day)
        assert found.equal, found.differences
        assert found.same_bytes == found.tables
    assert whole.pot(D3, "A") == {("settled", "EQ"): d("100"), ("settled", "USD"): d("60.00")}
    assert explained(whole, "pot/A", "EQ") == [
        ("asked for by fees as 1: 1 of 2024-03-04", 2),
        ("asked for by fees as r", 5),
    ]
    assert explained(whole, "custodian/NORTH", "USD") == [
        ("asked for by fees as d: d of 2024-03-05", 2)
    ]


def explained(whole: Scenario, account: str, asset: str) -> list[tuple[str, object]]:
    """Return who asked for the journals on an account, and by which row of a file."""
    run = times.known_runs(whole.platform)[-1]
    with times.session(whole.platform, run.known_from) as connection:
        books = explain.Books(whole.platform, connection, run)
        node = explain.explain_balance(books, account, asset)
    assert node.holds()
    asked = [n for n in everything(node) if n.what == "journal_request"]
    assert {file.facts["feed"] for n in asked for file in n.because} == {"journals"}
    return [(n.title, file.facts["row"]) for n in asked for file in n.because]


def everything(node: explain.Node) -> Iterator[explain.Node]:
    yield node
    for child in node.because:
        yield from everything(child)
