"""The ASGI application: one door for every request, and behind it the endpoints by subject.

The door gives each request an id, finds out who calls, turns problems into RFC 9457 documents,
counts and records the call. `POST /v1/orders`, the one endpoint that must be fast, is served at
the door; all others are Starlette's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Router

from acme.gateway import (
    batches,
    bulk,
    evidence_packs,
    health,
    logs,
    metrics,
    openapi,
    order_proofs,
    orders,
    portal,
    pots,
)
from acme.gateway.api_keys import Caller
from acme.gateway.audit import Entry, NotWrittenError
from acme.gateway.connections import FindUrl
from acme.gateway.inbox import unavailable
from acme.gateway.order_answers import Answers
from acme.gateway.problems import MEDIA_TYPE, ProblemError
from acme.gateway.state import Gateway
from acme.lakehouse.home import Home

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REFUSALS: Final = (401, 403)
_STATUS_KIND: Final = {404: "not_found", 405: "method_not_allowed"}


class Door:
    """The ASGI application of one gateway process."""

    def __init__(self, gateway: Gateway) -> None:
        """Put the endpoints together; the lifespan opens the gateway."""
        self.gateway = gateway
        routes: list[BaseRoute] = [
            *health.ROUTES,
            *bulk.ROUTES,
            *orders.ROUTES,
            *order_proofs.ROUTES,
            *pots.ROUTES,
            *batches.ROUTES,
            *evidence_packs.ROUTES,
            *portal.ROUTES,
            *metrics.ROUTES,
            *openapi.ROUTES,
        ]
        # A router without Starlette's own middleware: what an endpoint raises reaches the door.
        self.router = Router(routes, redirect_slashes=False, lifespan=self._lifespan)
        self.state = State(
            {
                "gateway": gateway,
                "dealt": batches.DealtDates(),
                "trees": order_proofs.Trees(),
            }
        )

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
        call = Call(scope, send, self.gateway)
        if self.gateway.audit.full and scope["path"] not in health.PATHS:
            # Nothing is done that could not be recorded.
            self.gateway.audit.refused()
            call.recorded = True
            await call.problem(unavailable("the record of calls cannot be written"))
            return
        try:
            if scope["path"] == orders.PATH and scope["method"] == "POST":
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
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets an answer
            call.failure = error
            await call.problem(ProblemError("internal", "the gateway failed; it is logged"))
        finally:
            call.record()
            self.gateway.metrics.answered(call)


class Call:
    """One HTTP request as the door sees it: id, headers, caller, what was answered."""

    __slots__ = (
        "begun",
        "caller",
        "failure",
        "gateway",
        "headers",
        "order_id",
        "reason",
        "recorded",
        "repeated",
        "request_id",
        "scope",
        "sender",
        "status",
    )

    def __init__(self, scope: Scope, send: Send, gateway: Gateway) -> None:
        """Take the request's headers; names are lower case."""
        self.scope, self.sender, self.gateway = scope, send, gateway
        self.begun = time.monotonic_ns()
        self.request_id = secrets.token_hex(8)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.repeated: frozenset[bytes] = frozenset()
        if len(self.headers) < len(scope["headers"]):
            self._combine(scope["headers"])
        self.caller: Caller | None = None
        self.failure: Exception | None = None
        self.status = 0
        self.order_id: str | None = None
        self.reason: str | None = None
        self.recorded = False

    def _combine(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep each header that came more than once as the list of its values, never as one."""
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            values.setdefault(name, []).append(value)
        self.headers = {name: b", ".join(several) for name, several in values.items()}
        self.repeated = frozenset(name for name, several in values.items() if len(several) > 1)

    def header(self, name: bytes) -> str | None:
        """Return a header as text; one that came more than once as the list of its values."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def authorization(self) -> str | None:
        """Return the header Authorization; none where there are several, for none is chosen."""
        return None if b"authorization" in self.repeated else self.header(b"authorization")

    def authorised(self, gateway: Gateway, *scopes: str) -> Caller:
        """Return who calls; `ProblemError` unless the key is valid, slow enough, and has a scope.

        Whoever would submit is told at once where nothing can be made durable now.
        """
        try:
            caller = gateway.keys.caller(self.authorization(), datetime.now(UTC))
        except ProblemError:
            gateway.limits.failed((self.scope.get("client") or ("",))[0])
            raise
        self.caller = caller
        gateway.limits.admit(caller.key_id)
        if caller.scopes.isdisjoint(scopes):
            wanted = " or ".join(repr(scope) for scope in scopes)
            raise ProblemError("forbidden", f"this API key lacks the scope {wanted}")
        if "submit" in scopes and (reason := gateway.inbox.reason()) is not None:
            raise unavailable(reason)
        return caller

    @property
    def route(self) -> str:
        """Return the template of the path, never the path: `*` where there is none."""
        if self.scope["path"] == orders.PATH:
            return orders.PATH
        return str(getattr(self.scope.get("route"), "path", "*"))

    def entry(self, status: int) -> Entry:
        """Return what is kept of the call."""
        return Entry(
            datetime.now(UTC),
            self.request_id,
            self.caller.key_id if self.caller else None,
            self.caller.source if self.caller else None,
            self.scope["method"],
            self.route,
            status,
            self.reason,
            self.order_id,
            (time.monotonic_ns() - self.begun) // 1000,
        )

    def record(self) -> None:
        """Keep the call, unless that was done before its answer."""
        if not self.recorded:
            self.recorded = True
            self.gateway.audit.record(self.entry(self.status))

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send on, noting the status and naming the request.

        Raises `ProblemError` `unavailable` where the call has to be on record first and is not.
        """
        if message["type"] == "http.response.start":
            status = message["status"]
            if not self.recorded and (status in REFUSALS or written_first(self.route)):
                self.recorded = True
                try:
                    await self.gateway.audit.written(self.entry(status))
                except NotWrittenError as error:
                    raise unavailable("the record of calls cannot be written") from error
            self.status = status
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
        try:
            await self._problem(problem)
        except ProblemError as unwritten:
            await self._problem(unwritten)

    async def _problem(self, problem: ProblemError) -> None:
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.problem(self.request_id, self.route, problem, self.failure)
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


def written_first(route: str) -> bool:
    """Say whether a call is on record before it is answered: what may be a matter of evidence."""
    return route.startswith(("/v1/evidence", "/portal")) or route.endswith("/proof")


def application(home: Home, url: FindUrl) -> Door:
    """Return the ASGI application of an installation."""
    return Door(Gateway(home, url))
