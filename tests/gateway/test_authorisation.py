"""Keys that are not valid: refused, on record, in the same time; the table of who may what is below
`published/`, where there is something to read."""

from __future__ import annotations

import asyncio
import hmac

import pytest

from acme.gateway import api_keys
from tests.gateway.conftest import Served, submit
from tests.gateway.roles import SCOPES

pytestmark = pytest.mark.anyio


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
