"""Runs of another team's process on a published date: inputs, versions, checks, what leaves."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from acme.domain.calendars import Calendars, CutOff
from acme.domain.day import Day
from acme.lakehouse import contracts
from acme.lakehouse.control import LockTimeout
from acme.lakehouse.hashing import content_hash
from acme.lakehouse.lake import (
    NotRepeatableError,
    PartitionDamagedError,
    PublishedPartitionError,
)
from acme.lakehouse.process_lock import ProcessLock
from acme.operations.dbt_models import DbtModelsError
from orchestration.registry import declared
from orchestration.shell import DayRefusedError
from orchestration.team_run import ChecksFailedError, InstructedError, Outcome, run_process
from tests.orchestration.folders import Folders
from tests.scenarios.conftest import VARIABLES, copy_of
from tests.scenarios.driver import D0, D1, D2, D3, D4, Scenario

NAME = "treasury/fees"
COUNT = """
import polars as pl
def run(day, inputs):
    pots = inputs["core.pots"].select("pot_id")
    return {"treasury.fees": pots.with_columns(amount=pl.lit("1.50").cast(pl.Decimal(18, 2)))}
"""


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[tuple[Path, str]]:
    """Return the home and database of an installation with D1, D2 and D3 published."""
    with ExitStack() as stack:
        setting = stack.enter_context(pytest.MonkeyPatch.context())
        for name in VARIABLES:
            setting.setenv(name, "")
        url = stack.enter_context(copy_of(postgres_url, template_database))
        home = tmp_path_factory.mktemp("teams") / "home"
        opened = Scenario(home, url)
        opened.reference({"A": "SELF", "B": "SELF"}, {"A": {"EQ": "10.5", "USD": "5.00"}})
        for day, before in ((D1, D0), (D2, D1), (D3, D2)):
            opened.land("closing_prices", f"{before},EQ,USD,10.33", f"{before},BD,USD,20")
            opened.run(day)
        opened.close()
        yield home, url


@pytest.fixture
def scenario(
    published: tuple[Path, str],
    tmp_path: Path,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    folders: Folders,
) -> Iterator[Scenario]:
    """Return a copy of the published installation, and a team `treasury` to write."""
    home, url = published
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    template = url.rpartition("/")[2]
    with copy_of(postgres_url, template) as copied:
        _copy(home, tmp_path / "home")
        opened = Scenario(tmp_path / "home", copied, made=True)
        columns = {"amount": "DECIMAL(18,2)"}
        folders.contract("treasury.fees", {"pot_id": "VARCHAR"}, columns)
        yield opened
        opened.close()


def _copy(source: Path, target: Path) -> None:
    import shutil  # noqa: PLC0415

    shutil.copytree(source, target)


def ran(scenario: Scenario, folder: str = NAME, on: date = D2) -> Outcome:
    team = folder.split("/", maxsplit=1)[0]
    (spec,) = [s for s in declared(team) if s.folder == folder]
    _unload(folder)
    return run_process(scenario.platform, spec, on)


def _unload(folder: str) -> None:
    import sys  # noqa: PLC0415

    for name in [n for n in sys.modules if n.startswith(f"assets.{folder.replace('/', '.')}")]:
        del sys.modules[name]


def fees(
    folders: Folders, code: str = COUNT, archetype: str = "Calculation", **more: object
) -> None:
    folders.process(
        NAME, archetype, code, **{"writes": ["treasury.fees"], "reads": ["core.pots"]} | more
    )


# ---- versions -----------------------------------------------------------------------------------


def test_a_run_writes_a_partition_and_again_nothing(scenario: Scenario, folders: Folders) -> None:
    fees(folders)
    first = ran(scenario)
    again = ran(scenario)
    assert first.versions == again.versions == {"treasury.fees": 1}
    assert first.written == again.written
    frame = scenario.platform.lake.read(D2, ["treasury.fees"])["treasury.fees"]
    assert frame.select("run_date", "pot_id", "amount").rows() == [
        (D2, "A", Decimal("1.50")),
        (D2, "B", Decimal("1.50")),
    ]
    contract = contracts.table("treasury", "fees")
    assert content_hash(contract, frame) == content_hash(contract, frame.reverse())


def test_newer_code_writes_a_version_and_keeps_the_file_before(
    scenario: Scenario, folders: Folders
) -> None:
    fees(folders)
    before = ran(scenario).written["treasury.fees"]
    fees(folders, COUNT.replace("1.50", "1.60"))
    outcome = ran(scenario)
    assert outcome.versions == {"treasury.fees": 2}
    lake = scenario.platform.lake
    assert (
        lake.read(D2, ["treasury.fees"])["treasury.fees"]["amount"].to_list()
        == [Decimal("1.60")] * 2
    )
    assert lake.path(D2, "treasury.fees", before).exists()
    first, second = lake.versions(D2, "treasury.fees")
    assert (first.partition, second.partition) == (before, outcome.written["treasury.fees"])
    assert first.made.inputs_sha256 == second.made.inputs_sha256
    assert first.made.code_version != second.made.code_version


def test_equal_inputs_and_code_that_give_other_bytes_are_refused(
    scenario: Scenario, folders: Folders
) -> None:
    impure = COUNT.replace(
        "def run",
        "import itertools\nimport builtins\nbuiltins.acme_count = getattr("
        "builtins, 'acme_count', itertools.count(1))\ndef run",
    ).replace('"1.50"', 'str(next(builtins.acme_count)) + ".00"')
    fees(folders, impure)
    before = ran(scenario).written
    with pytest.raises(NotRepeatableError, match=r"treasury\.fees of equal inputs and code was"):
        ran(scenario)
    assert scenario.platform.lake.manifest(D2)["treasury.fees"] == before["treasury.fees"]


@pytest.mark.parametrize("kind", ["VARCHAR?", "VARCHAR"])
def test_a_column_that_came_later_is_empty_in_what_was_written_before(
    scenario: Scenario, folders: Folders, kind: str
) -> None:
    fees(folders)
    ran(scenario)
    columns = {"note": kind, "amount": "DECIMAL(18,2)"}
    folders.contract("treasury.fees", {"pot_id": "VARCHAR"}, columns)
    contracts._load.cache_clear()
    if kind == "VARCHAR":
        # A value that must be there cannot be made up.
        with pytest.raises(PartitionDamagedError, match="expected columns"):
            scenario.platform.lake.read(D2, ["treasury.fees"])
        return
    frame = scenario.platform.lake.read(D2, ["treasury.fees"])["treasury.fees"]
    assert frame.columns == ["run_date", "pot_id", "note", "amount"]
    assert frame.select("pot_id", "note", "amount").rows() == [
        ("A", None, Decimal("1.50")),
        ("B", None, Decimal("1.50")),
    ]


def test_an_unpublished_date_is_refused(scenario: Scenario, folders: Folders) -> None:
    fees(folders)
    with pytest.raises(DayRefusedError, match=f"treasury/fees: {D4} is not published"):
        ran(scenario, on=D4)


def test_the_day_itself_is_untouched(scenario: Scenario, folders: Folders) -> None:
    fees(folders)
    before = scenario.hashes(D2, ("core", "stage"))
    epochs = scenario.platform.control.run(D2)
    ran(scenario)
    assert scenario.hashes(D2, ("core", "stage")) == before
    assert scenario.platform.control.run(D2) == epochs


def test_one_run_of_a_process_and_date_at_a_time(
    scenario: Scenario, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    fees(folders)
    monkeypatch.setenv("ACME_RUN_WAIT_SECONDS", "0.2")
    with ProcessLock(scenario.platform.url, NAME, D2):
        with pytest.raises(LockTimeout, match=f"another run holds treasury/fees of {D2}"):
            ran(scenario)
        # Another date, and the day, are other locks.
        assert ran(scenario, on=D3).versions == {"treasury.fees": 1}
        with ProcessLock(scenario.platform.url, NAME, D1):
            pass


# ---- inputs -------------------------------------------------------------------------------------

RUNNING = """
import polars as pl
def run(day, inputs):
    before = inputs["previous.treasury.fees"].select("pot_id", pl.col("amount").alias("before"))
    pots = inputs["core.pots"].select("pot_id").join(before, on="pot_id", how="left")
    one = pl.lit("1.00").cast(pl.Decimal(18, 2))
    total = (pl.col("before").fill_null(0) + one).cast(pl.Decimal(18, 2))
    return {"treasury.fees": pots.select("pot_id", total.alias("amount"))}
