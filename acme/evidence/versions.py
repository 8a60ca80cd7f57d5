"""Which rules and which code a run was computed with, as hashes of their text."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from acme.lakehouse.teams import DAY_TEAMS

ROOT = Path(__file__).resolve().parents[2]
DIGITS = 16


@cache
def rules_version() -> str:
    """Return the version of the dealing rules: the hash of docs/reference/rules.md."""
    return hashlib.sha256((ROOT / "docs/reference/rules.md").read_bytes()).hexdigest()[:DIGITS]


@cache
def code_version() -> str:
    """Return the version of the code that decides the day's figures: the domain, its processes."""
    folders = [ROOT / "assets" / team for team in DAY_TEAMS]
    sources = [p for folder in folders for p in folder.rglob("process.py")]
    return _version(ROOT, [*(ROOT / "acme/domain").rglob("*.py"), *sources])


def process_version(folder: Path) -> str:
    """Return the version of another team's process: the domain and all that computes in `folder`.

    What only describes the process, its scenarios and README, is left out.
    """
    computing = [p for kind in ("*.py", "defs.yaml", "models/*.sql") for p in folder.glob(kind)]
    return _version(folder, computing) + _domain_version()


@cache
def _domain_version() -> str:
    return _version(ROOT, list((ROOT / "acme/domain").rglob("*.py")))


def _version(root: Path, sources: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:DIGITS]
