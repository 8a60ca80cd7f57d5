"""Says which processes lack what every process must have; a part of `make check`.

A process of a team outside the business day has a problem statement and at least one scenario,
and every scenario can be read. The processes of the business day have none: their examples are
the histories of tests/scenarios and the cases of tests/worked_cases, where they run together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import assets
from acme.lakehouse.contracts import ContractError
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import scenarios
from orchestration.registry import DeclarationError
from orchestration.scenario_rows import ScenarioError

PROBLEM = "**Problem.**"


def wrong(root: Path) -> list[str]:
    """Return what is missing or cannot be read in the folders below `root`, by folder."""
    return [
        line
        for path in sorted(root.glob("[a-z]*/*/defs.yaml"))
        for line in _of_process(path.parent)
    ]


def _of_process(folder: Path) -> Iterator[str]:
    where = f"assets/{folder.parent.name}/{folder.name}"
    found = scenarios.files(folder)
    if folder.parent.name in DAY_TEAMS:
        if found:
            yield f"{where}/scenarios: expected none, for the examples of the day are whole days"
        return
    readme = folder / "README.md"
    if not readme.is_file() or not re.search(
        rf"^{re.escape(PROBLEM)} +\S", readme.read_text("utf-8"), re.MULTILINE
    ):
        yield f"{where}/README.md: expected a paragraph that begins {PROBLEM}"
    if not found:
        yield f"{where}/scenarios: expected at least one NAME.yaml, got none"
    for path in found:
        try:
            scenarios.read(path)
        except (ContractError, DeclarationError, ScenarioError) as error:
            yield str(error)
    yield from _strays(where, folder / scenarios.FOLDER, found)


def _strays(where: str, folder: Path, found: list[Path]) -> Iterator[str]:
    """Return files that no scenario uses: an example that nobody runs is worse than none."""
    texts = [path.read_text("utf-8", errors="replace") for path in found]
    for path in sorted(folder.glob("*")):
        used = path in found or (path.suffix == ".csv" and any(path.name in text for text in texts))
        if not used:
            yield f"{where}/scenarios/{path.name}: expected a NAME.yaml, or a CSV that one names"


def main() -> int:
    """Tell what is wrong; returns the exit code."""
    found = wrong(Path(assets.__path__[0]))
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
