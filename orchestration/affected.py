"""Names the tests that a change in a team's or a process's folder can affect; runs none.

`python -m orchestration.affected --process finance/fees` prints what pytest is to be given, one a
line. They need no server: the scenarios and declaration of the process, the contracts of what it
writes, the team's own tests in `tests/teams/<team>`, and scenarios and declarations of every
process that reads a table it writes. A reader of a reader is not among them: its scenarios state
the rows it reads, and only contracts connect them. The business day is one process to all others:
a change in it can affect everything.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from acme.lakehouse.teams import DAY_TEAMS
from orchestration import due
from orchestration.registry import ROOT
from orchestration.specs import ProcessSpec

CONTRACT_TESTS = "tests/lakehouse/test_contracts.py"
OF_A_CONTRACT = ("test_the_file_is_valid_odcs", "test_the_file_is_whole", "test_the_schemas_agree")
EVERYTHING = ("assets", "tests")


class UnknownError(ValueError):
    """There is no such team or process."""


def of_team(team: str) -> list[str]:
    """Return the tests that a change in a team's folder can affect. Raises UnknownError."""
    if team in DAY_TEAMS:
        return list(EVERYTHING)
    known = due.everything()
    if team in known.broken:
        raise UnknownError(known.broken[team])
    mine = [spec for spec in known.processes.values() if spec.team == team]
    if not mine:
        teams = ", ".join(sorted({*DAY_TEAMS, *(s.team for s in known.processes.values())}))
        raise UnknownError(f"TEAM: expected one of {teams}, got {team!r}")
    return _of(mine, known.processes.values())


def of_process(folder: str) -> list[str]:
    """Return the tests that a change in a process's folder can affect. Raises UnknownError."""
    team = folder.split("/", maxsplit=1)[0]
    if team in DAY_TEAMS and (ROOT / "assets" / folder / "defs.yaml").is_file():
        return list(EVERYTHING)
    known = due.everything()
    if team in known.broken:
        raise UnknownError(known.broken[team])
    if folder not in known.processes:
        names = ", ".join(known.processes) or "none"
        raise UnknownError(f"PROCESS: expected one of {names}, got {folder!r}")
    return _of([known.processes[folder]], known.processes.values())


def _of(mine: Sequence[ProcessSpec], everybody: Iterable[ProcessSpec]) -> list[str]:
    written = {dataset for spec in mine for dataset in spec.writes}
    readers = [
        spec
        for spec in everybody
        if spec not in mine and written & {*spec.reads, *spec.reads_previous}
    ]
    found = [f"assets/{spec.folder}" for spec in (*mine, *readers)]
    found += [f"tests/teams/{team}" for team in sorted({spec.team for spec in mine})]
    found = [path for path in found if (ROOT / path).is_dir()]
    contracts = sorted({*written, *(f"feed.{feed}" for spec in mine for feed in spec.feeds)})
    return [*found, *(f"{CONTRACT_TESTS}::{t}[{c}]" for c in contracts for t in OF_A_CONTRACT)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tests; returns the exit code."""
    parser = argparse.ArgumentParser(description="Name the tests that a change can affect.")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--team", help="of a team's folder")
    group.add_argument("--process", help="of a process's folder, as finance/fees")
    options = parser.parse_args(arguments)
    try:
        found = of_team(options.team) if options.team else of_process(options.process)
    except UnknownError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.writelines(f"{name}\n" for name in found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
