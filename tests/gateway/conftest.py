"""A gateway in this process, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from acme.gateway import inbox
from acme.gateway.api_keys import create_key
from acme.gateway.app import Door, application
from acme.lakehouse.control import Control
from acme.lakehouse.home import Home


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Served:
    """A door that is served, its database as the owner sees it, and clients with keys."""

    door: Door
    url: str
    home: Home
    stack: AsyncExitStack

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def key(
        self,
        source: str = "EMP",
        scopes: tuple[str, ...] = ("submit", "read", "compliance"),
        *,
        all_pots: bool = True,
    ) -> str:
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO intake.sources VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [source, all_pots],
            )
            return create_key(cursor, source, scopes)

    async def refreshed(self) -> None:
        """Have the gateway take in now what it takes in every second."""
        async with self.door.gateway.reading() as connection:
            await self.door.gateway._refresh(connection)

    async def client(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        await self.refreshed()
        transport = httpx.ASGITransport(self.door, client=("192.0.2.7", 1))
        return await self.stack.enter_async_context(
            httpx.AsyncClient(
                transport=transport, base_url="http://gateway", headers=headers, timeout=120
            )
        )


@pytest.fixture
async def gateway(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    # The tests' server is not one to entrust orders to.
    monkeypatch.setattr(inbox, "DEMANDED", {"track_commit_timestamp": "on"})
    home = Home(tmp_path / "home")
    home.create()
    (home.root / "clock").write_text("database\n")
    Control(database).create_scheme("USD", time(12), "Europe/London")
    door = application(home, database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(door.router.lifespan_context(door))
        async with AsyncExitStack() as clients:
            yield Served(door, database, home, clients)
