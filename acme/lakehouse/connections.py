"""Connections to Postgres kept between transactions; logging in costs more than most of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow


class DatabaseLostError(Exception):
    """Postgres cannot be reached, has ended a connection, or has no room; the text says which."""


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
        """A cursor of one transaction: committed at the end, rolled back on any exception.

        Raises DatabaseLostError where it is Postgres that fails, not the step.
        """
        connection = self._take()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor
        except psycopg.OperationalError as error:
            lost = _lost(error, broken=connection.broken)
            connection.close()
            if lost is None:
                raise
            raise lost from error
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
                try:
                    return self._connect()
                except psycopg.OperationalError as error:
                    raise DatabaseLostError(
                        f"Postgres cannot be reached: {one_line(error)}"
                    ) from error
            with suppress(psycopg.Error):
                connection.execute("SELECT 1")
                connection.rollback()
                return connection
            connection.close()


def one_line(error: BaseException) -> str:
    """Return an error's text without its line breaks."""
    return " ".join(str(error).split())


def _lost(error: psycopg.OperationalError, *, broken: bool) -> DatabaseLostError | None:
    """Say what became of Postgres; None where it is well, and the step itself was refused."""
    if isinstance(error, psycopg.errors.DiskFull):
        return DatabaseLostError(
            f"Postgres has no room: {one_line(error)}; make room on its disk and run the same"
            " command again"
        )
    if broken:
        return DatabaseLostError(
            f"Postgres ended the connection: {one_line(error)}; run the same command again, it"
            " finds what was done"
        )
    return None
