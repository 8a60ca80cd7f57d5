"""Orders that their sources cancel: by files, by calls, in time and too late."""

from datetime import date

import pytest

from acme.domain.orders import order_id
from tests.scenarios.driver import D1, D2, D3, Scenario, d
from tests.scenarios.inbox import Inbox

CANCELLED = [("cancelled", "cancelled_by_source")]


@pytest.fixture
def day_one(scenario: Scenario) -> Scenario:
    scenario.reference({"A": "SELF", "B": "SELF"}, {"A": {"USD": "1000.00"}})
    return scenario


def cancel(scenario: Scenario, ref: str, day: date = D1, at: str = "10:00:00") -> None:
    assert scenario.land("cancellations", f"T,{ref},{day}T{at}Z").verdict == "accepted"


def refused(scenario: Scenario, day: date) -> list[tuple[object, ...]]:
    return scenario.rows("quarantined_rows", day, "feed", "key", "rule")


def test_a_cancelled_order_is_not_dealt(day_one: Scenario) -> None:
    bought = day_one.order("b1", D1, "A", "buy", asset="EQ", amount="100.00")
    paid = day_one.order("c1", D1, "B", "contribution", amount="50.00")
    kept = day_one.order("b2", D1, "A", "buy", asset="EQ", amount="30.00")
    cancel(day_one, "b1", at="10:30:00")
    cancel(day_one, "c1")
    day_one.run(D1)
    assert day_one.moves(D1, bought) == CANCELLED
    assert day_one.moves(D1, paid) == CANCELLED
    assert day_one.moves(D1, kept)[-1] == ("placed", None)
    events = day_one.frame("order_events", D1)
    times = dict(events.filter(events["to_state"] == "cancelled")["order_id", "event_time"].rows())
    assert times[bought].isoformat() == "2024-03-04T10:30:00+00:00"
    # 30.00 alone is reserved and instructed; no money came in.
    assert day_one.instructions(D1) == {f"B-{D1}-live-NORTH-EQ-B-A": "30.00"}
    assert day_one.cash_file(D1) == []
    marked = dict(day_one.frame("orders", D1)["source_ref", "cancelled_at"].rows())
    assert {ref for ref, at in marked.items() if at} == {"b1", "c1"}
    assert refused(day_one, D1) == []
    day_one.prices(D1)
    day_one.run(D2)
    assert day_one.pot(D2, "A") == {("settled", "USD"): d("970.00"), ("reserved", "USD"): d("30")}
    assert day_one.pot(D2, "B") == {}


def test_an_order_that_waits_is_cancelled_ahead_of_its_date(day_one: Scenario) -> None:
    # Received after the cut-off of D1: it deals on D2.
    late = day_one.order("b1", D1, "A", "buy", asset="EQ", amount="100.00", at="13:00:00")
    cancel(day_one, "b1", at="13:05:00")
    day_one.run(D1)
    (waiting,) = day_one.frame("stage.pending_orders", D1).to_dicts()
    assert waiting["cancelled_at"] is not None
    assert day_one.moves(D1, late) == []
    # Cancelled it stays: another row, an equal one, two that disagree, all are refused.
    line = f"T,b1,{D1}T13:00:00Z,A,buy,EQ,,,"
    day_one.land("orders", f"{line}200.00,")
    day_one.land("orders", f"{line}100.00,", f"T,x,{D1}T13:00:00Z,A,buy,EQ,,,1.00,")
    day_one.land("orders", f"{line}1.00,", f"{line}2.00,")
    cancel(day_one, "b1", D2)
    day_one.prices(D1)
    day_one.run(D2)
    assert day_one.moves(D2, late) == CANCELLED
    assert refused(day_one, D2) == [("orders", "T|b1", "order_cancelled")] * 4
    assert day_one.frame("holds", D2).is_empty()
    assert day_one.frame("stage.pending_orders", D2).is_empty()
    assert day_one.rows("stage.cancellations", D2, "outcome", "reason") == [("repeated", None)]
    day_one.order("b1", D2, "A", "buy", asset="EQ", amount="7.00")
    day_one.prices(D2)
    day_one.run(D3)
    assert refused(day_one, D3) == [("orders", "T|b1", "order_cancelled")]
    assert day_one.frame("orders", D3).is_empty()


