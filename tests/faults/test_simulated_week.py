"""The week of June 2020 with its mis-dated prices; running again; other threads and row orders."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tests.faults.world_driver import LAST, play
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import Scenario

pytestmark = pytest.mark.xdist_group("simulated-week")

ROOT = Path(__file__).resolve().parents[2]
THU, FRI, MON, TUE, WED = (date(2020, 6, day) for day in (18, 19, 22, 23, 24))
FUNDS = ["TSP-C", "TSP-F", "TSP-G", "TSP-I", "TSP-S"]


@pytest.fixture(scope="module")
def week(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return the installation after the run of Wednesday, 24 June."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in VARIABLES:
            patch.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template_database))
        opened = Scenario(tmp_path_factory.mktemp("week") / "home", url)
        assert play(opened, LAST) == [THU, FRI, MON, TUE, WED]
        yield opened
        opened.close()


def test_prices_of_a_weekend_are_quarantined(week: Scenario) -> None:
    files = week.frame("landed_files", MON).filter(pl.col("feed") == "closing_prices")
    assert dict(files.select("name", "verdict").iter_rows()) == {
        "closing_prices_2020-06-19.csv": "accepted",
        "closing_prices_2020-06-20.csv": "quarantined",
        "closing_prices_2020-06-21.csv": "quarantined",
    }
    assert set(week.frame("closing_prices", MON)["price_date"]) == {FRI}
    reports = (week.home.quarantine / "closing_prices").glob("*.report.json")
    assert len(list(reports)) == 2


def test_two_prices_for_one_date_are_held_and_nothing_is_dealt(week: Scenario) -> None:
    holds = week.frame("holds", TUE)
    assert sorted(holds["key"]) == [f"{MON}|{fund}" for fund in FUNDS]
    assert set(holds["reason"]) == {"conflicting_rows"}
    assert week.frame("closing_prices", TUE).filter(pl.col("status") == "accepted").is_empty()
    assert week.frame("rebalancing_trades", TUE).is_empty()
    assert week.instructions(TUE) == {}
    orders = week.frame("orders", TUE)
    events = week.frame("order_events", TUE).filter(pl.col("stage") == "decide")
    traded = orders.filter(
        pl.col("kind").is_in(["buy", "sell", "switch"])
        & pl.col("asset_id").is_in(FUNDS)
        & (pl.col("to_asset_id").is_null() | pl.col("to_asset_id").is_in(FUNDS))
    )
    reasons = events.filter(pl.col("to_state") == "rejected").select("order_id", "reason")
    told = traded.join(reasons, on="order_id", how="left")
    assert told.height > 0
    # Named first: the pot's state, and a break that suspends an asset besides.
    earlier = {"unknown_pot", "closed_pot", "asset_suspended"}
    assert set(told["reason"]) - earlier == {"no_price"}


def test_lines_with_crossing_wait_and_are_booked_after_the_correction(week: Scenario) -> None:
    dealt = week.frame("batch_lines", MON)
    crossing = set(dealt.filter(pl.col("crossed") > 0)["line_id"])
    assert crossing
    waiting = week.frame("stage.posted_lines", TUE).filter(pl.col("state") == "placed")
    assert crossing <= set(waiting["line_id"])
    assert not crossing & set(week.frame("allocations", TUE)["line_id"])
    # What did not cross was booked on the custodians' word alone.
    after = week.frame("allocations", WED)
    late = after.filter(pl.col("line_id").is_in(list(crossing)))
    still = week.frame("stage.open_lines", WED).filter(pl.col("state") == "placed")
    complete = crossing - set(still["line_id"])
    assert set(late["line_id"]) == complete != set()
    assert set(late["effective_date"]) == {MON}


def test_the_correction_ends_the_holds_and_dealing_resumes(week: Scenario) -> None:
    assert week.frame("holds", WED).is_empty()
    prices = week.frame("closing_prices", WED).filter(pl.col("status") == "accepted")
    assert set(prices["price_date"]) == {MON, TUE}
    assert prices.height == 10
    assert week.instructions(WED)
    assert "no_price" not in set(week.frame("order_events", WED)["reason"])


def test_other_threads_rows_and_folders_give_equal_hashes(
    week: Scenario, tmp_path: Path, postgres_url: str, template_database: str
) -> None:
    with copy_of(postgres_url, template_database) as url:
        arguments = [str(tmp_path / "home"), url, str(MON), "11", str(week.home.root)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.world_driver", *arguments],
            env=os.environ | {"POLARS_MAX_THREADS": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    told = json.loads(done.stdout)
    differing = {
        (str(day), table)
        for day in (THU, FRI, MON)
        for table, digest in week.figures(day).items()
        if told[str(day)].get(table) != digest
    }
    assert differing == set()
    sent = {
        name: content.decode()
        for name, content in week.outbox().items()
        if "sha256" in name and name.split("/")[1] <= str(MON)
    }
    assert told["outbox"] == sent


# Last, since it lands a file: the figures above are those of the dates as they ran.
@pytest.mark.parametrize("day", [THU, TUE, WED], ids=str)
def test_running_again_changes_nothing(week: Scenario, day: date) -> None:
    control = week.platform.control
    hashes, left = week.hashes(day, ("core", "stage")), week.outbox()
    published, dispatched = control.publication(day), control.dispatches(day)
    # What arrives after the run belongs to the next one.
    week.order(f"late-{day}", day, "P-NOBODY", "contribution", amount="1.00")
    week.run(day)
    assert week.hashes(day, ("core", "stage")) == hashes
    assert week.outbox() == left
    assert control.publication(day) == published
    assert control.dispatches(day) == dispatched
