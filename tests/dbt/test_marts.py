"""Finance's marts are the books, the same on both engines, and served whole or not at all."""

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import psycopg
import pytest
import yaml

from acme.lakehouse.roles import role_url
from acme.operations import dbt
from acme.operations.marts import build as building
from acme.operations.marts import inputs, models, reference, serving
from acme.operations.marts.build import EnginesDisagreeError, build, outstanding, prove, rebuild
from acme.operations.marts.inputs import MartsError
from acme.operations.marts.models import marts
from orchestration import runner
from tests.dbt.conftest import Ledger

PENNY = Decimal("0.01")
NAMES = [mart.name for mart in marts()]
# Marts that have rows of every published date, whatever was dealt or broke on it.
ALWAYS = {
    "published",
    "positions",
    "holdings_by_asset",
    "cash_by_pot",
    "process_health",
    "capacity",
}


@pytest.fixture(scope="module")
def served(ledger: Ledger) -> Ledger:
    """Return the scheme with the marts of all its dates served."""
    build(ledger.platform)
    return ledger


def rows_of_duckdb(served: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(served.platform.home.marts), read_only=True) as connection:
        return {
            mart.name: connection.execute(
                f"FROM {mart.name} ORDER BY {', '.join(mart.key)}"
            ).fetchall()
            for mart in marts()
        }


def rows_of_postgres(served: Ledger, role: str | None = None) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(role or served.platform.url) as connection:
        return {
            mart.name: connection.execute(
                f"SELECT * FROM marts.{mart.name} ORDER BY "
                + ", ".join(f'"{name}"' for name in mart.key)
            ).fetchall()
            for mart in marts()
        }


def in_bytewise_order(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[str]]:
    return {name: sorted(map(repr, of_mart)) for name, of_mart in rows.items()}


# ---- the same figures everywhere ----------------------------------------------------------------


def test_both_engines_serve_every_published_date_alike(served: Ledger) -> None:
    assert outstanding(served.platform) == []
    ours, theirs = rows_of_duckdb(served), rows_of_postgres(served)
    assert in_bytewise_order(ours) == in_bytewise_order(theirs)
    for name, rows in ours.items():
        assert {row[0] for row in rows} <= set(served.dates), name
        assert name not in ALWAYS or {row[0] for row in rows} == set(served.dates), name
    assert ours["trades"]
    assert ours["dealing_summary"]


