"""Other teams' processes and the day: what they ask for, and what the next dates make of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from acme.domain.orders import order_id
from orchestration.registry import declared
from orchestration.team_run import InstructedError, Outcome, run_process
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, D3, D4, D5, Scenario, d

CLOSE = date(2024, 2, 29)
# March has three business dates here, so that a month and its charge are few runs.
MARCH, BOOKED, LAST = date(2024, 3, 1), date(2024, 3, 4), date(2024, 3, 5)
APRIL, BOOKED_TOO = date(2024, 4, 1), date(2024, 4, 2)
CLOSED = [str(LAST + timedelta(n)) for n in range(1, (APRIL - LAST).days)]


def ran(scenario: Scenario, folder: str, on: date) -> Outcome:
    (spec,) = [s for s in declared(folder.split("/", maxsplit=1)[0]) if s.folder == folder]
    return run_process(scenario.platform, spec, on)


def proceed(scenario: Scenario, closed: date, day: date) -> None:
    scenario.prices(closed)
    scenario.run(day)


@contextmanager
def installation(folder: Path, postgres_url: str, template: str) -> Iterator[Scenario]:
    with ExitStack() as stack:
        setting = stack.enter_context(pytest.MonkeyPatch.context())
        for name in VARIABLES:
            setting.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template))
        opened = Scenario(folder / "home", url)
        yield opened
        opened.close()


def became(scenario: Scenario, day: date) -> dict[str, str]:
    """Return journal_ref → reason, or `booked`."""
    told = scenario.rows("journal_requests", day, "journal_ref", "state", "reason")
    return {str(ref): str(reason or state) for ref, state, reason in told}


# ---- a charge, booked and corrected -------------------------------------------------------------


def charged(scenario: Scenario, on: date) -> dict[tuple[str, str], Decimal]:
    ran(scenario, "finance/charge_rates", on)
    outcome = ran(scenario, "finance/annual_management_charge", on)
    frame = outcome.tables["finance.management_charges"]
    return {(p, a): c for p, a, c in frame.select("pot_id", "asset_id", "charge_units").rows()}


@pytest.mark.slow
def test_a_month_of_charges(tmp_path: Path, postgres_url: str, template_database: str) -> None:
    with installation(tmp_path, postgres_url, template_database) as scheme:
        scheme.reference(
            {"A": "SELF", "B": "SELF", "C": "SELF"},
            {"A": {"EQ": "1200", "BD": "800.0001"}, "B": {"EQ": "33.3333"}, "C": {"USD": "9.00"}},
            holidays=CLOSED,
            as_of=CLOSE,
        )
        scheme.land("journal_sources", "management_charge,charge,2024-01-01,,team:finance")
        scheme.land("charge_rates", "EQ,2024-01-01,30", "BD,2024-01-01,12")
        proceed(scheme, CLOSE, MARCH)
        march = {("A", "EQ"): d("0.3"), ("A", "BD"): d("0.08"), ("B", "EQ"): d("0.0083")}
        assert charged(scheme, MARCH) == march
        journals = "finance/management_charge_journals"
        first = ran(scheme, journals, MARCH)
        assert first.left == (f"journals/finance-management_charge_journals-{MARCH}.csv",)

        scheme.land("charge_rates", "EQ,2024-03-01,24")
        proceed(scheme, MARCH, BOOKED)
        assert became(scheme, BOOKED) == {"2024-02:A": "booked", "2024-02:B": "booked"}
        again = ran(scheme, journals, MARCH)
        assert (again.written, again.versions) == (first.written, first.versions)

        # Exactly the charges are gone, and they are all in suspense; every identity was judged.
        proceed(scheme, BOOKED, LAST)
        assert became(scheme, LAST) == {}, "asked for again, it is not booked again"
        assert scheme.pot(LAST, "A") == {
            ("settled", "EQ"): d("1199.7"),
            ("settled", "BD"): d("799.9201"),
        }
        assert scheme.pot(LAST, "B") == {("settled", "EQ"): d("33.325")}
        assert scheme.pot(LAST, "C") == {("settled", "USD"): d("9.00")}
        assert scheme.balances(LAST, "suspense/charges") == {
            ("settled", "EQ"): d("0.3083"),
            ("settled", "BD"): d("0.08"),
        }

        for day in (BOOKED, LAST):
            ran(scheme, "finance/charge_rates", day)
        proceed(scheme, LAST, APRIL)
        # 1199.7 × 0.0024 / 12 = 0.23994; 33.325 × 0.0024 / 12 = 0.006665; 799.9201 × 0.0001
        april = {("A", "EQ"): d("0.2399"), ("A", "BD"): d("0.0799"), ("B", "EQ"): d("0.0066")}
        assert charged(scheme, APRIL) == april
        ran(scheme, journals, APRIL)
        proceed(scheme, APRIL, BOOKED_TOO)
        assert became(scheme, BOOKED_TOO) == {"2024-03:A": "booked", "2024-03:B": "booked"}
        posted = scheme.frame("ledger_postings", BOOKED_TOO).filter(account="suspense/charges")
        sums = posted.group_by("asset_id").agg(pl.col("quantity").sum())
        assert dict(sums.iter_rows()) == {"EQ": d("0.2465"), "BD": d("0.0799")}


# ---- income, a campaign and contributions over a week -------------------------------------------

DAILY = (
    "corporate_actions/income_announcements",
    "corporate_actions/income_distribution",
    "investments/fund_switch_campaign",
    "payroll/contribution_schedule",
    "payroll/contribution_reconciliation",
)


@pytest.fixture(scope="module")
def week(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return a scheme after D5: EQ pays 10.02 on D4 to who held it before D2."""
    folder = tmp_path_factory.mktemp("week")
    with installation(folder, postgres_url, template_database) as scheme:
        scheme.reference(
            {"A": "SELF", "B": "SELF", "C": "FULL"},
            {"A": {"EQ": "60"}, "B": {"EQ": "30", "BD": "5"}, "C": {"USD": "1.00"}},
        )
        scheme.land(
            "journal_sources", "income_distribution,distribution,2024-01-01,,team:corporate_actions"
        )
        scheme.land("income_announcements", f"I1,EQ,{D2},{D4},0.111222,")
        scheme.land("switch_campaigns", f"C1,BD,EQ,SELF,{D3},planned")
        scheme.land("contribution_schedules", f"T,A,{D1},70.00", f"T,B,{D2},10.00")
        scheme.order("paid", D2, "A", "contribution", amount="70.00")
        cash = {D1: "1.00", D2: "71.00", D3: "71.00", D4: "81.02"}
        for closed, day in ((D0, D1), (D1, D2), (D2, D3), (D3, D4), (D4, D5)):
            if day == D3:
                # The custodian pays a penny more than he announced.
                scheme.land("income_announcements", f"I1,EQ,{D2},{D4},0.111222,10.02")
            if closed in cash:
                scheme.statement(f"N{closed}", "NORTH", closed, "EQ,90", f"USD,{cash[closed]}")
            proceed(scheme, closed, day)
            for folder_name in DAILY:
                ran(scheme, folder_name, day)
        yield scheme


