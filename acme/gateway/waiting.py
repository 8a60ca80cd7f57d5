"""What the gateway has accepted and no run has taken yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from psycopg import Cursor
from psycopg.rows import TupleRow


@dataclass(frozen=True)
class Waiting:
    """Orders and cancellations behind the newest drain, and which run that was."""

    entries: int
    drained_until: date | None
    drained_at: datetime | None


def waiting_orders(cursor: Cursor[TupleRow]) -> Waiting:
    """Return what waits for the next run."""
    newest = cursor.execute(
        "SELECT run_date, drained_at, last_sequence FROM intake.drains"
        " ORDER BY run_date DESC LIMIT 1"
    ).fetchone()
    last = 0 if newest is None else newest[2]
    row = cursor.execute(
        "SELECT coalesce(sum(coalesce(created, 1)), 0)"
        " FROM intake.outbox LEFT JOIN intake.bulks USING (bulk_id) WHERE sequence > %s",
        [last],
    ).fetchone()
    entries = 0 if row is None else int(row[0])
    return Waiting(entries, *((None, None) if newest is None else newest[:2]))
