"""The durable inbox: orders of concurrent requests committed together, each answered after it.

`Inbox.submit` returns once the transaction that holds order, key, hash and outbox row is
committed, with its commit time. While one transaction is on its way the next one collects, so
that a burst costs few commits; a bad order in it never fails its neighbours.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, LiteralString

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from acme.gateway.connections import (
    CONNECT_SECONDS_MAX,
    GONE,
    LOST,
    RECONNECT_SECONDS,
    FindUrl,
    Pulse,
    connected,
    refuse_ended,
)
from acme.gateway.order_bodies import NewOrder
from acme.gateway.problems import ProblemError

# Orders of one commit, and how long the first of them waits for company.
TOGETHER_MAX: Final = 400
COLLECT_SECONDS: Final = 0.001
WRITERS: Final = 2
# Orders that may wait; more than this is refused rather than kept in memory.
WAITING_MAX: Final = 20_000
ANSWER_SECONDS_MAX: Final = 20.0
# How often an idle writer looks whether its connection is still there.
IDLE_SECONDS: Final = 2.0
RETRY_AFTER_SECONDS: Final = 1
_COMMITTED: Final = (
    "SELECT pg_xact_commit_timestamp(current_setting('acme.xid')::xid),"
    " nullif(current_setting('acme.drained'), '')::date"
)


@dataclass(frozen=True, slots=True)
class Committed:
    """What the inbox says of an order once it is durable.

    outcome: created, repeated, key_conflict, reference_conflict or pot_forbidden. received_at:
    the commit's time, taken_until: the newest drained date at that moment (of this transaction,
    so for a created order alone).
    """

    outcome: str
    received_at: datetime
    taken_until: date | None
    calendar: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    order: NewOrder
    key: str
    answer: asyncio.Future[Committed]


class Inbox:
    """Writers that share the waiting orders; `calendar` says how far holidays are known."""

    def __init__(self, url: FindUrl, pulse: Pulse, calendar: Callable[[], int]) -> None:
        """Keep how the server is found; `running` connects."""
        self._url, self._pulse = url, pulse
        self._calendar = calendar
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.available = asyncio.Event()
        self.refusal: Callable[[], str | None] = lambda: None
        pulse.lost.append(self._lost)
        # Told of every commit: its outcomes, and how long it took in nanoseconds.
        self.on_commit: Callable[[Iterable[str], int], None] = lambda _outcomes, _took: None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Inbox]:
        """Write as long as the context lasts."""
        self._tasks = [asyncio.create_task(self._writer(n)) for n in range(WRITERS)]
        try:
            # Where Postgres goes away again at this moment, requests are told so.
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    await self.available.wait()
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def depth(self) -> int:
        """Return how many orders wait for a commit."""
        return len(self._waiting)

    def reason(self) -> str | None:
        """Say why nothing can be made durable now, or return None."""
        reason = self.refusal()
        if reason is None and not self.available.is_set():
            reason = "Postgres cannot be reached"
        return reason

    async def submit(self, order: NewOrder, key: str) -> Committed:
        """Make an order durable under its idempotency key; `ProblemError` `unavailable` if not.

        Whoever is told `unavailable` does not know whether the order is stored, and may send it
        again under the same key.
        """
        reason = self.reason()
        if reason is None and len(self._waiting) >= WAITING_MAX:
            reason = f"{WAITING_MAX} orders wait already"
        if reason is not None:
            raise unavailable(reason)
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(order, key, answer))
        self._arrived.set()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await answer
        except TimeoutError as error:
            raise unavailable(f"no commit within {ANSWER_SECONDS_MAX:g} s") from error

    # ---- writing ---------------------------------------------------------------------------------

    async def _writer(self, number: int) -> None:
        while True:
            try:
                connection = await connected(self._url(), f"acme gateway {number}")
            except GONE:
                self._lost()
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self.available.set()
            try:
                with self._pulse.watching(connection):
                    await self._serve(connection)
            finally:
                with suppress(*GONE):
                    await connection.close()

    def _lost(self) -> None:
        """Tell those who wait that nothing can be made durable now."""
        self.available.clear()
        self._fail(list(self._waiting), "Postgres cannot be reached")
        self._waiting.clear()

    async def _serve(self, connection: AsyncConnection[TupleRow]) -> None:
        """Commit what waits, until the connection fails."""
        while True:
            try:
                group = await self._group(connection)
            except GONE:
                # What waits is left to the next connection, not lost with this one.
                return
            if not group:
                continue
            try:
                await self._settle(connection, group)
            except LOST:
                self._fail(group, "Postgres went away before it answered")
                return
            except psycopg.Error as error:
                # A fault of ours: told and logged as one, on a connection that is not used again.
                for waiting in group:
                    _resolve_error(waiting, error)
                return
            except BaseException:
                self._fail(group, "the gateway is stopping")
                raise

    async def _group(self, connection: AsyncConnection[TupleRow]) -> list[_Waiting]:
        """Return what is committed next; raises where the server has ended the connection."""
        while not self._waiting:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._arrived.wait()
            refuse_ended(connection)
        if len(self._waiting) < TOGETHER_MAX:
            await asyncio.sleep(COLLECT_SECONDS)
        refuse_ended(connection)
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
        return [waiting for waiting in group if not waiting.answer.done()]

    async def _settle(self, connection: AsyncConnection[TupleRow], group: list[_Waiting]) -> None:
        try:
            await self._commit(connection, group)
        except psycopg.DataError as error:
            # Nobody's order should do this; alone, each finds out whether it is its own.
            await self._one_by_one(connection, group, error)

    async def _one_by_one(
        self, connection: AsyncConnection[TupleRow], group: list[_Waiting], error: Exception
    ) -> None:
        if len(group) == 1:
            problem = ProblemError("invalid", f"the database refuses the order: {error}")
            _resolve_error(group[0], problem)
            return
        for waiting in group:
            try:
                await self._commit(connection, [waiting])
            except psycopg.DataError as own:
                await self._one_by_one(connection, [waiting], own)

    async def _commit(self, connection: AsyncConnection[TupleRow], group: list[_Waiting]) -> None:
        calendar = self._calendar()
        rows = [{"n": n, "k": waiting.key} | waiting.order.row for n, waiting in enumerate(group)]
        batch = msgspec.json.encode(rows).decode()
        begun = time.monotonic_ns()
        async with connection.pipeline() as pipeline:
            accepted = await connection.execute(_ACCEPT_SQL, [batch, calendar])
            await pipeline.sync()
            committed = await connection.execute(_COMMITTED)
        outcomes: dict[int, str] = dict(await accepted.fetchall())
        row = await one_row(committed)
        self.on_commit(outcomes.values(), time.monotonic_ns() - begun)
        made: set[str] = set()
        for n, waiting in enumerate(group):
            outcome = outcomes[n]
            if outcome == "created" and waiting.order.order_id in made:
                # One of the same group made it.
                outcome = "repeated"
            if outcome == "created":
                made.add(waiting.order.order_id)
            if not waiting.answer.done():
                waiting.answer.set_result(Committed(outcome, row[0], row[1], calendar))

    def _fail(self, group: list[_Waiting], reason: str) -> None:
        for waiting in group:
            _resolve_error(waiting, unavailable(reason))


_ACCEPT_SQL: Final[LiteralString] = "SELECT n, outcome FROM intake.accept(%s::json, %s)"


def _resolve_error(waiting: _Waiting, problem: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(problem)


def unavailable(reason: str) -> ProblemError:
    """Return the problem of a request that could not be made durable."""
    return ProblemError("unavailable", reason, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


async def one_row(cursor: AsyncCursor[TupleRow]) -> TupleRow:
    """Return the one row there certainly is."""
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("Postgres returned no row where one was certain")
    return row