def test_income_is_shared_to_the_penny_on_its_pay_date(week: Scenario) -> None:
    assert [became(week, day) for day in (D3, D4, D5)] == [{}, {"I1": "booked"}, {}]
    # 1002 pence over 60 and 30 units; announced were 90 × 0.111222, which is 10.01.
    assert week.pot(D5, "A")["settled", "USD"] == d("76.68")
    assert week.pot(D5, "B")["settled", "USD"] == d("3.34")
    warned = ran(week, "corporate_actions/income_distribution", D3)
    assert [c.name for c in warned.checks if not c.passed] == [
        "what_is_paid_is_the_rate_times_units"
    ]


def test_the_custodians_cash_agrees_on_the_pay_date(week: Scenario) -> None:
    for day in (D4, D5):
        north = [b for b in week.breaks(day) if b[0] == "NORTH" and b[3] == "open"]
        assert north == [], day


def test_the_campaign_deals_on_its_date(week: Scenario) -> None:
    order = order_id("campaign", "C1:B")
    assert week.moves(D2, order) == []
    assert ("accepted", None) in week.moves(D3, order)
    (told,) = week.frame("orders", D3).filter(order_id=order).rows(named=True)
    assert (told["kind"], told["asset_id"], told["to_asset_id"]) == ("switch", "BD", "EQ")
    assert week.frame("orders", D3).filter(source="campaign").height == 1


def test_contributions_are_held_against_what_was_due(week: Scenario) -> None:
    def classes(day: date) -> dict[str, str]:
        frame = week.frame("payroll.contribution_reconciliation", day)
        return dict(frame.select("pot_id", "class").rows())

    assert classes(D1) == {"A": "missing_right"}
    assert classes(D2) == classes(D5) == {"A": "matched", "B": "missing_right"}


def test_what_was_instructed_never_changes(week: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    from assets.corporate_actions.income_distribution import process  # noqa: PLC0415

    monkeypatch.setattr(process, "SOURCE", "another")
    with pytest.raises(InstructedError, match="was landed for journals with other contents"):
        ran(week, "corporate_actions/income_distribution", D3)
