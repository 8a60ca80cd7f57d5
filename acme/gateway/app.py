"""The ASGI application: one door for every request, and behind it the endpoints by subject.

The door gives each request an id, finds out who calls, turns problems into RFC 9457 documents,
counts and records the call. `POST /v1/orders`, the one endpoint that must be fast, is served at
the door; all others are Starlette's.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Router

from acme.gateway import bulk, health, orders
from acme.gateway.order_answers import Answers
from acme.gateway.problems import MEDIA_TYPE, ProblemError
from acme.gateway.state import Gateway
from acme.lakehouse.home import Home

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOG: Final = logging.getLogger("acme.gateway")
_STATUS_KIND: Final = {404: "not_found", 405: "method_not_allowed"}


class Door:
    """The ASGI application of one gateway process."""

    def __init__(self, gateway: Gateway) -> None:
        """Put the endpoints together; the lifespan opens the gateway."""
        self.gateway = gateway
        routes: list[BaseRoute] = [*health.ROUTES, *bulk.ROUTES, *orders.ROUTES]
        # A router without Starlette's own middleware: what an endpoint raises reaches the door.
        self.router = Router(routes, redirect_slashes=False, lifespan=self._lifespan)
        self.state = State({"gateway": gateway})

    @asynccontextmanager
    async def _lifespan(self, app: object) -> AsyncIterator[None]:
        del app
        async with self.gateway.running() as gateway:
            self.state.answers = Answers(
                gateway.cut_off, gateway.calendars, event_clock=gateway.event_clock
            )
            self.state.bulks = bulk.Bulks(gateway)
            try:
                yield
            finally:
                self.state.bulks.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        scope["app"] = self
        if scope["type"] != "http":
            await self.router(scope, receive, send)
            return
        begun = time.monotonic_ns()
        call = Call(scope, send)
        try:
            if scope["path"] == "/v1/orders" and scope["method"] == "POST":
                await orders.submit(self.gateway, self.state.answers, call, receive)
            else:
                scope["state"] = {"call": call}
                await self.router(scope, receive, call.send)
        except ProblemError as problem:
            await call.problem(problem)
        except HTTPException as error:
            kind = _STATUS_KIND.get(error.status_code, "malformed")
            headers = dict(error.headers or {})
            await call.problem(ProblemError(kind, str(error.detail), headers=headers))
        except ClientDisconnect:
            call.status = call.status or 499
        except Exception:
            LOG.exception("request %s failed", call.request_id)
            await call.problem(ProblemError("internal", "the gateway failed; it is logged"))
        finally:
            call.duration_us = (time.monotonic_ns() - begun) // 1000


class Call:
    """One HTTP request as the door sees it: id, headers, caller, what was answered."""

    __slots__ = (
        "caller",
        "duration_us",
        "headers",
        "order_id",
        "reason",
        "request_id",
        "scope",
        "sender",
        "status",
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        """Take the request's headers; names are lower case."""
        self.scope, self.sender = scope, send
        self.request_id = secrets.token_hex(8)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.caller: Any = None
        self.status = 0
        self.order_id: str | None = None
        self.reason: str | None = None
        self.duration_us = 0

    def header(self, name: bytes) -> str | None:
        """Return a header as text."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def authorised(self, gateway: Gateway, scope: str) -> Any:
        """Return who calls; `ProblemError` unless the key is valid and has the scope."""
        caller = gateway.keys.caller(self.header(b"authorization"), datetime.now(UTC))
        self.caller = caller
        if scope not in caller.scopes:
            raise ProblemError("forbidden", f"this API key lacks the scope {scope!r}")
        return caller

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send on, noting the status and naming the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", []),
                (b"x-request-id", self.request_id.encode()),
            ]
        await self.sender(message)

    async def answer(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Send a whole JSON answer."""
        await self._whole(status, body, b"application/json", headers or [])

    async def problem(self, problem: ProblemError) -> None:
        """Send a problem, unless an answer has begun already."""
        if self.status:
            return
        self.reason = problem.kind
        headers = [(n.lower().encode(), v.encode()) for n, v in problem.headers.items()]
        body = problem.body(self.request_id)
        await self._whole(problem.status, body, MEDIA_TYPE.encode(), headers)

    async def _whole(
        self, status: int, body: bytes, media: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        length = str(len(body)).encode()
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", media), (b"content-length", length), *headers],
            }
        )
        await self.send({"type": "http.response.body", "body": body})


def application(home: Home, url: str) -> Door:
    """Return the ASGI application of an installation."""
    return Door(Gateway(home, url))
