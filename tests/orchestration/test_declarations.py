"""What a team may declare: refused when its location loads, naming file, field, expected, got."""

from dataclasses import replace

import dagster as dg
import pytest

from acme.domain.calendars import CutOff
from orchestration import calendar_file, declarations, definitions, locations
from orchestration.registry import DeclarationError, declared
from orchestration.specs import CheckSpec, ProcessSpec
from tests.orchestration.folders import Folders

NOON = CutOff(calendar_file.time(12), "Europe/London")
CALENDAR = calendar_file.DealingCalendar(NOON, ())
GOOD = ProcessSpec(
    folder="treasury/fees",
    stage=None,
    reads=("core.pots", "member_services.valuation_lines"),
    reads_previous=("treasury.fees",),
    feeds=("invoices",),
    writes=("treasury.fees",),
    deadline="16:00",
)
CHECK = CheckSpec("a_check", "treasury.fees", "", ("treasury.fees",))


@pytest.fixture
def treasury(folders: Folders) -> Folders:
    """Return folders with the contracts that GOOD names."""
    folders.contract("treasury.fees", {"fee_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)"})
    folders.contract("treasury.other", {"fee_id": "VARCHAR"}, {})
    folders.contract("feed.invoices", {"fee_id": "VARCHAR"}, {}, team="treasury")
    folders.contract("treasury.borrowed", {"fee_id": "VARCHAR"}, {}, team="ledger")
    return folders


def test_a_good_one_passes(treasury: Folders) -> None:
    declarations.require(replace(GOOD, checks=(CHECK,)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"folder": "core/fees"}, "team: expected a name that may be a schema"),
        ({"folder": "Finance/fees"}, "team: expected a name that may be a schema"),
        ({"stage": "post"}, "stage: expected none"),
        ({"accepted": ("orders",)}, "accepted, looks_back: expected none"),
        ({"deadline": "24:00"}, "deadline: expected a time as 16:00, got '24:00'"),
        ({"writes": ()}, "writes: expected at least one"),
        ({"writes": ("core.pots",)}, "writes: expected datasets of schema treasury, got core.pots"),
        (
            {"writes": ("member_services.valuation_lines",)},
            "writes: expected datasets of schema treasury",
        ),
        ({"writes": ("treasury.nothing",)}, "writes: expected a dataset with a contract"),
        ({"writes": ("treasury.borrowed",)}, "got treasury.borrowed of team ledger"),
        ({"reads": ("stage.price_book",)}, "reads: expected core or a team's schema, got stage"),
        ({"reads_previous": ("stage.price_book",)}, "reads_previous: expected core or a team's"),
        ({"reads": ("core.nothing",)}, "reads: expected a dataset with a contract"),
        ({"reads": ("treasury.fees",)}, "reads: expected what others write, got its own"),
        ({"feeds": ("orders",)}, "feeds: expected a contract of team treasury, got feed.orders"),
        ({"feeds": ("nothing",)}, "feeds: expected a dataset with a contract"),
        ({"checks": (replace(CHECK, name="keeps_its_contract"),)}, "than the derived keeps_its"),
        ({"checks": (CHECK, CHECK)}, "checks: expected one a_check on treasury.fees"),
        ({"checks": (replace(CHECK, on="core.pots"),)}, "expected on_dataset among writes"),
        ({"checks": (replace(CHECK, reads=("core.assets",)),)}, r"got \['core.assets'\]"),
        ({"checks": (replace(CHECK, engine="dbt"),)}, "expected engine polars"),
        ({"archetype": "LandedFeed", "feeds": ()}, "feeds: expected at least one"),
        ({"archetype": "Reconciliation", "keys": ("a",)}, "keys, compares: expected both"),
        (
            {
                "archetype": "Reconciliation",
                "keys": ("a",),
                "compares": ("b",),
                "writes": ("treasury.fees", "treasury.other"),
            },
            "expected one dataset for the outcome, got 2",
        ),
        (
            {"archetype": "Reconciliation", "keys": ("fee",), "compares": ("amount",)},
            r"keys: expected columns of treasury.fees \(run_date, fee_id, amount\), got fee;",
        ),
        (
            {"archetype": "Reconciliation", "keys": ("fee_id",), "compares": ("amount",)},
            "compares: expected columns of .*, got amount, whose column is left_amount;",
        ),
        ({"runbook": "docs/none.md"}, "runbook: expected a file of the repository, got 'docs/n"),
        ({"writes": ("treasury.fees", "treasury.fees")}, "writes: expected treasury.fees once"),
        ({"archetype": "Instruction"}, "lands, recipient: expected one of them"),
        (
            {"archetype": "Instruction", "lands": "orders", "recipient": "BANK"},
            "lands, recipient: expected one of them",
        ),
        ({"archetype": "Instruction", "lands": "nothing"}, "lands: expected a feed"),
        ({"archetype": "Instruction", "recipient": "../x"}, "recipient: expected a folder name"),
    ],
)
def test_a_wrong_one_is_told(treasury: Folders, change: dict[str, object], told: str) -> None:
    with pytest.raises(DeclarationError, match=told) as error:
        declarations.require(replace(GOOD, **change))
    assert f"assets/{change.get('folder', 'treasury/fees')}/defs.yaml: " in str(error.value)


