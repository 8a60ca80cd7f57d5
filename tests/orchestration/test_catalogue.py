"""The pages written from the folders: catalogue and owners, and the last state of each process."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from acme.domain.calendars import Calendar
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import catalogue, code_owners, generated, last_states
from orchestration.last_states import LastState
from orchestration.registry import ROOT, DeclarationError, processes
from orchestration.specs import ProcessSpec
from tests.orchestration.folders import Folders

# More examples than any process has.
MOST = 99
PROCESS = "def run(day, inputs):\n    return {}\n"
README = """# Fees

**Problem.** Fees are taken
by [hand](../x.md), and nobody knows.

**Asked for by.** Finance.
"""


@pytest.fixture
def fees(folders: Folders) -> Path:
    """Return the folder of a process with an owner, a README and scenarios."""
    folders.contract("treasury.fees", {"fee_id": "VARCHAR"}, {})
    folders.contract("feed.invoices", {"fee_id": "VARCHAR"}, {}, team="treasury")
    folders.process(
        "treasury/fees", "Instruction", PROCESS,
        reads=["core.pots"], reads_previous=["core.pots", "core.assets"], feeds=["invoices"],
        writes=["treasury.fees"], recipient="BANK", deadline="16:00", owner="ann@acme.example",
    )  # fmt: skip
    folder = folders.assets / "treasury/fees"
    (folder / "README.md").write_text(README, "utf-8")
    (folder / "scenarios").mkdir()
    (folder / "scenarios/one.yaml").touch()
    return folder


def link(dataset: str) -> str:
    return f"[{dataset}](datasets.md#{dataset.replace('.', '')})"


@pytest.mark.usefixtures("fees")
def test_the_catalogue_has_all_that_a_folder_says() -> None:
    page = catalogue.render()
    (section,) = (part for part in page.split("#### ") if part.startswith("treasury/fees\n"))
    assert section.split("\n##")[0].splitlines() == [
        "treasury/fees",
        "",
        "Fees are taken by hand, and nobody knows.",
        "",
        "- Owner: team `treasury`, ann@acme.example. Archetype: `Instruction`.",
        "- Runs when its date is published, its tables due by 16:00.",
        f"- In: {', '.join(map(link, ['feed.invoices', 'core.pots', 'core.assets']))}.",
        "- Out: [treasury.fees](datasets.md#treasuryfees), file for BANK.",
        "- Scenarios: 1, in `assets/treasury/fees/scenarios/`.",
        "- When it fails: [assets/treasury/fees/README.md](../../assets/treasury/fees/README.md).",
    ]
    for folder in processes():
        assert f"#### {folder}\n" in page


def test_the_one_with_most_examples_is_read_first(fees: Path, folders: Folders) -> None:
    for number in range(MOST):
        (fees / f"scenarios/{number}.yaml").touch()
    folders.process("audit/fees", "Instruction", PROCESS, writes=["audit.fees"], recipient="X")
    (folders.assets / "audit/fees/README.md").write_text(README, "utf-8")
    assert "| `Instruction` | [treasury/fees]" in catalogue.render()
    for path in (fees / "scenarios").iterdir():
        path.unlink()
    assert "| `Instruction` | [treasury/fees]" not in catalogue.render()


def test_a_process_without_a_problem_is_told(
    fees: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fees / "README.md").write_text("# Fees\n\nNone.\n", "utf-8")
    with pytest.raises(DeclarationError, match=r"begins with \*\*Problem\.\*\*, got none in it"):
        catalogue.render()
    (fees / "README.md").unlink()
    assert catalogue.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith(
        "assets/treasury/fees/README.md: expected a paragraph"
    )


@pytest.mark.usefixtures("fees")
def test_owners_are_those_of_folders_and_contracts() -> None:
    lines = code_owners.render().splitlines()
    at = lines.index("/assets/treasury/ @acme/treasury")
    assert lines[at + 1 : at + 5] == [
        "/assets/treasury/fees/ @acme/treasury ann@acme.example",
        "/data_contracts/treasury/ @acme/treasury",
        "/tests/orchestration/graph.treasury.snapshot.txt @acme/treasury",
        "/data_contracts/feeds/invoices.odcs.yaml @acme/treasury",
    ]
    assert {f"/assets/{team}/ @acme/{team}" for team in DAY_TEAMS} <= set(lines)
    contracts = [p for p in (ROOT / "data_contracts").glob("*.odcs.yaml") if p.is_file()]
    for path in contracts:
        assert any(line.startswith(f"/data_contracts/{path.name} @acme/") for line in lines), path


def test_a_file_is_written_or_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.md"
    assert generated.main(path, lambda: "new\n", "a.module", ["--check"]) == 1
    assert capsys.readouterr().err == "page.md: differs; run python -m a.module\n"
    assert generated.main(path, lambda: "new\n", "a.module", []) == 0
    assert path.read_text("utf-8") == "new\n"
    assert generated.main(path, lambda: "new\n", "a.module", ["--check"]) == 0
    path.write_text("old\n", "utf-8")
    assert generated.main(path, lambda: "new\n", "a.module", ["--check"]) == 1


def test_the_state_is_that_of_the_newest_date_on_which_it_was_due() -> None:
    calendar = Calendar(frozenset())
    end, after = date(2020, 6, 30), date(2020, 7, 1)
    published = [after, end]
    at = datetime(2020, 7, 1, tzinfo=UTC)
    ran = {end: LastState(end, "finished", at)}

    def state(automation: str, runs: dict[date, LastState], days: list[date]) -> LastState:
        spec = ProcessSpec("treasury/fees", None, automation=automation)  # type: ignore[arg-type]
        return last_states._of(spec, runs, days, calendar)

    assert state("month_end", ran, published) == ran[end]
    assert state("on_publication", ran, published) == LastState(after, "not run")
    assert state("month_end", {}, [after]) == LastState(None, "not due yet")
    assert state("manual", ran, published) == ran[end]
    assert state("manual", {}, published) == LastState(None, "not run")
