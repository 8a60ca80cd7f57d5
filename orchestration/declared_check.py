"""Says what is wrong in any `defs.yaml`, and which processes wait for each other; loads none.

`python -m orchestration.declared_check` exits 1 if something is. What one location cannot see by
itself, a circle through other teams' folders, is seen here, before it lands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from orchestration import declarations, due
from orchestration.registry import DeclarationError, processes


def wrong() -> Iterator[str]:
    """Yield each thing that is wrong, naming file, field, expected and got."""
    others = due.everything()
    yield from others.broken.values()
    for spec in (*(spec for _, spec in processes().values()), *others.processes.values()):
        try:
            declarations.require(spec)
        except DeclarationError as error:
            yield str(error)
    _, circle = due.batches(others.processes.values())
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
