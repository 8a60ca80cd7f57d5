"""Connections to Postgres kept between transactions; logging in costs more than most of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow


class Connections:
    """Idle connections made by `connect`; a transaction takes one and gives it back.

    Safe between threads: a list's append and pop are atomic. A connection that the server has
    dropped since is noticed before it is used, and replaced.
    """

    def __init__(self, connect: Callable[[], Connection[TupleRow]]) -> None:
        """Keep how to connect; nothing is opened yet."""
        self._connect = connect
        self._idle: list[Connection[TupleRow]] = []

    @contextmanager
    def transaction(self) -> Iterator[Cursor[TupleRow]]:
        """A cursor of one transaction: committed at the end, rolled back on any exception."""
        connection = self._take()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Connection[TupleRow]:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connect()
            with suppress(psycopg.Error):
                connection.execute("SELECT 1")
                connection.rollback()
                return connection
            connection.close()
