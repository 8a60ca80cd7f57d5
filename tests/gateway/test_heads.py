"""A request before its body: each header once, a form that is read, a size that is taken."""

from __future__ import annotations

import json

import pytest

from tests.gateway.conftest import ORDER, Served

pytestmark = pytest.mark.anyio

JSON, NDJSON = "application/json", "application/x-ndjson"
PATHS = {"/v1/orders": JSON, "/v1/orders/bulk": NDJSON}
UNSUPPORTED: tuple[tuple[dict[str, str], str], ...] = (
    ({"content-encoding": "gzip"}, "Content-Encoding: expected identity, got gzip"),
    ({"content-encoding": "identity, br"}, "Content-Encoding: expected identity, got identity, br"),
    ({"content-type": "{}; charset=latin1"}, "expected charset=utf-8, got charset=latin1"),
    ({"content-type": '{};Charset="UTF-16"'}, 'expected charset=utf-8, got charset="utf-16"'),
    ({"content-type": "{};charset=utf-8;charset=ascii"}, "got charset=ascii"),
    ({"content-type": "{}, {}"}, "Content-Type: expected {}, got {}, {}"),
    ({"content-type": "text/plain"}, "got text/plain"),
)
SUPPORTED = ("{}; charset=utf-8", '{};CHARSET="UTF-8"', "{} ; profile=x", "{};")


@pytest.mark.parametrize("path", PATHS)
async def test_a_form_that_is_not_read_is_refused(gateway: Served, path: str) -> None:
    client = await gateway.client(gateway.key())
    for number, (headers, detail) in enumerate(UNSUPPORTED):
        sent = {"idempotency-key": f"k{number}", "content-type": PATHS[path]}
        sent |= {name: value.replace("{}", PATHS[path]) for name, value in headers.items()}
        answer = await client.post(path, content=json.dumps(ORDER), headers=sent)
        assert answer.status_code == 415, sent
        if path == "/v1/orders" or "expected {}" not in detail:
            assert detail.replace("{}", PATHS[path]) in answer.json()["detail"]
    for number, form in enumerate(SUPPORTED):
        sent = {"idempotency-key": f"k{number}", "content-type": form.replace("{}", PATHS[path])}
        answer = await client.post(
            path, content=json.dumps(ORDER), headers=sent | {"content-encoding": "Identity"}
        )
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("path", PATHS)
async def test_of_two_headers_none_is_chosen(gateway: Served, path: str) -> None:
    key, other = gateway.key(), gateway.key("OTHER")
    client = await gateway.client()
    bearer, media = ("authorization", f"Bearer {key}"), ("content-type", PATHS[path])
    once = ("idempotency-key", "a")
    table = (
        ([bearer, ("authorization", f"Bearer {other}"), once, media], 401, "one header Auth"),
        ([bearer, bearer, once, media], 401, "one header Authorization"),
        ([("authorization", ""), bearer, once, media], 401, "one header Authorization"),
        ([bearer, once, ("idempotency-key", "b"), media], 400, "one header Idempotency-Key"),
        ([bearer, once, once, media], 400, "one header Idempotency-Key"),
        ([bearer, once, media, ("content-type", "text/csv")], 415, "Content-Type"),
    )
    for headers, status, detail in table:
        answer = await client.post(path, content=json.dumps(ORDER), headers=headers)
        assert answer.status_code == status, headers
        assert detail in answer.json()["detail"]
    assert gateway.sql("SELECT count(*) FROM intake.requests") == [(0,)]
    taken = await client.post(path, content=json.dumps(ORDER), headers=[bearer, once, media])
    assert taken.status_code == 201


async def test_the_portal_chooses_no_key_of_two(gateway: Served) -> None:
    bearer = ("authorization", f"Bearer {gateway.key()}")
    client = await gateway.client()
    assert (await client.get("/portal", headers=[bearer])).status_code != 401
    assert (await client.get("/portal", headers=[bearer, bearer])).status_code == 401


@pytest.mark.parametrize(
    ("path", "length"), [("/v1/orders", 16_385), ("/v1/orders/bulk", 2**29 + 1)]
)
async def test_a_size_that_is_declared_is_answered_before_the_body(
    gateway: Served, path: str, length: int
) -> None:
    client = await gateway.client(gateway.key())
    asked = False

    async def body():
        nonlocal asked
        asked = True
        yield b"{"

    headers = {"idempotency-key": "k", "content-type": PATHS[path], "content-length": str(length)}
    answer = await client.post(path, content=body(), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert not asked
