"""`POST /v1/orders/bulk` as a client sees it: all or nothing, once, exact."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Iterable
from datetime import date, datetime
from typing import Any

import httpx
import psycopg
import pytest

from acme.domain.orders import order_id
from acme.gateway import bulk, bulk_inbox
from tests.gateway.conftest import Served

pytestmark = pytest.mark.anyio

HEADER = (
    "source,source_ref,received_at,pot_id,kind,asset_id,to_asset_id,units,amount,risk_profile_id"
)
ORDERS: list[dict[str, Any]] = [
    {"source_ref": "r1", "pot_id": "P1", "kind": "contribution", "amount": "10.50"},
    {"source_ref": "r2", "pot_id": "P2", "kind": "sell", "asset_id": "F", "units": "0.000001"},
    {"source_ref": "r3", "pot_id": "P1", "kind": "sell", "asset_id": "F"},
    {
        "source_ref": "ré\\4",
        "pot_id": "P1",
        "kind": "switch",
        "asset_id": "F",
        "to_asset_id": "G",
        "units": "999999999999.999999",
    },
    {"source_ref": "r5", "pot_id": "P3", "kind": "profile_change", "risk_profile_id": 'A "b", c'},
    {"source_ref": "r6", "pot_id": "P3", "kind": "withdrawal"},
    {
        "source_ref": "r7",
        "pot_id": "P3",
        "kind": "buy",
        "asset_id": "F",
        "amount": "123456789012.1",
        "received_at": "2026-01-05T10:00:00.123456+01:00",
    },
]
VALUES = (
    "SELECT order_id, source, source_ref, pot_id, kind, asset_id, to_asset_id, units, amount,"
    " risk_profile_id, stated_at FROM intake.orders ORDER BY order_id"
)


def ndjson(orders: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(order).encode() + b"\n" for order in orders)


def csv_(orders: Iterable[dict[str, Any]], source: str = "EMP") -> bytes:
    def written(value: object) -> str:
        text = str(value).replace('"', '""')
        return f'"{text}"' if '"' in text or "," in text else text

    rows = [
        ",".join(written(({"source": source} | o).get(c, "")) for c in HEADER.split(","))
        for o in orders
    ]
    return "\n".join([HEADER, *rows, ""]).encode()


def contributions(refs: Iterable[int], amount: str = "10.00") -> list[dict[str, Any]]:
    return [
        {"source_ref": f"c{n}", "pot_id": f"P{n % 7}", "kind": "contribution", "amount": amount}
        for n in refs
    ]


async def post(
    client: httpx.AsyncClient,
    key: str,
    content: bytes | AsyncIterator[bytes],
    media: str = "application/x-ndjson",
    **headers: str,
) -> httpx.Response:
    sent = {"idempotency-key": key, "content-type": media} | headers
    return await client.post("/v1/orders/bulk", content=content, headers=sent)


def nothing_stored(gateway: Served) -> bool:
    counts = gateway.sql(
        "SELECT (SELECT count(*) FROM intake.orders), (SELECT count(*) FROM intake.requests),"
        " (SELECT count(*) FROM intake.bulks), (SELECT count(*) FROM intake.outbox)"
    )
    return counts == [(0, 0, 0, 0)] and not list(gateway.home.spool.glob("*"))


async def test_the_answer(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    body = ndjson(ORDERS)
    answer = await post(client, "k", body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    ((committed, xid),) = gateway.sql(
        "SELECT pg_xact_commit_timestamp(xmin), xmin::text FROM intake.bulks"
    )
    assert told["received_at"] == committed.isoformat(timespec="microseconds")
    assert told["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert (told["lines"], told["created"], told["repeated"]) == (7, 7, 0)
    assert told["first_order_id"] == order_id("EMP", "r1")
    assert told["last_order_id"] == order_id("EMP", "r7")
    assert told["idempotency_key"] == "k"
    assert date.fromisoformat(told["dealing_date"]) >= committed.date()
    # Every row is of the same transaction.
    assert gateway.sql("SELECT DISTINCT xmin::text FROM intake.orders") == [(xid,)]
    assert gateway.sql("SELECT DISTINCT xmin::text FROM intake.requests") == [(xid,)]
    for order in ORDERS:
        one = await client.get(f"/v1/orders/{order_id('EMP', order['source_ref'])}")
        assert one.status_code == 200
        for name in ("received_at", "dealing_date", "dealing_date_reason", "cut_off"):
            assert one.json()[name] == told[name]
    again = await post(client, "k", body)
    assert (again.status_code, again.content) == (201, answer.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in answer.headers


async def test_bulk_csv_and_single_orders_are_the_same_rows(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    rows = []
    for n, content in enumerate((ndjson(ORDERS), csv_(ORDERS))):
        media = ("application/x-ndjson", "text/csv; charset=utf-8")[n]
        answer = await post(client, f"k{n}", content, media)
        assert answer.status_code == 201, answer.text
        rows.append(gateway.sql(VALUES))
        gateway.sql("TRUNCATE intake.orders CASCADE")
    for order in ORDERS:
        answer = await client.post(
            "/v1/orders", json=order, headers={"idempotency-key": order["source_ref"][:2]}
        )
        assert answer.status_code == 201, answer.text
        if order["source_ref"] == "r3":
            break
    singles = gateway.sql(VALUES)
    assert rows[0] == rows[1]
    assert len(rows[0]) == len(ORDERS)
    assert [row for row in rows[0] if row[2] in {"r1", "r2", "r3"}] == singles


async def test_numbers_keep_every_digit(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    lines = [
        b'{"source_ref":"n%d","pot_id":"P","kind":"contribution","amount":%s}\n' % (n, text)
        for n, text in enumerate(
            [b"999999999999.999999", b'"999999999999.999998"', b"0.000001", b"10.10", b"0007.7"]
        )
    ]
    # The last is no JSON, as a number; as text it is one.
    lines[-1] = lines[-1].replace(b"0007.7", b'"0007.700000000"')
    assert (await post(client, "k", b"".join(lines))).status_code == 201
    found = gateway.sql("SELECT amount::text FROM intake.orders ORDER BY source_ref")
    assert [text for (text,) in found] == [
        "999999999999.999999",
        "999999999999.999998",
        "0.000001",
        "10.100000",
        "7.700000",
    ]


async def test_one_bad_line_and_nothing_is_stored(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    orders = contributions(range(30_000))
    orders[20_000]["amount"] = "1e5"
    answer = await post(client, "k", ndjson(orders))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["errors_in_all"] == 1
    assert [(e["line"], e["field"], e["got"]) for e in told["errors"]] == [
        (20_001, "amount", '"1e5"')
    ]
    assert nothing_stored(gateway)
    # The key is free.
    orders[20_000]["amount"] = "100000"
    assert (await post(client, "k", ndjson(orders))).status_code == 201
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(30_000,)]


async def test_the_first_hundred_errors_and_their_number(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    for media, body in (
        ("application/x-ndjson", ndjson(contributions(range(30_000), "0"))),
        ("text/csv", csv_(contributions(range(30_000), "0"))),
    ):
        answer = await post(client, "k", body, media)
        assert answer.status_code == 422
        told = answer.json()
        assert told["errors_in_all"] == 30_000
        first = 1 if media != "text/csv" else 2
        assert [e["line"] for e in told["errors"]] == list(range(first, first + 100))
    assert nothing_stored(gateway)


@pytest.mark.parametrize("body", [b"", b"\n", HEADER.encode(), HEADER.encode() + b"\n\n"])
@pytest.mark.parametrize("media", ["application/x-ndjson", "text/csv"])
async def test_a_body_without_orders(gateway: Served, body: bytes, media: str) -> None:
    client = await gateway.client(gateway.key())
    answer = await post(client, "k", body, media)
    assert answer.status_code == 422
    assert nothing_stored(gateway)


async def test_another_header(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    body = csv_(ORDERS).replace(b"pot_id", b"pot", 1)
    answer = await post(client, "k", body, "text/csv")
    assert answer.status_code == 422
    assert [(e["line"], e["field"]) for e in answer.json()["errors"]] == [(1, "header")]


async def test_repeats_have_no_effect(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    single = contributions([3])[0] | {"amount": 10}
    sent = await client.post("/v1/orders", json=single, headers={"idempotency-key": "single"})
    assert sent.status_code == 201
    orders = contributions([1, 2, 2, 3, 1])
    orders[2]["amount"] = "10.000"
    answer = await post(client, "k", ndjson(orders))
    assert answer.status_code == 201, answer.text
    assert (answer.json()["lines"], answer.json()["created"]) == (5, 2)
    assert answer.json()["repeated"] == 3
    again = await post(client, "k2", ndjson(orders))
    assert (again.json()["created"], again.json()["repeated"]) == (0, 5)
    assert again.json()["received_at"] is None
    assert "dealing_date" not in again.json()
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(3,)]
    queued = gateway.sql("SELECT source_ref FROM intake.outbox_orders ORDER BY sequence, bulk_line")
    assert [ref for (ref,) in queued] == ["c3", "c1", "c2"]
    # And one by one on top of the bulk: equal is repeated, other values are a conflict.
    one = {"idempotency-key": "one"}
    repeated = await client.post("/v1/orders", json=contributions([1])[0], headers=one)
    assert (repeated.status_code, repeated.headers["idempotent-replayed"]) == (201, "true")
    assert repeated.json()["received_at"] == answer.json()["received_at"]
    other = await client.post(
        "/v1/orders", json=contributions([2], "11")[0], headers={"idempotency-key": "two"}
    )
    assert other.status_code == 409
    assert other.json()["type"] == "/problems/reference_conflict"


async def test_another_order_of_the_same_reference(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    assert (await post(client, "k", ndjson(contributions(range(10))))).status_code == 201
    orders = contributions(range(5, 20))
    orders[1]["amount"] = "11"
    orders[14]["source_ref"] = "c18"
    answer = await post(client, "k2", ndjson(orders))
    assert answer.status_code == 409
    told = answer.json()
    assert told["type"] == "/problems/reference_conflict"
    assert told["errors_in_all"] == 2
    assert [e["line"] for e in told["errors"]] == [2, 15]
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(10,)]
    assert gateway.sql("SELECT count(*) FROM intake.requests") == [(1,)]


async def test_a_key_stands_for_one_body(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    other = await gateway.client(gateway.key("OTHER"))
    assert (await post(client, "k", ndjson(contributions([1])))).status_code == 201
    conflict = await post(client, "k", ndjson(contributions([2])))
    assert (conflict.status_code, conflict.json()["type"]) == (409, "/problems/key_conflict")
    single = await client.post(
        "/v1/orders", json=contributions([1])[0], headers={"idempotency-key": "k"}
    )
    assert (single.status_code, single.json()["type"]) == (409, "/problems/key_conflict"), (
        single.text
    )
    # Keys and references are each source's own.
    assert (await post(other, "k", ndjson(contributions([1], "2")))).status_code == 201


async def test_equal_bulks_at_once(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "STREAMS_OF_SOURCE_MAX", 4)
    client = await gateway.client(gateway.key())
    body = ndjson(contributions(range(2_000)))
    answers = await asyncio.gather(*(post(client, "k", body) for _ in range(4)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.content for a in answers}) == 1
    assert sorted(a.headers.get("idempotent-replayed", "false") for a in answers) == [
        "false",
        *["true"] * 3,
    ]
    assert gateway.sql("SELECT count(*), max(created) FROM intake.bulks") == [(1, 2_000)]


async def test_overlapping_bulks_and_singles_at_once(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    orders = contributions(range(3_000))
    singles = [
        client.post("/v1/orders", json=order, headers={"idempotency-key": order["source_ref"]})
        for order in orders[::30]
    ]
    answers = await asyncio.gather(
        post(client, "a", ndjson(orders)),
        post(client, "b", csv_(orders[::-1]), "text/csv"),
        *singles,
    )
    assert {a.status_code for a in answers} == {201}
    assert sum(a.json()["created"] for a in answers[:2]) + sum(
        "idempotent-replayed" not in a.headers for a in answers[2:]
    ) == len(orders)
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(3_000,)]
    assert gateway.sql("SELECT count(DISTINCT order_id), count(*) FROM intake.outbox_orders") == [
        (3_000, 3_000)
    ]


async def test_pots_not_granted(gateway: Served) -> None:
    client = await gateway.client(gateway.key(all_pots=False))
    gateway.sql("INSERT INTO intake.source_pots (source, pot_id) VALUES ('EMP', 'P1')")
    orders = contributions([1, 8, 2])
    answer = await post(client, "k", ndjson(orders))
    assert answer.status_code == 403
    assert [(e["line"], e["field"], e["got"]) for e in answer.json()["errors"]] == [
        (3, "pot_id", "P2")
    ]
    assert nothing_stored(gateway)
    assert (await post(client, "k", ndjson(orders[:2]))).status_code == 201


async def test_another_source_than_the_keys(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    answer = await post(client, "k", csv_(ORDERS[:2], "OTHER"), "text/csv")
    assert answer.status_code == 403
    assert [e["line"] for e in answer.json()["errors"]] == [2, 3]


async def test_who_may_not(gateway: Served) -> None:
    body = ndjson(contributions([1]))
    assert (await post(await gateway.client(), "k", body)).status_code == 401
    reader = await gateway.client(gateway.key(scopes=("read",)))
    assert (await post(reader, "k", body)).status_code == 403
    client = await gateway.client(gateway.key())
    assert (await client.post("/v1/orders/bulk", content=body)).status_code == 400


@pytest.mark.parametrize(
    ("media", "headers"),
    [
        ("application/json", {}),
        ("", {}),
        ("text/csv", {"content-encoding": "gzip"}),
        ("application/x-ndjson", {"content-encoding": "br"}),
    ],
)
async def test_forms_that_are_not_taken(
    gateway: Served, media: str, headers: dict[str, str]
) -> None:
    client = await gateway.client(gateway.key())
    answer = await post(client, "k", ndjson(contributions([1])), media, **headers)
    assert answer.status_code == 415


async def test_limits(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await gateway.client(gateway.key())
    monkeypatch.setattr(bulk, "LINES_MAX", 100)
    monkeypatch.setattr(bulk, "PART_BYTES", 1000)
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        for n in range(10_000):
            asked += 1
            yield ndjson(contributions([n]))

    assert (await post(client, "k", endless())).status_code == 413
    assert asked < 200
    assert (await post(client, "k", ndjson(contributions(range(101))))).status_code == 413
    assert (await post(client, "k", csv_(contributions(range(101))), "text/csv")).status_code == 413
    assert nothing_stored(gateway)
    assert (await post(client, "k", csv_(contributions(range(100))), "text/csv")).status_code == 201
    monkeypatch.setattr(bulk, "BODY_BYTES_MAX", 5_000)
    asked = 0
    assert (await post(client, "k2", endless())).status_code == 413
    assert asked < 100
    assert (await post(client, "k2", b"x" * 5_001)).status_code == 413


async def test_a_line_that_is_too_long(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    body = ndjson(contributions([1])) + b"x" * 3_000_000 + b"\n" + ndjson(contributions([2]))
    answer = await post(client, "k", body)
    assert answer.status_code == 422
    assert [(e["line"], e["field"]) for e in answer.json()["errors"]] == [(2, "line")]


async def test_a_client_that_goes_away_leaves_nothing(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PART_BYTES", 1000)
    key = gateway.key()
    await gateway.refreshed()
    body = ndjson(contributions(range(1_000)))
    parts = [body[n : n + 5_000] for n in range(0, len(body), 5_000)]
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in parts]
    messages.append({"type": "http.disconnect"})
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/orders/bulk",
        "raw_path": b"/v1/orders/bulk",
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "client": ("192.0.2.7", 1),
        "server": ("gateway", 80),
        "headers": [
            (b"authorization", f"Bearer {key}".encode()),
            (b"idempotency-key", b"k"),
            (b"content-type", b"application/x-ndjson"),
        ],
    }
    await gateway.door(scope, receive, send)
    # It may be there yet, and its framing broken: then it is told.
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["detail"] == "the request ended before its body did"
    assert nothing_stored(gateway)
    assert not gateway.door.state.bulks._streams.total()
    client = await gateway.client(key)
    assert (await post(client, "k", body)).status_code == 201


async def test_a_silent_client_loses_its_place(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "SILENT_SECONDS_MAX", 0.05)
    client = await gateway.client(gateway.key())

    async def silent() -> AsyncIterator[bytes]:
        yield ndjson(contributions([1]))
        await asyncio.sleep(5)

    answer = await post(client, "k", silent())
    assert answer.status_code == 408
    assert nothing_stored(gateway)


async def test_more_bulks_than_there_are_places(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "STREAMS_OF_SOURCE_MAX", 1)
    client = await gateway.client(gateway.key())
    go = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield ndjson(contributions([1]))
        await go.wait()

    first = asyncio.create_task(post(client, "a", slow()))
    await asyncio.sleep(0.2)
    second = await post(client, "b", ndjson(contributions([2])))
    assert second.status_code == 503
    assert int(second.headers["retry-after"]) >= 1
    # Others, and single orders, go on.
    other = await gateway.client(gateway.key("OTHER"))
    assert (await post(other, "b", ndjson(contributions([2])))).status_code == 201
    single = await client.post(
        "/v1/orders", json=contributions([9])[0], headers={"idempotency-key": "s"}
    )
    assert single.status_code == 201
    go.set()
    assert (await first).status_code == 201


async def test_the_gate_is_open_while_lines_are_stored(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain need not wait for the COPY, and takes the bulk whole or leaves it whole."""
    client = await gateway.client(gateway.key())
    copied, drained = threading.Event(), threading.Event()
    finish = bulk_inbox._finish

    def waiting(*arguments: Any) -> None:
        copied.set()
        assert drained.wait(10)
        finish(*arguments)

    monkeypatch.setattr(bulk_inbox, "_finish", waiting)
    sending = asyncio.create_task(post(client, "k", ndjson(contributions(range(100)))))
    assert await asyncio.to_thread(copied.wait, 10)
    with psycopg.connect(gateway.url) as connection:
        connection.execute("SET lock_timeout = '2s'")
        connection.execute("SELECT pg_advisory_xact_lock(4113503, 0)")
        connection.execute(
            "INSERT INTO intake.drains (run_date, last_sequence)"
            " SELECT '2099-01-05', coalesce(max(sequence), 0) FROM intake.outbox"
        )
    drained.set()
    answer = await sending
    assert answer.status_code == 201
    # It missed the run, and the answer says so.
    assert answer.json()["dealing_date"] == "2099-01-06"
    assert gateway.sql(
        "SELECT (SELECT min(sequence) FROM intake.outbox) > last_sequence FROM intake.drains"
    ) == [(True,)]


