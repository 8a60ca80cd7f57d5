"""One order at the door: durable once, answered the same for ever, refused in the open."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway.conftest import ORDER, Served, submit

pytestmark = pytest.mark.anyio


async def test_fifty_at_once_on_one_key_make_one_order(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    answers = await asyncio.gather(*[submit(client, "one") for _ in range(50)])
    assert {a.status_code for a in answers} == {201}
    assert len({a.content for a in answers}) == 1
    assert sum("idempotent-replayed" not in a.headers for a in answers) == 1
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(1,)]
    assert gateway.sql("SELECT count(*) FROM intake.outbox") == [(1,)]
    again = await submit(client, "one")
    assert again.content == answers[0].content


async def test_a_key_with_another_body_changes_nothing(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    await submit(client, "one")
    before = gateway.sql("SELECT * FROM intake.orders")
    other = await submit(client, "one", ORDER | {"source_ref": "r2"})
    assert other.status_code == 409
    assert other.json()["type"] == "/problems/key_conflict"
    assert gateway.sql("SELECT * FROM intake.orders") == before
    assert gateway.sql("SELECT count(*) FROM intake.requests") == [(1,)]


async def test_fifty_bodies_at_once_on_one_key_have_one_winner(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    bodies = [ORDER | {"source_ref": f"r{n}"} for n in range(50)]
    answers = await asyncio.gather(*[submit(client, "one", body) for body in bodies])
    assert sorted(a.status_code for a in answers) == [201] + [409] * 49
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(1,)]


async def test_the_reference_of_another_order_is_a_conflict_and_its_key_stays_free(
    gateway: Served,
) -> None:
    client = await gateway.client(gateway.key())
    await submit(client, "one")
    other = await submit(client, "two", ORDER | {"amount": "11"})
    assert (other.status_code, other.json()["type"]) == (409, "/problems/reference_conflict")
    assert gateway.sql("SELECT idempotency_key FROM intake.requests") == [("one",)]
    free = await submit(client, "two", ORDER | {"source_ref": "r2"})
    assert free.status_code == 201


async def test_a_bad_order_leaves_its_neighbours_alone(gateway: Served) -> None:
    gateway.sql("INSERT INTO intake.sources VALUES ('EMP', false)")
    gateway.sql("INSERT INTO intake.source_pots (source, pot_id) VALUES ('EMP', 'POT-1')")
    client = await gateway.client(gateway.key(all_pots=False))
    bodies = [ORDER | {"source_ref": f"r{n}"} for n in range(40)]
    bodies[7] |= {"pot_id": "NOT-MINE"}
    bodies[11] |= {"amount": "-1"}
    bodies[23] |= {"source_ref": "r22"}
    answers = await asyncio.gather(
        *[submit(client, f"k{n}", body) for n, body in enumerate(bodies)]
    )
    codes = [a.status_code for a in answers]
    assert (codes[7], codes[11]) == (403, 422)
    assert codes[23] == 201
    assert answers[23].json()["order_id"] == answers[22].json()["order_id"]
    assert all(code == 201 for n, code in enumerate(codes) if n not in {7, 11})
    assert gateway.sql("SELECT count(*) FROM intake.orders") == [(37,)]


NUMBERS = {
    "12345678901.123456": "12345678901.123456",
    '"12345678901.123456"': "12345678901.123456",
    "0.100000000000": "0.100000",
    '"0000000000000000007"': "7.000000",
    "999999999999.999999": "999999999999.999999",
}


async def test_a_number_keeps_every_digit(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    for text, stored in NUMBERS.items():
        ref = f"ref {text}"
        body = json.dumps(ORDER | {"source_ref": ref}).replace('"10.50"', text).encode()
        answer = await submit(client, ref, body)
        assert answer.status_code == 201, answer.text
        order = answer.json()["order_id"]
        assert gateway.sql("SELECT amount::text FROM intake.orders WHERE order_id = %s", order) == [
            (stored,)
        ]
        shown = (await client.get(answer.headers["location"])).json()["amount"]
        assert shown == stored.rstrip("0").rstrip(".")


NO_DECIMALS = (
    *("1e5", "1E-2", "-1", "0", "0.0", "NaN", "Infinity", "1.", ".5", "+1", '"1e5"', '" 1"'),
    *("true", "1000000000000", "0.0000001", '"\u0661"', "[1]", '{"a":1}', '""', "0x10", "1_000"),
    *("007", '"1,5"', '"-0"', "1 2"),
)


async def test_what_is_no_plain_decimal_is_refused(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    for text in NO_DECIMALS:
        body = json.dumps(ORDER).replace('"10.50"', text).encode()
        answer = await submit(client, "one", body)
        assert answer.status_code in {400, 422}, text
        assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.sql("SELECT count(*) FROM intake.requests") == [(0,)]


BROKEN_FIELDS: tuple[tuple[dict[str, object], int], ...] = (
    ({"colour": "red"}, 422),
    ({"pot_id": "a\x00b"}, 422),
    ({"pot_id": "a\nb"}, 422),
    ({"pot_id": "a\u2028b"}, 422),
    ({"pot_id": "\ud800"}, 400),
    ({"pot_id": ""}, 422),
    ({"pot_id": "x" * 201}, 422),
    ({"pot_id": 5}, 422),
    ({"source": "OTHER"}, 403),
    ({"kind": "gift"}, 422),
    ({"asset_id": "EQ"}, 422),
    ({"received_at": "2024-02-30T00:00:00Z"}, 422),
)


async def test_a_field_that_breaks_the_contract_is_named(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    for change, status in BROKEN_FIELDS:
        answer = await submit(client, "one", json.dumps(ORDER | change).encode())
        assert answer.status_code == status, answer.text
        assert next(iter(change)) in answer.json()["detail"] or status == 400
    assert gateway.sql("SELECT count(*) FROM intake.requests") == [(0,)]


NO_REQUESTS: tuple[tuple[dict[str, str], bytes, int], ...] = (
    ({"content-type": "text/plain"}, b"{}", 415),
    ({}, b"x" * 20_000, 413),
    ({}, b"", 400),
    ({}, b"[]", 422),
    ({}, b"{", 400),
    ({}, b"\xff\xfe", 400),
    ({}, b"[" * 16_000, 400),
    ({}, b'{"source_ref":' + b"[" * 16_000, 400),
    ({"idempotency-key": ""}, b"{}", 400),
    ({"idempotency-key": "k" * 201}, b"{}", 400),
)


async def test_what_is_no_request_is_refused(gateway: Served) -> None:
    client = await gateway.client(gateway.key())
    for headers, body, status in NO_REQUESTS:
        sent = {"content-type": "application/json", "idempotency-key": "k"} | headers
        answer = await client.post("/v1/orders", content=body, headers=sent)
        assert answer.status_code == status, answer.text
        assert answer.json()["instance"] == f"urn:acme:request:{answer.headers['x-request-id']}"


async def test_a_body_that_does_not_come_is_given_up(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acme.gateway.orders.BODY_SECONDS_MAX", 0.1)
    client = await gateway.client(gateway.key())

    async def slow():
        yield b"{"
        await asyncio.sleep(30)

    answer = await client.post("/v1/orders", content=slow(), headers={"idempotency-key": "k"})
    assert answer.status_code == 408
    assert answer.headers["connection"] == "close"


async def test_a_fault_of_the_statement_is_no_outage(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await gateway.client(gateway.key())
    with monkeypatch.context() as patch:
        patch.setattr("acme.gateway.inbox._ACCEPT_SQL", "SELECT intake.nothing(%s::json, %s)")
        assert (await submit(client, "one")).status_code == 500
    assert (await client.get("/readyz")).status_code == 200
    assert (await submit(client, "one")).status_code == 201


async def test_what_the_database_refuses_alone_is_told_alone(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.sql(
        "ALTER TABLE intake.orders ADD CONSTRAINT tests CHECK (1 / (length(pot_id) - 3) < 9)"
    )
    client = await gateway.client(gateway.key())
    bodies = [ORDER | {"source_ref": f"r{n}", "pot_id": "P" * (n + 1)} for n in range(5)]
    answers = await asyncio.gather(
        *[submit(client, f"k{n}", body) for n, body in enumerate(bodies)]
    )
    assert [a.status_code for a in answers] == [201, 201, 422, 201, 201]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_path_of_bulks_is_served_to_post_alone(gateway: Served, method: str) -> None:
    client = await gateway.client(gateway.key())
    answer = await client.request(method, "/v1/orders/bulk")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
