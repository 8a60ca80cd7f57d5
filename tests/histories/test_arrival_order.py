"""Whatever order a custodian's news arrives in, it ends as if it had come tidily (rules §7).

Seven events of one line, in each of their 5,040 orders, one event before each run. Every order is
a line of its own in the same runs, so all of them are driven through the same days.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import permutations

import polars as pl
import pytest

from tests.histories.runner import MemoryPlatform

D0, D1 = date(2024, 3, 1), date(2024, 3, 4)
# One to deal on, seven to be told on, one more to see that nothing moves any longer.
DAYS = [day for n in range(13) if (day := D1 + timedelta(days=n)).weekday() < 5][:9]
ORDERS = list(permutations(range(7)))
# What the custodian says of a sale of 4.0000, in the order it happened: number, event, units,
# price, consideration, number of the event it amends.
TOLD = (
    (1, "executed", "1.0000", "10", "10.00", None),
    (2, "executed", "2.0000", "10", "20.00", None),
    (3, "executed", "3.0000", "10", "30.00", 2),
    (4, "cancelled", "", "", "", 1),
    (5, "executed", "1.0000", "9.9", "9.90", None),
    (6, "settled", "3.0000", "", "30.00", None),
    (7, "settled", "1.0000", "", "9.90", None),
)

Rows = list[dict[str, str]]


def asset(number: int) -> str:
    return f"A{number:04}"


def scheme() -> dict[str, Rows]:
    """Return the files before the first run: an asset, a pot and its sale for each order."""
    numbers = range(len(ORDERS))
    terms = {
        "currency": "USD",
        "custodian_id": "NORTH",
        "stress": "0.1",
        "valid_from": "2024-01-01",
    }
    traded = terms | {"calendar_id": "CAL", "unit_decimals": "4", "settlement_days": "1"}
    cash = terms | {"calendar_id": "DEALING", "unit_decimals": "2", "settlement_days": "0"}
    profile = {"risk_profile_id": "SELF", "valid_from": "2024-01-01"}
    bands = {"drift_band": "0.05", "cash_band": "0.05", "min_trade": "10.00", "schedule": "none"}
    pot = {"risk_profile_id": "SELF", "book": "live", "opened_on": "2024-01-01"}
    sale = {"source": "T", "received_at": f"{D1}T09:00:00Z", "kind": "sell", "units": "4.0000"}
    return {
        "assets": [
            cash | {"asset_id": "USD", "name": "USD", "stress": "0"},
            *[traded | {"asset_id": asset(n), "name": asset(n)} for n in numbers],
        ],
        "risk_profiles": [profile | {"asset_id": "CASH", "weight": "1"}],
        "risk_profile_parameters": [profile | bands],
        "pots": [pot | {"pot_id": f"p{n}", "member_ref": f"m{n}"} for n in numbers],
        "opening_positions": [
            {"as_of": str(D0), "pot_id": f"p{n}", "asset_id": asset(n), "units": "10.0000"}
            for n in numbers
        ],
        "orders": [
            sale | {"source_ref": str(n), "pot_id": f"p{n}", "asset_id": asset(n)} for n in numbers
        ],
    }


def told(line: str, event: tuple[int, str, str, str, str, int | None]) -> dict[str, str]:
    number, kind, units, price, consideration, amends = event
    return {
        "confirmation_id": f"{line}-{number}",
        "instruction_id": line,
        "event": kind,
        "event_date": str(D1),
        "units": units,
        "price": price,
        "consideration": consideration,
        "amends": f"{line}-{amends}" if amends else "",
    }


@pytest.fixture(scope="module")
def ended() -> Iterator[tuple[MemoryPlatform, dict[date, pl.DataFrame]]]:
    """Return the platform after the last run, and the postings of each run."""
    platform, postings = MemoryPlatform(), {}
    for feed, rows in scheme().items():
        assert platform.land(feed, rows)
    close = D0
    for number, day in enumerate(DAYS):
        prices = [
            {
                "price_date": str(close),
                "asset_id": asset(n),
                "currency": "USD",
                "closing_price": "10",
            }
            for n in range(len(ORDERS))
        ]
        assert platform.land("closing_prices", prices)
        if 1 <= number <= len(TOLD):
            news = [
                told(f"B-{D1}-live-NORTH-{asset(n)}-S-U", TOLD[order[number - 1]])
                for n, order in enumerate(ORDERS)
            ]
            assert platform.land("confirmations", news)
        assert platform.run(day) == []
        postings[day] = platform.frame("core.ledger_postings")
        close = day
    yield platform, postings
    platform.close()


Ended = tuple[MemoryPlatform, dict[date, pl.DataFrame]]


def test_every_order_of_seven_events_ends_alike(ended: Ended) -> None:
    platform, _ = ended
    held = platform.frame("core.ledger_balances")
    pots = held.filter(pl.col("account").str.starts_with("pot/"))
    # 3.0000 for 30.00 and 1.0000 for 9.90 stand; all of it has settled, nothing is left over.
    assert set(pots["state"]) == {"settled"}
    for money, quantity in ((True, "39.900000"), (False, "6.000000")):
        mine = pots.filter((pl.col("asset_id") == "USD") == money)
        assert mine.height == len(ORDERS)
        assert {str(u) for u in mine["quantity"]} == {quantity}
    assert not held.filter(pl.col("account").str.starts_with("suspense/")).height
    for nothing in ("posted_lines", "open_orders", "open_confirmations", "open_bookings"):
        assert platform.frame(f"stage.{nothing}").is_empty()


def test_only_what_is_said_of_the_price_stays_open(ended: Ended) -> None:
    platform, _ = ended
    found = platform.frame("core.reconciliation_breaks").filter(pl.col("state") == "open")
    # 9.9 is not the closing price, whenever that was heard of; and nobody sends statements here.
    counts = dict(found["class"].value_counts().rows())
    assert counts == {"price": len(ORDERS), "stale_statement": 1}


def test_nothing_moves_once_everything_is_told(ended: Ended) -> None:
    _, postings = ended
    # Day one reserves; a single event is never enough to book.
    moved = [postings[day].height > 0 for day in DAYS]
    assert moved == [True, False, True, True, True, True, True, True, False]
