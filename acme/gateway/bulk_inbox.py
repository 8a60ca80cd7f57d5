"""The one transaction that makes a bulk durable: key, orders, what was answered, outbox row.

The orders come sorted and checked, so it lasts as long as their COPY does. The gate of the inbox
is entered after it: a run that takes its orders waits for a few rows, never for a client.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from acme.gateway.bulk_checks import ERRORS_SHOWN_MAX
from acme.gateway.bulk_runs import COPIED, Runs
from acme.gateway.connections import conninfo
from acme.gateway.inbox import unavailable
from acme.gateway.problems import FieldError, ProblemError, shown
from acme.lakehouse.postgres import PostgresError

# A deadlock takes chosen ids; whoever meets one has lost nothing and begins again.
_ATTEMPTS_MAX: Final = 3
_VALUES: Final = (
    "pot_id",
    "kind",
    "asset_id",
    "to_asset_id",
    "units",
    "amount",
    "risk_profile_id",
    "stated_at",
)


@dataclass(frozen=True)
class Accepted:
    """What is known of a bulk whose every line is valid; `stated` are the earliest and latest."""

    source: str
    key: str
    body_sha256: bytes
    bulk_id: int
    lines: int
    first_order_id: str
    last_order_id: str
    stated_from: str | None
    stated_until: str | None
    calendar: int


@contextmanager
def talking() -> Iterator[None]:
    """Turn the loss of Postgres into `ProblemError` `unavailable`."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PostgresError) as error:
        raise unavailable("Postgres cannot be reached, or went away before it answered") from error


def writing(url: str) -> Connection[TupleRow]:
    """Return a connection of its own for a bulk, which is durable or fails."""
    return psycopg.connect(conninfo(url), autocommit=True, application_name="acme gateway bulk")


def granted_pots(connection: Connection[TupleRow], source: str, pots: list[str]) -> set[str]:
    """Return those of `pots` that a source may act on."""
    cursor = connection.execute(
        "SELECT pot_id FROM intake.source_pots WHERE source = %s AND pot_id = ANY (%s)",
        [source, pots],
    )
    return {row[0] for row in cursor}


def has_all_pots(connection: Connection[TupleRow], source: str) -> bool:
    """Say whether a source may act on every pot."""
    cursor = connection.execute(
        "SELECT EXISTS (SELECT FROM intake.sources WHERE source = %s AND all_pots)", [source]
    )
    return bool(_one(cursor)[0])


def commit(connection: Connection[TupleRow], bulk: Accepted, runs: Runs) -> bool:
    """Store a bulk whole, durably; False if its key was used meanwhile, and nothing is changed.

    Raises `ProblemError` `reference_conflict` naming the lines whose orders have other values.
    """
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        try:
            return _stored(connection, bulk, runs)
        except psycopg.errors.DeadlockDetected:
            if attempt == _ATTEMPTS_MAX:
                raise
            time.sleep(attempt)
    raise AssertionError


def _stored(connection: Connection[TupleRow], bulk: Accepted, runs: Runs) -> bool:
    try:
        with connection.transaction(), connection.cursor() as cursor:
            if not _claim(cursor, bulk):
                return False
            _copy(cursor, "intake.orders", runs.sorted())
            _finish(cursor, bulk, bulk.lines)
    except psycopg.errors.UniqueViolation:
        # Some orders come twice, or are there already.
        with connection.transaction(), connection.cursor() as cursor:
            if not _claim(cursor, bulk):
                return False
            _finish(cursor, bulk, _insert(cursor, runs))
    return True


def _claim(cursor: Cursor[TupleRow], bulk: Accepted) -> bool:
    """Take the idempotency key; waits for whoever is taking it."""
    cursor.execute(
        "INSERT INTO intake.requests (source, idempotency_key, body_sha256, bulk_id)"
        " VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [bulk.source, bulk.key, bulk.body_sha256, bulk.bulk_id],
    )
    return cursor.rowcount == 1


def _copy(cursor: Cursor[TupleRow], table: str, parts: Iterable[bytes]) -> None:
    with cursor.copy(f"COPY {table} ({COPIED}) FROM STDIN") as copy:
        for part in parts:
            copy.write(part)


def _insert(cursor: Cursor[TupleRow], runs: Runs) -> int:
    """Insert the orders that are not there yet and return how many; the others must be equal."""
    cursor.execute(
        "CREATE TEMPORARY TABLE given ON COMMIT DROP AS SELECT * FROM intake.orders WITH NO DATA"
    )
    _copy(cursor, "given", runs.sorted())
    cursor.execute("ANALYZE given")
    # The first line of an order counts.
    cursor.execute(
        f"INSERT INTO intake.orders ({COPIED}) SELECT DISTINCT ON (order_id) {COPIED} FROM given"  # noqa: S608
        " ORDER BY order_id, bulk_line ON CONFLICT DO NOTHING"
    )
    inserted = cursor.rowcount
    theirs, ours = (", ".join(f"{table}.{name}" for name in _VALUES) for table in ("o", "g"))
    cursor.execute(
        "SELECT g.bulk_line, g.source_ref, count(*) OVER () FROM given AS g"  # noqa: S608
        f" JOIN intake.orders AS o USING (order_id) WHERE ({theirs}) IS DISTINCT FROM ({ours})"
        f" ORDER BY g.bulk_line LIMIT {ERRORS_SHOWN_MAX}"
    )
    conflicts = cursor.fetchall()
    if conflicts:
        expected = "the values of the order that has this source_ref"
        errors = [
            FieldError("source_ref", expected, f"others for {shown(ref)}", line)
            for line, ref, _ in conflicts
        ]
        raise ProblemError(
            "reference_conflict",
            "nothing is stored; the orders that are there stand",
            errors,
            more={"errors_in_all": conflicts[0][2]},
        )
    return inserted


def _finish(cursor: Cursor[TupleRow], bulk: Accepted, created: int) -> None:
    """Enter the gate and write what the run and the answer need: a few rows, then the commit."""
    cursor.execute("SELECT intake.enter()")
    drained_until = _one(cursor)[0]
    cursor.execute(
        "INSERT INTO intake.bulks VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            bulk.bulk_id,
            bulk.lines,
            created,
            bulk.first_order_id,
            bulk.last_order_id,
            bulk.stated_from,
            bulk.stated_until,
            bulk.calendar,
            drained_until,
        ],
    )
    if created:
        cursor.execute(
            "INSERT INTO intake.outbox (kind, bulk_id) VALUES ('bulk', %s)", [bulk.bulk_id]
        )


def _one(cursor: Cursor[TupleRow]) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("Postgres returned no row where one was certain")
    return row
