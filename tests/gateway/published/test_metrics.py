"""/metrics: counts by route template and status; from this machine, or for compliance."""

import json
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.published.conftest import Keys, Served
from tests.scenarios.driver import D3

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]


async def samples(served: Served) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    async with served.client(host="127.0.0.1") as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_who_may_read_them(served: Served, keys: Keys) -> None:
    for host, expected in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 401), ("x", 401)):
        async with served.client(host=host) as client:
            assert (await client.get("/metrics")).status_code == expected
    async with served.client(host="127.0.0.1", x_forwarded_for="192.0.2.7") as client:
        assert (await client.get("/metrics")).status_code == 401
    async with served.client(keys.compliance) as client:
        assert (await client.get("/metrics")).status_code == 200
    async with served.client(keys.everything) as client:
        assert (await client.get("/metrics")).status_code == 403


async def test_requests_are_counted_by_template(served: Served, keys: Keys) -> None:
    async with served.client(keys.owner) as client:
        for path in ("/v1/pots/B", "/v1/pots/A", "/v1/pots/NOBODY", "/nothing", "/v1/orders/x"):
            await client.get(path)
    found = await samples(served)

    def count(route: str, status: str) -> float:
        labels = (("method", "GET"), ("route", route), ("status", status))
        return found.get(("acme_http_requests_total", labels), 0)

    assert count("/v1/pots/{pot_id}", "200") == 1
    assert count("/v1/pots/{pot_id}", "404") == 2
    assert count("/v1/orders/{order_id}", "404") == 1
    assert count("none", "404") == 1


async def test_orders_are_counted_by_outcome(served: Served, keys: Keys) -> None:
    order = {
        "source_ref": "metrics",
        "pot_id": "B",
        "kind": "contribution",
        "amount": "1",
        "received_at": f"{D3}T13:00:00Z",
    }
    async with served.client(keys.owner, content_type="application/json") as client:
        for key, change in (("k", {}), ("k", {}), ("k", {"amount": "2"}), ("l", {"amount": "-1"})):
            await client.post(
                "/v1/orders", content=json.dumps(order | change), headers={"idempotency-key": key}
            )
    found = await samples(served)
    outcomes = {
        dict(labels)["outcome"]: value
        for (name, labels), value in found.items()
        if name == "acme_orders_answered_total"
    }
    assert outcomes == {"created": 1, "repeated": 1, "key_conflict": 1, "invalid": 1}
    assert found["acme_commit_seconds_count", ()] == 3
    assert found["acme_orders_waiting", ()] == 0
    midnight = datetime(D3.year, D3.month, D3.day, tzinfo=UTC).timestamp()
    assert found["acme_published_date_seconds", ()] == midnight
