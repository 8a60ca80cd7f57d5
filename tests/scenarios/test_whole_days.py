"""Days that need an installation of their own: the job itself, books side by side, holidays."""

from datetime import date

import polars as pl
import pytest

from acme.domain.orders import order_id
from orchestration.runner import DayFailedError
from orchestration.shell import DayRefusedError
from tests.scenarios.driver import D1, D2, D3, D4, Scenario, d


def test_opening_contribution_and_capped_buys(whole: Scenario) -> None:
    """From a contribution to settled units; the first date through the Dagster job."""
    whole.reference({"A": "FULL", "B": "SELF"}, {"B": {"EQ": "7.5000", "USD": "12.34"}})
    whole.order("c1", D1, "A", "contribution", amount="1000.00")
    whole.job(D1)
    # V = c = 1,000.00. EQ: trunc(0.6 · 1,000 / 10) = 60; BD: trunc(0.39 · 1,000 / 20) = 19.5.
    # Stressed: 600 · 1.1 + 0.01 = 660.01 and 390 · 1.05 + 0.01 = 409.51; need 1,069.52 of 1,000.
    # EQ: trunc(60 · 1,000 / 1,069.52) = 56.0999; BD: trunc(19.5 · 1,000 / 1,069.52) = 18.2324.
    assert whole.trades(D1) == {("A", "EQ"): d("56.0999"), ("A", "BD"): d("18.2324")}
    equity, bonds = f"B-{D1}-live-NORTH-EQ-B-U", f"B-{D1}-live-SOUTH-BD-B-U"
    assert whole.instructions(D1) == {equity: "56.0999", bonds: "18.2324"}
    assert whole.cash_file(D1) == [f"{order_id('T', 'c1')} IN 1000.00"]
    # As of the close of D0 there is what was opened, and nothing else.
    assert whole.pot(D1, "B") == {("settled", "EQ"): d("7.5"), ("settled", "USD"): d("12.34")}
    assert whole.pot(D1, "A") == {}

    whole.prices(D1, EQ="11")
    # 56.0999 · 11 = 617.0989; 18.2324 · 20 = 364.648.
    whole.executed("1", equity, D1, "56.0999", "11", "617.10")
    whole.executed("2", bonds, D1, "18.2324", "20", "364.65")
    whole.run(D2)
    assert whole.pot(D2, "A") == {
        ("settled", "USD"): d("1000.00"),
        ("in_flight", "EQ"): d("56.0999"),
        ("in_flight", "BD"): d("18.2324"),
        ("in_flight", "USD"): d("-981.75"),
    }
    # c = 18.25, V = 1,000.00: EQ off by 17.10, BD by 25.35, cash by 8.25; the bands are 50.
    assert whole.outcomes(D2, "A") == {"": "not_due"}

    whole.prices(D2)
    whole.settled("3", bonds, D2, "18.2324", "364.65")
    whole.run(D3)
    assert whole.pot(D3, "A") == {
        ("settled", "USD"): d("635.35"),
        ("settled", "BD"): d("18.2324"),
        ("in_flight", "EQ"): d("56.0999"),
        ("in_flight", "USD"): d("-617.10"),
    }
    # The custodians are the contra side: 12.34 + 1,000.00 − 364.65 = 647.69 of cash.
    assert whole.balances(D3, "custodian/NORTH") == {
        ("settled", "EQ"): d("-7.5"),
        ("settled", "USD"): d("-647.69"),
        ("in_flight", "EQ"): d("-56.0999"),
        ("in_flight", "USD"): d("617.10"),
    }

    whole.prices(D3)
    whole.settled("4", equity, D3, "56.0999", "617.10")
    whole.run(D4)
    assert whole.pot(D4, "A") == {
        ("settled", "USD"): d("18.25"),
        ("settled", "EQ"): d("56.0999"),
        ("settled", "BD"): d("18.2324"),
    }
    states = whole.frame("order_events", D4)["to_state"].to_list()
    assert states == ["settled"]
    assert whole.frame("stage.open_orders", D4).is_empty()


