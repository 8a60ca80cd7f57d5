"""acme new-process: what it writes, what it refuses, and that it writes all or nothing."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

import assets
from acme.cli.errors import CommandError
from acme.cli.new_process import new_process as command
from acme.lakehouse import contract_docs, contracts
from orchestration import new_process, scenario_check, scenarios, workspace
from orchestration.fields import ARCHETYPES
from orchestration.new_process import make
from orchestration.process_request import Request, RequestError, column
from tests.lakehouse.odcs_schema import ODCS_SCHEMA
from tests.orchestration.folders import Folders

ROOT = Path(__file__).resolve().parents[2]
FEES = Request(
    team="levies",
    name="platform_fee",
    archetype="Calculation",
    problem="Finance bills a fee every month. Nobody can say how it came about.",
    owner="jo@acme.example",
    table="platform_fees",
    columns=(
        column("pot_id VARCHAR key: Pot"),
        column("fee DECIMAL(18, 2)? in currency: What the pot owes."),
    ),
    reads=("core.pots", "core.closing_prices", "core.orders"),
    reads_previous=("core.ledger_balances", "levies.platform_fees"),
    automation="month_end",
    deadline="16:00",
)
OF: dict[str, dict[str, Any]] = {
    "LandedFeed": {"feeds": ("fee_rates",)},
    "Calculation": {},
    "DbtModels": {},
    "Reconciliation": {},
    "Instruction": {"recipient": "BANK"},
    "Report": {},
}


@pytest.fixture
def repository(folders: Folders) -> Iterator[Path]:
    """Return a repository with no team but those of other tests' folders."""
    root = folders.contracts.parent
    (root / "docs" / "reference").mkdir(parents=True)
    for name in ("workspace.yaml", "docs/reference/datasets.md"):
        shutil.copy(ROOT / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        made = root / "assets"
        made.mkdir()
        patch.setattr(assets, "__path__", [str(made), *assets.__path__])
        yield root


def state(root: Path) -> dict[str, bytes]:
    found = (p for p in root.rglob("*") if "__pycache__" not in p.parts)
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else b"" for p in found}


def asked_for(archetype: str) -> Request:
    return replace(FEES, archetype=archetype, **OF[archetype])


@pytest.mark.parametrize("archetype", [a for a in ARCHETYPES if a != "DbtModels"])
def test_what_is_written_is_whole_but_for_its_scenario(repository: Path, archetype: str) -> None:
    asked = asked_for(archetype)
    made = make(asked, repository)
    folder = repository / "assets" / asked.folder
    assert scenario_check.wrong(repository / "assets") == []
    (path,) = scenarios.files(folder)
    with pytest.raises(scenarios.ScenarioFailedError, match=r"pot_id=A: expected .*1\.00, got no"):
        scenarios.require(path)
    assert all((repository / name).is_file() for name in made.written)
    assert workspace.wrong(repository) == []
    assert contract_docs.main(["--check"], repository / "docs/reference/datasets.md") == 0
    names = [contracts.table("levies", "platform_fees")]
    names += [contracts.feed(feed) for feed in asked.feeds]
    for contract in names:
        path = contracts.contract_path(contract.schema_name, contract.name)
        document = yaml.safe_load(path.read_text("utf-8"))
        jsonschema.Draft202012Validator(ODCS_SCHEMA).validate(document)
        assert (contract.owner, document["id"]) == ("levies", contract.dataset)


def test_dbt_models_have_a_model_and_no_code(repository: Path) -> None:
    make(asked_for("DbtModels"), repository)
    folder = repository / "assets" / "levies" / "platform_fee"
    assert (folder / "models" / "platform_fees.sql").is_file()
    assert not (folder / "process.py").exists()


