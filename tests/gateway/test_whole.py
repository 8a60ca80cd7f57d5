"""Orders by call, by bulk and by file, run to published dates, read back: each once, none lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import date

import httpx
import pytest

from acme.domain.orders import order_id
from tests.gateway.published.conftest import grant, scenario, serving, tests_server
from tests.gateway.published.test_proofs import verifies
from tests.scenarios.driver import D0, D1, D2, Scenario

__all__ = ["scenario", "tests_server"]

pytestmark = pytest.mark.anyio
SOURCE = "EMP"
IN_TIME, LATE = f"{D1}T09:00:00Z", f"{D1}T12:00:00Z"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def sell(ref: str, received_at: str = IN_TIME) -> dict[str, str]:
    order = {"source_ref": ref, "pot_id": "B", "kind": "sell", "asset_id": "EQ", "units": "0.5"}
    return order | {"received_at": received_at}


def ids(*refs: str) -> list[str]:
    return [order_id(SOURCE, ref) for ref in refs]


async def pot_of(client: httpx.AsyncClient, day: date) -> tuple[str, str, str]:
    """Wait for a published date; as_of and what the pot has of EQ, settled and reserved."""
    for _ in range(500):
        answer = await client.get("/v1/pots/B")
        if answer.status_code == 200 and answer.json()["published_date"] == str(day):
            (held,) = answer.json()["positions"]
            return answer.json()["as_of"], held["settled"], held["reserved"]
        await asyncio.sleep(0.02)
    raise AssertionError(f"{day} never showed: {answer.text}")


async def test_from_the_call_to_the_published_date(scenario: Scenario) -> None:
    scenario.reference({"A": "SELF", "B": "SELF"}, {"B": {"EQ": "100", "USD": "100.00"}})
    key = grant(scenario, SOURCE, ("submit", "read"), "B")
    json_ = {"content-type": "application/json"}
    async with serving(scenario) as served, served.client(key) as client:
        await served.refreshed()

        # What arrives before the run of D1: calls, a bulk, a file; one of each way is cancelled.
        for ref in ("one", "two", "call-cancelled"):
            sent = await client.post(
                "/v1/orders", json=sell(ref), headers=json_ | {"idempotency-key": ref}
            )
            assert (sent.status_code, sent.json()["dealing_date"]) == (201, str(D1))
        lines = [sell(f"bulk-{n}") for n in range(60)]
        lines += [sell("bulk-cancelled"), sell("bulk-late", LATE), sell("one")]
        stream = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        bulk = {"content-type": "application/x-ndjson", "idempotency-key": "bulk"}
        for _ in range(2):
            sent = await client.post("/v1/orders/bulk", content=stream, headers=bulk)
            assert sent.status_code == 201, sent.text
            assert (sent.json()["created"], sent.json()["repeated"]) == (62, 1)
        filed = scenario.order("filed", D1, "B", "sell", asset="EQ", units="0.5")
        for order in ids("call-cancelled", "bulk-cancelled"):
            assert (await client.delete(f"/v1/orders/{order}")).status_code == 200
        late = await client.get(f"/v1/orders/{ids('bulk-late')[0]}")
        assert (late.json()["state"], late.json()["dealing_date"]) == ("received", str(D2))

        await asyncio.to_thread(scenario.run, D1)

        # In the lake: every order of the date once, and the inbox was held against it.
        dealt = ids("one", "two", *(f"bulk-{n}" for n in range(60)))
        gone = ids("call-cancelled", "bulk-cancelled")
        orders = scenario.frame("orders", D1)["order_id"].to_list()
        assert Counter(orders) == Counter([*dealt, *gone, filed])
        checks = scenario.rows("check_results", D1, "check_name", "passed")
        assert ("inbox_equals_lake", True) in checks
        assert {
            order
            for order, state in scenario.rows("order_events", D1, "order_id", "to_state")
            if state == "cancelled"
        } == set(gone)

        # Over HTTP: the states of the published date, its proofs, its pots.
        for order in dealt:
            told = (await client.get(f"/v1/orders/{order}")).json()
            assert (told["state"], told["published_date"]) == ("placed", str(D1))
            assert told["batch_id"] == f"B-{D1}-live"
        for order in gone:
            told = (await client.get(f"/v1/orders/{order}")).json()
            assert (told["state"], told["published_date"]) == ("cancelled", str(D1))
            assert told["batch_id"] is None
            assert (await client.delete(f"/v1/orders/{order}")).status_code == 200
            assert (await client.get(f"/v1/orders/{order}/proof")).status_code == 409
        assert (await client.delete(f"/v1/orders/{dealt[0]}")).status_code == 409
        for order in (dealt[0], dealt[-1]):
            assert verifies((await client.get(f"/v1/orders/{order}/proof")).json())
        assert await pot_of(client, D1) == (str(D0), "100.000000", "0.000000")

        # What came after the cut-off deals on the next date; a bulk again changes nothing.
        sent = await client.post("/v1/orders/bulk", content=stream, headers=bulk)
        assert sent.headers["idempotent-replayed"] == "true"
        scenario.prices(D1)
        await asyncio.to_thread(scenario.run, D2)
        assert scenario.frame("orders", D2)["order_id"].to_list() == ids("bulk-late")
        assert ("inbox_equals_lake", True) in scenario.rows(
            "check_results", D2, "check_name", "passed"
        )
        told = (await client.get(f"/v1/orders/{ids('bulk-late')[0]}")).json()
        assert (told["state"], told["published_date"]) == ("placed", str(D2))
        # 63 orders of 0.5 are reserved.
        assert await pot_of(client, D2) == (str(D1), "68.500000", "31.500000")
