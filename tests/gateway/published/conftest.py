"""A small world of published dates, and doors that serve it in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from acme.gateway import connections, published
from acme.gateway.api_keys import create_key
from acme.gateway.app import Door, application
from acme.gateway.problems import ProblemError
from acme.lakehouse.roles import name_of
from tests.scenarios.conftest import VARIABLES, copy_of, scenario
from tests.scenarios.driver import D0, D1, D2, D3, Scenario

__all__ = ["scenario"]

LINE = f"B-{D1}-live-NORTH-EQ-S-U"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Served:
    """A door that is served, and the installation behind it."""

    door: Door
    world: Scenario

    def client(
        self, key: str | None = None, *, host: str = "192.0.2.7", **more: str
    ) -> httpx.AsyncClient:
        headers = {k.replace("_", "-"): v for k, v in more.items()}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        transport = httpx.ASGITransport(self.door, client=(host, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)

    async def refreshed(self) -> None:
        """Have the gateway take in now what it takes in every second."""
        async with self.door.gateway.reading() as connection:
            await self.door.gateway._refresh(connection)


@pytest.fixture(autouse=True)
def tests_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' server is not one to entrust orders to."""
    monkeypatch.setattr(connections, "DEMANDED", {"track_commit_timestamp": "on"})
    monkeypatch.setattr(published, "LOOK_SECONDS", 0.02)
    monkeypatch.setenv("ACME_GATEWAY_FAILED_BURST", "100000")
    monkeypatch.setenv("ACME_CLOCK", "event")


@pytest.fixture(scope="session")
def world(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str
) -> Iterator[Scenario]:
    """Return an installation with D1 to D3 published, and keys of sources."""
    with copy_of(postgres_url, template_database) as url:
        with pytest.MonkeyPatch.context() as patch:
            for name in VARIABLES:
                patch.setenv(name, "")
            opened = Scenario(tmp_path_factory.mktemp("published") / "home", url)
            begin(opened)
            opened.run(D1)
            continued(opened)
            opened.run(D2)
            opened.prices(D2)
            # A statement that is a unit short, by a custodian with a name to be escaped.
            opened.statement("N2", "NORTH", D2, "EQ,59", "USD,1033.33")
            opened.run(D3)
        yield opened
        opened.close()


def begin(opened: Scenario) -> None:
    """Land what D1 runs on: three pots, a sale, a contribution, one order that is refused."""
    opened.reference(
        {"A": "SELF", "B": "SELF", "C": "SELF", "a/b ü": "SELF"},
        {"B": {"EQ": "100", "BD": "7.5", "USD": "1000.00"}, "C": {"USD": "10.00"}},
        canary=["C"],
    )
    opened.order("sell", D1, "B", "sell", asset="EQ", units="40")
    opened.order("too-much", D1, "B", "sell", asset="BD", units="100")
    opened.order("bonds", D1, "B", "sell", asset="BD", units="2.5")
    opened.order("pay-in", D1, "A", "contribution", amount="33.33")
    opened.statement("N0", "NORTH", D0, "EQ,100", "USD,1000.00")


def continued(opened: Scenario) -> None:
    """Land what D2 runs on: the sale executed in part, prices that make half a penny."""
    opened.prices(D1, EQ="10.005", BD="20.002")
    opened.executed("N-1", LINE, D1, "25", "10", "250.00")


def grant(opened: Scenario, source: str, scopes: tuple[str, ...], *pots: str) -> str:
    """Return a key of a source that is granted pots; `*` is all of them."""
    with psycopg.connect(opened.platform.url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO intake.sources (source, all_pots) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [source, "*" in pots],
        )
        for pot in pots:
            cursor.execute(
                "INSERT INTO intake.source_pots VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [source, pot],
            )
        return create_key(cursor, source, scopes)


@dataclass
class Keys:
    """Keys of callers: who may do what."""

    owner: str
    other: str
    everything: str
    compliance: str
    submit_only: str


@pytest.fixture(scope="session")
def keys(world: Scenario) -> Keys:
    return Keys(
        owner=grant(world, "T", ("submit", "read"), "B", "a/b ü", "GHOST"),
        other=grant(world, "OTHER", ("submit", "read"), "A"),
        everything=grant(world, "ALL", ("read",), "*"),
        compliance=grant(world, "AUDIT", ("compliance",)),
        submit_only=grant(world, "SUBMIT", ("submit",), "*"),
    )


@asynccontextmanager
async def serving(opened: Scenario) -> AsyncIterator[Served]:
    url = make_conninfo(opened.platform.url, options=f"-c role={name_of('gateway')}")
    door = application(opened.home, lambda: url)
    async with door.router.lifespan_context(door):
        await door.gateway.inbox.available.wait()
        with suppress(ProblemError):
            await door.gateway.published.snapshot()
        yield Served(door, opened)


@pytest.fixture
async def served(world: Scenario, keys: Keys) -> AsyncIterator[Served]:
    async with serving(world) as found:
        yield found
