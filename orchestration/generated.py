"""A file that is written from the folders: written anew, or only compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestration.registry import UNREADABLE


def main(
    path: Path, render: Callable[[], str], module: str, arguments: Sequence[str] | None = None
) -> int:
    """Write the file, or with `--check` compare it; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Write {path.name}.")
    parser.add_argument("--check", action="store_true", help="exit 1 if it is out of date")
    check = parser.parse_args(arguments).check
    try:
        text = render()
    except UNREADABLE as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not check:
        path.write_text(text, "utf-8")
    elif not path.is_file() or path.read_text("utf-8") != text:
        sys.stderr.write(f"{path.name}: differs; run python -m {module}\n")
        return 1
    return 0
