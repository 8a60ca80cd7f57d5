"""What a gateway process knows between requests: keys, calendars, connections. No request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import date

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from acme.domain.calendars import DEALING, Calendar, CutOff
from acme.gateway.admission import DiskWatch, folders
from acme.gateway.api_keys import KeyRing
from acme.gateway.audit import Audit
from acme.gateway.connections import (
    GONE,
    FindUrl,
    Pulse,
    connected,
    conninfo,
    refuse_ended,
    refuse_superuser,
    refuse_unsafe,
)
from acme.gateway.inbox import Inbox, unavailable
from acme.gateway.limits import Limits
from acme.gateway.metrics import Metrics
from acme.gateway.problems import ProblemError
from acme.gateway.published import Published
from acme.lakehouse.home import Home, event_clock

REFRESH_SECONDS = 1.0
READERS_MAX = 4
# How long a reader waits for a connection; how long the pool backs off, at most, between tries.
POOL_SECONDS_MAX = 1.5
RECONNECT_SECONDS_MAX = 5.0


@dataclass
class Calendars:
    """The dealing calendar, by how far holidays had landed."""

    newest: int = 0
    _landed: list[tuple[int, date]] = field(default_factory=list)
    _dealing: dict[int, Calendar] = field(default_factory=dict)

    def load(self, landed: list[tuple[int, date]], newest: int) -> None:
        """Take (sequence, holiday) of calendar DEALING and the newest sequence of any."""
        if landed != self._landed:
            self._dealing.clear()
        self._landed, self.newest = landed, newest

    def dealing(self, sequence: int) -> Calendar:
        """Return the calendar as known by the landed file `sequence`."""
        if sequence not in self._dealing:
            self._dealing[sequence] = Calendar(
                frozenset(day for landed, day in self._landed if landed <= sequence)
            )
        return self._dealing[sequence]


class Gateway:
    """One process of the gateway: its home, its inbox, and what it refreshes every second."""

    def __init__(self, home: Home, url: FindUrl) -> None:
        """Keep where things are; `running` opens them. `url` finds the server, after each loss."""
        self.home, self.url = home, url
        self.event_clock = event_clock(home)
        self.calendars = Calendars()
        self.keys = KeyRing()
        self.limits = Limits()
        self.pulse = Pulse(url)
        self.audit = Audit(url, self.pulse)
        self.inbox = Inbox(url, self.pulse, lambda: self.calendars.newest)
        self.inbox.refusal = DiskWatch(folders(home)).reason
        self.published = Published(home, url)
        self.metrics = Metrics(
            lambda: self.inbox.depth,
            lambda: None if self.published.newest is None else self.published.newest.run_date,
        )
        self.inbox.on_commit = self.metrics.committed
        self.cut_off: CutOff
        self.currency: str
        self.pool: AsyncConnectionPool[AsyncConnection[TupleRow]]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gateway]:
        """Open the connections and keep what is known fresh.

        Raises `UnsafeServerError` on a server that may lose what it has answered.
        """
        first = await connected(self.url(), "acme gateway start")
        async with first:
            await refuse_unsafe(first)
            await refuse_superuser(first)
            await self._load_scheme(first)
            await self._refresh(first)
        self.pool = AsyncConnectionPool(
            lambda: conninfo(self.url()),
            min_size=1,
            max_size=READERS_MAX,
            timeout=POOL_SECONDS_MAX,
            reconnect_timeout=RECONNECT_SECONDS_MAX,
            check=_refuse_ended,
            open=False,
            kwargs={"autocommit": True, "application_name": "acme gateway read"},
        )
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.pulse.running())
            await stack.enter_async_context(self.audit.running())
            await self.pool.open()
            stack.push_async_callback(self.pool.close)
            await stack.enter_async_context(self.inbox.running())
            await stack.enter_async_context(self.published.running())
            task = asyncio.create_task(self._keep_fresh())
            try:
                yield self
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """A connection for a short read or cancellation; `ProblemError` where there is none."""
        try:
            async with self.pool.connection() as connection:
                with self.pulse.watching(connection):
                    yield connection
        except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise unavailable("Postgres cannot be reached") from error

    # ---- what is known ---------------------------------------------------------------------------

    async def _load_scheme(self, connection: AsyncConnection[TupleRow]) -> None:
        cursor = await connection.execute("SELECT cutoff, timezone, currency FROM control.scheme")
        row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("there is no scheme yet: run `acme init --currency …`")
        self.cut_off, self.currency = CutOff(row[0], row[1]), row[2]

    async def _refresh(self, connection: AsyncConnection[TupleRow]) -> None:
        await self.keys.load(connection)
        cursor = await connection.execute(
            "SELECT sequence, key FROM control.reference_keys WHERE kind = 'holiday'"
            " ORDER BY sequence, key"
        )
        rows = await cursor.fetchall()
        landed = [
            (sequence, date.fromisoformat(day))
            for sequence, key in rows
            for calendar, _, day in [key.rpartition(":")]
            if calendar == DEALING
        ]
        self.calendars.load(landed, max((sequence for sequence, _ in rows), default=0))

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            with suppress(*GONE, PoolTimeout, ProblemError):
                async with self.reading() as connection:
                    await self._refresh(connection)


async def _refuse_ended(connection: AsyncConnection[TupleRow]) -> None:
    refuse_ended(connection)
