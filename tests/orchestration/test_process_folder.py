"""What is wrong in a process's folder: told before it loads, by every place that judges one."""

from datetime import date
from pathlib import Path

import pytest

from acme.domain.calendars import CutOff
from orchestration import (
    calendar_file,
    catalogue,
    declared_check,
    due,
    locations,
    process_folder,
    processes_run,
)
from orchestration.registry import DeclarationError
from tests.orchestration.folders import Folders

CALENDAR = calendar_file.DealingCalendar(CutOff(calendar_file.time(12), "Europe/London"), ())
FILE = "assets/treasury/fees/defs.yaml: "
CODE = "def run(day, inputs):\n    return {}\n"
SIDES = "def left(day, inputs):\n    return {}\nright = left\n"
TYPE = "orchestration.components."


@pytest.fixture
def treasury(folders: Folders) -> Folders:
    """Return a team with one process and the contracts that it may name."""
    columns = {"class": "VARCHAR", "left_amount": "BIGINT?", "right_amount": "BIGINT?"}
    folders.contract("treasury.fees", {"fee_id": "VARCHAR"}, columns)
    folders.contract("treasury.other", {"fee_id": "VARCHAR"}, {})
    folders.process("treasury/fees", "Calculation", CODE, writes=["treasury.fees"])
    return folders


def written(treasury: Folders, text: str) -> Path:
    path = treasury.assets / "treasury/fees/defs.yaml"
    path.write_text(text, "utf-8")
    return path


def stated(more: str = "", archetype: str = "Calculation", writes: str = "[treasury.fees]") -> str:
    text = f"type: {TYPE}{archetype}\nattributes:\n  description: Made up.\n  writes: {writes}\n"
    return text + "".join(f"  {line}\n" for line in more.splitlines())


CHECK = "{name: no_a, on_dataset: treasury.fees, description: None., reads: [treasury.fees]}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected type and attributes, got none"),
        ("- a\n- b\n", "expected type and attributes, got a list"),
        ("type: [\n", "expected YAML: while parsing"),
        (stated(archetype="Reconcilation"), f"Report, got {TYPE}Reconcilation"),
        (stated(archetype="PublishDate"), f"Report, got {TYPE}PublishDate"),
        (stated().replace(TYPE, ""), f"type: expected {TYPE}LandedFeed, Calculation, DbtModels"),
        (f"type: {TYPE}Report\n", "attributes: expected fields and their values, got none"),
        (f"more: 1\n{stated()}", "more: expected type and attributes alone"),
        (stated("colour: red"), "got colour"),
        (stated("colour: red"), "colour: expected a field of description, stage, owner, reads,"),
        (stated("1: red"), "1: expected a field of description"),
        (stated().replace("  description: Made up.\n", ""), "description: expected a value, got n"),
        (stated().replace("Made up.", "''"), "description: expected text, got ''"),
        (
            stated("automation: daily"),
            "automation: expected on_publication, month_start, month_end or manual, got daily",
        ),
        (stated("deadline: 10:00"), 'deadline: expected text as "10:00", got 600: quote it'),
        (stated("deadline: 10:00:30"), 'deadline: expected text as "10:00", got 36030: quote it'),
        (stated("deadline: 1.5"), "deadline: expected text, got 1.5"),
        (stated('deadline: "1000"'), "deadline: expected a time as 16:00, got '1000'"),
        (stated("reads: core.pots"), "reads: expected a list, as [a, b], got core.pots"),
        (stated("reads: [core.pots, 7]"), "reads: entry 2: expected text, got 7"),
        (stated("versions: {core.pots: two}"), "versions: core.pots: expected a whole number, got"),
        (stated("runbook: docs/none.md"), "runbook: expected a file of the repository, got 'docs/"),
        (stated("pool: a\npool: b"), "expected YAML: expected pool once, got it twice, in line 6"),
        (stated("owner: 2020-02-31"), "owner: expected a mail address, got '2020-02-31'"),
        (stated("checks: [no_a]"), "checks: entry 1: expected fields and their values, got no_a"),
        (
            stated(f"checks: [{CHECK.replace('name: no_a, ', '')}]"),
            "checks: entry 1: name: expected a value, got none",
        ),
        (
            stated(f"checks: [{CHECK.replace('on_dataset', 'on_datasets')}]"),
            "checks: no_a: on_datasets: expected a field of name, on_dataset, description, reads,",
        ),
        (stated("keys: [a]\ncompares: [amount]", "Reconciliation"), "keys: expected columns of tr"),
        (
            stated("keys: [fee_id]\ncompares: [sum]", "Reconciliation"),
            "got sum, whose column is left_sum; " + FILE + "compares: expected columns of treasury",
        ),
    ],
)
def test_a_wrong_declaration_is_told_everywhere(treasury: Folders, text: str, told: str) -> None:
    (treasury.assets / "treasury/fees/process.py").write_text(CODE + SIDES, "utf-8")
    path = written(treasury, text)
    with pytest.raises(DeclarationError) as caught:
        process_folder.require(path)
    assert str(caught.value).startswith(FILE)
    assert told in str(caught.value)
    assert not {"pydantic", "Error", "class"} & set(str(caught.value).split())
    found = "\n".join(declared_check.wrong())
    assert told in found
    with pytest.raises(DeclarationError) as loading:
        locations.build("treasury", CALENDAR)
    assert told in str(loading.value)


