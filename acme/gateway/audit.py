"""Every call, kept for ever in `intake.audit`: who, which route, what was answered, how long.

No body, no pot, no path as sent, no secret. Calls are written in batches off the way of the answer;
refused authorisations and downloads of evidence are written before it. While the queue is full no
call is served, so that none goes unrecorded; those refused then are counted, and the count itself
becomes a row. A row may be there twice where a commit's answer was lost: `request_id` tells.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from acme.gateway.connections import GONE, RECONNECT_SECONDS, FindUrl, Pulse, connected

LOG: Final = logging.getLogger("acme.gateway")
QUEUE_MAX: Final = 50_000
BATCH_MAX: Final = 2_000
COLLECT_SECONDS: Final = 0.2
# How long an answer waits for its own row, and the end of the process for all of them.
WRITTEN_SECONDS_MAX: Final = 2.0
FLUSH_SECONDS_MAX: Final = 5.0
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COPY: Final = (
    "COPY intake.audit (at, request_id, key_id, source, method, route, status, reason, order_id,"
    " duration_us) FROM STDIN"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One call; `route` is the template of the path, `duration_us` in microseconds."""

    at: datetime
    request_id: str
    key_id: str | None
    source: str | None
    method: str
    route: str
    status: int
    reason: str | None
    order_id: str | None
    duration_us: int

    @property
    def row(self) -> tuple[object, ...]:
        """Return the values in the order of the table's columns."""
        method = self.method if self.method in METHODS else "OTHER"
        return (
            self.at,
            self.request_id,
            self.key_id,
            self.source,
            method,
            self.route,
            self.status,
            self.reason,
            self.order_id,
            self.duration_us,
        )


class NotWrittenError(Exception):
    """A row that was to be there before the answer could not be written."""


class Audit:
    """The queue of one process, and who writes it."""

    def __init__(self, url: FindUrl, pulse: Pulse) -> None:
        """Keep how the server is found."""
        self._url, self._pulse = url, pulse
        self._queue: deque[tuple[Entry, asyncio.Future[None] | None]] = deque()
        self._arrived, self._hurry = asyncio.Event(), asyncio.Event()
        self._ending = False
        # Calls that were refused because the queue was full: since the last row that says so.
        self._refused = 0
        self.unrecorded_total = 0
        pulse.lost.append(self._fail_waiting)

    @property
    def depth(self) -> int:
        """Return how many rows wait."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Say whether the next call has to be refused."""
        return len(self._queue) >= QUEUE_MAX

    def record(self, entry: Entry) -> None:
        """Keep a call that was served: there is room, since `full` was asked first."""
        self._queue.append((entry, None))
        self._arrived.set()

    def refused(self) -> None:
        """Count a call that was refused because the queue is full."""
        self._refused += 1
        self.unrecorded_total += 1

    async def written(self, entry: Entry) -> None:
        """Return once the row is committed; raises `NotWrittenError`, with the row still queued."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((entry, future))
        self._arrived.set()
        self._hurry.set()
        try:
            async with asyncio.timeout(WRITTEN_SECONDS_MAX):
                await future
        except TimeoutError as error:
            raise NotWrittenError from error

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write as long as the context lasts, and what is left at its end."""
        task = asyncio.create_task(self._write())
        try:
            yield
        finally:
            self._ending = True
            self._arrived.set()
            self._hurry.set()
            done, _ = await asyncio.wait([task], timeout=FLUSH_SECONDS_MAX)
            if not done:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.unrecorded_total += len(self._queue)
            if self.unrecorded_total:
                LOG.error("calls without a row in the audit: %d", self.unrecorded_total)

    # ---- writing ---------------------------------------------------------------------------------

    async def _write(self) -> None:
        while not (self._ending and not self._queue):
            try:
                connection = await connected(self._url(), "acme gateway audit")
            except GONE:
                self._fail_waiting()
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            try:
                with self._pulse.watching(connection):
                    await self._drain(connection)
            except GONE:
                self._fail_waiting()
            finally:
                with suppress(*GONE):
                    await connection.close()

    async def _drain(self, connection: AsyncConnection[TupleRow]) -> None:
        while not (self._ending and not self._queue):
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            if len(self._queue) < BATCH_MAX:
                with suppress(TimeoutError):
                    async with asyncio.timeout(COLLECT_SECONDS):
                        await self._hurry.wait()
            self._hurry.clear()
            self._tell_refused()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
            try:
                await _copy(connection, [entry for entry, _ in batch])
            except BaseException:
                self._queue.extendleft(reversed(batch))
                raise
            for _, future in batch:
                if future is not None and not future.done():
                    future.set_result(None)

    def _tell_refused(self) -> None:
        if self._refused:
            LOG.error("%d calls were refused: the audit's queue was full", self._refused)
            reason = f"{self._refused} calls refused: the audit's queue was full"
            entry = Entry(datetime.now(UTC), "-", None, None, "OTHER", "*", 503, reason, None, 0)
            self._queue.append((entry, None))
            self._refused = 0

    def _fail_waiting(self) -> None:
        """Tell those who wait for their row that it is not there; it stays in the queue."""
        for _, future in self._queue:
            if future is not None and not future.done():
                future.set_exception(NotWrittenError())


async def _copy(connection: AsyncConnection[TupleRow], entries: list[Entry]) -> None:
    async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for entry in entries:
            await copy.write_row(entry.row)
