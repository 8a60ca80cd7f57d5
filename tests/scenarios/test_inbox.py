"""Orders from the inbox to the lake: in time or not, equal on both sides, served once published."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from acme.domain.orders import order_id
from acme.lakehouse import intake
from acme.lakehouse.intake import drained_files
from orchestration.replay import replay
from tests.scenarios.conftest import VARIABLES
from tests.scenarios.driver import D1, D2, D3, CheckFailedError, Scenario, d
from tests.scenarios.inbox import SOURCE, Inbox, order


@pytest.fixture
def day_one(scenario: Scenario) -> Scenario:
    scenario.reference({"A": "SELF", "B": "SELF"}, {"A": {"USD": "1000.00"}})
    return scenario


@pytest.fixture
def inbox(scenario: Scenario) -> Iterator[Inbox]:
    opened = Inbox(scenario.platform.url)
    yield opened
    opened.close()


def at(day: date, clock: str) -> str:
    return f"{day}T{clock}:00+00:00"


def served(inbox: Inbox) -> dict[str, tuple[Any, ...]]:
    return {
        row[0]: row[1:]
        for row in inbox.rows(
            "SELECT source_ref, source, state, reason, batch_id, dealing_date, run_date"
            " FROM served.order_states"
        )
    }


# ---- the check ----------------------------------------------------------------------------------


def test_the_inbox_equals_the_lake(day_one: Scenario, inbox: Inbox) -> None:
    """Taken, waiting, cancelled; refused, held, replaced and repeated by files: each once."""
    buy = {"asset_id": "EQ", "amount": "10", "received_at": at(D1, "09:00")}
    inbox.accept(
        *[order(ref, "A", "buy", **buy) for ref in ("taken", "cancelled", "held", "replaced")],
        order("ta\tb\\c", "B", "contribution", amount="1.5", received_at=at(D1, "09:00")),
        order("waits", "A", "sell", asset_id="EQ", received_at=at(D1, "13:00")),
        order(
            "all",
            "A",
            "switch",
            asset_id="EQ",
            to_asset_id="BD",
            units="0.000001",
            received_at="2024-03-04T10:00:00.123456+01:00",
        ),
    )
    inbox.cancel("cancelled", D1)
    with day_one.admitted(D1) as run:
        run.drain_inbox()
    line = f"{SOURCE},{{}},{D1}T09:00:00Z,A,buy,EQ,,,{{}},"
    day_one.land("orders", line.format("held", "1"), line.format("held", "2"))
    day_one.land("orders", line.format("replaced", "3"))
    day_one.run(D1)
    (orders, cancellations) = day_one.frame("stage.inbox_control", D1).sort(
        "feed", descending=True
    )["rows"]
    assert (orders, cancellations) == (7, 1)
    assert day_one.rows("stage.inbox_exceptions", D1, "key", "outcome") == [
        (f"{SOURCE}|held", "held"),
        (f"{SOURCE}|replaced", "other_row"),
    ]
    # What files took before: the same order again by a call.
    day_one.land("orders", line.format("first", "4.000000"), line.format("second", "4"))
    day_one.prices(D1)
    day_one.run(D2)
    for ref, amount in (("first", "4"), ("second", "5")):
        inbox.order(ref, "A", "buy", **buy | {"amount": amount})
    day_one.prices(D2)
    day_one.run(D3)
    assert day_one.rows("stage.inbox_exceptions", D3, "key", "outcome") == [
        (f"{SOURCE}|first", "taken_before"),
        (f"{SOURCE}|second", "quarantined"),
    ]


def faulty(change: Any) -> Any:
    """Return `_csv` with its lines changed: what is written is not what is in the inbox."""
    plain = intake._csv

    def lines(cursor: Any, span: Any, feed: str, clock: Any) -> Iterator[bytes]:
        written = list(plain(cursor, span, feed, clock))
        yield from change(written) if feed == "orders" else written

    return patch("acme.lakehouse.intake._csv", lines)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda lines: lines[:-1], ["number of rows", "SHA-256"]),
        (
            lambda lines: [line.replace(b",10.000000,", b",10.000001,") for line in lines],
            ["SHA-256"],
        ),
        (
            lambda lines: [line.replace(b"T09:00:00.0", b"T09:00:00.1") for line in lines],
            ["SHA-256"],
        ),
    ],
    ids=["a row is missing", "an amount is another", "a time is another"],
)
def test_a_file_that_is_not_the_inbox_stops_the_date(
    day_one: Scenario, inbox: Inbox, change: Any, found: list[str]
) -> None:
    inbox.accept(
        *[
            order(ref, "B", "contribution", amount="10", received_at=at(D1, "09:00"))
            for ref in ("a", "b", "c")
        ]
    )
    with faulty(change), pytest.raises(CheckFailedError, match="inbox_equals_lake") as stopped:
        day_one.run(D1)
    assert [what for what in ("number of rows", "SHA-256") if what in str(stopped.value)] == found
    assert day_one.outbox() == {}


def test_an_order_lost_in_the_lake_stops_the_date(day_one: Scenario, inbox: Inbox) -> None:
    from assets.intake.orders import process  # noqa: PLC0415

    plain = process._dated

    def losing(*arguments: Any) -> Any:
        return plain(*arguments).head(1)

    inbox.accept(
        *[
            order(ref, "B", "contribution", amount="10", received_at=at(D1, "09:00"))
            for ref in ("a", "b")
        ]
    )
    with (
        patch("assets.intake.orders.process._dated", losing),
        pytest.raises(CheckFailedError, match="inbox_equals_lake"),
    ):
        day_one.run(D1)


# ---- times --------------------------------------------------------------------------------------


def test_on_the_database_clock_an_order_deals_by_its_own_commit(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file, landed long after the cut-off: each row counts by its own time."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    scenario = Scenario(tmp_path / "home", database, clock="database")
    scenario.reference({"B": "SELF"}, {})
    inbox = Inbox(database)
    # 12:00 in London, in winter.
    times = {
        "before": datetime(2024, 3, 4, 11, 59, 59, 999_999, tzinfo=UTC),
        "at": datetime(2024, 3, 4, 12, tzinfo=UTC),
        "after": datetime(2024, 3, 4, 12, 0, 0, 1, tzinfo=UTC),
    }
    ids = {ref: inbox.order(ref, "B", "contribution", amount="10") for ref in times}
    with scenario.platform.control.transaction() as cursor:
        intake._mark(cursor, D1)
    for ref, moment in times.items():
        inbox.rows(
            "INSERT INTO intake.received VALUES (%s, %s, %s) RETURNING 1", ids[ref], moment, D1
        )
    scenario.run(D1)
    assert scenario.rows("orders", D1, "source_ref", "received_at") == [("before", times["before"])]
    waiting = scenario.rows("stage.pending_orders", D1, "source_ref", "dealing_date")
    assert waiting == [("after", D2), ("at", D2)]
    scenario.prices(D1)
    scenario.run(D2)
    assert scenario.rows("orders", D2, "source_ref", "received_at") == [
        ("after", times["after"]),
        ("at", times["at"]),
    ]
    inbox.close()
    scenario.close()


# ---- once, and the same for ever ----------------------------------------------------------------


def test_a_published_date_keeps_its_inputs(whole: Scenario) -> None:
    whole.reference({"A": "SELF"}, {"A": {"USD": "1000.00"}})
    inbox = Inbox(whole.platform.url)
    buy = {"asset_id": "EQ", "amount": "10", "received_at": at(D1, "09:00")}
    inbox.order("one", "A", "buy", **buy)
    inbox.order("off", "A", "buy", **buy)
    inbox.cancel("off", D1)
    whole.run(D1)
    before = whole.hashes(D1, ("core", "stage"))
    late = inbox.order("late", "A", "buy", **buy)
    whole.run(D1)
    assert whole.hashes(D1, ("core", "stage")) == before
    assert replay(whole.platform, D1).differences == ()
    whole.prices(D1)
    whole.run(D2)
    assert whole.moves(D2, late)[-1] == ("placed", None)
    assert [f.rows for f in drained_files(whole.platform.control, D2)] == [1]
    inbox.close()


# ---- what is served -----------------------------------------------------------------------------


def test_publishing_serves_the_newest_state_of_every_order(day_one: Scenario, inbox: Inbox) -> None:
    batch = f"B-{D1}-live"
    inbox.order("b", "A", "buy", asset_id="EQ", amount="100", received_at=at(D1, "09:00"))
    inbox.order("x", "A", "buy", asset_id="EQ", amount="9999", received_at=at(D1, "09:00"))
    inbox.order("off", "A", "buy", asset_id="EQ", amount="1", received_at=at(D1, "09:00"))
    inbox.order("w", "A", "buy", asset_id="EQ", amount="1", received_at=at(D1, "13:00"))
    inbox.cancel("off", D1)
    day_one.run(D1)
    first = {
        "b": (SOURCE, "placed", None, batch, D1, D1),
        "x": (SOURCE, "rejected", "insufficient_cash", None, D1, D1),
        "off": (SOURCE, "cancelled", "cancelled_by_source", None, D1, D1),
    }
    assert served(inbox) == first
    day_one.prices(D1)
    day_one.executed("1", f"{batch}-NORTH-EQ-B-A", D1, "10.0000", "10", "100.00")
    day_one.run(D2)
    second = first | {
        "b": (SOURCE, "executed", None, batch, D1, D2),
        "w": (SOURCE, "placed", None, f"B-{D2}-live", D2, D2),
    }
    assert served(inbox) == second
    # An older date again moves nothing back.
    day_one.run(D1)
    assert served(inbox) == second
    day_one.prices(D2)
    day_one.settled("2", f"{batch}-NORTH-EQ-B-A", D2, "10.0000", "100.00")
    day_one.run(D3)
    assert served(inbox)["b"] == (SOURCE, "settled", None, batch, D1, D3)
    assert day_one.pot(D3, "A")["settled", "EQ"] == d("10")
    (row,) = inbox.rows(
        "SELECT order_id, book, pot_id FROM served.order_states WHERE source_ref = 'b'"
    )
    assert row == (order_id(SOURCE, "b"), "live", "A")
