"""Who may do what: every endpoint × every role × own data and other people's data, as a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import psycopg
import pytest
from starlette.routing import Route

from acme.domain.orders import order_id
from acme.gateway import openapi
from tests.gateway.published.conftest import Served, grant
from tests.gateway.roles import NOBODY, SCOPES
from tests.scenarios.driver import D3, D4, Scenario

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]

# All data are of source T and its pot B; RIVAL may act on pot A.
Caller = Literal["T", "RIVAL"]
SEALED = order_id("T", "sell")


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint answers: the scopes it asks for, and by whose data it is about.

    No scopes: everybody. `own` and `other` are the statuses of a caller with one of the scopes;
    compliance reads other people's data wherever it is a scope.
    """

    method: str
    route: str
    scopes: tuple[str, ...]
    own: int = 200
    other: int = 200

    def expected(self, role: str, caller: Caller) -> int:
        """Return the status for a role of a source."""
        if not self.scopes:
            return self.own
        if role in NOBODY:
            return 401
        has = set(SCOPES[role]) & set(self.scopes)
        if not has:
            return 403
        return self.own if caller == "T" or "compliance" in has else self.other


SUBMIT, READ = ("submit",), ("read",)
PUBLISHED, COMPLIANCE = ("read", "compliance"), ("compliance",)
# 404 for what is other people's: whether it exists is not told.
TABLE = (
    Endpoint("POST", "/v1/orders", SUBMIT, 201, 403),
    Endpoint("POST", "/v1/orders/bulk", SUBMIT, 201, 403),
    Endpoint("GET", "/v1/orders/{order_id}", READ, 200, 404),
    Endpoint("DELETE", "/v1/orders/{order_id}", SUBMIT, 200, 404),
    Endpoint("GET", "/v1/orders/{order_id}/proof", PUBLISHED, 200, 404),
    Endpoint("GET", "/v1/pots/{pot_id}", PUBLISHED, 200, 404),
    Endpoint("GET", "/v1/batches/{date}", PUBLISHED),
    Endpoint("GET", "/v1/evidence/{date}.zip", COMPLIANCE),
    Endpoint("GET", "/portal", COMPLIANCE),
    Endpoint("GET", "/portal/{date}", COMPLIANCE),
    Endpoint("GET", "/portal/{date}/evidence.zip", COMPLIANCE),
    Endpoint("GET", "/metrics", COMPLIANCE),
    Endpoint("GET", "/healthz", ()),
    Endpoint("GET", "/readyz", ()),
    Endpoint("GET", "/openapi.json", ()),
)


async def test_every_endpoint_is_in_the_table_and_in_the_document(served: Served) -> None:
    there = {
        (method, route.path_format)
        for route in served.door.router.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert there == {(e.method, e.route) for e in TABLE}
    told = {(m, path): o.scopes for (path, m), o in openapi.OPERATIONS.items()}
    assert told == {(e.method, e.route): e.scopes for e in TABLE}


@pytest.fixture(scope="module")
def callers(world: Scenario) -> dict[Caller, dict[str, str | None]]:
    """Return a key of each role of both sources."""
    found: dict[Caller, dict[str, str | None]] = {}
    pots: dict[Caller, str] = {"T": "B", "RIVAL": "A"}
    for source, pot in pots.items():
        keys: dict[str, str | None] = {
            role: grant(world, source, scopes, pot) for role, scopes in SCOPES.items()
        }
        keys |= {"no key": None, "malformed": "acme_x", "unknown": f"acme_{'0' * 16}_{'A' * 43}"}
        for column, role in (("revoked_at", "revoked"), ("expires_at", "expired")):
            key = grant(world, source, SCOPES["all"], pot)
            keys[role] = key
            with psycopg.connect(world.platform.url) as connection:
                connection.execute(
                    f"UPDATE intake.api_keys SET {column} = clock_timestamp()"
                    " WHERE key_id = %s".encode(),
                    [key.split("_")[1]],
                )
        found[source] = keys
    return found


def body(reference: str) -> bytes:
    return json.dumps(
        {
            "source_ref": reference,
            "pot_id": "B",
            "kind": "contribution",
            "amount": "10.50",
            "received_at": f"{D4}T09:00:00Z",
        }
    ).encode()


async def asked(
    client: httpx.AsyncClient, endpoint: Endpoint, reference: str, order: str
) -> httpx.Response:
    path = (
        endpoint.route.replace("{order_id}/", f"{SEALED}/")
        .replace("{order_id}", order)
        .replace("{pot_id}", "B")
        .replace("{date}", str(D3))
    )
    if endpoint.method != "POST":
        return await client.request(endpoint.method, path)
    media = "application/x-ndjson" if path.endswith("bulk") else "application/json"
    headers = {"idempotency-key": reference, "content-type": media}
    return await client.post(path, content=body(reference), headers=headers)


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda e: f"{e.method} {e.route}")
async def test_the_table(
    served: Served, callers: dict[Caller, dict[str, str | None]], endpoint: Endpoint
) -> None:
    await served.refreshed()
    seed = f"seed {endpoint.method} {endpoint.route}"
    async with served.client(callers["T"]["all"]) as client:
        made = await asked(client, TABLE[0], seed, "")
    assert made.status_code == 201, made.text
    for caller, keys in callers.items():
        for role, key in keys.items():
            reference = f"{seed} {caller} {role}"
            async with served.client(key) as client:
                answer: Any = await asked(client, endpoint, reference, made.json()["order_id"])
            status = endpoint.expected(role, caller)
            assert answer.status_code == status, (role, caller, answer.text)
            if status == 401:
                assert "www-authenticate" in answer.headers
            if status >= 400 and caller == "RIVAL":
                assert '"T"' not in answer.text
                assert "'T'" not in answer.text
