"""A plain HTTP/1.1 client on asyncio streams, and 32 senders that never lose count."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SECONDS_MAX = 30


class Connection:
    """One kept-alive connection; it is made anew after any failure."""

    def __init__(self, port: int) -> None:
        """Keep the port of the loopback address."""
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Send a request; its status and body. Raises OSError or EOFError where none came."""
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return await self._post(path, headers, body)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _post(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        answered = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        content = await reader.readexactly(int(answered.get("content-length", "0")))
        if answered.get("connection") == "close":
            self.close()
        return int(head[0].split()[1]), content


@dataclass
class Sent:
    """What became of every order that was ever sent."""

    answered: dict[str, bytes] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    refused: list[tuple[str, int, bytes]] = field(default_factory=list)
    retried: int = 0
    unsure: int = 0


class Senders:
    """Clients at full speed: each order is tried, under one key, until it is answered."""

    def __init__(self, port: Callable[[], int], key: str, body: Callable[[str], bytes]) -> None:
        """Send `body(reference)` to the port that holds at the time."""
        self._port, self._key, self._body = port, key, body
        self.made = 0
        self.sent = Sent()
        self._news = asyncio.Event()
        self.stop = False
        # New orders are made up to this number; what is unanswered is always sent again.
        self.allowed = 0

    async def run(self, clients: int) -> None:
        """Send until `stop`; then only what is unanswered."""
        await asyncio.gather(*[self._client() for _ in range(clients)])

    async def until_answered(self, count: int) -> None:
        """Return once so many orders are answered."""
        while len(self.sent.answered) < count:
            self._news.clear()
            await self._news.wait()

    async def _client(self) -> None:
        connection = Connection(self._port())
        while not self.stop:
            if self.made >= self.allowed:
                await asyncio.sleep(0.01)
                continue
            reference = f"K-{self.made}"
            self.made += 1
            self.sent.unanswered.add(reference)
            connection = await self._until_answered(connection, reference)
        connection.close()

    async def _until_answered(self, connection: Connection, reference: str) -> Connection:
        for attempt in itertools.count():
            status, content = 0, b""
            with suppress(OSError, EOFError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                status, content = await connection.post(
                    "/v1/orders", self.headers(reference), self._body(reference)
                )
            if status == 201:
                self.sent.unanswered.discard(reference)
                self.sent.answered[reference] = content
                self._news.set()
                self.sent.retried += attempt > 0
                return connection
            if status not in {0, 503}:
                self.sent.refused.append((reference, status, content))
                self.sent.unanswered.discard(reference)
                return connection
            self.sent.unsure += status == 0
            await asyncio.sleep(0.05)
            connection.close()
            connection = Connection(self._port())
        raise AssertionError

    def headers(self, reference: str) -> dict[str, str]:
        """Return the headers of an order's request."""
        return {
            "authorization": f"Bearer {self._key}",
            "content-type": "application/json",
            "idempotency-key": f"key-{reference}",
        }


def order_id(content: bytes) -> Any:
    """Return the id that an answer names."""
    return json.loads(content)["order_id"]
