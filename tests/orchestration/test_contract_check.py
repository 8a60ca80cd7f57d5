"""Contracts against the state on file: versions, readers left behind, what is recorded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from acme.lakehouse import contracts
from orchestration import contract_check, declared_check
from tests.orchestration.folders import Folders

PROCESS = "def run(day, inputs):\n    return {}\n"
FEES, SEEN = "assets/treasury/fees/defs.yaml", "assets/audit/seen/defs.yaml"


@pytest.fixture
def recorded(folders: Folders) -> Path:
    """Return the file on record, of folders where audit reads what treasury writes."""
    folders.contract("treasury.fees", {"fee_id": "VARCHAR"}, {"amount": "DECIMAL(18,2)"})
    folders.contract("audit.seen", {"fee_id": "VARCHAR"}, {})
    folders.contract("feed.invoices", {"fee_id": "VARCHAR"}, {}, team="treasury")
    folders.process("treasury/fees", "Calculation", PROCESS, writes=["treasury.fees"])
    _reader(folders)
    path = contracts.FOLDER / contract_check.NAME
    path.unlink(missing_ok=True)
    assert contract_check.main([]) == 0
    return path


def _reader(folders: Folders, **attributes: Any) -> None:
    folders.process(
        "audit/seen", "Calculation", PROCESS,
        reads=["treasury.fees"], writes=["audit.seen"], **attributes,
    )  # fmt: skip


def edit(dataset: str, change: Callable[[dict[str, Any]], None], version: str = "") -> None:
    """Change a contract's file, and its version where one is given."""
    schema, name = dataset.split(".")
    path = contracts.contract_path(schema, name)
    document = yaml.safe_load(path.read_text("utf-8"))
    change(document)
    document["version"] = version or document["version"]
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    contracts._load.cache_clear()
    contracts.all_feeds.cache_clear()


def properties(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["schema"][0]["properties"]
    return found


def wider(document: dict[str, Any]) -> None:
    properties(document)[2]["physicalType"] = "DECIMAL(28,2)"


def longer(document: dict[str, Any]) -> None:
    new = {"name": "note", "physicalType": "VARCHAR", "required": False, "description": "Any."}
    properties(document).append(new | {"logicalType": "string"})


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Return what the check says; nothing where all is well."""
    capsys.readouterr()
    code = contract_check.main(list(arguments))
    lines = capsys.readouterr().err.splitlines()
    assert code == (1 if lines else 0)
    return lines


def test_what_is_recorded_passes_and_is_written_once(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recorded.read_bytes()
    assert told(capsys, "--check") == []
    assert told(capsys) == []
    assert recorded.read_bytes() == before
    recorded.unlink()
    assert told(capsys, "--check")[0].startswith("audit.seen: new: not in baseline.json")


def test_a_breaking_change_needs_a_version_and_names_who_depends_on_it(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recorded.read_bytes()
    for version in ("1.0.0", "1.1.0"):
        edit("treasury.fees", wider, version)
        for arguments in ([], ["--check"]):
            (line,) = told(capsys, *arguments)
            assert line == (
                f"treasury.fees: version: expected at least 2.0.0, got {version}: breaking: amount:"
                " type: was DECIMAL(18,2), is DECIMAL(28,2); on it depend: audit/seen"
            )
    assert recorded.read_bytes() == before


def test_a_breaking_change_waits_for_its_readers(
    recorded: Path, folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recorded.read_bytes()
    edit("treasury.fees", wider, "2.0.0")
    for arguments in ([], ["--check"]):
        (line,) = told(capsys, *arguments)
        assert line.startswith(f"{SEEN}: versions: treasury.fees: expected 2, got 1: the process")
    assert recorded.read_bytes() == before
    _reader(folders, versions={"treasury.fees": 2})
    (line,) = told(capsys, "--check")
    assert line.startswith("treasury.fees: 1.0.0 → 2.0.0: breaking: amount: type: was")
    assert told(capsys) == []
    assert told(capsys, "--check") == []
    # Whatever is on file: who was written for another version is told.
    _reader(folders, versions={"treasury.fees": 3})
    (line,) = told(capsys)
    assert "expected 2, got 3" in line


def test_an_addition_needs_a_minor_version_and_nothing_of_its_readers(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit("treasury.fees", longer)
    (line,) = told(capsys)
    assert line == (
        "treasury.fees: version: expected at least 1.1.0, got 1.0.0: compatible: note: a new column"
        " that may be empty"
    )
    edit("treasury.fees", lambda _: None, "1.1.0")
    assert told(capsys) == []
    edit("treasury.fees", lambda _: None, "1.0.9")
    assert told(capsys) == [
        "treasury.fees: version: expected at least 1.1.0, got 1.0.9: nothing changed"
    ]
    edit("treasury.fees", lambda _: None, "new")
    (line,) = told(capsys)
    assert line == "treasury.fees: version: expected a version as 1.0.0, got 'new'"


def test_who_lands_a_feed_depends_on_it(
    recorded: Path, folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    _reader(folders)
    folders.contract("bank.asked", {"fee_id": "VARCHAR"}, {})
    folders.process("bank/asked", "Instruction", PROCESS, writes=["bank.asked"], lands="invoices")
    assert told(capsys) == []
    edit("feed.invoices", longer)
    (line,) = told(capsys)
    assert line.endswith("note: a new column, which the files sent have not; on it depend:"
                         " bank/asked")  # fmt: skip
    edit("feed.invoices", lambda _: None, "2.0.0")
    (line,) = told(capsys)
    assert line.startswith("assets/bank/asked/defs.yaml: versions: feed.invoices: expected 2")


def test_a_contract_goes_after_its_readers(
    recorded: Path, folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders.contracts / "treasury/fees.odcs.yaml").unlink()
    contracts._load.cache_clear()
    assert told(capsys) == ["treasury.fees: the contract is gone, and audit/seen depend on it"]
    (folders.assets / "audit/seen/defs.yaml").unlink()
    assert told(capsys) == []
    assert '"treasury.fees"' not in recorded.read_text("utf-8")


def test_a_file_that_is_none_and_a_folder_that_cannot_be_read_are_told(
    recorded: Path, folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders.assets / "audit/seen/defs.yaml").write_text("type: [", "utf-8")
    (line,) = told(capsys)
    assert line.startswith(f"{SEEN}: expected YAML")
    recorded.write_text('{"core.pots": 1}', "utf-8")
    (line,) = told(capsys, "--check")
    assert line.startswith("baseline.json: AttributeError")


def test_what_is_declared_wrong_is_told_without_loading_anything(
    recorded: Path, folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert declared_check.main() == 0
    folders.process("treasury/fees", "Calculation", "1/0", writes=["treasury.fees"],
                    reads=["audit.seen"], owner="nobody")  # fmt: skip
    assert declared_check.main() == 1
    owner, code, circle = capsys.readouterr().err.splitlines()
    assert owner == (
        f"{FEES}: owner: expected a mail address, got 'nobody'; the team is an owner anyway"
    )
    assert code.startswith("assets/treasury/fees/process.py")
    assert code.endswith(", got none")
    assert circle.endswith("got some in a circle: audit/seen, treasury/fees")
