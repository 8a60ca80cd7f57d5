"""The `acme` command: what it prints, how it ends, and that no known error is a traceback."""

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from tests.cli.told import Acme
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, Scenario

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return an installation with D1 published, one break, one hold."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in VARIABLES:
            patch.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template_database))
        opened = Scenario(tmp_path_factory.mktemp("cli") / "home", url, catalog=True)
        opened.reference({"A": "SELF"}, {"A": {"EQ": "10", "USD": "5.00"}})
        opened.statement("s", "NORTH", D0, "EQ,9.0000", "USD,5.00")
        opened.land("closing_prices", f"{D0},BD,USD,20", f"{D0},BD,USD,21")
        opened.run(D1)
        yield opened
        opened.close()


# ---- init ---------------------------------------------------------------------------------------


def test_init_twice_and_with_other_values(
    acme: Acme, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    monkeypatch.setenv("ACME_CLOCK", "event")
    given = ("init", "--currency", "USD", "--cutoff", "12:00", "--timezone", "Europe/London")
    first, again = acme(*given), acme(*given)
    assert (first.code, again.code) == (0, 0)
    assert first.out == again.out
    other = acme("init", "--currency", "EUR")
    assert other.code == 1
    assert "currency: expected USD, got EUR" in other.err
    monkeypatch.setenv("ACME_CLOCK", "database")
    clock = acme(*given)
    assert clock.code == 1
    assert "this installation runs on 'event'" in clock.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--currency", "usd"), "currency: expected three capital letters, got 'usd'"),
        (("--currency", "USD", "--cutoff", "noon"), "--cutoff: expected a time as HH:MM"),
        (("--currency", "USD", "--timezone", "Mars/Base"), "timezone: "),
        ((), "--currency"),
    ],
)
def test_init_refuses_impossible_values(
    acme: Acme,
    tmp_path: Path,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    told = acme("init", *arguments)
    assert told.code != 0
    assert said in told.err
    assert "Traceback" not in told.err


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("day", "2024-03-04"),
        ("hash", "orders", "2024-03-04"),
        ("export", "orders"),
        ("sql", "select 1"),
        ("breaks",),
        ("holds",),
        ("doctor",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_before_init_every_verb_says_so(
    acme: Acme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "nothing"))
    told = acme(*arguments)
    assert told.code == 1
    assert "run `acme init` first" in told.err
    assert "Traceback" not in told.out + told.err
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hash", "nonsense", D1), "no table 'nonsense': expected one of core."),
        (("export", "stage.nonsense", "--date", D1), "no table 'stage.nonsense'"),
        (("export", "../etc", "--date", D1), "no table '../etc'"),
        (("hash", "orders", "2024-03-07"), "2024-03-07 is not published"),
        (("export", "orders", "--date", "2024-03-07"), "2024-03-07 is not published"),
        (("breaks", "--date", "2024-03-07"), "2024-03-07 is not published"),
        (("hash", "orders", "04.03.2024"), "expected a date as YYYY-MM-DD, got '04.03.2024'"),
        (("day", "2024-02-30"), "expected a date as YYYY-MM-DD, got '2024-02-30'"),
        (("day", "2024-03-09"), "2024-03-09 is not a business date of the scheme"),
        (("sql", "select * from nowhere"), "nowhere"),
        (("sql", "delete from orders"), "read-only"),
        (("land", "nonsense", __file__), "nonsense"),
        (("land", "orders", "/no/such/file.csv"), "does not exist"),
        (("frobnicate",), "frobnicate"),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else "",
)
def test_errors_are_sentences(
    acme: Acme, installed: Scenario, arguments: tuple[object, ...], said: str
) -> None:
    told = acme(*arguments)
    assert told.code in (1, 2)
    assert said in told.err
    assert "Traceback" not in told.out + told.err
    assert told.out == ""


def test_a_damaged_file_is_named(acme: Acme, installed: Scenario) -> None:
    lake = installed.platform.lake
    path = lake.path(D1, "core.ledger_balances", lake.manifest(D1)["core.ledger_balances"])
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        for arguments in (("hash", "ledger_balances", D1), ("doctor",)):
            told = acme(*arguments)
            assert told.code == 1
            assert f"core.ledger_balances of {D1}" in told.out + told.err
            assert "Traceback" not in told.out + told.err
    finally:
        path.write_bytes(whole)