def test_building_again_gives_the_same_rows_in_whatever_portions(
    served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of_duckdb(served), rows_of_postgres(served)
    build(served.platform, [served.dates[1]])
    assert (rows_of_duckdb(served), rows_of_postgres(served)) == before
    monkeypatch.setattr(building, "DATES_AT_ONCE_MAX", 2)
    assert rebuild(served.platform).dates == served.dates
    assert (rows_of_duckdb(served), rows_of_postgres(served)) == before


def test_positions_are_the_balances_of_the_books_worth_money_of_the_rules(served: Ledger) -> None:
    day = served.dates[-1]
    frames = served.platform.lake.read(day, ["core.ledger_balances", "stage.price_book"])
    held = (
        frames["core.ledger_balances"]
        .filter(pl.col("account").str.starts_with("pot/"))
        .group_by("account", "asset_id")
        .agg(pl.col("quantity").sum())
    )
    prices = dict(
        frames["stage.price_book"]
        .filter(pl.col("price_date") <= served.dates[-2])
        .sort("price_date")
        .select("asset_id", "closing_price")
        .iter_rows()
    )
    expected = {
        (account.removeprefix("pot/"), asset): (
            quantity,
            (quantity * prices.get(asset, Decimal(1))).quantize(PENNY, ROUND_HALF_EVEN),
        )
        for account, asset, quantity in held.iter_rows()
    }
    with duckdb.connect(str(served.platform.home.marts), read_only=True) as connection:
        found = connection.execute(
            "SELECT pot_id, asset_id, units, value FROM positions WHERE run_date = ?", [day]
        ).fetchall()
    assert {(pot, asset): (units, value) for pot, asset, units, value in found} == expected


def test_a_date_shows_the_close_before_it(served: Ledger) -> None:
    shown = {row[0]: row[1] for row in rows_of_duckdb(served)["published"]}
    assert [shown[day] for day in served.dates[1:]] == list(served.dates[:-1])


def test_a_date_that_is_not_published_has_no_marts(served: Ledger) -> None:
    with pytest.raises(MartsError, match="2019-01-02 is not published"):
        build(served.platform, [date(2019, 1, 2)])


# ---- what differs is found, named, and not served -----------------------------------------------


@contextmanager
def planted(monkeypatch: pytest.MonkeyPatch, *statements: str) -> Iterator[None]:
    """Change what Postgres is given, after it was verified and loaded."""
    give = inputs.give_warehouse

    def give_something_else(platform: Any, connection: Any, *rest: Any) -> None:
        give(platform, connection, *rest)
        for statement in statements:
            assert connection.execute(statement).rowcount == 1

    with monkeypatch.context() as patch:
        patch.setattr(inputs, "give_warehouse", give_something_else)
        yield


ONE_ALLOCATION = "(SELECT allocation_id FROM marts_input_core.allocations ORDER BY 1 LIMIT 1)"
A_PENNY = (
    "UPDATE marts_input_core.allocations SET consideration = consideration + 0.01"
    f" WHERE allocation_id = {ONE_ALLOCATION}"
)


def test_a_penny_between_the_engines_is_named_and_nothing_is_served(
    served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = served.dates[-1]
    before = rows_of_duckdb(served), rows_of_postgres(served)
    with planted(monkeypatch, A_PENNY), pytest.raises(EnginesDisagreeError) as raised:
        build(served.platform, [day])
    differing = {c.mart: c for c in raised.value.comparisons if not c.agrees}
    assert set(differing) == {"trades"}
    assert differing["trades"].rows_differing == 1
    (found,) = differing["trades"].first
    assert (found.run_date, found.column) == (day, "consideration")
    assert Decimal(found.warehouse or "") - Decimal(found.lake or "") == PENNY
    assert "trades at run_date=" in str(raised.value)
    assert (rows_of_duckdb(served), rows_of_postgres(served)) == before


ALLOCATIONS = "marts_input_core.allocations"
GONE = f"DELETE FROM {ALLOCATIONS} WHERE allocation_id = {ONE_ALLOCATION}"
TWICE = f"INSERT INTO {ALLOCATIONS} SELECT * FROM (SELECT * FROM {ALLOCATIONS} LIMIT 1) AS one"
NO_NULL = f"UPDATE {ALLOCATIONS} SET reverses = '' WHERE allocation_id = {ONE_ALLOCATION}"


@pytest.mark.parametrize(
    ("statement", "column"),
    [(GONE, "*"), (TWICE, "key"), (NO_NULL, "replaces_trade_id")],
    ids=["a row is missing", "a row is there twice", "null is not an empty text"],
)
def test_every_kind_of_difference_is_found(
    served: Ledger, monkeypatch: pytest.MonkeyPatch, statement: str, column: str
) -> None:
    with planted(monkeypatch, statement), pytest.raises(MartsError) as raised:
        build(served.platform, [served.dates[-1]])
    if column == "key":
        # The engine itself refuses: every mart has its primary key.
        assert "duplicate key" in str(raised.value)
        return
    assert isinstance(raised.value, EnginesDisagreeError)
    assert [d.column for c in raised.value.comparisons for d in c.first] == [column]


def test_a_failed_test_of_dbt_serves_nothing(
    served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    penny = (
        "UPDATE marts_input_core.ledger_balances SET quantity = quantity + 0.01 WHERE ctid ="
        " (SELECT ctid FROM marts_input_core.ledger_balances WHERE account LIKE 'pot/%' LIMIT 1)"
    )
    with planted(monkeypatch, penny), pytest.raises(MartsError, match="pots_equal_custodians"):
        build(served.platform, [served.dates[-1]])


def test_in_dagster_the_blocking_check_fails_and_nothing_is_materialised(
    served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = served.dates[-1]
    key = dg.AssetKey(["marts", "trades"])
    with dg.DagsterInstance.ephemeral() as instance:
        with (
            planted(monkeypatch, A_PENNY),
            pytest.raises(runner.DayFailedError, match="check engines_agree on marts/trades"),
        ):
            runner.run_marts(served.platform, day, day, instance)
        assert instance.get_materialized_partitions(key) == set()
        runner.run_marts(served.platform, served.dates[0], day, instance)
        assert instance.get_materialized_partitions(key) == {str(d) for d in served.dates}


# ---- who reads ----------------------------------------------------------------------------------


def test_finance_reads_the_marts_and_writes_nothing(served: Ledger) -> None:
    url = role_url(served.platform.home, "finance")
    assert rows_of_postgres(served, url) == rows_of_postgres(served)
    refused = [
        "INSERT INTO marts.published SELECT * FROM marts.published",
        "UPDATE marts.positions SET value = 0",
        "DELETE FROM marts.trades",
        "TRUNCATE marts.trades",
        "DROP TABLE marts.trades",
        "CREATE TABLE marts.mine (a int)",
        "SELECT * FROM control.publications",
        "SELECT * FROM marts_next.trades",
        "SELECT * FROM marts_input_core.pots",
    ]
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in refused:
            with pytest.raises(
                (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
            ):
                connection.execute(statement)


STOCK = """
import json, sys, duckdb
file, nowhere, *queries = sys.argv[1:]
connection = duckdb.connect(file, read_only=True, config={
    "extension_directory": nowhere, "autoinstall_known_extensions": False,
    "autoload_known_extensions": False})
for query in queries:
    try:
        print(json.dumps(connection.execute(query).fetchall(), default=str))
    except duckdb.Error as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def stock_duckdb(served: Ledger, nowhere: Path, *queries: str) -> list[Any]:
    """Return what a DuckDB without any extension of ours answers, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", STOCK, served.platform.home.marts, nowhere, *queries],
        env={"HOME": str(nowhere), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_stock_duckdb_reads_the_file_and_writes_nothing(served: Ledger, tmp_path: Path) -> None:
    found = stock_duckdb(
        served, tmp_path, *[f"SELECT count(*) FROM marts.{name}" for name in NAMES]
    )
    assert [rows[0][0] for rows in found] == [len(rows_of_duckdb(served)[n]) for n in NAMES]
    shown, wrote, dropped = stock_duckdb(
        served,
        tmp_path,
        "FROM published ORDER BY run_date",
        "DELETE FROM trades",
        "DROP TABLE trades",
    )
    assert [row[0] for row in shown] == [str(day) for day in served.dates]
    assert all("read-only" in answer[1] for answer in (wrote, dropped))
    assert not list(tmp_path.iterdir())


def test_the_file_is_closed_to_writers_and_alone(served: Ledger) -> None:
    file = served.platform.home.marts
    stale = file.with_name(f"{file.name}.wal")
    stale.write_bytes(b"left by somebody who wrote to the old file")
    build(served.platform, [served.dates[0]])
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert [p.name for p in file.parent.iterdir() if "marts.duckdb" in p.name] == [file.name]


def test_columns_tell_what_they_mean_in_both(served: Ledger) -> None:
    wanted = {(m.name, c.name): c.description for m in marts() for c in m.columns}
    with duckdb.connect(str(served.platform.home.marts), read_only=True) as connection:
        ours = connection.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    with psycopg.connect(served.platform.url) as connection:
        theirs = connection.execute(
            "SELECT relname, attname, col_description(pg_class.oid, attnum) FROM pg_class"
            " JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
            " WHERE relnamespace = 'marts'::regnamespace AND relkind = 'r'"
        ).fetchall()
    assert {(t, c): d for t, c, d in ours} == wanted
    assert {(t, c): d for t, c, d in theirs} == wanted


def test_who_a_member_is_never_leaves_the_lake(served: Ledger) -> None:
    with psycopg.connect(served.platform.url) as connection:
        columns = {
            name
            for (name,) in connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema LIKE"
                " 'marts%' "
            )
        }
    assert "pot_id" in columns
    assert "member_ref" not in columns
    assert "member_ref" in served.platform.lake.read(served.dates[0], ["core.pots"])["core.pots"]


# ---- what goes wrong ----------------------------------------------------------------------------


def test_a_date_that_one_engine_lacks_is_built_again(
    served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = served.dates[-1]
    before = rows_of_duckdb(served), rows_of_postgres(served)
    with psycopg.connect(served.platform.url) as connection:
        for name in NAMES:
            connection.execute(f"DELETE FROM marts.{name} WHERE run_date = %s", [day])
    assert outstanding(served.platform) == [day]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(serving, "replace_atomic", full)
        with pytest.raises(OSError, match="No space left"):
            build(served.platform)
    home = served.platform.home.root
    assert [p.name for p in home.iterdir() if "marts.duckdb" in p.name] == ["marts.duckdb"]
    assert rows_of_duckdb(served) == before[0]
    build(served.platform, [day])
    assert (rows_of_duckdb(served), rows_of_postgres(served)) == before


def test_a_file_that_is_no_database_says_what_to_do(served: Ledger, tmp_path: Path) -> None:
    broken = tmp_path / "marts.duckdb"
    broken.write_bytes(b"no database")
    with pytest.raises(MartsError, match="acme marts build --all"):
        serving.served_by_duckdb(broken)
    assert serving.served_by_duckdb(tmp_path / "none") == set()


def test_a_damaged_partition_stops_the_build(served: Ledger) -> None:
    day = served.dates[0]
    partition = served.platform.lake.manifest(day)["core.batch_lines"]
    path = served.platform.lake.path(day, "core.batch_lines", partition)
    original = path.read_bytes()
    path.chmod(0o644)
    try:
        path.write_bytes(bytes([original[0] ^ 1]) + original[1:])
        with pytest.raises(Exception, match=r"core\.batch_lines of .*: expected SHA-256"):
            build(served.platform, [day])
    finally:
        path.write_bytes(original)


def test_one_build_at_a_time(served: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_RUN_WAIT_SECONDS", "0.2")
    with (
        building._locked(served.platform),
        pytest.raises(MartsError, match="another process builds marts"),
    ):
        build(served.platform)


def test_a_mart_whose_columns_change_is_made_anew(served: Ledger) -> None:
    with psycopg.connect(served.platform.url) as connection:
        connection.execute("ALTER TABLE marts.capacity ADD COLUMN old int")
    build(served.platform, [served.dates[0]])
    with psycopg.connect(served.platform.url) as connection:
        days = connection.execute("SELECT DISTINCT run_date FROM marts.capacity").fetchall()
    assert days == [(served.dates[0],)]
    rebuild(served.platform)
    assert in_bytewise_order(rows_of_duckdb(served)) == in_bytewise_order(rows_of_postgres(served))


# ---- the project --------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_unit_test_passes_on_both_engines(served: Ledger) -> None:
    unit_tests = yaml.safe_load((models.FILE.parent / "unit_tests.yml").read_text("utf-8"))
    names = {test["name"] for test in unit_tests["unit_tests"]}
    tested = {test["model"] for test in unit_tests["unit_tests"]}
    assert set(NAMES) <= tested
    passed = prove(served.platform)
    assert set(passed) == {"lake", "warehouse"}
    for found in passed.values():
        assert names | set(NAMES) <= set(found)


@pytest.mark.slow
def test_money_that_rounds_half_away_fails_its_unit_test(
    served: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "dbt_project"
    shutil.copytree(dbt.PROJECT, wrong)
    macro = wrong / "macros" / "money.sql"
    text = macro.read_text("utf-8")
    assert text.count("= 0.005") == 1
    macro.write_text(text.replace("= 0.005", "= 0.0051"), "utf-8")
    monkeypatch.setattr(dbt, "PROJECT", wrong)
    monkeypatch.setattr(dbt, "_parsed", {})
    with pytest.raises(MartsError, match="fail"):
        prove(served.platform)


@pytest.mark.slow
@pytest.mark.parametrize("target", dbt.TARGETS)
def test_dbt_documents_the_project(served: Ledger, target: dbt.Target, tmp_path: Path) -> None:
    build(served.platform, [served.dates[-1]])
    page = building.document(served.platform, target, tmp_path)
    assert page.stat().st_size > 100_000
    catalog = json.loads((tmp_path / "catalog.json").read_bytes())
    assert not catalog["errors"]
    columns = {node["metadata"]["name"]: set(node["columns"]) for node in catalog["nodes"].values()}
    for mart in marts():
        assert columns[mart.name] == {c.name for c in mart.columns}


def test_every_mart_says_when_and_every_column_what() -> None:
    exposed = yaml.safe_load((dbt.PROJECT / "models" / "exposures.yml").read_text("utf-8"))
    used = {name for e in exposed["exposures"] for name in e["depends_on"]}
    for mart in marts():
        assert [c.name for c in mart.columns[:3]] == ["run_date", "as_of", "published_at"]
        assert mart.key[0] == "run_date"
        assert all(c.description.endswith(".") for c in mart.columns), mart.name
        assert not any(re.match("double|float|real", c.sql_type) for c in mart.columns)
        assert {c.name for c in mart.columns if not c.nullable} >= set(mart.key)
        assert f"ref('{mart.name}')" in used


def test_the_reference_is_that_of_the_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reference.main(["--check"]) == 0
    other = tmp_path / "marts.md"
    assert reference.main(["--check"], other) == 1
    assert "python -m acme.operations.marts.reference" in capsys.readouterr().err
    assert reference.main([], other) == 0
    assert other.read_text("utf-8") == reference.FILE.read_text("utf-8")


def test_dbt_is_not_imported_to_read_marts() -> None:
    script = (
        "import sys, acme.cli.main;sys.exit(any(m.split('.')[0] == 'dbt' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
