"""The gateway's connections to Postgres: durable, found anew after a loss, waited on for seconds.

A server that is gone ends its connections by itself. One that is frozen, or beyond a dead network,
does not: so one connection beats, and when no answer comes all others are cut.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, BaseConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus
from psycopg.rows import TupleRow

from acme.lakehouse.postgres import PostgresError, is_external

# How often the server is asked for a sign of life, and how long it may take.
BEAT_SECONDS: Final = 0.5
ANSWER_SECONDS_MAX: Final = 1.5
RECONNECT_SECONDS: Final = 0.2
CONNECT_SECONDS_MAX: Final = 2
# What a connection raises when the server is gone, was stopped, or has never been there.
GONE: Final = (psycopg.Error, OSError, PostgresError)
# Of these, what is nobody's fault: the server went away. The others are faults of the gateway.
LOST: Final = (psycopg.OperationalError, psycopg.InterfaceError, OSError, PostgresError)
# Settings without which an answer would not be durable, or not dated.
DEMANDED: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "track_commit_timestamp": "on",
}
ALLOW_SUPERUSER: Final = "ACME_GATEWAY_SUPERUSER"

FindUrl = Callable[[], str]


class UnsafeServerError(Exception):
    """The gateway may not work on this server, or not as this user; the text says why."""


def unreachable() -> str:
    """Say that Postgres cannot be reached, to those who can start it: the log's readers."""
    said = "Postgres cannot be reached"
    if is_external():
        return said
    return f"{said}: `acme up` starts the embedded server again, as does `acme status`"


def conninfo(url: str) -> str:
    """Return the connection string of a gateway's session; options that `url` has stay."""
    given = conninfo_to_dict(url).get("options") or ""
    return make_conninfo(
        url,
        options=f"{given} -c TimeZone=UTC -c synchronous_commit=on".strip(),
        connect_timeout=CONNECT_SECONDS_MAX,
    )


async def connected(url: str, name: str) -> AsyncConnection[TupleRow]:
    """Return a connection in autocommit; its transactions are durable or fail."""
    connection = await AsyncConnection.connect(
        conninfo(url), autocommit=True, application_name=name
    )
    connection.prepare_threshold = 1
    return connection


def cut(connection: BaseConnection[Any]) -> None:
    """End a connection's socket: whoever waits on it is told so at once."""
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as ended,
    ):
        ended.shutdown(socket.SHUT_RDWR)


def refuse_ended(connection: AsyncConnection[Any]) -> None:
    """Raise `OperationalError` where the server has ended an idle connection; asks it nothing."""
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    if readable.poll(0):
        connection.pgconn.consume_input()
        if connection.pgconn.status != ConnStatus.OK:
            raise psycopg.OperationalError("the server has ended the connection")


class Pulse:
    """Knows whether Postgres answers; cuts the connections it watches when it does not."""

    def __init__(self, url: FindUrl) -> None:
        """Keep how the server is found: its port may be another one after a restart."""
        self._url = url
        self._watched: set[BaseConnection[Any]] = set()
        self.lost: list[Callable[[], None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Beat as long as the context lasts."""
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @contextmanager
    def watching(self, connection: BaseConnection[Any]) -> Iterator[None]:
        """Cut the connection if the server stops answering meanwhile."""
        self._watched.add(connection)
        try:
            yield
        finally:
            self._watched.discard(connection)

    async def _beat(self) -> None:
        while True:
            try:
                connection = await connected(self._url(), "acme gateway pulse")
            except GONE:
                self._tell()
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            try:
                await self._listen(connection)
            except TimeoutError:
                self._tell()
            except GONE:
                # Perhaps this session alone was ended: the next connection tells.
                await asyncio.sleep(RECONNECT_SECONDS)
            finally:
                with suppress(*GONE):
                    await connection.close()

    async def _listen(self, connection: AsyncConnection[TupleRow]) -> None:
        """Ask again and again; TimeoutError once no answer came in time."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            guard = loop.call_later(ANSWER_SECONDS_MAX, cut, connection)
            try:
                await connection.execute("SELECT 1")
            except psycopg.Error as error:
                if loop.time() - begun >= ANSWER_SECONDS_MAX:
                    raise TimeoutError from error
                raise
            finally:
                guard.cancel()
            await asyncio.sleep(BEAT_SECONDS)

    def _tell(self) -> None:
        for tell in self.lost:
            tell()
        for connection in list(self._watched):
            cut(connection)


async def refuse_unsafe(connection: AsyncConnection[Any]) -> None:
    """Raise `UnsafeServerError` unless what the server commits survives a crash, with its time."""
    for name, wanted in DEMANDED.items():
        cursor = await connection.execute("SELECT current_setting(%s)", [name])
        row = await cursor.fetchone()
        if row is None or row[0] != wanted:
            raise UnsafeServerError(
                f"Postgres runs with {name} = {row and row[0]}: expected {wanted}; the gateway"
                " does not start on a server that may lose what it has answered"
            )


async def refuse_superuser(connection: AsyncConnection[Any]) -> None:
    """Raise `UnsafeServerError` for a user who may do everything, unless that is configured."""
    cursor = await connection.execute("SELECT current_user, current_setting('is_superuser')")
    row = await cursor.fetchone()
    if row is not None and row[1] == "on" and os.environ.get(ALLOW_SUPERUSER) != "allowed":
        raise UnsafeServerError(
            f"the gateway would work as {row[0]!r}, a superuser: give ACME_GATEWAY_POSTGRES_URL a"
            f" login in the group acme_gateway, or set {ALLOW_SUPERUSER}=allowed"
        )


async def examine(url: str) -> None:
    """Raise `UnsafeServerError` or `psycopg.Error` where a gateway would not start."""
    connection = await connected(url, "acme gateway start")
    async with connection:
        await refuse_unsafe(connection)
        await refuse_superuser(connection)
