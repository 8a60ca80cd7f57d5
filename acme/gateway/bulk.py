"""`POST /v1/orders/bulk`: up to a million orders in one stream, all of them or none.

While the stream comes its lines are checked in a thread and kept on disk as sorted runs below
ACME_HOME; once it has ended, one transaction stores them. Memory is bounded by the size of a part.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from acme.gateway import bulk_inbox
from acme.gateway.bulk_answers import answer, find_bulk
from acme.gateway.bulk_checks import Checker
from acme.gateway.bulk_formats import Csv, Format, NdJson
from acme.gateway.bulk_inbox import Accepted
from acme.gateway.bulk_lines import Block, Lines
from acme.gateway.bulk_runs import Runs
from acme.gateway.inbox import unavailable
from acme.gateway.media_types import media_type
from acme.gateway.orders import ended_early, idempotency_key, refuse_declared, too_large
from acme.gateway.problems import FieldError, ProblemError
from acme.gateway.state import Gateway

LINES_MAX: Final = 1_000_000
BODY_BYTES_MAX: Final = 512 * 1024 * 1024
# What is checked at a time.
PART_BYTES: Final = 1024 * 1024
# Streams at once, in this process and of one source: more are told to come again.
STREAMS_MAX: Final = 4
STREAMS_OF_SOURCE_MAX: Final = 2
SILENT_SECONDS_MAX: Final = 60.0
_FORMATS: Final[dict[str, type[NdJson | Csv]]] = {NdJson.MEDIA: NdJson, Csv.MEDIA: Csv}


class Bulks:
    """The bulks under way in this process, and the threads that work on them."""

    def __init__(self, gateway: Gateway) -> None:
        """Have as many threads as there may be streams."""
        self.gateway = gateway
        self.pool = ThreadPoolExecutor(STREAMS_MAX, thread_name_prefix="bulk")
        self._streams: Counter[str] = Counter()

    @contextmanager
    def place(self, source: str) -> Iterator[None]:
        """Hold a place for a stream; `unavailable` where all are taken."""
        if self._streams.total() >= STREAMS_MAX or self._streams[source] >= STREAMS_OF_SOURCE_MAX:
            raise unavailable(
                f"at most {STREAMS_MAX} bulks at once, {STREAMS_OF_SOURCE_MAX} of one source"
            )
        self._streams[source] += 1
        try:
            yield
        finally:
            self._streams[source] -= 1

    def close(self) -> None:
        """Wait for what is being committed."""
        self.pool.shutdown()

    async def run(self, work: Any, *arguments: Any) -> Any:
        """Run work in a thread of the bulks."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)


class _Stream:
    """One bulk between its first byte and its commit; used by one thread at a time."""

    def __init__(self, gateway: Gateway, source: str, form: Format) -> None:
        self.gateway, self.source, self.form = gateway, source, form
        self.sha256 = hashlib.sha256()
        self.bulk_id = secrets.randbits(62)
        self.lines = 0
        self._header_lines = form.header_lines
        self._first: str | None = None
        self._last: tuple[int, str] = (0, "")
        self._stated: list[str] = []
        self._lines = Lines()
        self._open = ExitStack()
        self.size = 0

    def begin(self) -> None:
        """Open the file and, to ask and to write, the connection."""
        try:
            folder = self.gateway.home.spool
            self._runs = self._open.enter_context(Runs(folder, self.source, self.bulk_id))
        except OSError as error:
            raise unavailable(f"no space to keep a bulk: {error.strerror}") from error
        granted = None
        with bulk_inbox.talking():
            self._connection = self._open.enter_context(bulk_inbox.writing(self.gateway.url()))
            self._open.enter_context(self.gateway.pulse.watching(self._connection))
            if not bulk_inbox.has_all_pots(self._connection, self.source):
                granted = partial(bulk_inbox.granted_pots, self._connection, self.source)
        self.checker = Checker(
            self.form, self.source, event_clock=self.gateway.event_clock, granted=granted
        )

    def close(self) -> None:
        """Give everything back; what is not committed is gone."""
        self._open.close()

    def take(self, part: bytes) -> None:
        """Check a part of the stream and keep its lines; `too_large` beyond LINES_MAX."""
        self.sha256.update(part)
        with bulk_inbox.talking():
            self._keep(self._lines.feed(part))

    def end(self, key: str, calendar: int) -> bool:
        """Check what is left and commit; False if the key was used meanwhile."""
        with bulk_inbox.talking():
            self._keep(self._lines.finish())
        refusals = self.checker.refusals
        if self._header_lines or not self.lines:
            expected = "a header and an order" if self.form.header_lines else "an order"
            refusals.add("invalid", [FieldError("line", expected, "the end of the body", 1)])
        if refusals:
            raise refusals.problem()
        assert self._first is not None  # noqa: S101  there is a line, and it is valid
        accepted = Accepted(
            self.source,
            key,
            self.sha256.digest(),
            self.bulk_id,
            self.lines,
            self._first,
            self._last[1],
            min(self._stated, default=None),
            max(self._stated, default=None),
            calendar,
        )
        try:
            with bulk_inbox.talking():
                return bulk_inbox.commit(self._connection, accepted, self._runs)
        except psycopg.DataError as error:
            raise ProblemError("invalid", f"the database refuses a line: {error}") from error

    def _keep(self, block: Block | None) -> None:
        block = self._without_header(block)
        if block is None:
            return
        self.lines += block.count
        if self.lines > LINES_MAX:
            raise ProblemError("too_large", f"expected at most {LINES_MAX:,} lines")
        ready = self.checker.ready(block)
        if ready.is_empty() or self.checker.refusals:
            return
        by_line = ready.select("line", "order_id")
        if self._first is None:
            self._first = by_line.row(by_line["line"].arg_min() or 0)[1]
        self._last = by_line.row(by_line["line"].arg_max() or 0)
        stated = ready["received_at"]
        if stated.null_count() < stated.len():
            self._stated = [
                min([*self._stated, str(stated.min())]),
                max([*self._stated, str(stated.max())]),
            ]
        try:
            self._runs.add(ready)
        except OSError as error:
            raise unavailable(f"no space to keep a bulk: {error.strerror}") from error

    def _without_header(self, block: Block | None) -> Block | None:
        if block is None or not self._header_lines:
            return block
        self._header_lines = 0
        header, _, rest = block.data.partition(b"\n")
        wrong = self.form.header(header.removesuffix(b"\r"))
        if wrong is not None:
            found = FieldError(wrong.field, wrong.expected, wrong.got, block.first)
            self.checker.refusals.add("invalid", [found])
            raise self.checker.refusals.problem()
        return Block(block.first + 1, rest, block.count - 1) if rest else None