"""


def test_the_own_table_of_the_date_before(scenario: Scenario, folders: Folders) -> None:
    fees(folders, RUNNING, reads_previous=["treasury.fees"])
    assert ran(scenario, on=D1).tables["treasury.fees"]["amount"][0] == Decimal("1.00")
    with pytest.raises(
        DayRefusedError, match=f"treasury.fees has no partition {D2}: treasury/fees"
    ):
        ran(scenario, on=D3)
    assert ran(scenario, on=D2).tables["treasury.fees"]["amount"][0] == Decimal("2.00")
    assert ran(scenario, on=D3).tables["treasury.fees"]["amount"][0] == Decimal("3.00")


def test_another_teams_table_must_be_there(scenario: Scenario, folders: Folders) -> None:
    fees(folders)
    folders.contract("audit.seen", {"pot_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)"})
    code = (
        "def run(day, inputs):\n    return {'audit.seen': inputs['treasury.fees'].drop('run_date')}"
    )
    folders.process(
        "audit/seen", "Calculation", code, reads=["treasury.fees"], writes=["audit.seen"]
    )
    with pytest.raises(DayRefusedError, match="treasury/fees has not written it"):
        ran(scenario, "audit/seen")
    ran(scenario)
    seen = ran(scenario, "audit/seen").tables["audit.seen"]
    assert seen.height == 2


def test_a_feed_is_that_of_the_runs_inputs(scenario: Scenario, folders: Folders) -> None:
    folders.contract(
        "feed.invoices", {"pot_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)"}, "treasury"
    )
    contracts._load.cache_clear()
    contracts.all_feeds.cache_clear()
    code = """
