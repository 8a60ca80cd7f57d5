"""Every call is on record; what must not be in records and logs is in none."""

from __future__ import annotations

import asyncio
import json
import logging
from io import StringIO
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from acme.gateway import audit, connections, logs
from acme.lakehouse.home import Home
from tests.gateway.conftest import ORDER, Served, install, serving, submit

pytestmark = pytest.mark.anyio


async def recorded(gateway: Served, request_id: str) -> tuple[object, ...]:
    for _ in range(100):
        rows = gateway.sql(
            "SELECT key_id, source, method, route, status, reason, order_id, duration_us > 0"
            " FROM intake.audit WHERE request_id = %s",
            request_id,
        )
        if rows:
            assert len(rows) == 1
            return rows[0]
        await asyncio.sleep(0.05)
    raise AssertionError("the call is not on record")


async def test_every_call_is_on_record_by_its_route(gateway: Served) -> None:
    key = gateway.key()
    name = key.split("_")[1]
    client = await gateway.client(key)
    made = await submit(client, "one")
    order = made.json()["order_id"]
    calls = [
        (made, ("POST", "/v1/orders", 201, None, order)),
        (
            await client.get(f"/v1/orders/{order}"),
            ("GET", "/v1/orders/{order_id}", 200, None, order),
        ),
        (
            await client.get("/v1/orders/POT-1-secret"),
            ("GET", "/v1/orders/{order_id}", 404, "not_found", None),
        ),
        (await submit(client, "one", b"{"), ("POST", "/v1/orders", 400, "malformed", None)),
        (
            await submit(client, "one", ORDER | {"amount": "9"}),
            ("POST", "/v1/orders", 409, "key_conflict", order),
        ),
    ]
    for answer, (method, route, status, reason, of) in calls:
        assert answer.status_code == status
        found = await recorded(gateway, answer.headers["x-request-id"])
        assert found == (name, "EMP", method, route, status, reason, of, True)
    nothing = await client.request("BREW", "/coffee/POT-1")
    found = await recorded(gateway, nothing.headers["x-request-id"])
    assert found[2:6] == ("OTHER", "*", 404, "not_found")


async def test_no_secret_and_no_pot_in_records_or_logs(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(logs, "REPEAT_SECONDS", 0.0)
    try:
        key = gateway.key()
        client = await gateway.client(key)
        body = ORDER | {"pot_id": "POT-SECRET", "source_ref": "REF-SECRET"}
        await submit(client, "KEY-SECRET", body)

        async def failing(*args: object) -> None:
            raise RuntimeError("row (POT-SECRET, 10.50)")

        monkeypatch.setattr(gateway.door.gateway.inbox, "submit", failing)
        failed = await submit(client, "KEY-SECRET", body)
        assert failed.status_code == 500
        assert "POT-SECRET" not in failed.text
        gateway.door.gateway.inbox.refusal = lambda: "a disk is full"
        assert (await submit(client, "KEY-SECRET", body)).status_code == 503
        await client.get("/v1/orders/POT-SECRET", headers={"authorization": f"Bearer {key}x"})
        await recorded(gateway, failed.headers["x-request-id"])
    finally:
        logging.getLogger().removeHandler(handler)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    problems = [line for line in lines if line["message"] == "problem"]
    assert [(p["status"], p["kind"], p["route"]) for p in problems] == [
        (500, "internal", "/v1/orders"),
        (503, "unavailable", "/v1/orders"),
    ]
    assert problems[0]["error"] == "RuntimeError"
    assert problems[0]["request_id"] == failed.headers["x-request-id"]
    rows = str(gateway.sql("SELECT a::text FROM intake.audit AS a"))
    for told in (stream.getvalue(), rows):
        assert "SECRET" not in told
        assert "10.50" not in told
        assert key.split("_", 2)[2] not in told


async def test_with_a_full_queue_no_call_is_served_and_those_refused_are_counted(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await gateway.client(gateway.key())
    monkeypatch.setattr(audit, "QUEUE_MAX", 0)
    refused = [await submit(client, "one"), await client.get(f"/v1/orders/{'0' * 32}")]
    for answer in refused:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    ready = await client.get("/readyz")
    assert (ready.status_code, "record of calls" in ready.text) == (503, True)
    assert (await client.get("/healthz")).status_code == 200
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(0,)]
    monkeypatch.undo()
    made = await submit(client, "one")
    await recorded(gateway, made.headers["x-request-id"])
    await asyncio.sleep(0.5)
    assert gateway.sql("SELECT reason, status FROM intake.audit WHERE request_id = '-'") == [
        ("2 calls refused: the audit's queue was full", 503)
    ]


async def test_a_download_that_cannot_be_recorded_is_not_sent(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pack(request: Request) -> PlainTextResponse:
        return PlainTextResponse("EVIDENCE")

    gateway.door.router.routes.append(Route("/v1/evidence/{name}", pack, methods=["GET"]))
    client = await gateway.client()
    there = await client.get("/v1/evidence/a")
    assert there.text == "EVIDENCE"
    assert gateway.sql(
        "SELECT route, status FROM intake.audit WHERE request_id = %s",
        there.headers["x-request-id"],
    ) == [("/v1/evidence/{name}", 200)]

    async def not_written(entry: audit.Entry) -> None:
        raise audit.NotWrittenError

    monkeypatch.setattr(gateway.door.gateway.audit, "written", not_written)
    refused = await client.get("/v1/evidence/a")
    assert refused.status_code == 503
    assert "EVIDENCE" not in refused.text
    assert (await submit(client, "one")).status_code == 503


@pytest.fixture
def stopped(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Home, str]:
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    monkeypatch.setattr(connections, "DEMANDED", {"track_commit_timestamp": "on"})
    home = Home(tmp_path / "home")
    install(home, database)
    return home, database


async def test_at_the_end_what_waits_is_written(
    stopped: tuple[Home, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, database = stopped
    monkeypatch.setattr(audit, "COLLECT_SECONDS", 60.0)
    async with serving(home, database) as gateway:
        client = await gateway.client()
        for _ in range(50):
            await client.get("/healthz")
        assert gateway.sql("SELECT count(*) FROM intake.audit") == [(0,)]
    assert gateway.sql("SELECT count(*) FROM intake.audit WHERE route = '/healthz'") == [(50,)]
