"""One process that tries its share of the mutants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.mutation.engine import Session, run_session
from tests.mutation.operators import Mutant

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = ROOT / "acme" / "domain"
MEMORY = ROOT / ".mutation"
TESTS = ("tests/domain", "tests/properties")
KILLERS_KEPT = 5


def work(mine: list[tuple[str, Mutant]], number: int, results: Any) -> None:
    """Measure what the tests reach, then put (key, outcome, killer) of each mutant on `results`.

    First comes "measured", last None.
    """
    os.environ.setdefault("HYPOTHESIS_PROFILE", "mutation")
    log = (MEMORY / f"worker-{number}.log").open("w")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)

    def attempt(session: Session) -> None:
        session.measure(MEMORY / "reached.json")
        results.put("measured")
        killers: dict[str, list[str]] = {}
        for name, mutant in mine:
            recent = killers.setdefault(f"{name}:{mutant.function}", [])
            verdict = session.try_mutant(f"acme.domain.{name}", mutant, recent)
            if verdict.by in session.items:
                recent[:] = [verdict.by, *[n for n in recent if n != verdict.by]][:KILLERS_KEPT]
            results.put((mutant.key, verdict.outcome, verdict.by))

    try:
        modules = [
            f"acme.domain.{p.stem}" for p in sorted(DOMAIN.glob("*.py")) if p.stem != "__init__"
        ]
        run_session(list(TESTS), modules, attempt)
    finally:
        results.put(None)