async def test_event_clock(gateway: Served) -> None:
    gateway.door.gateway.event_clock = True
    gateway.door.state.answers.event_clock = True
    client = await gateway.client(gateway.key())
    orders = contributions(range(3))
    refused = await post(client, "k", ndjson(orders))
    assert refused.status_code == 422
    assert [(e["line"], e["field"]) for e in refused.json()["errors"]] == [
        (n, "received_at") for n in (1, 2, 3)
    ]
    times = ("2026-01-05T12:00:00Z", "2026-01-05T11:59:59.999999Z", "2026-01-05T12:30:00+01:00")
    stated = [order | {"received_at": time} for order, time in zip(orders, times, strict=True)]
    answer = await post(client, "k", csv_(stated), "text/csv")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["earliest"]["received_at"] == "2026-01-05T11:30:00.000000+00:00"
    assert told["earliest"]["dealing_date"] == "2026-01-05"
    assert told["latest"]["received_at"] == "2026-01-05T12:00:00.000000+00:00"
    assert told["latest"]["dealing_date"] == "2026-01-06"
    found = gateway.sql("SELECT stated_at FROM intake.orders ORDER BY source_ref")
    assert [moment for (moment,) in found] == [datetime.fromisoformat(t) for t in times]
    one = await client.get(f"/v1/orders/{order_id('EMP', 'c1')}")
    assert one.json()["received_at"] == "2026-01-05T11:59:59.999999+00:00"