def run(day, inputs):
    return {"treasury.fees": inputs["feed.invoices"].select("pot_id", "amount")}
"""
    fees(folders, code, "LandedFeed", feeds=["invoices"], reads=[])
    assert ran(scenario, on=D3).tables["treasury.fees"].is_empty()
    scenario.land("invoices", "A,12.30", "B,0.01")
    assert ran(scenario, on=D3).tables["treasury.fees"].is_empty(), "what arrives later is D4's"
    scenario.land("closing_prices", f"{D3},EQ,USD,10", f"{D3},BD,USD,20")
    scenario.run(D4)
    found = ran(scenario, on=D4).tables["treasury.fees"]
    assert found["amount"].to_list() == [Decimal("12.30"), Decimal("0.01")]


# ---- checks -------------------------------------------------------------------------------------


def test_what_breaks_its_contract_is_not_written(scenario: Scenario, folders: Folders) -> None:
    fees(folders, COUNT.replace("(18, 2)", "(18, 3)"))
    with pytest.raises(
        ChecksFailedError, match="treasury/fees of 2024-03-05: nothing was"
    ) as error:
        ran(scenario)
    (result,) = error.value.results
    assert (result.name, result.on, result.passed) == ("keeps_its_contract", "treasury.fees", False)
    assert result.failures.select("rule", "column").row(0) == ("type", "amount")
    assert "treasury.fees" not in scenario.platform.lake.manifest(D2)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_failed_check_stops_the_write_if_it_blocks(
    scenario: Scenario, folders: Folders, blocking: bool
) -> None:
    check = {
        "name": "no_a",
        "on_dataset": "treasury.fees",
        "description": "x",
        "reads": ["treasury.fees"],
        "blocking": blocking,
    }
    checks = (
        "import polars as pl\n"
        "def no_a(day, inputs):\n"
        "    return inputs['treasury.fees'].filter(pl.col('pot_id') == 'A')\n"
    )
    fees(folders, checks=[check], checks_code=checks, archetype="Report")
    if blocking:
        with pytest.raises(ChecksFailedError, match=r"no_a on treasury\.fees: 1 rows, first"):
            ran(scenario)
    else:
        assert [(c.name, c.passed) for c in ran(scenario).checks] == [
            ("keeps_its_contract", True),
            ("no_a", False),
        ]
    assert ("treasury.fees" in scenario.platform.lake.manifest(D2)) != blocking
    assert scenario.home.extracts.exists() != blocking


# ---- archetypes ---------------------------------------------------------------------------------


def test_a_reconciliation_is_declared(scenario: Scenario, folders: Folders) -> None:
    columns = {"class": "VARCHAR", "left_n": "BIGINT?", "right_n": "BIGINT?"}
    folders.contract("treasury.held", {"pot_id": "VARCHAR"}, columns)
    code = """
