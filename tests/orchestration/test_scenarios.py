"""Scenarios: what a file may say, what is told of one that fails, and that they need no server."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestration import process_folder, scenario_check, scenarios
from orchestration.registry import DeclarationError
from orchestration.scenario_rows import ScenarioError
from orchestration.scenarios import ScenarioFailedError
from tests.orchestration.folders import Folders

ROOT = Path(__file__).resolve().parents[2]
NAME = "treasury/fees"
FEES = """
import polars as pl
def run(day, inputs):
    pots = inputs["core.pots"].filter(pl.col("status") == "open").select("pot_id")
    return {"treasury.fees": pots.with_columns(amount=pl.lit("1.50").cast(pl.Decimal(18, 2)))}
"""
CHECKS = """
import polars as pl
def none_of_b(day, inputs):
    return inputs["treasury.fees"].filter(pl.col("pot_id") == "B")
"""
POT = (
    "{book: live, pot_id: %s, member_ref: M, risk_profile_id: R, opened_on: 2024-01-02, status: %s}"
)
GOOD = f"""\
scenario: Every open pot pays
date: 2024-04-02
holidays: [2024-03-29, 2024-04-01]
given:
  core.pots:
    - {POT % ("A", "open")}
    - {POT % ("C", "closed")}
expect:
  treasury.fees:
    - {{pot_id: A, amount: "1.50"}}