async def test_the_answer_outlives_the_servers_memory_of_commits(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    body = ndjson(contributions(range(3)))
    first = await post(client, "k", body)
    gateway.sql("INSERT INTO intake.drains VALUES ('2099-01-05', 99)")
    gateway.sql(
        "INSERT INTO intake.received SELECT order_id, intake.received_at(order_id), '2099-01-05'"
        " FROM intake.outbox_orders"
    )
    # As a vacuum after millions of transactions leaves it: the row is of another one.
    gateway.sql("UPDATE intake.bulks SET lines = lines")
    assert (await post(client, "k", body)).content == first.content


async def test_nothing_can_be_kept(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    client = await gateway.client(gateway.key())
    monkeypatch.setattr("acme.gateway.bulk_runs.Runs.add", full)
    answer = await post(client, "k", ndjson(contributions([1])))
    assert answer.status_code == 503
    assert nothing_stored(gateway)


async def test_postgres_goes_away_before_the_commit(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = bulk_inbox._finish

    def cut(cursor: Any, *arguments: Any) -> None:
        finish(cursor, *arguments)
        gateway.sql("SELECT pg_terminate_backend(%s)", cursor.connection.info.backend_pid)

    client = await gateway.client(gateway.key())
    body = ndjson(contributions(range(100)))
    monkeypatch.setattr(bulk_inbox, "_finish", cut)
    answer = await post(client, "k", body)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert nothing_stored(gateway)
    monkeypatch.setattr(bulk_inbox, "_finish", finish)
    again = await post(client, "k", body)
    assert again.status_code == 201, again.text
