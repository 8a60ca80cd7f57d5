"""Admits one run of another team's process and date at a time; the day's lock is not touched."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date
from types import TracebackType
from typing import Self

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from acme.lakehouse.connections import one_line
from acme.lakehouse.control import ControlUnavailable, Fenced, LockTimeout
from acme.lakehouse.sessions import holder, session_name


class ProcessLock:
    """`with ProcessLock(url, "team/process", run_date) as lock: … lock.check() …`.

    A session advisory lock on a connection of its own, and a number that grows each time it is
    taken: a run that lost its lock finds a later number, and check() and check_in() raise Fenced.
    """

    def __init__(
        self, url: str, process: str, run_date: date, *, wait_seconds_max: float = 30
    ) -> None:
        """Name the process and date; the lock is taken on entering the context."""
        self.process = process
        self.run_date = run_date
        self._url = url
        self._wait_seconds_max = wait_seconds_max
        self._connection: Connection[TupleRow] | None = None
        self._epoch = 0

    @property
    def _name(self) -> str:
        return f"{self.process} of {self.run_date}"

    def __enter__(self) -> Self:
        """Take the lock; LockTimeout where another run of the process and date does not end."""
        try:
            connection = psycopg.connect(
                self._url, application_name=session_name("process"), autocommit=True
            )
        except psycopg.OperationalError as error:
            raise ControlUnavailable(f"Postgres cannot be reached: {one_line(error)}") from error
        try:
            self._take(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return self

    def _take(self, connection: Connection[TupleRow]) -> None:
        # 0 would mean: wait for ever.
        milliseconds = max(1, round(self._wait_seconds_max * 1000))
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(milliseconds)])
        digest = hashlib.sha256(f"{self.process}\n{self.run_date}".encode()).digest()
        try:
            # One number: the day's locks have two, and never meet these.
            key = int.from_bytes(digest[:8], "big", signed=True)
            connection.execute("SELECT pg_advisory_lock(%s::bigint)", [key])
        except psycopg.errors.LockNotAvailable as error:
            raise LockTimeout(
                f"another run holds {self._name}; waited {self._wait_seconds_max:g} s"
            ) from error
        connection.execute("SET lock_timeout = 0")
        row = connection.execute(
            "INSERT INTO control.process_runs AS run (process, run_date, epoch, state, holder)"
            " VALUES (%s, %s, 1, 'running', %s) ON CONFLICT (process, run_date) DO UPDATE"
            " SET epoch = run.epoch + 1, state = 'running', holder = excluded.holder,"
            " started_at = clock_timestamp(), finished_at = NULL RETURNING epoch",
            [self.process, self.run_date, holder()],
        ).fetchone()
        self._epoch = int(row[0]) if row else 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Record how the run ended and let go of the lock."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # A lost connection has lost the lock already; its successor records the state.
        with suppress(psycopg.Error), connection:
            connection.execute(
                "UPDATE control.process_runs SET state = %s, finished_at = clock_timestamp()"
                " WHERE process = %s AND run_date = %s AND epoch = %s",
                [
                    "finished" if kind is None else "failed",
                    self.process,
                    self.run_date,
                    self._epoch,
                ],
            )

    def check(self) -> None:
        """Raise Fenced unless this run still holds its lock and is the newest of its kind."""
        if self._connection is None:
            raise Fenced(f"the run of {self._name} does not hold its lock")
        try:
            with self._connection.cursor() as cursor:
                self.check_in(cursor)
        except psycopg.Error as error:
            raise Fenced(f"the run of {self._name} has lost its lock: run it again") from error

    def check_in(self, cursor: Cursor[TupleRow]) -> None:
        """Raise Fenced unless this is the newest run; none takes over before the commit."""
        cursor.execute(
            "SELECT epoch FROM control.process_runs WHERE process = %s AND run_date = %s"
            " FOR UPDATE",
            [self.process, self.run_date],
        )
        row = cursor.fetchone()
        if row is None or row[0] != self._epoch:
            raise Fenced(f"the run of {self._name} is not the newest: it stops here")
