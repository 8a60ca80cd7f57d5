"""The second engine agrees with the first, and names the row where it does not (rules §8.7)."""

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import psycopg
import pytest

from acme.lakehouse.lake import PartitionDamagedError
from acme.operations import dbt, dbt_sources, second_engine
from acme.operations.dbt import PROJECT
from acme.operations.second_engine import KEY, SecondEngineError, recompute
from tests.dbt.conftest import Ledger

PENNY = Decimal("0.01")
BALANCES, POSTED = "core.ledger_balances", "stage.posted_postings"


class Scratch:
    """Run dates beyond those that were run: copies of the last one, to plant differences in."""

    def __init__(self, ledger: Ledger, run_date: date) -> None:
        self.lake = ledger.platform.lake
        self.platform = ledger.platform
        self.run_date = run_date
        self.previous = ledger.dates[-2]
        original = self.lake.read(ledger.dates[-1], [BALANCES, POSTED])
        self.balances = original[BALANCES].drop("run_date")
        self.posted = original[POSTED].drop("run_date")

    def write(
        self, balances: pl.DataFrame | None = None, posted: pl.DataFrame | None = None
    ) -> None:
        self.lake.write(
            self.run_date,
            "test",
            {
                BALANCES: self.balances if balances is None else balances,
                POSTED: self.posted if posted is None else posted,
            },
        )

    def recompute(self) -> second_engine.SecondEngineResult:
        return recompute(self.platform, self.run_date, self.previous)


@pytest.fixture
def scratch(ledger: Ledger, request: pytest.FixtureRequest) -> Scratch:
    # A date of its own for each test.
    taken = sum(map(ord, request.node.name)) % 9000
    return Scratch(ledger, date.fromordinal(date(2030, 1, 1).toordinal() + taken))


def plus_a_penny(frame: pl.DataFrame, row: int) -> pl.DataFrame:
    quantity = pl.col("quantity")
    at = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(at).then(quantity + pl.lit(PENNY)).otherwise(quantity).cast(pl.Decimal(28, 6))
    )


def test_every_date_agrees_the_first_included(ledger: Ledger) -> None:
    before = None
    for run_date in ledger.dates:
        result = recompute(ledger.platform, run_date, before)
        assert result.failures.is_empty(), result.failures
        assert result.rows == ledger.platform.lake.manifest(run_date)[BALANCES].rows > 0
        before = run_date


def test_a_penny_in_a_posting_is_named(scratch: Scratch) -> None:
    row = scratch.posted.filter(pl.col("account").str.starts_with("pot/")).row(0, named=True)
    number = scratch.posted.with_row_index().filter(
        pl.all_horizontal(pl.col(c) == row[c] for c in ("journal_id", "account", "state"))
        & (pl.col("asset_id") == row["asset_id"])
    )["index"][0]
    scratch.write(posted=plus_a_penny(scratch.posted, number))

    failures = scratch.recompute().failures

    found = {r["account"]: r for r in failures.iter_rows(named=True)}
    assert set(found) == {row["account"], f"journal/{row['journal_id']}", "*"}
    balance = found[row["account"]]
    assert all(balance[c] == row[c] for c in KEY)
    assert (balance["recomputed"] or 0) - (balance["ours"] or 0) == PENNY
    assert found[f"journal/{row['journal_id']}"]["ours"] == PENNY
    assert found["*"]["recomputed"] == PENNY


def test_a_penny_in_our_balances_is_named(scratch: Scratch) -> None:
    scratch.write(balances=plus_a_penny(scratch.balances, 3))

    result = scratch.recompute()

    expected = scratch.balances.row(3, named=True)
    (found,) = result.failures.iter_rows(named=True)
    assert found == {c: expected[c] for c in KEY} | {
        "ours": expected["quantity"] + PENNY,
        "recomputed": expected["quantity"],
    }
    assert result.rows == scratch.balances.height


def test_a_row_that_one_side_lacks_is_named(scratch: Scratch) -> None:
    extra = scratch.balances.head(1).with_columns(pl.lit("pot/nobody").alias("account"))
    scratch.write(balances=pl.concat([scratch.balances.slice(1), extra]))

    result = scratch.recompute()

    found = {r["account"]: r for r in result.failures.iter_rows(named=True)}
    assert set(found) == {scratch.balances["account"][0], "pot/nobody"}
    assert found["pot/nobody"]["recomputed"] is None
    assert found[scratch.balances["account"][0]]["ours"] is None
    assert result.rows == scratch.balances.height + 1


def test_a_posting_of_the_run_date_itself_does_not_count_yet(scratch: Scratch) -> None:
    early = scratch.posted.with_columns(pl.lit(scratch.run_date).alias("effective_date"))
    scratch.write(posted=early)

    assert not scratch.recompute().failures.is_empty()


