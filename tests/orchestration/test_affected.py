"""Which tests a change in a folder can affect."""

from pathlib import Path

import pytest

from orchestration import affected
from tests.orchestration.folders import Folders

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def teams(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Return three processes of two teams, one of which reads another."""
    monkeypatch.setattr(affected, "ROOT", folders.assets.parent)
    folders.process("treasury/fees", "Calculation", writes=["treasury.fees"], feeds=["rates"])
    folders.process("treasury/other", "Calculation", writes=["treasury.other"])
    folders.process(
        "trustees/report", "Report", reads_previous=["treasury.fees"], writes=["trustees.fees"]
    )
    folders.process("trustees/board", "Report", reads=["trustees.fees"], writes=["trustees.board"])
    return folders


def contracts_of(*datasets: str) -> list[str]:
    return [
        f"{affected.CONTRACT_TESTS}::{name}[{d}]"
        for d in datasets
        for name in affected.OF_A_CONTRACT
    ]


def test_of_a_process_its_own_and_its_readers(teams: Folders) -> None:
    assert affected.of_process("treasury/fees") == [
        "assets/treasury/fees",
        "assets/trustees/report",
        *contracts_of("feed.rates", "treasury.fees"),
    ]
    assert affected.of_process("treasury/other") == [
        "assets/treasury/other",
        *contracts_of("treasury.other"),
    ]


def test_of_a_team_all_its_processes_and_tests(teams: Folders) -> None:
    (teams.assets.parent / "tests" / "teams" / "treasury").mkdir(parents=True)
    assert affected.of_team("treasury") == [
        "assets/treasury/fees",
        "assets/treasury/other",
        "assets/trustees/report",
        "tests/teams/treasury",
        *contracts_of("feed.rates", "treasury.fees", "treasury.other"),
    ]


def test_of_the_business_day_everything(folders: Folders) -> None:
    assert affected.of_team("ledger") == ["assets", "tests"]
    assert affected.of_process("ledger/post") == ["assets", "tests"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--team", "nobody"], "TEAM: expected one of "),
        (["--process", "treasury/nothing"], "PROCESS: expected one of "),
        (["--process", "ledger/nothing"], "PROCESS: expected one of "),
    ],
)
def test_an_unknown_one_is_refused(
    teams: Folders, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert affected.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {told}")
    assert f", got {arguments[1]!r}" in printed.err


def test_a_team_that_cannot_be_read_is_told(
    teams: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    (teams.assets / "treasury" / "fees" / "defs.yaml").write_text("type: [", "utf-8")
    assert affected.main(["--process", "treasury/fees"]) == 1
    assert "error: assets/treasury/fees/defs.yaml: expected YAML" in capsys.readouterr().err


def test_the_named_tests_are_there() -> None:
    text = (ROOT / affected.CONTRACT_TESTS).read_text("utf-8")
    assert [name for name in affected.OF_A_CONTRACT if f"\ndef {name}(" not in text] == []
