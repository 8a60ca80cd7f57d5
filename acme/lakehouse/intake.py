"""From the inbox in Postgres to landed files: every order and cancellation once, and held to it.

The first run of a date marks, under a gate that lets nobody by, how far it takes the outbox. What
lies between two marks leaves as one file per feed, with the same bytes whenever it is written, and
is landed like any other. So a crash anywhere is mended by running again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final, Protocol

import psycopg
from psycopg import Cursor
from psycopg.rows import TupleRow

from acme.lakehouse.control import Control, ControlError, RunOrderError
from acme.lakehouse.failpoints import reach
from acme.lakehouse.files import write_atomic_chunks
from acme.lakehouse.home import Clock, Home, event_clock
from acme.lakehouse.landing import land_file, render

# The feeds by which anything leaves the inbox, and the column that holds the time of each row.
TIMES: Final = {"orders": "received_at", "cancellations": "cancelled_at"}
_GATE: Final = "SELECT pg_advisory_xact_lock(4113503, 0)"
_GATE_WAIT: Final = "30s"
_INSTANT: Final = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_COMMITTED: Final = "pg_xact_commit_timestamp(c.xmin)"
# An order's time: its commit, or on the event clock what it was given with. A cancellation has no
# time of its own there, and takes that of its order.
_MOMENTS: Final[dict[Clock, dict[str, str]]] = {
    "database": {"orders": "r.received_at", "cancellations": _COMMITTED},
    "event": {
        "orders": "coalesce(o.stated_at, r.received_at)",
        "cancellations": f"coalesce(o.stated_at, {_COMMITTED})",
    },
}
_COLUMNS: Final = {
    "orders": "o.source, o.source_ref, {time} AS received_at, o.pot_id, o.kind, o.asset_id,"
    " o.to_asset_id, o.units, o.amount, o.risk_profile_id",
    "cancellations": "o.source, o.source_ref, {time} AS cancelled_at",
}
_OUTBOX: Final = {
    "orders": "intake.outbox_orders AS o JOIN intake.received AS r USING (order_id) WHERE true",
    "cancellations": "intake.outbox JOIN intake.orders AS o USING (order_id)"
    " JOIN intake.cancellations AS c USING (order_id) WHERE outbox.kind = 'cancellation'",
}
_BETWEEN: Final = " AND sequence > %(after)s AND sequence <= %(last)s"
_SEQUENCE: Final = {"orders": "sequence, bulk_line", "cancellations": "sequence"}
# By the record of times, not by the outbox: another way to the same orders.
_CONTROL: Final = {
    "orders": "intake.received AS r JOIN intake.orders AS o USING (order_id)"
    " WHERE r.run_date = %(date)s",
    "cancellations": _OUTBOX["cancellations"] + _BETWEEN,
}


class DrainError(ControlError):
    """What left the inbox could not be landed; nothing is lost, the text says what to do."""


class Lock(Protocol):
    """What a drain asks of the lock of its date."""

    def check(self) -> None:
        """Raise unless the run is the newest of its date."""

    def check_in(self, cursor: Cursor[TupleRow]) -> None:
        """Raise unless it is, and let none take over before the commit."""


@dataclass(frozen=True)
class DrainedFile:
    """A file that left the inbox for a run: `rows` and `content_sha256` are those of the inbox."""

    feed: str
    file_sha256: str
    rows: int
    content_sha256: str


def drain(home: Home, control: Control, run_date: date, lock: Lock | None = None) -> None:
    """Land what the inbox holds for a date whose inputs are not fixed; again has no effect.

    Raises RunOrderError if a later date was drained, DrainError if a file cannot be landed,
    and what `lock` raises for a run that was overtaken.
    """
    reach("intake.drain:before")
    with control.transaction() as cursor:
        if lock is not None:
            lock.check_in(cursor)
        _mark(cursor, run_date)
    reach("intake.drain:after")
    _record_times(control, run_date)
    for feed in TIMES:
        _export(home, control, run_date, feed, lock)
    reach("intake.export:after")


def drained_files(control: Control, run_date: date) -> list[DrainedFile]:
    """Return the files that left the inbox for a date, by feed."""
    with control.transaction() as cursor:
        cursor.execute(
            "SELECT feed, file_sha256, rows, content_sha256 FROM intake.drained_files"
            " WHERE run_date = %s ORDER BY feed",
            [run_date],
        )
        return [DrainedFile(*row) for row in cursor]


def left_the_inbox(control: Control, feed: str, file_sha256s: Iterable[str]) -> set[str]:
    """Return those files whose rows carry the times of their own commits."""
    wanted = list(file_sha256s)
    if feed not in TIMES or not wanted:
        return set()
    with control.transaction() as cursor:
        cursor.execute(
            "SELECT file_sha256 FROM intake.drained_files"
            " WHERE feed = %s AND file_sha256 = ANY (%s)",
            [feed, wanted],
        )
        return {row[0] for row in cursor}


# ---- the mark -----------------------------------------------------------------------------------


def _mark(cursor: Cursor[TupleRow], run_date: date) -> None:
    """Fix how far the date takes the outbox, unless it is fixed; nobody is inside meanwhile."""
    cursor.execute("SELECT FROM intake.drains WHERE run_date = %s", [run_date])
    if cursor.fetchone() is not None:
        return
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_GATE_WAIT])
    try:
        cursor.execute(_GATE)
    except psycopg.errors.LockNotAvailable as error:
        raise DrainError(
            f"{run_date}: a transaction has held the inbox for {_GATE_WAIT}: end it, run again"
        ) from error
    # A statement of its own: it sees what was committed before the gate closed.
    cursor.execute("SELECT max(run_date) FROM intake.drains")
    row = cursor.fetchone()
    newest = None if row is None else row[0]
    if newest is not None and newest > run_date:
        raise RunOrderError(
            f"dates run in order: {newest} has drained the inbox, {run_date} comes before it"
        )
    cursor.execute(
        "INSERT INTO intake.drains (run_date, last_sequence) SELECT %s, greatest("
        "(SELECT coalesce(max(sequence), 0) FROM intake.outbox),"
        " (SELECT coalesce(max(last_sequence), 0) FROM intake.drains))",
        [run_date],
    )


def _span(cursor: Cursor[TupleRow], run_date: date) -> dict[str, object]:
    """Return the marks before and of a date, and the date."""
    cursor.execute(
        "SELECT last_sequence, (SELECT coalesce(max(last_sequence), 0) FROM intake.drains"
        " WHERE run_date < %(date)s) FROM intake.drains WHERE run_date = %(date)s",
        {"date": run_date},
    )
    row = cursor.fetchone()
    if row is None:
        raise DrainError(f"{run_date} has not drained the inbox")
    return {"after": row[1], "last": row[0], "date": run_date}


def _record_times(control: Control, run_date: date) -> None:
    """Keep the commit times of a date's orders: the server forgets them in the end."""
    with control.transaction() as cursor:
        cursor.execute(
            "INSERT INTO intake.received (order_id, received_at, run_date)"
            " SELECT order_id, pg_xact_commit_timestamp(transaction), %(date)s"
            " FROM intake.outbox_orders AS o WHERE NOT EXISTS"
            " (SELECT FROM intake.received AS known WHERE known.order_id = o.order_id)"
            + _BETWEEN
            # In the order of the index: otherwise every row goes to another page of it.
            + " ORDER BY o.order_id ON CONFLICT DO NOTHING",
            _span(cursor, run_date),
        )