@pytest.mark.parametrize(
    ("archetype", "checks", "code", "told"),
    [
        ("Calculation", f"checks: [{CHECK}]", CODE, "checks.py: expected no_a, got no such file"),
        ("Calculation", "", "def ran():\n    pass\n", "process.py: expected a function run, got"),
        ("Calculation", "", "def run(:\n", "process.py:1: expected Python, got invalid syntax"),
        ("DbtModels", "", CODE, "models/fees.sql: expected a model, got no such file"),
        (
            "Reconciliation",
            "keys: [fee_id]\ncompares: [amount]",
            CODE,
            "process.py: expected a function right, got none",
        ),
    ],
)
def test_missing_code_is_told_without_running_any(
    treasury: Folders, archetype: str, checks: str, code: str, told: str
) -> None:
    (treasury.assets / "treasury/fees/process.py").write_text(code, "utf-8")
    path = written(treasury, stated(checks, archetype))
    with pytest.raises(DeclarationError) as caught:
        process_folder.require(path)
    assert f"assets/treasury/fees/{told}" in str(caught.value)
    assert told in "\n".join(declared_check.wrong())


def test_what_is_well_is_told_nothing(treasury: Folders) -> None:
    process_folder.require(treasury.assets / "treasury/fees/defs.yaml")
    assert list(declared_check.wrong()) == []


def test_every_wrong_file_of_a_team_is_told(treasury: Folders) -> None:
    treasury.process("treasury/other", "Calculation", CODE, writes=["treasury.other"], colour="red")
    written(treasury, stated("automation: daily"))
    found = due.everything().broken["treasury"]
    assert "fees/defs.yaml: automation: expected" in found
    assert "other/defs.yaml: colour: expected" in found


def test_two_writers_of_a_table_are_told_to_both(treasury: Folders) -> None:
    treasury.process("treasury/more", "Calculation", CODE, writes=["treasury.fees"])
    treasury.process("treasury/other", "Calculation", CODE, writes=["treasury.other"])
    told = (
        "assets/treasury: writes: expected one process that writes treasury.fees,"
        " got treasury/fees, treasury/more"
    )
    for name in ("fees", "more"):
        with pytest.raises(DeclarationError) as caught:
            process_folder.require(treasury.assets / "treasury" / name / "defs.yaml")
        assert str(caught.value) == told
    process_folder.require(treasury.assets / "treasury/other/defs.yaml")
    assert list(declared_check.wrong()) == [told]
    with pytest.raises(DeclarationError, match="expected one process that writes treasury"):
        locations.build("treasury", CALENDAR)


class _Nobody:
    def of(self, team: str) -> None:
        raise AssertionError(team)


def test_an_unknown_start_is_told_and_not_left_out(
    treasury: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    written(treasury, stated("automation: daily"))
    known = due.everything()
    mine = [spec for spec in known.processes.values() if spec.team == "treasury"]
    report = processes_run.run(mine, date(2024, 3, 28), _Nobody(), known.broken)
    assert "automation: expected on_publication" in report.failed["treasury"]
    assert catalogue.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith(f"{FILE}automation: expected on_publication")
