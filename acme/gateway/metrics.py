"""`GET /metrics`: counts and times of this process for Prometheus; no figure of a member."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from acme.gateway.app import Call

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ACCEPTED: Final = ("created", "repeated")
_NANOSECONDS: Final = 1_000_000_000
# From a commit on a fast disk to one that makes callers give up, in seconds.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
# A proxy on this machine speaks for somebody else.
_FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class Metrics:
    """The metrics of one gateway process, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int], published: Callable[[], date | None]) -> None:
        """Register them; `waiting` and `published` are asked when Prometheus asks."""
        self.registry = CollectorRegistry()
        self._orders = Counter(
            "acme_orders_answered",
            "Orders answered: created, repeated, or the problem that refused them",
            ["outcome"],
            registry=self.registry,
        )
        self._commits = Histogram(
            "acme_commit_seconds",
            "Time of a transaction that makes orders durable",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "acme_http_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        depth = Gauge(
            "acme_orders_waiting", "Orders that wait for a commit", registry=self.registry
        )
        depth.set_function(waiting)
        newest = Gauge(
            "acme_published_date_seconds",
            "Newest published date that is served, as seconds since 1970 at midnight UTC; 0: none",
            registry=self.registry,
        )
        newest.set_function(lambda: _seconds(published()))

    def committed(self, outcomes: Iterable[str], nanoseconds: int) -> None:
        """Count a commit and what it did."""
        self._commits.observe(nanoseconds / _NANOSECONDS)
        for outcome in outcomes:
            if outcome in _ACCEPTED:
                self._orders.labels(outcome).inc()

    def answered(self, call: Call) -> None:
        """Count an answered request; its route is a template, never a path with ids."""
        method = call.scope["method"]
        route = getattr(call.scope.get("route"), "path_format", None)
        if route is None:
            route = call.scope["path"] if call.scope["path"] == "/v1/orders" else "none"
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(call.status)).inc()
        if route == "/v1/orders" and method == "POST" and call.reason is not None:
            self._orders.labels(call.reason).inc()


def _seconds(day: date | None) -> float:
    return 0 if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


async def metrics(request: Request) -> Response:
    """Answer to this machine itself, and to compliance from anywhere."""
    gateway = request.app.state.gateway
    call = request.state.call
    if not _from_here(request):
        call.authorised(gateway, "compliance")
    return Response(
        generate_latest(gateway.metrics.registry),
        headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"},
    )


def _from_here(request: Request) -> bool:
    if request.client is None or any(name in request.state.call.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


ROUTES: Final = [Route("/metrics", metrics, methods=["GET"])]
