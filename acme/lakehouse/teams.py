"""The teams: those of the business day, and the others, whose schemas bear their names."""

from __future__ import annotations

import re
from typing import Final

# They share one code location and one job, and write the schemas core and stage.
DAY_TEAMS: Final = (
    "custody",
    "dealing",
    "intake",
    "ledger",
    "pricing",
    "publishing",
    "rebalancing",
    "reconciliation",
)
DAY_SCHEMAS: Final = ("core", "stage")
# Names that mean something else: where contracts lie, what a process calls its inputs, DuckDB's.
RESERVED: Final = frozenset(
    {*DAY_SCHEMAS, "feed", "feeds", "previous", "history", "accepted", "restated", "file", "main",
     "marts", "information_schema", "lake", "memory", "temp", "system"}
)  # fmt: skip
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def may_own_a_schema(name: str) -> bool:
    """Say whether a team of that name may have a schema of its own."""
    return bool(_NAME.fullmatch(name)) and name not in RESERVED and name not in DAY_TEAMS
