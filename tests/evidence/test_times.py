"""As of an effective date, as known at an instant: against plain sums over every posting."""

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import polars as pl
import pytest

from acme.evidence import queries, times
from tests.scenarios.driver import D0, D1, D2, D3, D4, Scenario, d

pytestmark = pytest.mark.xdist_group("evidence")

DATES = (D1, D2, D3, D4)


def cut_off(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def ask(told: Scenario, text: str, known_at: datetime | None = None) -> list[tuple[Any, ...]]:
    return queries.query(told.platform, text, known_at)[1]


def arguments(as_of: date, known: date) -> str:
    return f"as_of := DATE '{as_of}', known_at := TIMESTAMPTZ '{cut_off(known)}'"


def summed(told: Scenario, as_of: date, known: date) -> list[tuple[Any, ...]]:
    """Return the balances by their definition: all postings effective by then and known by then."""
    postings = pl.concat([told.frame("ledger_postings", day) for day in DATES if day <= known])
    counted = postings.filter(pl.col("effective_date") <= as_of)
    keys = ["book", "account", "state", "asset_id"]
    sums = counted.group_by(keys).agg(pl.col("quantity").sum()).filter(pl.col("quantity") != 0)
    return sums.sort(keys).rows()


@pytest.mark.parametrize("known", DATES)
def test_balances_are_the_postings_that_count(told: Scenario, known: date) -> None:
    columns = "book, account, state, asset_id, quantity"
    with times.session(told.platform) as connection:
        for as_of in (D0, D1, D2, D3, D4):
            text = f"SELECT {columns} FROM balances({arguments(as_of, known)})"
            found = connection.execute(text).fetchall()
            assert found == summed(told, as_of, known)
            assert found


@pytest.mark.parametrize("known", DATES)
def test_the_snapshot_of_an_instant_says_the_same(told: Scenario, known: date) -> None:
    """What was known then is what is now said to have been known then: it never changes."""
    cases = list(product(("balances", "positions", "prices", "breaks", "batches"), (D0, D1, D3)))
    with times.session(told.platform) as now:
        by_argument = [
            now.execute(f"FROM {function}({arguments(as_of, known)})").fetchall()
            for function, as_of in cases
        ]
    with times.session(told.platform, cut_off(known)) as then:
        by_snapshot = [
            then.execute(f"FROM {function}(as_of := DATE '{as_of}')").fetchall()
            for function, as_of in cases
        ]
    assert by_argument == by_snapshot
    assert any(by_argument)


def test_without_arguments_the_newest_books_are_meant(told: Scenario) -> None:
    columns = "book, account, state, asset_id, quantity"
    struck = told.frame("ledger_balances", D4).select(columns.split(", ")).rows()
    assert ask(told, f"SELECT {columns} FROM balances()") == sorted(struck)
    assert {r[0] for r in ask(told, "SELECT as_of FROM balances()")} == {D3}


def test_a_late_confirmation_changes_as_of_and_not_as_known_at(told: Scenario) -> None:
    in_flight = (
        "SELECT quantity FROM balances({}) WHERE account = 'pot/B' AND state = 'in_flight'"
        " AND asset_id = 'EQ'"
    )
    assert ask(told, in_flight.format(arguments(D1, D2))) == []
    assert ask(told, in_flight.format(arguments(D1, D3))) == [(d("-40.000000"),)]
    booked = "SELECT lines_booked, lines_settled FROM batches({}) WHERE book = 'live'"
    assert ask(told, booked.format(arguments(D1, D2))) == [(0, 0)]
    assert ask(told, booked.format(arguments(D1, D3))) == [(1, 0)]
    assert ask(told, booked.format(arguments(D1, D4))) == [(1, 0)]
    settled = [r for r in ask(told, booked.format(arguments(D3, D4))) if r != (0, 0)]
    assert settled == [(1, 1)]


def test_a_corrected_price_changes_as_of_and_not_as_known_at(told: Scenario) -> None:
    price = "SELECT closing_price, run_date FROM prices({}) WHERE asset_id = 'EQ'"
    assert ask(told, price.format(arguments(D1, D3))) == [(d("10.000000"), D2)]
    assert ask(told, price.format(arguments(D1, D4))) == [(d("10.005000"), D4)]
    value = "SELECT value FROM positions({}) WHERE pot_id = 'B' AND asset_id = 'EQ'"
    assert ask(told, value.format(arguments(D1, D3))) == [(d("600.00"),)]
    assert ask(told, value.format(arguments(D1, D4))) == [(d("600.30"),)]


def test_a_break_stays_what_it_was_as_of_its_close(told: Scenario) -> None:
    found = "SELECT state, state_known, corrected_in_run FROM breaks({}) WHERE class = 'quantity'"
    assert ask(told, found.format(arguments(D1, D4))) == []
    assert ask(told, found.format(arguments(D2, D3))) == [("open", "open", None)]
    assert ask(told, found.format(arguments(D2, D4))) == [("open", "corrected", D4)]
    assert ask(told, found.format(arguments(D3, D4))) == [("corrected", "corrected", D4)]


@pytest.mark.parametrize(
    ("units", "price", "value"),
    [
        ("1.000000", "0.005000", "0.00"),
        ("1.000000", "0.015000", "0.02"),
        ("1.000000", "0.025000", "0.02"),
        ("-1.000000", "0.025000", "-0.02"),
        ("-1.000000", "0.035000", "-0.04"),
        ("1.000001", "0.025000", "0.03"),
        ("123456789012.123456", "999.999999", "123456788888666.67"),
    ],
)
def test_money_is_rounded_half_even(told: Scenario, units: str, price: str, value: str) -> None:
    text = (
        f"SELECT acme_money(CAST(CAST('{units}' AS DECIMAL(38, 6)) * 1000000 AS HUGEINT)"
        f" * CAST(CAST('{price}' AS DECIMAL(18, 6)) * 1000000 AS HUGEINT))"
    )
    assert Decimal(int(ask(told, text)[0][0])).scaleb(-2) == d(value)
    assert (d(units) * d(price)).quantize(d("0.01"), "ROUND_HALF_EVEN") == d(value)


def test_runs_say_what_was_known_when(told: Scenario) -> None:
    rows = ask(told, "SELECT run_date, close_date, known_from FROM runs()")
    assert [(r[0], r[1]) for r in rows] == [(D1, D0), (D2, D1), (D3, D2), (D4, D3)]
    assert [r[2] for r in rows] == [cut_off(day) for day in DATES]
    assert ask(told, "SELECT run_date FROM runs()", cut_off(D2)) == [(D1,), (D2,)]
    assert ask(told, "SELECT max(run_date) FROM core.orders", cut_off(D2)) == [(D1,)]


def test_before_the_first_publication_there_is_nothing_to_see(told: Scenario) -> None:
    with pytest.raises(times.TimesError, match="nothing had been published"):
        ask(told, "FROM balances()", cut_off(D0))


def test_on_the_clock_of_the_database_a_date_is_known_once_published(
    told: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times, "event_clock", lambda home: False)
    runs = times.known_runs(told.platform)
    assert [r.known_from for r in runs] == [r.published_at for r in runs]
    early = times.known_runs(told.platform, runs[1].published_at)
    assert [r.run_date for r in early] == [D1, D2]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2024-03-04", datetime(2024, 3, 4, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2024-03-04T12:00:00Z", datetime(2024, 3, 4, 12, tzinfo=UTC)),
        ("2024-03-04T13:00:00+01:00", datetime(2024, 3, 4, 12, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read(text: str, found: datetime) -> None:
    assert times.instant(text) == found


@pytest.mark.parametrize("text", ["2024-03-04T12:00:00", "soon", "2024-13-01", ""])
def test_another_text_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError):
        times.instant(text)
