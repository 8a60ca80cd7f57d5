"""Orders over HTTP: send one, ask about it, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acme.gateway import order_json
from acme.gateway.inbox import one_row
from acme.gateway.media_types import media_type
from acme.gateway.order_answers import (
    Answers,
    StoredOrder,
    find_order,
    receipt,
    stored_order,
    valid_id,
)
from acme.gateway.problems import ProblemError, shown
from acme.gateway.state import Gateway

if TYPE_CHECKING:
    from acme.gateway.app import Call, Receive

PATH: Final = "/v1/orders"
MEDIA_TYPE: Final = "application/json"
BODY_BYTES_MAX: Final = 16 * 1024
BODY_SECONDS_MAX: Final = 10.0
BULK: Final = "bulk"
KEY_LENGTH_MAX: Final = 200
_REPLAYED: Final = (b"idempotent-replayed", b"true")


async def submit(gateway: Gateway, answers: Answers, call: Call, receive: Receive) -> None:
    """`POST /v1/orders`: answered once the order is durable."""
    caller = call.authorised(gateway, "submit")
    key = idempotency_key(call)
    media_type(
        call.header(b"content-type") or MEDIA_TYPE,
        call.header(b"content-encoding") or "identity",
        [MEDIA_TYPE],
    )
    refuse_declared(call, BODY_BYTES_MAX)
    body = await whole_body(receive, BODY_BYTES_MAX)
    order = order_json.parse(body, caller.source, event_clock=gateway.event_clock)
    call.order_id = order.order_id
    committed = await gateway.inbox.submit(order, key)
    match committed.outcome:
        case "created":
            await call.answer(201, answers.created(order, committed), _location(order.order_id))
        case "repeated":
            stored = await stored_order(gateway, answers, order.order_id)
            await call.answer(201, _receipt(stored), [*_location(order.order_id), _REPLAYED])
        case "pot_forbidden":
            raise ProblemError("forbidden", f"{caller.source!r} may not act on this pot")
        case conflict:
            raise ProblemError(conflict, "nothing was changed; the first order stands")


def idempotency_key(call: Call) -> str:
    """Return the header Idempotency-Key; `malformed` unless there is exactly one."""
    key = call.header(b"idempotency-key")
    if b"idempotency-key" in call.repeated:
        raise ProblemError("malformed", "expected one header Idempotency-Key, got several")
    if key is None or not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        raise ProblemError(
            "malformed",
            f"expected a header Idempotency-Key of 1 to {KEY_LENGTH_MAX} printable characters,"
            f" got {'none' if key is None else shown(key)}",
        )
    return key


def refuse_declared(call: Call, bytes_max: int) -> None:
    """Raise `too_large` for a body that says so itself: nobody waits for it to come."""
    declared = call.header(b"content-length") or ""
    if declared.isdecimal() and int(declared) > bytes_max:
        # What is on its way is not read, so no other request can follow on the connection.
        raise too_large(bytes_max, headers={"Connection": "close"})


def too_large(bytes_max: int, headers: Mapping[str, str] | None = None) -> ProblemError:
    """Return the problem of a body of more bytes than are taken."""
    return ProblemError("too_large", f"expected at most {bytes_max} bytes", headers=headers or {})


def ended_early() -> ProblemError:
    """Return the problem of a request whose body is not framed to its end."""
    return ProblemError("malformed", "the request ended before its body did")


async def whole_body(receive: Receive, bytes_max: int) -> bytes:
    """Return a request's body; `too_large` as soon as it is, `too_slow` if it does not come."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _body(receive, bytes_max)
    except TimeoutError as error:
        detail = f"expected the whole body within {BODY_SECONDS_MAX:g} s"
        raise ProblemError("too_slow", detail, headers={"Connection": "close"}) from error


async def _body(receive: Receive, bytes_max: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        if len(body) > bytes_max:
            break
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ended_early()
    if len(body) > bytes_max:
        raise too_large(bytes_max)
    return body


def _location(order_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"location", f"/v1/orders/{order_id}".encode())]


def _receipt(stored: StoredOrder) -> bytes:
    return receipt(
        stored.order_id, stored.source, stored.source_ref, stored.received_at, stored.dealing
    )


# ---- one order ----------------------------------------------------------------------------------


async def read(request: Request) -> Response:
    """`GET /v1/orders/{id}`: the order and its state, as received or as published."""
    gateway, answers, call = _parts(request)
    caller = call.authorised(gateway, "read")
    stored = await own_order(gateway, answers, request, caller.source)
    async with gateway.reading() as connection:
        cursor = await connection.execute(
            "SELECT state, reason, batch_id, dealing_date::text, run_date::text"
            " FROM served.order_states WHERE order_id = %s",
            [stored.order_id],
        )
        published = await cursor.fetchone()
    return Response(_state(stored, published), media_type="application/json")


def _state(stored: StoredOrder, published: Any) -> bytes:
    document: dict[str, Any] = msgspec.json.decode(_receipt(stored)) | stored.fields
    document |= {"state": "cancelled" if stored.cancelled else "received", "reason": None}
    if published is not None:
        names = ("state", "reason", "batch_id", "dealing_date", "published_date")
        document |= dict(zip(names, published, strict=True))
    return msgspec.json.encode(document)


async def cancel(request: Request) -> Response:
    """`DELETE /v1/orders/{id}`: cancelled for ever, or too late; exactly one of run and caller."""
    gateway, answers, call = _parts(request)
    caller = call.authorised(gateway, "submit")
    stored = await own_order(gateway, answers, request, caller.source)
    async with gateway.reading() as connection:
        cursor = await connection.execute(
            "SELECT intake.cancel(%s, %s)", [stored.order_id, stored.dealing.date]
        )
        row = await one_row(cursor)
    if row[0] == "too_late":
        raise ProblemError("too_late", f"the run of {stored.dealing.date} has taken the order")
    document = msgspec.json.decode(_receipt(stored)) | {"state": "cancelled"}
    return Response(msgspec.json.encode(document), media_type="application/json")


async def own_order(
    gateway: Gateway, answers: Answers, request: Request, source: str
) -> StoredOrder:
    """Return the order that the path names; `not_found` also where it is another source's."""
    name = request.path_params["order_id"]
    if name == BULK:
        # A path of its own, which is served to POST alone.
        raise ProblemError(
            "method_not_allowed", "orders in bulk are sent with POST", headers={"Allow": "POST"}
        )
    stored = await find_order(gateway, answers, valid_id(name))
    if stored is None or stored.source != source:
        raise ProblemError("not_found", "no order of yours has this id")
    request.state.call.order_id = stored.order_id
    return stored


def _parts(request: Request) -> tuple[Gateway, Answers, Call]:
    state = request.app.state
    return state.gateway, state.answers, request.state.call


async def _at_the_door(request: Request) -> Response:
    """Stand for `POST /v1/orders`, which the door serves itself: other methods get 405."""
    raise ProblemError("internal", f"{request.url.path} is served at the door")


ROUTES: Final = [
    Route(PATH, _at_the_door, methods=["POST"]),
    Route("/v1/orders/{order_id}", read, methods=["GET"]),
    Route("/v1/orders/{order_id}", cancel, methods=["DELETE"]),
]