"""
CHECK = {
    "name": "none_of_b",
    "on_dataset": "treasury.fees",
    "description": "Made up.",
    "reads": ["treasury.fees"],
}


@pytest.fixture
def treasury(folders: Folders) -> Folders:
    """Return a team with a process and its contract."""
    folders.contract("treasury.fees", {"pot_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)?"})
    made(folders)
    return folders


def made(
    folders: Folders, code: str = FEES, archetype: str = "Calculation", **more: object
) -> None:
    attributes = {"reads": ["core.pots"], "writes": ["treasury.fees"], "checks": [CHECK]}
    given = {**attributes, "checks_code": CHECKS, **more}
    folders.process(NAME, archetype, code, **given)


def written(folders: Folders, text: str, name: str = "one.yaml") -> Path:
    path = folders.assets / NAME / "scenarios" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_a_scenario_passes(treasury: Folders) -> None:
    scenarios.require(written(treasury, GOOD))


def test_the_day_is_counted_on_the_scenarios_holidays(treasury: Folders) -> None:
    day = scenarios.read(written(treasury, GOOD)).day
    assert (day.run_date, day.as_of, day.currency) == (date(2024, 4, 2), date(2024, 3, 28), "USD")
    assert day.known_at == datetime(2024, 4, 2, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"1.50"', '"1.60"', "treasury.fees: pot_id=A: amount: expected 1.60, got 1.50"),
        ('amount: "1.50"', "amount: null", "pot_id=A: amount: expected null, got 1.50"),
        ("{pot_id: A, am", "{pot_id: B, am", "pot_id=B: expected amount=1.50, got no such row"),
        ("    - {pot_id: A", "    [] #", "pot_id=A: expected no such row, got amount=1.50"),
        ("status: closed", "status: open", "pot_id=C: expected no such row, got amount=1.50"),
        ("pot_id: A, member", "pot_id: B, member", "expected none_of_b to pass, got 1 rows"),
    ],
)
def test_the_first_row_and_column_that_differ_are_told(
    treasury: Folders, before: str, after: str, told: str
) -> None:
    assert before in GOOD
    with pytest.raises(ScenarioFailedError) as caught:
        scenarios.require(written(treasury, GOOD.replace(before, after)))
    assert told in str(caught.value)
    assert str(caught.value).startswith("assets/treasury/fees/scenarios/one.yaml: Every open pot")


def test_differences_come_in_key_order_and_are_cut(treasury: Folders) -> None:
    rows = "".join(f'    - {{pot_id: P{n:02}, amount: "1"}}\n' for n in reversed(range(30)))
    with pytest.raises(ScenarioFailedError) as caught:
        scenarios.require(written(treasury, GOOD + rows))
    lines = str(caught.value).splitlines()[1:]
    assert lines[0] == "  treasury.fees: pot_id=P00: expected amount=1.00, got no such row"
    assert lines[-1] == "  and 10 more"
    assert len(lines) == scenarios.SHOWN_MAX + 1


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("scenario: Every open pot pays\n", "", "scenario: expected one sentence, got None"),
        ("date: 2024-04-02", "date: 2024-04-01", "date: expected a business date, got 2024-04-01"),
        ("date: 2024-04-02", "date: yesterday", "date: expected a date YYYY-MM-DD"),
        (
            "[2024-03-29, 2024",
            "[Easter, 2024",
            "holidays: expected a date YYYY-MM-DD, got 'Easter'",
        ),
        ("date:", "day:", "expected scenario, date, holidays, currency, given, expect, fails, got"),
        (
            "core.pots:",
            "core.orders:",
            "given: expected what it reads, core.pots, got 'core.orders'",
        ),
        ("member_ref: M, ", "member: M, ", "core.pots: row 1: expected columns run_date, book"),
        ("member_ref: M, ", "", "core.pots: row 1: member_ref: expected a value, got none"),
        (
            "2024-01-02",
            "2024-02-31",
            "core.pots: row 1: opened_on: expected a date YYYY-MM-DD, got",
        ),
        ("date: 2024-04-02", "date: 2024-02-31", "date: expected a date YYYY-MM-DD, got '2024-02-"),
        ("2024-01-02", "2024", "row 1: opened_on: expected a date YYYY-MM-DD, got 2024"),
        ("pot_id: A, member", "pot_id: 7, member", "pot_id: expected text in quotes, got 7"),
        ('"1.50"', "1.50", "amount: expected a whole number or text in quotes, got 1.5"),
        ('"1.50"', '"1.505"', "amount: expected at most 16 digits and 2 decimals, got 1.505"),
        ('"1.50"', '"1e3"', "amount: expected a number in quotes, got '1e3'"),
        ("status: closed", "status: gone", "keep the contract: core.pots.status: enum"),
        ("{book: live, pot_id: C", "{book: live, pot_id: A", "duplicate_key"),
        ("treasury.fees:", "treasury.other:", "expect: expected the tables treasury.fees, got"),
        ("expect:", "fails: none_of_b\nexpect:", "expected one of expect and fails"),
        (
            "date: 2024-04-02",
            "date: 2024-04-02\ndate: 2024-04-03",
            "expected date once, got it twice, in line 3",
        ),
        ("date: 2024-04-02", "date: [", "expected YAML"),
        (
            "    - {pot_id: A, am",
            "    - A\n    - {pot_id: A, am",
            "row 1: expected columns and their",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_told(
    treasury: Folders, before: str, after: str, told: str
) -> None:
    assert before in GOOD
    with pytest.raises(ScenarioError) as caught:
        scenarios.require(written(treasury, GOOD.replace(before, after)))
    assert told in str(caught.value)
    assert str(caught.value).startswith("assets/treasury/fees/scenarios/one.yaml: ")


def test_a_check_that_must_fail(treasury: Folders) -> None:
    expected, _, _ = GOOD.partition("expect:")
    bad = expected.replace("pot_id: A", "pot_id: B")
    scenarios.require(written(treasury, f"{bad}fails: none_of_b\n"))
    with pytest.raises(ScenarioFailedError, match="expected none_of_b to fail, got: none did"):
        scenarios.require(written(treasury, f"{expected}fails: none_of_b\n"))
    with pytest.raises(ScenarioError, match="fails: expected a blocking check of keeps_its_contr"):
        scenarios.require(written(treasury, f"{expected}fails: something\n"))


def test_rows_from_a_csv_file(treasury: Folders) -> None:
    csv = "book,pot_id,member_ref,risk_profile_id,opened_on,status\n"
    csv += "live,A,M,R,2024-01-02,open\nlive,C,M,R,2024-01-02,closed\n"
    head, _, tail = GOOD.partition("  core.pots:\n")
    path = written(treasury, f"{head}  core.pots: pots.csv\n{tail[tail.index('expect:') :]}")
    written(treasury, csv, "pots.csv")
    scenarios.require(path)
    assert (
        scenarios.read(path)
        .frames["core.pots"]
        .equals(scenarios.read(written(treasury, GOOD, "two.yaml")).frames["core.pots"])
    )
    written(treasury, csv + "live,D\n", "pots.csv")
    with pytest.raises(ScenarioError, match=r"pots\.csv: row 3: expected 6 fields, got 2"):
        scenarios.require(path)
    path.write_text(path.read_text("utf-8").replace("pots.csv", "../pots.csv"), "utf-8")
    with pytest.raises(ScenarioError, match="expected a CSV file of its folder"):
        scenarios.require(path)


def test_a_result_that_depends_on_the_order_of_rows_fails(treasury: Folders) -> None:
    made(treasury, FEES.replace('.select("pot_id")', '.select("pot_id").head(1)'))
    both = GOOD.replace("closed", "open")
    with pytest.raises(ScenarioFailedError, match="the same rows whatever the order of its inputs"):
        scenarios.require(written(treasury, both))


def test_other_tables_than_declared_are_told(treasury: Folders) -> None:
    made(treasury, FEES.replace("treasury.fees", "treasury.other"))
    with pytest.raises(ScenarioFailedError, match=r"expected the tables .*fees.*, got .*other"):
        scenarios.require(written(treasury, GOOD))


RUN = "import polars as pl\ndef run(day, inputs):\n    return "
SIDES = "import polars as pl\ndef left(day, inputs):\n    return %s\ndef right(day, inputs):\n"
SIDES += "    return pl.DataFrame({'pot_id': ['A'], 'amount': [1]})\n"
COMPARED = {"archetype": "Reconciliation", "keys": ["pot_id"], "compares": ["amount"]}


@pytest.mark.parametrize(
    ("code", "more", "told"),
    [
        (
            f"{RUN}inputs['core.pot']\n",
            {},
            'process.py:3: KeyError: inputs["core.pot"]: expected one of core.pots',
        ),
        (f"{RUN}1 / 0\n", {}, "process.py:3: ZeroDivisionError: division by zero"),
        (
            f"{RUN}inputs['core.pots'].select('pot')\n",
            {},
            "process.py:3: ColumnNotFoundError: ",
        ),
        ("1 / 0\n", {}, "process.py:1: ZeroDivisionError: division by zero"),
        (f"{RUN}None\n", {}, "process.py: run: expected frames by table, got nothing"),
        (f"{RUN}{{}}\n", {}, "process.py: run: expected the tables treasury.fees, got none"),
        (
            f"{RUN}{{'treasury.fees': inputs['core.pots'].lazy()}}\n",
            {},
            "process.py: run: treasury.fees: expected a frame, got LazyFrame",
        ),
        (
            SIDES % "None",
            COMPARED,
            "process.py: left: expected a frame, got nothing",
        ),
        (
            SIDES % "pl.DataFrame({'pot_id': ['A'], 'amount': [1.5]})",
            COMPARED,
            "process.py: left.amount: expected an exact type, got Float64",
        ),
        (
            SIDES % "pl.DataFrame({'pot_id': ['A'], 'sum': [1]})",
            COMPARED,
            "process.py: left: expected a column amount, got pot_id, sum",
        ),
        (
            FEES,
            {"checks": [CHECK], "checks_code": "def none_of_b(day, inputs):\n    return True\n"},
            "checks.py: none_of_b: expected a frame of the rows that break it, got bool",
        ),
        (
            FEES,
            {"checks": [CHECK], "checks_code": "def none_of_b(day, inputs):\n    raise OSError\n"},
            "checks.py:2: OSError: no message",
        ),
    ],
)
def test_what_a_process_does_wrong_is_told_in_one_line(
    treasury: Folders, code: str, more: dict[str, Any], told: str
) -> None:
    made(treasury, code, **more)
    with pytest.raises(ScenarioFailedError) as caught:
        scenarios.require(written(treasury, GOOD))
    assert f"\n  assets/treasury/fees/{told}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('"1.50").cast(pl.Decimal(18, 2))', "amount: type: expected Decimal"),
        ('amount=pl.lit("1.50").cast(pl.Decimal(18, 2))', "amount: missing_column: expected col"),
    ],
)
def test_what_breaks_its_contract_is_told_with_its_column(
    treasury: Folders, change: str, told: str
) -> None:
    assert change in FEES
    made(treasury, FEES.replace(change, "1.5)" if "amount" not in change else "sum=pl.lit(1)"))
    with pytest.raises(ScenarioFailedError, match=rf"\n  treasury\.fees\.{told}"):
        scenarios.require(written(treasury, GOOD))


def test_rows_of_a_feed_have_an_origin(treasury: Folders) -> None:
    treasury.contract(
        "feed.bills", {"bill": "VARCHAR"}, {"amount": "DECIMAL(18,2)"}, team="treasury"
    )
    made(treasury, feeds=["bills"], reads_previous=["core.pots", "treasury.fees"])
    given = """\
  feed.bills:
    - {bill: B1, amount: 3}
    - {bill: B1, amount: "4.5", sequence: 2, file_sha256: f2}
  previous.core.pots: []
  previous.treasury.fees:
    - {run_date: 2024-02-29, pot_id: A, amount: null}
