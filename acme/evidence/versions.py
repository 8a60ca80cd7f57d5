"""Which rules and which code a run was computed with, as hashes of their text."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIGITS = 16


@cache
def rules_version() -> str:
    """Return the version of the dealing rules: the hash of docs/reference/rules.md."""
    return hashlib.sha256((ROOT / "docs/reference/rules.md").read_bytes()).hexdigest()[:DIGITS]


@cache
def code_version() -> str:
    """Return the version of the code that decides figures: `acme/domain` and every process."""
    digest = hashlib.sha256()
    sources = [*(ROOT / "acme/domain").rglob("*.py"), *(ROOT / "assets").rglob("process.py")]
    for path in sorted(sources):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:DIGITS]
