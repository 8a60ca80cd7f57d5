"""Whether the gateway lives, and whether it can make an order durable now."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from acme.gateway.inbox import unavailable


async def healthz(request: Request) -> JSONResponse:
    """Say that the process answers."""
    del request
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """Say that orders can be taken; a problem of status 503 otherwise."""
    gateway = request.app.state.gateway
    reason = gateway.inbox.reason()
    if reason is None and gateway.audit.full:
        reason = "the record of calls cannot be written"
    if reason is not None:
        raise unavailable(reason)
    return JSONResponse({"status": "ready", "waiting": gateway.inbox.depth})


PATHS: Final = frozenset({"/healthz", "/readyz"})
ROUTES: Final = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
]