expect:"""
    path = written(treasury, GOOD.replace("expect:", given))
    scenarios.require(path)
    frames = scenarios.read(path).frames
    noon = datetime(2024, 4, 2, 11, tzinfo=UTC)
    assert frames["feed.bills"].select("row", "sequence", "file_sha256", "landed_at").rows() == [
        (1, 1, "0" * 64, noon),
        (2, 2, "f2", noon),
    ]
    assert frames["previous.treasury.fees"]["run_date"].to_list() == [date(2024, 2, 29)]
    assert frames["core.pots"]["run_date"].unique().to_list() == [date(2024, 4, 2)]
    assert frames["previous.core.pots"].schema["opened_on"] == pl.Date()


SENDS = """
import polars as pl
def run(day, inputs):
    rows = pl.DataFrame({"pot_id": ["A"], "amount": ["1.5"]}).with_columns(
        pl.col("amount").cast(pl.Decimal(18, 2)))
    return {"treasury.fees": rows, NAME: rows}
"""


def test_what_an_instruction_sends_is_held_against_its_digits(treasury: Folders) -> None:
    made(treasury, SENDS.replace("NAME", '"file"'), "Instruction", recipient="BANK")
    text = GOOD + '  file:\n    - {pot_id: A, amount: "1.50"}\n'
    scenarios.require(written(treasury, text))
    shorter = text[: text.rindex("1.50")] + '1.5"}\n'
    with pytest.raises(ScenarioFailedError, match=r"file: row 1: amount: expected 1\.5, got 1\.50"):
        scenarios.require(written(treasury, shorter))


def test_what_an_instruction_lands_keeps_its_feeds_contract(treasury: Folders) -> None:
    treasury.contract("feed.bills", {"pot_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)"}, team="x")
    made(treasury, SENDS.replace("NAME", '"feed.bills"'), "Instruction", lands="bills")
    text = GOOD + '  feed.bills:\n    - {pot_id: A, amount: "1.5"}\n'
    scenarios.require(written(treasury, text))
    treasury.contract("feed.bills", {"pot_id": "VARCHAR"}, {"sum": "DECIMAL(18,2)"}, team="x")
    from acme.lakehouse import contracts  # noqa: PLC0415

    contracts._load.cache_clear()
    with pytest.raises(
        ScenarioFailedError, match=r"feed\.bills: expected rows that keep the contr"
    ):
        scenarios.require(written(treasury, text.replace('amount: "1.5"', 'sum: "1.5"')))


# ---- what every process must have ---------------------------------------------------------------


def test_what_a_process_lacks_is_told(treasury: Folders) -> None:
    folder = treasury.assets / NAME
    assert scenario_check.wrong(treasury.assets) == [
        "assets/treasury/fees/README.md: expected a paragraph that begins **Problem.**",
        "assets/treasury/fees/scenarios: expected at least one NAME.yaml, got none",
    ]
    (folder / "README.md").write_text("# Fees\n\n**Problem.** Who pays?\n", "utf-8")
    written(treasury, GOOD)
    assert scenario_check.wrong(treasury.assets) == []
    written(treasury, "", "left.csv")
    written(treasury, GOOD.replace("date: 2024-04-02", "date: 2024-04-01"), "two.yaml")
    assert scenario_check.wrong(treasury.assets) == [
        "assets/treasury/fees/scenarios/two.yaml: date: expected a business date, got 2024-04-01",
        "assets/treasury/fees/scenarios/left.csv: expected a NAME.yaml, or a CSV that one names",
    ]


def test_a_declaration_is_held_against_contracts_and_code(treasury: Folders) -> None:
    path = treasury.assets / NAME / "defs.yaml"
    process_folder.require(path)
    made(treasury, reads=["stage.price_book"])
    with pytest.raises(DeclarationError, match="reads: expected core or a team's schema"):
        process_folder.require(path)
    made(treasury, checks=[CHECK | {"name": "something"}])
    with pytest.raises(DeclarationError, match=r"checks\.py: expected a function something"):
        process_folder.require(path)
    made(treasury, archetype="DbtModels")
    with pytest.raises(DeclarationError, match=r"models/fees\.sql: expected a model"):
        process_folder.require(path)


def test_the_processes_that_are_there_lack_nothing() -> None:
    assert scenario_check.wrong(ROOT / "assets") == []


def test_scenarios_are_tests_and_need_neither_dagster_nor_a_database() -> None:
    code = """
import sys, pytest
code = pytest.main(["assets/member_services", "-q", "-rA"])
heavy = sorted({"dagster", "great_expectations", "duckdb", "psycopg", "dbt"} & set(sys.modules))
print("imported", heavy)
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "imported []" in done.stdout
    assert "::member_services/valuation_statement/a_pot_with_cash_and_units" in done.stdout
    assert "defs.yaml::member_services/valuation_statement" in done.stdout
