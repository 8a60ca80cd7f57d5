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
    folders.process("finance/fees", "Calculation", writes=["finance.fees"], feeds=["rates"])
    folders.process("finance/other", "Calculation", writes=["finance.other"])
    folders.process(
        "trustees/report", "Report", reads_previous=["finance.fees"], writes=["trustees.fees"]
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
    assert affected.of_process("finance/fees") == [
        "assets/finance/fees",
        "assets/trustees/report",
        *contracts_of("feed.rates", "finance.fees"),
    ]
    assert affected.of_process("finance/other") == [
        "assets/finance/other",
        *contracts_of("finance.other"),
    ]


def test_of_a_team_all_its_processes_and_tests(teams: Folders) -> None:
    (teams.assets.parent / "tests" / "teams" / "finance").mkdir(parents=True)
    assert affected.of_team("finance") == [
        "assets/finance/fees",
        "assets/finance/other",
        "assets/trustees/report",
        "tests/teams/finance",
        *contracts_of("feed.rates", "finance.fees", "finance.other"),
    ]


def test_of_the_business_day_everything(folders: Folders) -> None:
    assert affected.of_team("ledger") == ["assets", "tests"]
    assert affected.of_process("ledger/post") == ["assets", "tests"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--team", "nobody"], "TEAM: expected one of custody, "),
        (["--process", "finance/nothing"], "PROCESS: expected one of finance/fees, "),
        (["--process", "ledger/nothing"], "PROCESS: expected one of finance/fees, "),
    ],
)
def test_an_unknown_one_is_refused(
    teams: Folders, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert affected.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {told}")


def test_a_team_that_cannot_be_read_is_told(
    teams: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    (teams.assets / "finance" / "fees" / "defs.yaml").write_text("type: [", "utf-8")
    assert affected.main(["--process", "finance/fees"]) == 1
    assert "error: assets/finance/fees/defs.yaml: expected YAML" in capsys.readouterr().err


def test_the_named_tests_are_there() -> None:
    text = (ROOT / affected.CONTRACT_TESTS).read_text("utf-8")
    assert [name for name in affected.OF_A_CONTRACT if f"\ndef {name}(" not in text] == []
