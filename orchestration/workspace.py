"""Writes workspace.yaml from the folders of assets/; `--check` only compares.

`python -m orchestration.workspace` rewrites the file; with `--check` it exits 1 if the file is not
what the folders say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from orchestration.registry import ROOT, other_teams

_HEADER = """\
# Generated from assets/ by `python -m orchestration.workspace`: one location for the business day,
# and one for every other team, so that a broken one stops nobody else.
"""


def render() -> str:
    """Return the whole file."""
    day = {"module_name": "orchestration.definitions", "location_name": "business_day"}
    others = [
        {"module_name": "orchestration.locations", "attribute": team, "location_name": team}
        for team in other_teams()
    ]
    document = {"load_from": [{"python_module": module} for module in (day, *others)]}
    return _HEADER + yaml.safe_dump(document, sort_keys=False)


def wrong(root: Path = ROOT) -> list[str]:
    """Return what is not as the folders say, and what mends it."""
    found = []
    path = root / "workspace.yaml"
    if not path.is_file() or path.read_text("utf-8") != render():
        found.append("workspace.yaml: differs; run python -m orchestration.workspace")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or compare it; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Write workspace.yaml from the folders of assets/."
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if it is out of date")
    if not parser.parse_args(arguments).check:
        (ROOT / "workspace.yaml").write_text(render(), "utf-8")
    found = wrong()
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