def test_a_partition_that_was_never_written_is_an_error(scratch: Scratch) -> None:
    with pytest.raises(SecondEngineError, match=r"core\.ledger_balances of .* was never written"):
        scratch.recompute()


def test_a_damaged_file_is_found_before_dbt_reads_it(scratch: Scratch) -> None:
    scratch.write()
    partition = scratch.lake.manifest(scratch.run_date)[POSTED]
    path = scratch.lake.path(scratch.run_date, POSTED, partition)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)

    with pytest.raises(PartitionDamagedError, match=r"stage\.posted_postings"):
        scratch.recompute()


def test_a_catalog_that_names_other_files_than_the_manifest_is_refused(scratch: Scratch) -> None:
    scratch.write()
    first = scratch.lake.manifest(scratch.run_date)[BALANCES]
    scratch.write(balances=plus_a_penny(scratch.balances, 0))
    # As after a crash between the two commits of a write.
    with psycopg.connect(scratch.platform.url) as connection:
        connection.execute(
            "UPDATE control.partitions SET file_sha256 = %s WHERE run_date = %s AND dataset = %s",
            [first.sha256, scratch.run_date, BALANCES],
        )

    with pytest.raises(SecondEngineError, match=r"other files .*: core\.ledger_bal"):
        scratch.recompute()


def test_an_error_of_dbt_is_raised_with_its_message(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.write()
    broken = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, broken)
    model = broken / "models" / "second_engine" / "recomputed_balances.sql"
    model.write_text(model.read_text("utf-8").replace("asset_id,", "no_such_column,"), "utf-8")
    monkeypatch.setattr(dbt, "PROJECT", broken)
    monkeypatch.setattr(dbt, "_parsed", {})

    with pytest.raises(SecondEngineError, match=r"balances: error: (?s:.*)no_such_column"):
        scratch.recompute()


def test_an_error_never_shows_the_password(ledger: Ledger) -> None:
    password = psycopg.conninfo.conninfo_to_dict(ledger.platform.url)["password"]
    error = dbt.error(ledger.platform, f"unable to connect: password={password} host=x")
    assert str(error) == "dbt: unable to connect: password=*** host=x"


def test_it_recovers_when_the_kept_connection_is_broken(ledger: Ledger) -> None:
    recompute(ledger.platform, ledger.dates[0], None)
    dbt._connections().env().conn.close()
    assert recompute(ledger.platform, ledger.dates[1], ledger.dates[0]).failures.is_empty()


def test_it_leaves_the_environment_and_the_source_tree_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_FULL_REFRESH", "not a boolean")
    environment = dict(os.environ)
    files = sorted(PROJECT.rglob("*"))

    assert recompute(ledger.platform, ledger.dates[0], None).failures.is_empty()

    assert dict(os.environ) == environment
    assert sorted(PROJECT.rglob("*")) == files


def test_dbt_is_imported_by_its_use_alone() -> None:
    script = (
        "import sys, acme.operations.second_engine as e;"
        "sys.exit(any(m.split('.')[0] == 'dbt' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.slow
def test_two_processes_at_once(ledger: Ledger) -> None:
    script = """
import sys
from datetime import date
from pathlib import Path
from acme.lakehouse.home import Home
from acme.lakehouse.platform import open_platform
from acme.operations.second_engine import recompute
first, second = map(date.fromisoformat, sys.argv[2:])
result = recompute(open_platform(Home(Path(sys.argv[1]))), second, first)
sys.exit(result.failures.height)
"""
    dates = [day.isoformat() for day in ledger.dates[:2]]
    command = [sys.executable, "-c", script, str(ledger.platform.home.root), *dates]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]


def test_no_figure_passes_through_a_float() -> None:
    sql = [p for p in PROJECT.rglob("*.sql") if "target" not in p.parts]
    assert len(sql) > 20
    for path in sql:
        code = re.sub(r"\{#.*?#\}", "", path.read_text("utf-8"), flags=re.DOTALL)
        code = re.sub(r"--.*", "", code)
        code = re.sub(r"'[^']*'", "''", code)
        assert not re.search(r"\b(double|float|real|avg|mean)\b|/", code, re.IGNORECASE), path.name


def test_sources_are_those_of_the_contracts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dbt_sources.main(["--check"]) == 0
    other = tmp_path / "sources.yml"
    assert dbt_sources.main(["--check"], other) == 1
    assert "python -m acme.operations.dbt_sources" in capsys.readouterr().err
    assert dbt_sources.main([], other) == 0
    assert other.read_text("utf-8") == dbt_sources.FILE.read_text("utf-8")