import polars as pl
def left(day, inputs):
    return inputs["core.pots"].select("pot_id", pl.lit(1, pl.Int64).alias("n"))
def right(day, inputs):
    return pl.DataFrame({"pot_id": ["A", "C"], "n": [2, 1]})
"""
    folders.process(
        "treasury/held", "Reconciliation", code,
        reads=["core.pots"], writes=["treasury.held"], keys=["pot_id"], compares=["n"],
    )  # fmt: skip
    assert ran(scenario, "treasury/held").tables["treasury.held"].drop("run_date").rows() == [
        ("A", "differs", 1, 2),
        ("B", "missing_right", 1, None),
        ("C", "missing_left", None, 1),
    ]


def test_a_report_writes_files_and_vouches_for_them(scenario: Scenario, folders: Folders) -> None:
    fees(folders, archetype="Report")
    assert ran(scenario).left == (f"extracts/treasury/fees/{D2}/fees.csv",)
    path = scenario.home.extracts / "treasury" / "fees" / str(D2) / "fees.csv"
    assert path.read_bytes() == b"pot_id,amount\nA,1.50\nB,1.50\n"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_name("fees.csv.sha256").read_text() == f"{digest}  fees.csv\n"
    before = path.stat().st_mtime_ns
    ran(scenario)
    assert path.stat().st_mtime_ns == before


ORDERS = (
    COUNT
    + """
    outputs["feed.orders"] = pl.DataFrame(
        [("treasury", f"{day.run_date}-A", day.cut_off_instant, "A", "sell", "EQ", None,
          Decimal("UNITS"), None, None)],
        schema=dict(zip(
            ["source", "source_ref", "received_at", "pot_id", "kind", "asset_id", "to_asset_id",
             "units", "amount", "risk_profile_id"],
            [pl.String, pl.String, pl.Datetime("us", "UTC"), pl.String, pl.String, pl.String,
             pl.String, pl.Decimal(18, 6), pl.Decimal(18, 6), pl.String])),
        orient="row",
    )
    return outputs
