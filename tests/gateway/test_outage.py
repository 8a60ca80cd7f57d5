"""Postgres stopped, frozen, back on another port: told quickly, never a false success, mended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from acme.gateway.published import LOOK_SECONDS
from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from tests.gateway.conftest import ORDER, Served, serving, submit

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
# Detection, and slack for a busy machine.
QUICK_SECONDS = 4.0
MENDED_SECONDS = 30.0


@pytest.fixture
async def gateway(own: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.delenv("ACME_POSTGRES_URL", raising=False)
    async with serving(own, postgres.start(own)) as served:
        yield served


async def quickly(answer: asyncio.Future[httpx.Response] | object) -> httpx.Response:
    begun = time.monotonic()
    got = await answer  # type: ignore[misc]
    assert time.monotonic() - begun < QUICK_SECONDS
    return got


def send_to_all(processes: list[int], what: signal.Signals) -> None:
    """Signal each; workers of Postgres come and go by themselves."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, what)


async def mended(client: httpx.AsyncClient) -> None:
    begun = time.monotonic()
    while (await client.get("/readyz")).status_code != 200:
        assert time.monotonic() - begun < MENDED_SECONDS
        await asyncio.sleep(0.1)
    while (await client.get(f"/v1/orders/{'0' * 32}")).status_code == 503:
        assert time.monotonic() - begun < MENDED_SECONDS
        await asyncio.sleep(0.1)


async def test_stopped_and_back_on_another_port(
    gateway: Served, own: Home, caplog: pytest.LogCaptureFixture
) -> None:
    client = await gateway.client(gateway.key())
    first = await submit(client, "first", ORDER | {"source_ref": "first"})
    assert first.status_code == 201
    await asyncio.to_thread(postgres.stop, own)
    answers = await asyncio.gather(
        *[quickly(submit(client, f"down {n}", ORDER | {"source_ref": f"d{n}"})) for n in range(20)],
        quickly(client.get(first.headers["location"])),
        quickly(client.delete(first.headers["location"])),
    )
    assert {a.status_code for a in answers} == {503}
    # Whoever was refused is followed by a readiness that says so.
    assert (await quickly(client.get("/readyz"))).status_code == 503
    assert {a.headers["retry-after"] for a in answers} == {"1"}
    assert (await client.get("/healthz")).status_code == 200
    # Its look at what is published comes every second.
    await asyncio.sleep(LOOK_SECONDS + 1)
    assert "`acme status`" in caplog.text
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", postgres.status(own).port))
        taken.listen(1)
        again = await asyncio.to_thread(postgres.start, own)
    assert urlsplit(again).port != urlsplit(gateway.url).port
    gateway.url = again
    await mended(client)
    assert (await submit(client, "first", ORDER | {"source_ref": "first"})).content == first.content
    assert (await client.get(first.headers["location"])).status_code == 200
    back = await submit(client, "down 0", ORDER | {"source_ref": "d0"})
    assert back.status_code == 201
    assert "idempotent-replayed" not in back.headers


async def test_frozen(gateway: Served, own: Home) -> None:
    client = await gateway.client(gateway.key())
    folder = postgres.status(own).folder
    assert folder is not None
    processes = postgres._processes_in(folder / "data")
    send_to_all(processes, signal.SIGSTOP)
    try:
        body = ORDER | {"source_ref": "frozen"}
        location = f"/v1/orders/{'0' * 32}"
        answers = await asyncio.gather(
            quickly(submit(client, "frozen", body)), quickly(client.get(location))
        )
        assert [a.status_code for a in answers] == [503, 503]
        for _ in range(3):
            assert (await quickly(submit(client, "frozen", body))).status_code == 503
        assert (await quickly(client.get("/readyz"))).status_code == 503
    finally:
        send_to_all(processes, signal.SIGCONT)
    await mended(client)
    answer = await submit(client, "frozen", body)
    assert answer.status_code == 201
    assert gateway.sql("SELECT count(*) FROM intake.orders WHERE source_ref = 'frozen'") == [(1,)]


async def test_killed_under_load_nothing_that_was_answered_is_lost(
    gateway: Served, own: Home
) -> None:
    client = await gateway.client(gateway.key())
    answered: dict[str, bytes] = {}
    codes: set[int] = set()
    ending = False

    async def send(worker: int) -> None:
        n = 0
        while not ending:
            n += 1
            ref = f"load {worker} {n}"
            answer = await submit(client, ref, ORDER | {"source_ref": ref})
            codes.add(answer.status_code)
            if answer.status_code == 201:
                answered[ref] = answer.content
            else:
                await asyncio.sleep(0.05)

    senders = [asyncio.create_task(send(n)) for n in range(20)]
    await asyncio.sleep(1)
    pid = postgres.status(own).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.5)
    gateway.url = await asyncio.to_thread(postgres.start, own)
    await mended(client)
    await asyncio.sleep(1)
    ending = True
    await asyncio.gather(*senders)
    assert codes == {201, 503}
    stored = {ref for (ref,) in gateway.sql("SELECT source_ref FROM intake.orders")}
    assert answered.keys() <= stored
    waiting = gateway.sql("SELECT count(*), count(DISTINCT order_id) FROM intake.outbox")
    orders = gateway.sql("SELECT count(*) FROM intake.orders")
    assert waiting == [(orders[0][0], orders[0][0])]
    for ref, content in list(answered.items())[:: max(1, len(answered) // 20)]:
        again = await submit(client, ref, ORDER | {"source_ref": ref})
        assert again.content == content


async def test_one_session_ended_is_not_an_outage(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    gateway.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name LIKE 'acme gateway%%' AND datname = current_database()"
    )
    await mended(client)
    assert (await submit(client, "t", ORDER | {"source_ref": "t"})).status_code == 201
