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
from typing import Any, Final, LiteralString

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from acme.gateway.order_bodies import NewOrder
from acme.gateway.problems import ProblemError

# Orders of one commit, and how long the first of them waits for company.
TOGETHER_MAX: Final = 400
COLLECT_SECONDS: Final = 0.001
WRITERS: Final = 2
# Orders that may wait; more than this is refused rather than kept in memory.
WAITING_MAX: Final = 20_000
ANSWER_SECONDS_MAX: Final = 20.0
RETRY_AFTER_SECONDS: Final = 1
_COMMITTED: Final = (
    "SELECT pg_xact_commit_timestamp(current_setting('acme.xid')::xid),"
    " nullif(current_setting('acme.drained'), '')::date"
)
# Settings without which an answer would not be durable, or not dated.
DEMANDED: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "track_commit_timestamp": "on",
}


class UnsafeServerError(Exception):
    """The server may lose what it has committed; the text names the setting."""


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

    def __init__(self, url: str, calendar: Callable[[], int]) -> None:
        """Keep the URL; `run` connects."""
        self._url = url
        self._calendar = calendar
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.available = asyncio.Event()
        self.refusal: Callable[[], str | None] = lambda: None
        # Told of every commit: its outcomes, and how long it took in nanoseconds.
        self.on_commit: Callable[[Iterable[str], int], None] = lambda _outcomes, _took: None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Inbox]:
        """Write as long as the context lasts."""
        self._tasks = [asyncio.create_task(self._writer(n)) for n in range(WRITERS)]
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def depth(self) -> int:
        """Return how many orders wait for a commit."""
        return len(self._waiting)

    async def submit(self, order: NewOrder, key: str) -> Committed:
        """Make an order durable under its idempotency key; `ProblemError` `unavailable` if not.

        Whoever is told `unavailable` does not know whether the order is stored, and may send it
        again under the same key.
        """
        reason = self.refusal()
        if reason is None and not self.available.is_set():
            reason = "Postgres cannot be reached"
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
                connection = await connected(self._url, f"acme gateway {number}")
            except (psycopg.Error, OSError):
                self.available.clear()
                self._fail(list(self._waiting), "Postgres cannot be reached")
                self._waiting.clear()
                await asyncio.sleep(0.2)
                continue
            self.available.set()
            try:
                await self._serve(connection)
            finally:
                with suppress(psycopg.Error):
                    await connection.close()

    async def _serve(self, connection: AsyncConnection[TupleRow]) -> None:
        """Commit what waits, until the connection fails."""
        while True:
            if not self._waiting:
                self._arrived.clear()
                try:
                    async with asyncio.timeout(2):
                        await self._arrived.wait()
                except TimeoutError:
                    if await self._alive(connection):
                        continue
                    return
            if len(self._waiting) < TOGETHER_MAX:
                await asyncio.sleep(COLLECT_SECONDS)
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
            group = [waiting for waiting in group if not waiting.answer.done()]
            if not group:
                continue
            try:
                await self._commit(connection, group)
            except psycopg.DataError as error:
                # Nobody's order should do this; alone, each finds out whether it is its own.
                await self._one_by_one(connection, group, error)
            except (psycopg.Error, OSError):
                self._fail(group, "Postgres went away before it answered")
                return
            except BaseException:
                self._fail(group, "the gateway is stopping")
                raise

    async def _alive(self, connection: AsyncConnection[TupleRow]) -> bool:
        try:
            await connection.execute("SELECT 1")
        except (psycopg.Error, OSError):
            self.available.clear()
            return False
        return True

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
        for n, waiting in enumerate(group):
            if not waiting.answer.done():
                waiting.answer.set_result(Committed(outcomes[n], row[0], row[1], calendar))

    def _fail(self, group: list[_Waiting], reason: str) -> None:
        for waiting in group:
            _resolve_error(waiting, unavailable(reason))


_ACCEPT_SQL: Final[LiteralString] = "SELECT n, outcome FROM intake.accept(%s::json, %s)"


def _resolve_error(waiting: _Waiting, problem: ProblemError) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(problem)


def unavailable(reason: str) -> ProblemError:
    """Return the problem of a request that could not be made durable."""
    return ProblemError("unavailable", reason, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


async def connected(url: str, name: str) -> AsyncConnection[TupleRow]:
    """Return a connection in autocommit; its transactions are durable or fail."""
    connection = await AsyncConnection.connect(
        url,
        autocommit=True,
        application_name=name,
        connect_timeout=5,
        options="-c TimeZone=UTC -c synchronous_commit=on",
    )
    connection.prepare_threshold = 1
    return connection


async def one_row(cursor: AsyncCursor[TupleRow]) -> TupleRow:
    """Return the one row there certainly is."""
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("Postgres returned no row where one was certain")
    return row


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