def test_the_business_day_stays_among_itself() -> None:
    day = ProcessSpec("ledger/x", None, writes=("core.pots",), reads=("member_services.x",))
    with pytest.raises(DeclarationError, match="stage: expected one") as error:
        declarations.require(day)
    assert "expected datasets of core and stage, got some of member_services" in str(error.value)


def test_one_table_has_one_writer(treasury: Folders) -> None:
    with pytest.raises(DeclarationError, match="treasury/fees, treasury/more"):
        declarations.require_together("treasury", [GOOD, replace(GOOD, folder="treasury/more")])


# ---- as a location loads ------------------------------------------------------------------------

PROCESS = "def run(day, inputs):\n    return {}\n"


def load(team: str) -> dg.Definitions:
    return locations.build(team, CALENDAR)


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"writes": ["treasury.fees"], "wrong": 1}, "wrong"),
        ({"writes": ["core.pots"]}, "writes: expected datasets of schema treasury"),
        ({"writes": ["treasury.fees"], "runbook": "docs/none.md"}, "runbook: expected a file"),
        ({"writes": ["treasury.fees"], "automation": "weekly"}, "automation"),
        ({"writes": ["treasury.fees"], "owner": "nobody at all"}, "owner"),
    ],
)
def test_a_wrong_field_stops_its_location_alone(
    treasury: Folders, attributes: dict[str, object], told: str
) -> None:
    treasury.process("treasury/fees", "Calculation", PROCESS, **attributes)
    with pytest.raises(Exception, match="fees") as error:
        load("treasury").get_repository_def()
    chain, cause = "", error.value
    while cause is not None:
        chain, cause = f"{chain} {cause}", cause.__cause__
    assert told in chain
    assert load("member_services").get_repository_def()
    definitions.build.cache_clear()
    assert definitions.build(CALENDAR).get_repository_def()


@pytest.mark.parametrize("code", ["import nothing_of_that_name", "1/0", "raise SystemExit(3)"])
def test_a_module_that_raises_stops_its_location_alone(treasury: Folders, code: str) -> None:
    treasury.process("treasury/fees", "Calculation", code, writes=["treasury.fees"])
    with pytest.raises(BaseException, match=r"fees|3"):
        load("treasury").get_repository_def()
    assert load("member_services").get_repository_def()


def test_yaml_that_is_none_is_told_with_its_file(treasury: Folders) -> None:
    treasury.process("treasury/fees", "Calculation", PROCESS, writes=["treasury.fees"])
    (treasury.assets / "treasury/fees/defs.yaml").write_text("type: [", "utf-8")
    with pytest.raises(DeclarationError, match=r"assets/treasury/fees/defs\.yaml: expected YAML"):
        declared("treasury")


def test_the_business_day_opens_no_folder_of_another_team(treasury: Folders) -> None:
    definitions.build.cache_clear()
    keys = definitions.build(CALENDAR).get_repository_def().asset_graph.get_all_asset_keys()
    assert {key.path[0] for key in keys} == {"core", "stage", "marts"}
