"""Who may do what: every endpoint × every role × own data and other people's data, as a table."""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from acme.gateway import api_keys
from tests.gateway.conftest import ORDER, Served, submit

pytestmark = pytest.mark.anyio

Data = Literal["own", "other"]
# Roles without a valid key, then what each set of scopes is called.
NOBODY = ("no key", "malformed", "unknown", "revoked", "expired")
SCOPES = {
    "submit only": ("submit",),
    "read only": ("read",),
    "compliance only": ("compliance",),
    "all": ("submit", "read", "compliance"),
}


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint answers: the scope it asks for, and by whose data it is about.

    `scope` None: everybody. `own` and `other` are the statuses of a caller with the scope.
    """

    method: str
    route: str
    scope: str | None
    own: int
    other: int

    def expected(self, role: str, data: Data) -> int:
        """Return the status for a role."""
        if self.scope is None:
            return self.own
        if role in NOBODY:
            return 401
        if self.scope not in SCOPES[role]:
            return 403
        return self.own if data == "own" else self.other


# 404 for what is other people's: whether it exists is not told.
TABLE = (
    Endpoint("GET", "/healthz", None, 200, 200),
    Endpoint("GET", "/readyz", None, 200, 200),
    Endpoint("POST", "/v1/orders", "submit", 201, 403),
    Endpoint("GET", "/v1/orders/{order_id}", "read", 200, 404),
    Endpoint("DELETE", "/v1/orders/{order_id}", "submit", 200, 404),
)


def rows() -> list[Any]:
    return [pytest.param(endpoint, id=f"{endpoint.method} {endpoint.route}") for endpoint in TABLE]


async def test_every_endpoint_is_in_the_table(gateway: Served) -> None:
    there = {
        (method, route.path)
        for route in gateway.door.router.routes
        for method in route.methods - {"HEAD"}
    }
    assert there == {(e.method, e.route) for e in TABLE}


async def keys_of_every_role(gateway: Served) -> dict[str, str | None]:
    keys: dict[str, str | None] = {
        role: gateway.key("EMP", scopes, all_pots=False) for role, scopes in SCOPES.items()
    }
    keys |= {
        "no key": None,
        "malformed": "acme_x",
        "unknown": f"acme_{'0' * 16}_{'A' * 43}",
        "revoked": gateway.key("EMP", all_pots=False),
        "expired": gateway.key("EMP", all_pots=False),
    }
    for column, role in (("revoked_at", "revoked"), ("expires_at", "expired")):
        gateway.sql(
            f"UPDATE intake.api_keys SET {column} = clock_timestamp() WHERE key_id = %s",
            str(keys[role]).split("_")[1],
        )
    return keys


async def orders_of_both(gateway: Served) -> dict[Data, str]:
    """Have two sources send an order each; return their ids."""
    ids: dict[Data, str] = {}
    for data, source, pot in (("own", "EMP", "POT-1"), ("other", "RIVAL", "POT-2")):
        key = gateway.key(source, ("submit",), all_pots=False)
        gateway.sql(
            "INSERT INTO intake.source_pots (source, pot_id) VALUES (%s, %s)"
            " ON CONFLICT DO NOTHING",
            source,
            pot,
        )
        answer = await submit(await gateway.client(key), "seed", ORDER | {"pot_id": pot})
        ids[data] = answer.json()["order_id"]
    return ids


@pytest.mark.parametrize("endpoint", rows())
async def test_the_table(gateway: Served, endpoint: Endpoint) -> None:
    keys = await keys_of_every_role(gateway)
    ids = await orders_of_both(gateway)
    for role in (*NOBODY, *SCOPES):
        client = await gateway.client(keys[role])
        for data, order_id in ids.items():
            path = endpoint.route.replace("{order_id}", order_id)
            body, headers = None, {}
            if endpoint.method == "POST":
                pot = {"own": "POT-1", "other": "POT-2"}[data]
                reference = f"{role} {data}"
                body = json.dumps(ORDER | {"pot_id": pot, "source_ref": reference})
                headers = {"idempotency-key": reference, "content-type": "application/json"}
            answer = await client.request(endpoint.method, path, content=body, headers=headers)
            assert answer.status_code == endpoint.expected(role, data), (role, data, answer.text)
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"] == "Bearer"
            if answer.status_code in {403, 404}:
                assert "RIVAL" not in answer.text
                assert "POT-2" not in answer.text


async def test_what_is_refused_is_on_record_before_it_is_answered(gateway: Served) -> None:
    keys = await keys_of_every_role(gateway)
    for role, status in (("no key", 401), ("revoked", 401), ("read only", 403)):
        client = await gateway.client(keys[role])
        answer = await submit(client, "one")
        assert answer.status_code == status
        assert gateway.sql(
            "SELECT status, method, route, reason FROM intake.audit WHERE request_id = %s",
            answer.headers["x-request-id"],
        ) == [(status, "POST", "/v1/orders", "unauthorised" if status == 401 else "forbidden")]


async def test_a_revoked_key_stops_within_two_seconds(gateway: Served) -> None:
    key = gateway.key()
    client = await gateway.client(key)
    assert (await submit(client, "one")).status_code == 201
    gateway.sql("UPDATE intake.api_keys SET revoked_at = clock_timestamp()")
    await asyncio.sleep(2)
    assert (await submit(client, "one")).status_code == 401


async def test_an_unknown_and_a_malformed_key_take_the_same_comparison(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(api_keys.hmac, "compare_digest", watched)
    for role, key in (await keys_of_every_role(gateway)).items():
        compared.clear()
        client = await gateway.client(key)
        await client.get(f"/v1/orders/{'0' * 32}")
        assert compared == [(32, 32)], role