def test_the_declaration_says_what_was_asked(repository: Path) -> None:
    make(FEES, repository)
    folder = repository / "assets" / "levies" / "platform_fee"
    document = yaml.safe_load((folder / "defs.yaml").read_text("utf-8"))
    assert document == {
        "type": "orchestration.components.Calculation",
        "attributes": {
            "description": "Finance bills a fee every month.",
            "owner": "jo@acme.example",
            "reads": list(FEES.reads),
            "reads_previous": list(FEES.reads_previous),
            "writes": ["levies.platform_fees"],
            "automation": "month_end",
            "deadline": "16:00",
        },
    }
    readme = (folder / "README.md").read_text("utf-8")
    assert "**Problem.** Finance bills a fee every month. Nobody can say how" in readme
    assert max(map(len, readme.splitlines())) <= 100


def test_the_same_again_changes_nothing(repository: Path) -> None:
    make(FEES, repository)
    before = state(repository)
    assert make(FEES, repository) == new_process.Made((), ())
    assert state(repository) == before


def test_what_is_there_is_never_written_over(repository: Path) -> None:
    make(FEES, repository)
    before = state(repository)
    with pytest.raises(RequestError, match="assets/levies/platform_fee: expected no such folder"):
        make(replace(FEES, owner="bo@acme.example"), repository)
    with pytest.raises(RequestError, match=r"platform_fees\.odcs\.yaml: expected no such file"):
        make(replace(FEES, name="other_fee", columns=FEES.columns[:1]), repository)
    assert state(repository) == before
    # A second process of the team finds the team's folder there.
    made = make(replace(FEES, name="other_fee", table="others", reads_previous=()), repository)
    assert "assets/levies/__init__.py" not in made.written


