"""Writes CODEOWNERS from the owners that folders and contracts name; `--check` only compares.

Who must agree to a change: the team of a folder or contract, and the person its process names. What
is generated belongs to nobody, for `make check` holds it against its source.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from acme.lakehouse import contracts
from acme.lakehouse.teams import DAY_TEAMS
from orchestration import generated
from orchestration.registry import ROOT, declared, other_teams

PATH = ROOT / "CODEOWNERS"
MODULE = "orchestration.code_owners"
ORGANISATION = "@acme"
PLATFORM = f"{ORGANISATION}/platform"
GENERATED = (
    "CODEOWNERS",
    "docs/reference/catalogue.md",
    "docs/reference/datasets.md",
    "workspace.yaml",
)
_HEADER = """\
# Generated from assets/ and data_contracts/ by `python -m orchestration.code_owners`.
# The last line that matches a file counts.
"""


def render() -> str:
    """Return the whole file. Raises DeclarationError where a folder cannot be read."""
    lines = [f"* {PLATFORM}", ""]
    for team in (*DAY_TEAMS, *other_teams()):
        lines += [*_team(team), ""]
    lines += [f"/{name}" for name in GENERATED]
    return _HEADER + "\n".join(lines) + "\n"


def _team(team: str) -> Iterator[str]:
    handle = f"{ORGANISATION}/{team}"
    yield f"/assets/{team}/ {handle}"
    for spec in declared(team):
        if spec.owner:
            yield f"/assets/{spec.folder}/ {handle} {spec.owner}"
    if team not in DAY_TEAMS:
        yield f"/data_contracts/{team}/ {handle}"
        yield f"/tests/orchestration/graph.{team}.snapshot.txt {handle}"
    for contract in contracts.everything():
        if contract.owner == team and contract.schema_name != team:
            path = contracts.contract_path(contract.schema_name, contract.name)
            yield f"/data_contracts/{path.relative_to(contracts.FOLDER).as_posix()} {handle}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or compare it; returns the exit code."""
    return generated.main(PATH, render, MODULE, arguments)


if __name__ == "__main__":
    sys.exit(main())
