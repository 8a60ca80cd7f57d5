"""Whatever order a custodian's news arrives in, it ends as if it had come tidily (rules §7).

Seven events of one line, in each of their 5,040 orders, one event before each run. Every order is
a line of its own in the same runs, so all of them are driven through the same days.
"""

from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import polars as pl
import pytest

from tests.scenarios.driver import D1, History, Scenario, d

pytestmark = pytest.mark.xdist_group("arrival-order")

# One to deal, seven to be told, the rest to see that nothing moves any more.
DAYS = [day for n in range(13) if (day := D1 + timedelta(days=n)).weekday() < 5]
ORDERS = list(permutations(range(7)))[::42]


def told(line: str) -> tuple[str, ...]:
    """Return what the custodian says of a sale of 4.0000, in the order it happened."""
    return (
        f"{line}-1,{line},executed,{D1},1.0000,10,10.00,,",
        f"{line}-2,{line},executed,{D1},2.0000,10,20.00,,",
        f"{line}-3,{line},executed,{D1},3.0000,10,30.00,,{line}-2",
        f"{line}-4,{line},cancelled,{D1},,,,,{line}-1",
        f"{line}-5,{line},executed,{D1},1.0000,9.9,9.90,,",
        f"{line}-6,{line},settled,{D1},3.0000,,30.00,{D1},",
        f"{line}-7,{line},settled,{D1},1.0000,,9.90,{D1},",
    )


history = History(DAYS)
for number, order in enumerate(ORDERS):
    asset = f"A{number:04}"
    history.asset(asset, settles=1)
    history.pot(f"p{number:04}", **{asset: "10.0000"})
    history.before(D1).order(f"o{number}", D1, f"p{number:04}", "sell", asset=asset, units="4.0000")
    events = told(f"B-{D1}-live-NORTH-{asset}-S-U")
    for day, event in zip(DAYS[1:], order, strict=False):
        history.before(day).land("confirmations", events[event])


def test_every_order_of_seven_events_ends_alike(played: Scenario) -> None:
    last = DAYS[8]
    pots = played.frame("ledger_balances", last).filter(pl.col("account").str.starts_with("pot/"))
    cash = pots.filter(pl.col("asset_id") == "USD")
    units = pots.filter(pl.col("asset_id") != "USD")
    # 3.0000 for 30.00 and 1.0000 for 9.90 stand; all of it has settled, nothing is left over.
    for frame, quantity in ((cash, d("39.90")), (units, d("6.0000"))):
        assert frame.height == len(ORDERS)
        assert set(frame["state"]) == {"settled"}
        assert set(frame["quantity"]) == {Decimal(quantity)}
    assert played.frame("stage.posted_lines", last).is_empty()
    assert played.frame("stage.open_orders", last).is_empty()
    assert played.frame("stage.open_confirmations", last).is_empty()
    live = played.frame("reconciliation_breaks", last).filter(pl.col("state") == "open")
    # What remains is what is said of the price of the last execution, for each alike.
    assert set(live["class"]) == {"price", "stale_statement"}
    assert live.filter(pl.col("class") == "price").height == len(ORDERS)


def test_nothing_moves_after_the_last_event(played: Scenario) -> None:
    assert played.frame("ledger_postings", DAYS[8]).is_empty()
    hashes = [played.figures(day)["core.ledger_postings"] for day in DAYS[8:]]
    assert len(set(hashes)) == 1
