"""A gateway in this process, on a database of its own, as the role `acme_gateway`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from acme.gateway import connections, key_management
from acme.gateway.app import Door, application
from acme.lakehouse import postgres, roles
from acme.lakehouse.control import Control
from acme.lakehouse.home import Home
from acme.lakehouse.migrate import migrate
from acme.lakehouse.roles import role_url

ORDER = {"source_ref": "r1", "pot_id": "POT-1", "kind": "contribution", "amount": "10.50"}
ALL_SCOPES = ("submit", "read", "compliance")


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
    keys: dict[str, str] = field(default_factory=dict)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def key(
        self,
        source: str = "EMP",
        scopes: tuple[str, ...] = ALL_SCOPES,
        *,
        all_pots: bool = True,
        days: int | None = None,
    ) -> str:
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            key_management.add_source(cursor, source, all_pots=all_pots)
            return key_management.create(cursor, source, scopes, days=days)

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


async def submit(
    client: httpx.AsyncClient, key: str, body: Mapping[str, object] | bytes | None = None
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body or ORDER).encode()
    headers = {"idempotency-key": key, "content-type": "application/json"}
    return await client.post("/v1/orders", content=content, headers=headers)


def install(home: Home, url: str) -> None:
    home.create()
    (home.root / "clock").write_text("database\n")
    Control(url).create_scheme("USD", time(12), "Europe/London")


@asynccontextmanager
async def serving(home: Home, url: str) -> AsyncIterator[Served]:
    door = application(home, lambda: role_url(home, "gateway"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(door.router.lifespan_context(door))
        async with AsyncExitStack() as clients:
            yield Served(door, url, home, clients)


@pytest.fixture(autouse=True)
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is the installation's own, whatever another test has left in the environment."""
    monkeypatch.delenv("ACME_CLOCK", raising=False)


@pytest.fixture(scope="module")
def own(remove_server: Callable[[Home], None]) -> Iterator[Home]:
    """Return a home whose embedded server is nobody else's."""
    folder = Path(tempfile.mkdtemp(prefix="acme-gateway-"))
    folder.chmod(0o755)
    home = Home(folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ACME_POSTGRES_URL", raising=False)
        url = postgres.start(home)
        migrate(url)
        roles.give_logins(home, url)
        install(home, url)
        yield home
        remove_server(home)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def gateway(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "home"))
    # The tests' server is not one to entrust orders to.
    monkeypatch.setattr(connections, "DEMANDED", {"track_commit_timestamp": "on"})
    monkeypatch.setenv("ACME_GATEWAY_FAILED_BURST", "100000")
    home = Home(tmp_path / "home")
    install(home, database)
    async with serving(home, database) as served:
        yield served
