"""What third parties may know of orders: `served.order_states`, moved forward by publishing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final, NamedTuple

from psycopg import Cursor
from psycopg.rows import TupleRow


class OrderState(NamedTuple):
    """The state of an order after a run; who it belongs to is None for one that is served."""

    order_id: str
    source: str | None
    source_ref: str | None
    book: str | None
    pot_id: str | None
    dealing_date: date | None
    state: str
    reason: str | None
    batch_id: str | None


# An earlier state never replaces a later one; a batch once told stays told.
_INSERT: Final = """
INSERT INTO served.order_states AS known (order_id, source, source_ref, book, pot_id, state,
    reason, batch_id, dealing_date, run_date)
SELECT order_id, source, source_ref, book, pot_id, state, reason, batch_id, dealing_date, %(date)s
FROM arriving_states WHERE source IS NOT NULL ORDER BY order_id
ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, reason = excluded.reason,
    batch_id = coalesce(excluded.batch_id, known.batch_id),
    dealing_date = excluded.dealing_date, run_date = excluded.run_date
WHERE known.run_date < excluded.run_date
"""
_UPDATE: Final = """
UPDATE served.order_states AS known SET state = new.state, reason = new.reason,
    batch_id = coalesce(new.batch_id, known.batch_id), run_date = %(date)s
FROM arriving_states AS new
WHERE new.source IS NULL AND known.order_id = new.order_id AND known.run_date < %(date)s
"""


def serve(cursor: Cursor[TupleRow], run_date: date, states: Iterable[OrderState]) -> None:
    """Move orders to their states after the run of a date, in the caller's transaction."""
    cursor.execute(
        'CREATE TEMP TABLE arriving_states (order_id text COLLATE "C", source text,'
        " source_ref text, book text, pot_id text, dealing_date date, state text, reason text,"
        " batch_id text) ON COMMIT DROP"
    )
    with cursor.copy("COPY arriving_states FROM STDIN") as copy:
        for state in states:
            copy.write_row(state)
    cursor.execute(_INSERT, {"date": run_date})
    cursor.execute(_UPDATE, {"date": run_date})
