"""Half a simulated month with every other team's process after each date, and its custodians."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from acme.domain.calendars import Calendar
from orchestration import due
from orchestration.specs import ProcessSpec
from orchestration.team_run import run_process
from simulator.world import World
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import Scenario

FIRST, LAST = date(2020, 6, 1), date(2020, 6, 16)
BOOKED, PAID = date(2020, 6, 2), date(2020, 6, 15)
pytestmark = pytest.mark.slow


def in_order(specs: list[ProcessSpec]) -> list[ProcessSpec]:
    groups, circle = due.batches(specs)
    assert not circle
    return [spec for group in groups for spec in group]


@pytest.fixture(scope="module")
def month(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return an installation after LAST, 60 pots."""
    with pytest.MonkeyPatch.context() as patch, copy_of(postgres_url, template_database) as url:
        for name in VARIABLES:
            patch.setenv(name, "")
        scheme = Scenario(tmp_path_factory.mktemp("month") / "home", url)
        world = World(scheme.home.root, 1, 60, FIRST, LAST, others=True)
        world.reference()
        known = list(due.everything().processes.values())
        calendar = Calendar(frozenset(world._calendar.holidays))
        for day in world.business_dates():
            world.before(day)
            assert [r.name for r in scheme.sweep() if r.verdict != "accepted"] == []
            scheme.run(day)
            ready = [s for s in known if due.is_due(s, calendar, day)]
            for spec in in_order(ready):
                run_process(scheme.platform, spec, day)
        yield scheme
        scheme.close()


def test_the_charges_of_may_are_booked_and_in_suspense(month: Scenario) -> None:
    charges = month.frame("finance.management_charges", FIRST)
    requests = month.frame("journal_requests", BOOKED)
    charged = charges.filter(pl.col("charge_units") > 0)
    assert requests.height == charged["pot_id"].n_unique() > 50
    assert set(requests["state"]) == {"booked"}
    in_all = dict(charges.group_by("asset_id").agg(pl.col("charge_units").sum()).iter_rows())
    after = month.balances(date(2020, 6, 3), "suspense/charges")
    assert {asset: u for (_, asset), u in after.items()} == {a: u for a, u in in_all.items() if u}


def test_the_income_is_what_the_custodian_paid(month: Scenario) -> None:
    (request,) = month.frame("journal_requests", PAID).rows(named=True)
    assert (request["journal_ref"], request["state"]) == ("TSP-F-2020-06", "booked")
    payments = month.frame("corporate_actions.income_payments", date(2020, 6, 12))
    stated = month.frame("corporate_actions.income_announcements", PAID)["total"][0]
    assert payments["amount"].sum() == stated > Decimal(0)
    assert "suspense/charges" in payments["account"].to_list()


def test_nothing_is_left_open(month: Scenario) -> None:
    cash = {day: [b for b in month.breaks(day) if b[1] == "USD"] for day in (PAID, LAST)}
    assert cash == {PAID: [], LAST: []}
    breaks = month.frame("reconciliation_breaks", LAST)
    assert breaks.filter(pl.col("state").is_in(["open", "explained"])).is_empty()


def test_fees_accrue_and_the_campaign_dealt(month: Scenario) -> None:
    fees = month.frame("custody_finance.custodian_fee_accruals", LAST)
    assert fees.height == 5
    assert fees.filter(
        (pl.col("accrued") <= 0) | (pl.col("month_to_date") <= pl.col("accrued"))
    ).is_empty()
    ordered = month.frame("orders", date(2020, 6, 5)).filter(source="campaign")
    asked = month.frame("investments.campaign_switches", date(2020, 6, 4))
    assert sorted(ordered["source_ref"]) == sorted(asked["source_ref"]) != []