async def submit(request: Request) -> Response:
    """`POST /v1/orders/bulk`: answered once every order of the stream is durable."""
    state, call = request.app.state, request.state.call
    gateway, bulks = state.gateway, state.bulks
    caller = call.authorised(gateway, "submit")
    key = idempotency_key(call)
    form = _format(request)
    parts = _parts(request)
    with bulks.place(caller.source):
        stored = await find_bulk(gateway, caller.source, key)
        if stored is not None:
            digest = hashlib.sha256()
            async for part in parts:
                await bulks.run(digest.update, part)
            return _answered(answer(state.answers, stored, key, digest.digest()), replayed=True)
        stream = _Stream(gateway, caller.source, form)
        created = await _received(bulks, stream, parts, key)
        stored = await find_bulk(gateway, caller.source, key)
        if stored is None:
            raise LookupError("a bulk was answered for and is not there")
        body = answer(state.answers, stored, key, stream.sha256.digest())
        return _answered(body, replayed=not created)


async def _received(bulks: Bulks, stream: _Stream, parts: AsyncIterator[bytes], key: str) -> bool:
    """Take the whole stream and commit it; while one part is checked, the next one comes."""
    working: asyncio.Future[Any] | None = None
    try:
        await bulks.run(stream.begin)
        async for part in parts:
            if working is not None:
                await asyncio.shield(working)
            if (reason := bulks.gateway.inbox.reason()) is not None:
                raise unavailable(reason)
            working = asyncio.ensure_future(bulks.run(stream.take, part))
        if working is not None:
            await asyncio.shield(working)
        calendar = bulks.gateway.calendars.newest
        working = asyncio.ensure_future(bulks.run(stream.end, key, calendar))
        return bool(await asyncio.shield(working))
    finally:
        # A thread that is at work is not interrupted: what it uses is closed after it.
        if working is not None:
            await asyncio.wait([working])
            working.exception()
        await asyncio.shield(bulks.run(stream.close))


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in parts of about PART_BYTES; `too_large` as soon as it is."""
    refuse_declared(request.state.call, BODY_BYTES_MAX)
    size = 0
    waiting: list[bytes] = []
    held = 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(SILENT_SECONDS_MAX):
                chunk = await anext(stream)
        except StopAsyncIteration:
            break
        except ClientDisconnect as error:
            # Perhaps the framing alone is broken, and the client waits for its answer.
            raise ended_early() from error
        except TimeoutError as error:
            detail = f"the client sent nothing for {SILENT_SECONDS_MAX:g} s"
            raise ProblemError("too_slow", detail, headers={"Connection": "close"}) from error
        size, held = size + len(chunk), held + len(chunk)
        if size > BODY_BYTES_MAX:
            raise too_large(BODY_BYTES_MAX)
        waiting.append(chunk)
        if held >= PART_BYTES:
            yield b"".join(waiting)
            waiting, held = [], 0
    if waiting:
        yield b"".join(waiting)


def _format(request: Request) -> Format:
    call = request.state.call
    content_type = call.header(b"content-type") or ""
    coding = call.header(b"content-encoding") or "identity"
    return _FORMATS[media_type(content_type, coding, _FORMATS)]()


def _answered(body: bytes, *, replayed: bool) -> Response:
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(body, 201, headers, "application/json")


PATH: Final = "/v1/orders/bulk"
ROUTES: Final = [Route(PATH, submit, methods=["POST"])]