# ---- files --------------------------------------------------------------------------------------


def _export(home: Home, control: Control, run_date: date, feed: str, lock: Lock | None) -> None:
    """Write and land what a date takes by one feed; no file where that is nothing."""
    clock: Clock = "event" if event_clock(home) else "database"
    known = {file.feed: file for file in drained_files(control, run_date)}.get(feed)
    if known is not None:
        landed = control.file_by_sha(feed, known.file_sha256)
        if landed is not None and landed.verdict == "accepted":
            return
    with control.transaction() as cursor:
        span = _span(cursor, run_date)
        cursor.execute(f"SELECT EXISTS (SELECT FROM {_OUTBOX[feed]}{_BETWEEN})", span)
        row = cursor.fetchone()
        if row is None or not row[0]:
            return
        rows, content_sha256 = _content(cursor, span, feed, clock)
        digest = hashlib.sha256()
        folder = home.intake / run_date.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        # No third party can have used the name for other bytes.
        path = write_atomic_chunks(
            folder,
            _hashed(_csv(cursor, span, feed, clock), digest),
            lambda: f"{feed}-{run_date}-{digest.hexdigest()[:16]}.csv",
        )
    file_sha256 = digest.hexdigest()
    with control.transaction() as cursor:
        if lock is not None:
            lock.check_in(cursor)
        cursor.execute(
            "INSERT INTO intake.drained_files (run_date, feed, file_sha256, rows, content_sha256)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (run_date, feed) DO UPDATE"
            " SET file_sha256 = excluded.file_sha256, rows = excluded.rows,"
            " content_sha256 = excluded.content_sha256",
            [run_date, feed, file_sha256, rows, content_sha256],
        )
    report = land_file(home, control, feed, path)
    if report.verdict != "accepted" or report.file_sha256 != file_sha256:
        raise DrainError(
            f"{run_date} stops: what left the inbox cannot be landed, and stays in {path}."
            f" Nothing is lost; run the date again once the cause is mended. {render(report)}"
        )
    # The landed copy is kept for ever.
    path.unlink(missing_ok=True)


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _csv(
    cursor: Cursor[TupleRow], span: dict[str, object], feed: str, clock: Clock
) -> Iterator[bytes]:
    """Yield the lines of a feed's file, in the order of the outbox."""
    columns = _COLUMNS[feed].format(time=_INSTANT.format(_MOMENTS[clock][feed]))
    query = f"SELECT {columns} FROM {_OUTBOX[feed]}{_BETWEEN} ORDER BY {_SEQUENCE[feed]}"
    with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)", span) as copy:
        for chunk in copy:
            yield bytes(chunk)


def _content(
    cursor: Cursor[TupleRow], span: dict[str, object], feed: str, clock: Clock
) -> tuple[int, str]:
    """Return the number of rows in the inbox and the SHA-256 over their lines by order_id.

    A line is order_id and the columns of the feed as COPY writes them (`acme.domain.inbox`).
    """
    columns = _COLUMNS[feed].format(time=_INSTANT.format(_MOMENTS[clock][feed]))
    query = f'SELECT order_id, {columns} FROM {_CONTROL[feed]} ORDER BY order_id COLLATE "C"'
    digest, rows = hashlib.sha256(), 0
    with cursor.copy(f"COPY ({query}) TO STDOUT", span) as copy:
        for line in copy:
            digest.update(line)
            rows += bytes(line).count(b"\n")
    return rows, digest.hexdigest()