"""
)
ORDERS = ORDERS.replace('    return {"treasury.fees"', '    outputs = {"treasury.fees"').replace(
    "import polars as pl\n", "from decimal import Decimal\nimport polars as pl\n", 1
)


def test_an_instruction_lands_once_and_never_changes(scenario: Scenario, folders: Folders) -> None:
    fees(folders, ORDERS.replace("UNITS", "0.5"), "Instruction", lands="orders")
    name = f"treasury-fees-{D3}.csv"
    assert ran(scenario, on=D3).left == ran(scenario, on=D3).left == (f"orders/{name}",)
    control = scenario.platform.control
    waiting = [f for f in control.offered_files(D4) if f.feed == "orders"]
    assert [(f.name, f.rows, f.verdict) for f in waiting] == [(name, 1, "accepted")]
    fees(folders, ORDERS.replace("UNITS", "0.6"), "Instruction", lands="orders")
    with pytest.raises(InstructedError, match=f"{name} was landed for orders with other contents"):
        ran(scenario, on=D3)
    code = ORDERS.replace("UNITS", "0.5").replace("1.50", "1.70")
    fees(folders, code, "Instruction", lands="orders")
    with pytest.raises(PublishedPartitionError, match=r"would change the published treasury\.fees"):
        ran(scenario, on=D3)


def test_an_instruction_that_its_feed_refuses_is_told(scenario: Scenario, folders: Folders) -> None:
    fees(folders, ORDERS.replace("UNITS", "0.123456"), "Instruction", lands="orders")
    outcome = ran(scenario, on=D3)
    assert outcome.left, "an order in too fine units is landed; the day rejects it"
    wrong = ORDERS.replace("UNITS", "0.5").replace('"treasury", f', '"rebalancing", f')
    fees(folders, wrong, "Instruction", lands="orders")
    with pytest.raises(InstructedError, match="reserved_source"):
        ran(scenario, on=D2)


def test_an_instruction_to_a_third_party(scenario: Scenario, folders: Folders) -> None:
    code = COUNT.replace("    return {", "    told = {") + (
        "    return {**told, 'file': told['treasury.fees'].filter(pl.col('pot_id') == 'A')}\n"
    )
    fees(folders, code, "Instruction", recipient="BANK")
    ran(scenario)
    path = scenario.home.outbox / "BANK" / str(D2) / "treasury-fees.csv"
    assert path.read_bytes() == b"pot_id,amount\nA,1.50\n"
    assert path.with_name("treasury-fees.csv.sha256").exists()
    fees(folders, code.replace("== 'A'", "== 'B'"), "Instruction", recipient="BANK")
    with pytest.raises(InstructedError, match="was sent to BANK with other contents"):
        ran(scenario)
    assert path.read_bytes() == b"pot_id,amount\nA,1.50\n"


def test_tables_that_were_not_declared_are_refused(scenario: Scenario, folders: Folders) -> None:
    fees(folders, COUNT.replace("treasury.fees", "treasury.other"))
    with pytest.raises(ValueError, match=r"expected the tables treasury\.fees, got"):
        ran(scenario)


MODEL = """
select pot_id, cast(count(*) as decimal(18, 2)) as amount
from {{ source('core', 'pots') }}
where run_date = '{{ var("run_date") }}'
group by pot_id
"""


def test_dbt_models_see_what_is_declared_and_nothing_else(
    scenario: Scenario, folders: Folders
) -> None:
    fees(folders, "", "DbtModels", models={"fees": MODEL})
    assert ran(scenario).tables["treasury.fees"]["amount"].to_list() == [Decimal("1.00")] * 2
    assert ran(scenario).versions == {"treasury.fees": 1}
    fees(folders, "", "DbtModels", models={"fees": MODEL.replace("'pots'", "'assets'")})
    with pytest.raises(DbtModelsError, match="assets"):
        ran(scenario)
    floating = MODEL.replace("cast(count(*) as decimal(18, 2))", "count(*) / 2")
    fees(folders, "", "DbtModels", models={"fees": floating})
    with pytest.raises(ChecksFailedError, match="Float64"):
        ran(scenario)
    fees(folders, "", "DbtModels", models={"fees": MODEL.replace("source(", "source((")})
    with pytest.raises(DbtModelsError):
        ran(scenario)


# ---- the first real one -------------------------------------------------------------------------


def test_the_valuation_statement_of_a_small_scheme(scenario: Scenario) -> None:
    outcome = ran(scenario, "member_services/valuation_statement")
    lines = outcome.tables["member_services.valuation_lines"]
    assert lines.drop("run_date").rows() == [
        ("A", "EQ", Decimal("10.5"), Decimal("10.33"), Decimal("108.46"))
    ]
    statements = outcome.tables["member_services.valuation_statements"]
    assert statements.drop("run_date").rows() == [
        ("A", "M-A", D1, Decimal("5.00"), Decimal("113.46")),
        ("B", "M-B", D1, Decimal(0), Decimal(0)),
    ]
    assert all(check.passed for check in outcome.checks)


def test_its_total_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from assets.member_services.valuation_statement import checks  # noqa: PLC0415

    money = pl.Decimal(18, 2)
    lines = pl.DataFrame({"pot_id": ["A"], "value": ["1.00"]}).cast({"value": money})
    stated = pl.DataFrame(
        {"pot_id": ["A", "B"], "cash": ["1.00", "0.00"], "total": ["2.01", "0.00"]}
    ).cast({"cash": money, "total": money})
    frames = {
        "member_services.valuation_lines": lines,
        "member_services.valuation_statements": stated,
    }
    day = Day(D2, D1, "USD", CutOff.__new__(CutOff), None, Calendars({}), event_clock=True)  # type: ignore[arg-type]
    assert checks.totals_are_sums(day, frames)["pot_id"].to_list() == ["A"]