def test_a_cancellation_without_effect_is_quarantined_alone(day_one: Scenario) -> None:
    bought = day_one.order("b1", D1, "A", "buy", asset="EQ", amount="100.00")
    cancel(day_one, "nothing")
    line = f"T,held,{D1}T09:00:00Z,A,buy,EQ,,,"
    day_one.land("orders", f"{line}1.00,", f"{line}2.00,")
    cancel(day_one, "held")
    day_one.run(D1)
    assert refused(day_one, D1) == [
        ("cancellations", "T|held", "order_on_hold"),
        ("cancellations", "T|nothing", "unknown_order"),
    ]
    cancel(day_one, "b1", D2)
    day_one.order("nothing", D2, "A", "buy", asset="EQ", amount="5.00")
    day_one.prices(D1)
    day_one.run(D2)
    assert refused(day_one, D2) == [("cancellations", "T|b1", "order_already_taken")]
    assert day_one.moves(D2, order_id("T", "nothing"))[-1] == ("placed", None)
    assert day_one.moves(D1, bought)[-1] == ("placed", None)


def test_of_several_cancellations_the_earliest_counts(day_one: Scenario) -> None:
    """They agree on what is wanted: nothing is on hold, nothing is remarked on but the repeat."""
    day_one.order("b1", D1, "A", "buy", asset="EQ", amount="100.00")
    rows = [f"T,b1,{D1}T{at}Z" for at in ("10:00:00", "09:30:00", "10:00:00")]
    report = day_one.land("cancellations", *rows)
    assert dict(report.counts) == {"duplicate_row": 1}
    day_one.run(D1)
    (row,) = day_one.frame("orders", D1).to_dicts()
    assert row["cancelled_at"].isoformat() == "2024-03-04T09:30:00+00:00"
    assert day_one.frame("holds", D1).is_empty()
    outcomes = sorted(day_one.frame("stage.cancellations", D1)["outcome"])
    assert outcomes == ["cancelled", "repeated", "repeated"]


def test_a_date_run_again_finds_the_same(day_one: Scenario) -> None:
    day_one.order("b1", D1, "A", "buy", asset="EQ", amount="100.00")
    cancel(day_one, "b1")
    day_one.run(D1)
    before = day_one.hashes(D1, ("core", "stage"))
    day_one.run(D1)
    assert day_one.hashes(D1, ("core", "stage")) == before


def test_a_call_cancels_until_the_drain_of_its_date(day_one: Scenario) -> None:
    inbox = Inbox(day_one.platform.url)
    one, two = (
        inbox.order(ref, "A", "buy", asset_id="EQ", amount="10", received_at=f"{D1}T{at}:00+00:00")
        for ref, at in (("one", "09:00"), ("two", "13:00"))
    )
    assert inbox.cancel("one", D1) == "cancelled"
    day_one.run(D1)
    assert inbox.cancel("one", D1) == "cancelled"
    assert day_one.moves(D1, one) == CANCELLED
    # The second was drained with D1 and waits: it may be cancelled until D2 drains.
    assert inbox.cancel("two", D2) == "cancelled"
    inbox.order("six", "A", "buy", asset_id="EQ", amount="6", received_at=f"{D2}T09:00:00+00:00")
    day_one.prices(D1)
    day_one.run(D2)
    assert day_one.moves(D2, two) == CANCELLED
    assert inbox.cancel("six", D2) == "too_late"
    inbox.close()
    # On the event clock a call takes the time of its order.
    (at,) = day_one.frame("orders", D1)["cancelled_at"]
    assert at.isoformat() == "2024-03-04T09:00:00+00:00"