def test_the_canary_book_stays_apart(scenario: Scenario) -> None:
    """The same orders in both books: nothing crosses between them, each has its own seal."""
    pots = {"L1": "HALF", "L2": "SELF", "C1": "HALF", "C2": "SELF"}
    scenario.reference(pots, {"L2": {"EQ": "20"}, "C2": {"EQ": "20"}}, canary=("C1", "C2"))
    for pot, other in (("L1", "L2"), ("C1", "C2")):
        scenario.order(f"c-{pot}", D1, pot, "contribution", amount="1000.00")
        units = "20.0000" if pot == "L1" else "5.0000"
        scenario.order(f"s-{other}", D1, other, "sell", asset="EQ", units=units)
    scenario.run(D1)
    # 50 bought in each book; 20 of them cross in the live one, 5 in the canary.
    live, canary = f"B-{D1}-live-NORTH-EQ-B-U", f"B-{D1}-canary-CANARY-EQ-B-U"
    assert scenario.instructions(D1) == {live: "30.0000", canary: "45.0000"}
    assert scenario.cash_file(D1) == [f"{order_id('T', 'c-L1')} IN 1000.00"]
    assert scenario.cash_file(D1, "CANARY") == [f"{order_id('T', 'c-C1')} IN 1000.00"]
    left = {path.split("/")[0] for path in scenario.outbox()}
    assert left == {"NORTH", "SOUTH", "CANARY"}
    batches = scenario.frame("dealing_batches", D1)
    assert batches["batch_id"].to_list() == [f"B-{D1}-canary", f"B-{D1}-live"]
    assert batches["seal"].n_unique() == batches["merkle_root"].n_unique() == 2
    assert set(scenario.platform.control.publication(D1).seals) == set(batches["batch_id"])

    scenario.prices(D1)
    scenario.executed("1", live, D1, "30.0000", "10", "300.00")
    scenario.told("2", canary, "rejected", D1)
    scenario.run(D2)
    # The canary's custodian said no: 5 of its 50 crossed, the live book has its own 50.
    assert scenario.pot(D2, "L1")["in_flight", "EQ"] == d("50")
    assert scenario.pot(D2, "C1")["in_flight", "EQ"] == d("5")
    balances = scenario.frame("ledger_balances", D2)
    custodians = balances.filter(pl.col("account").str.starts_with("custodian/"))
    assert set(custodians.select("book", "account").iter_rows()) == {
        ("live", "custodian/NORTH"),
        ("canary", "custodian/CANARY"),
    }
    chained = dict(
        scenario.frame("dealing_batches", D2).select("book", "previous_seal").iter_rows()
    )
    assert chained == dict(batches.select("book", "seal").iter_rows())


def test_holidays_are_stepped_over(scenario: Scenario) -> None:
    """Easter 2024: Thursday 28 March, then Tuesday 2 April; custodians work on Monday."""
    thursday, tuesday, wednesday = date(2024, 3, 28), date(2024, 4, 2), date(2024, 4, 3)
    friday, monday = date(2024, 3, 29), date(2024, 4, 1)
    before = date(2024, 3, 27)
    scenario.reference(
        {"A": "HALF", "B": "SELF"},
        {"B": {"EQ": "60"}},
        holidays=(str(friday), str(monday)),
        as_of=before,
    )
    scenario.order("c", thursday, "A", "contribution", amount="1000.00")
    scenario.order("s", thursday, "B", "sell", asset="EQ", units="50.0000")
    scenario.run(thursday)
    line = scenario.frame("batch_lines", thursday)
    # Two days on the custodian's calendar, which knows no Easter: Friday, Monday.
    assert line["settlement_date"].to_list() == [monday]

    scenario.order("g", friday, "B", "sell", asset="EQ", units="1.0000")
    scenario.prices(thursday)
    for closed in (friday, monday, date(2024, 3, 30)):
        with pytest.raises(DayRefusedError, match=f"{closed} is not a business date"):
            scenario.run(closed)
    with pytest.raises(DayFailedError, match=f"{monday} is not a business date"):
        scenario.job(monday)
    with pytest.raises(DayRefusedError, match=f"so {tuesday} must be run and published first"):
        scenario.run(wednesday)
    scenario.run(tuesday)
    # The order of Good Friday deals on Tuesday, whose P is Thursday.
    assert scenario.instructions(tuesday) == {f"B-{tuesday}-live-NORTH-EQ-S-U": "1.0000"}
    assert set(scenario.frame("ledger_balances", tuesday)["effective_date"]) == {thursday}
    assert scenario.pot(tuesday, "A")["in_flight", "EQ"] == d("50")

    scenario.prices(tuesday)
    scenario.run(wednesday)
    # Settled in the first run whose P has reached Monday, dated Monday.
    settled = scenario.frame("ledger_journals", wednesday).filter(pl.col("kind") == "settlement")
    assert set(settled["effective_date"]) == {monday}
    assert scenario.pot(wednesday, "A") == {
        ("settled", "EQ"): d("50"),
        ("settled", "USD"): d("500"),
    }
