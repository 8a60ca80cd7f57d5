"""Says what is wrong in any process's folder, and which wait for each other; loads none.

`python -m orchestration.declared_check` exits 1 if something is. What one location cannot see by
itself, a circle through other teams' folders, is seen here, before it lands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from acme.lakehouse.teams import DAY_TEAMS
from orchestration import declarations, due, process_folder
from orchestration.registry import UNREADABLE, declared_in, other_teams
from orchestration.specs import ProcessSpec, folder_path


def wrong() -> Iterator[str]:
    """Yield each thing that is wrong, naming file, field, expected and got."""
    everybody: list[ProcessSpec] = []
    for team in (*DAY_TEAMS, *other_teams()):
        specs = []
        for path in sorted(folder_path(team).glob("*/defs.yaml")):
            try:
                specs.append(declared_in(path))
            except UNREADABLE as error:
                yield str(error)
        for spec in specs:
            yield from process_folder.wrong(spec)
        yield from declarations.written_twice(team, specs).values()
        everybody += specs
    _, circle = due.batches(spec for spec in everybody if spec.team not in DAY_TEAMS)
    if circle:
        names = ", ".join(spec.folder for spec in circle)
        yield f"reads: expected an order in which processes can run, got some in a circle: {names}"


def main() -> int:
    """Tell what is wrong; returns the exit code."""
    found = list(wrong())
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