def test_an_error_on_the_way_leaves_nothing(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise OSError("no room")

    before = state(repository)
    monkeypatch.setattr(contract_docs, "render", fail)
    with pytest.raises(OSError, match="no room"):
        make(FEES, repository)
    assert state(repository) == before


def test_another_teams_broken_files_stop_nobody(repository: Path, folders: Folders) -> None:
    folders.contract("treasury.fees", {"fee_id": "MONEY"}, {})
    folders.process("treasury/fees", "Calculation", writes=["treasury.fees"], colour="red")
    before = (repository / "docs/reference/datasets.md").read_bytes()
    made = make(FEES, repository)
    assert "workspace.yaml" in made.derived
    contract = "data_contracts/treasury/fees.odcs.yaml: column fee_id: physicalType: exp"
    assert [line for line in made.left if f"reference/datasets.md: {contract}" in line]
    assert [line for line in made.left if "assets/treasury/fees/defs.yaml: colour: exp" in line]
    assert (repository / "docs/reference/datasets.md").read_bytes() == before
    assert "levies.platform_fees" in (repository / "data_contracts/baseline.json").read_text()
    with pytest.raises(RequestError, match=r"expected a contract that can be read: data_contracts"):
        make(replace(FEES, name="more", reads=("treasury.fees",)), repository)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"team": "ledger"}, "TEAM: expected one outside the business day, got ledger"),
        ({"team": "core"}, "TEAM: expected a name that means nothing else, got core, which is res"),
        ({"team": "../x"}, "TEAM: expected a name as a_b1"),
        ({"name": "Platform"}, "NAME: expected a name as a_b1, of at most 40 characters"),
        ({"name": "import"}, "got import, a reserved word of Python"),
        ({"name": "a" * 41}, "NAME: expected a name as a_b1"),
        ({"table": "a-b"}, "--table: expected a name as a_b1"),
        ({"archetype": "Magic"}, "--archetype: expected one of LandedFeed, Calculation, DbtModels"),
        ({"problem": " "}, "--problem: expected who needs what"),
        ({"owner": "jo"}, "--owner: expected a person's mail address, got 'jo'"),
        (
            {"automation": "daily"},
            "expected one of on_publication, month_start, month_end, manual, got 'daily'",
        ),
        ({"deadline": "4pm"}, "--deadline: expected a time as 16:00, got '4pm'"),
        ({"reads": ("core.potts",)}, "got 'core.potts'"),
        ({"reads": ("mart.pots",)}, "--reads: expected a table of core, "),
        ({"reads": ("stage.price_book",)}, "got stage.price_book, which is internal"),
        ({"reads": ("core.pots", "core.pots")}, "--reads: expected core.pots once"),
        ({"reads": ("levies.platform_fees",)}, "expected what others write, got its own"),
        ({"feeds": ("nothing",)}, "--feed: expected a feed with a contract, got 'nothing'"),
        ({"feeds": ("orders",)}, "--feed: expected a feed of team levies, got orders of team"),
        ({"archetype": "LandedFeed"}, "--feed: expected at least one for a LandedFeed"),
        ({"archetype": "Instruction"}, "--lands, --recipient: expected one of them"),
        ({"lands": "journals"}, "--lands, --recipient: expected none of them but for"),
        ({"archetype": "Instruction", "lands": "x"}, "--lands: expected a feed of holidays, "),
        ({"archetype": "Instruction", "recipient": "a/b"}, "--recipient: expected a folder of let"),
        ({"columns": FEES.columns[1:]}, "--column: expected at least one marked `key`"),
        ({"columns": FEES.columns[:1] * 2}, "--column: expected pot_id once"),
        ({"archetype": "Reconciliation", "columns": FEES.columns[:1]}, "expected one to compare"),
    ],
)
def test_what_cannot_be_is_refused(repository: Path, change: dict[str, Any], told: str) -> None:
    before = state(repository)
    with pytest.raises(RequestError) as caught:
        make(replace(FEES, **change), repository)
    assert told in str(caught.value)
    assert state(repository) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fee", "--column: expected NAME TYPE[?] [key] [in UNIT]: MEANING, got 'fee'"),
        ("fee VARCHAR", "--column: expected NAME TYPE"),
        ("Fee VARCHAR: x", "--column Fee: expected another name"),
        ("run_date DATE: x", "--column run_date: expected another name"),
        ("fee FLOAT: x", "--column fee: expected a type of VARCHAR, DATE"),
        ("fee DECIMAL(39,2) in currency: x", "expected at most 38 digits"),
        ("fee DECIMAL(2,3) in currency: x", "expected at most 38 digits"),
        ("fee DECIMAL(18,2): x", "--column fee: expected what the number counts"),
        ("fee VARCHAR? key: x", "--column fee: expected a key that is never empty"),
    ],
)
def test_a_column_that_cannot_be_is_refused(text: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        column(text)
    assert told in str(caught.value)


# ---- the command --------------------------------------------------------------------------------


def test_what_no_flag_says_is_asked(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_process, "make", lambda asked: make(asked, repository))
    answers = [
        "Calculation",
        FEES.problem,
        FEES.owner,
        "core.pots core.orders",
        "",
        "pot_id VARCHAR key: Pot",
        "",
        "",
        "",
    ]
    done = CliRunner().invoke(command, ["levies", "fees"], input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    spec = scenarios.declared_in(repository / "assets" / "levies" / "fees" / "defs.yaml")
    assert spec.reads == ("core.pots", "core.orders")
    assert spec.writes == ("levies.fees",)
    assert (spec.automation, spec.deadline) == ("on_publication", None)
    assert "next: make test PROCESS=levies/fees" in done.output


def test_an_unknown_archetype_is_refused_at_once(repository: Path) -> None:
    done = CliRunner().invoke(command, ["levies", "fees", "--archetype", "Magic"], input="")
    assert isinstance(done.exception, CommandError)
    assert str(done.exception).startswith("--archetype: expected one of LandedFeed, Calculation,")
    assert done.output == ""


def test_a_bad_name_is_told_once(repository: Path) -> None:
    with pytest.raises(RequestError) as caught:
        make(replace(FEES, name="A", table="A", reads_previous=()), repository)
    assert str(caught.value) == "NAME: expected a name as a_b1, of at most 40 characters, got 'A'"


def test_no_answer_is_told_by_its_flag(repository: Path) -> None:
    before = state(repository)
    arguments = ["levies", "fees", "--archetype", "Calculation", "--problem", "x"]
    done = CliRunner().invoke(command, arguments, input="")
    assert isinstance(done.exception, CommandError)
    assert str(done.exception) == (
        "--owner, --reads, --column, --automation, --deadline: expected flags or answers, got none"
    )
    assert state(repository) == before