# ---- looking ------------------------------------------------------------------------------------


def test_export_and_hash_agree_with_the_lake(
    acme: Acme, installed: Scenario, tmp_path: Path
) -> None:
    frame = installed.frame("ledger_balances", D1)
    told = acme("export", "core.ledger_balances", "--date", D1)
    assert told.code == 0
    assert told.out.splitlines()[0] == ",".join(frame.columns)
    assert pl.read_csv(io.StringIO(told.out)).height == frame.height == 4
    target = tmp_path / "out.parquet"
    told = acme("export", "ledger_balances", "--format", "parquet", "--out", target)
    assert (told.code, told.out) == (0, "")
    assert pl.read_parquet(target).equals(frame)
    told = acme("hash", "ledger_balances", D1)
    assert told.out == installed.hashes(D1)["core.ledger_balances"] + "\n"


def test_sql(acme: Acme, installed: Scenario) -> None:
    query = "select account, quantity from core.ledger_balances where account = 'pot/A' order by 2"
    told = acme("sql", query, "--json")
    assert told.code == 0
    assert json.loads(told.out) == [
        {"account": "pot/A", "quantity": "5.000000"},
        {"account": "pot/A", "quantity": "10.000000"},
    ]
    assert "pot/A" in acme("sql", query).out


def test_breaks_and_holds(acme: Acme, installed: Scenario) -> None:
    told = acme("breaks", "--json")
    assert told.code == 0
    found = [b for b in json.loads(told.out) if b["class"] == "quantity"]
    assert [(b["custodian_id"], b["asset_id"], b["difference"]) for b in found] == [
        ("NORTH", "EQ", "-1.000000")
    ]
    told = acme("holds", "--json")
    assert [(h["key"], h["reason"]) for h in json.loads(told.out)] == [
        (f"{D0}|BD", "conflicting_rows")
    ]
    assert acme("breaks").code == acme("holds").code == 0


def test_status(acme: Acme, installed: Scenario) -> None:
    shown = json.loads(acme("status", "--json").out)
    assert shown["last_published"] == str(D1)
    assert shown["currency"] == "USD"
    assert shown["cut_off"] == "12:00 Europe/London"
    assert shown["suspended_assets"] == ["EQ"]
    assert (shown["holds"], shown["files_not_sent"]) == (1, 0)
    assert acme("status").code == 0


def test_doctor_sees_what_the_test_server_lacks(acme: Acme, installed: Scenario) -> None:
    told = acme("doctor", "--json")
    failed = {c["check"] for c in json.loads(told.out) if not c["ok"]}
    # The servers of tests do not wait for the disk; everything else is well.
    assert failed <= {"postgres fsync", "postgres synchronous_commit"}
    assert told.code == (1 if failed else 0)


# ---- landing ------------------------------------------------------------------------------------


def test_land_tells_by_its_exit_code(acme: Acme, installed: Scenario, tmp_path: Path) -> None:
    def file(name: str, *rows: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(["price_date,asset_id,currency,closing_price", *rows]) + "\n")
        return path

    good = file("good.csv", f"{D1},EQ,USD,10", f"{D1},BD,USD,20")
    assert acme("land", "closing_prices", good).code == 0
    again = acme("land", "closing_prices", good)
    assert again.code == 3
    assert "already landed, no effect" in again.out
    twice = file("twice.csv", f"{D2},EQ,USD,10", f"{D2},EQ,USD,10")
    told = acme("land", "closing_prices", twice, "--json")
    assert told.code == 3
    assert json.loads(told.out)["counts"] == {"duplicate_row": 1}
    weekend = file("weekend.csv", "2024-03-09,EQ,USD,10", f"{D2},BD,EUR,abc")
    bad = acme("land", "closing_prices", weekend)
    assert bad.code == 1
    assert "quarantined" in bad.err
    assert "report: " in bad.err
