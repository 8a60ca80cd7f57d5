"""GET /v1/batches: the sealed batches of a published date, figures as strings."""

import pytest

from acme.evidence.keys import verify_signature
from acme.evidence.sealed import batch_proof
from tests.gateway.published.conftest import Keys, Served
from tests.scenarios.driver import D1, D3, D4

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]


async def test_readers_see_the_live_book_and_compliance_all(served: Served, keys: Keys) -> None:
    async with served.client(keys.other) as client:
        live = await client.get(f"/v1/batches/{D1}")
    async with served.client(keys.compliance) as client:
        every = await client.get(f"/v1/batches/{D1}")
    assert [b["book"] for b in live.json()["batches"]] == ["live"]
    assert [b["book"] for b in every.json()["batches"]] == ["canary", "live"]
    assert live.headers["etag"] != every.headers["etag"]
    assert live.json()["published_date"] == str(D1)


async def test_a_batch_is_what_was_sealed(served: Served, keys: Keys) -> None:
    async with served.client(keys.other) as client:
        told = (await client.get(f"/v1/batches/{D1}")).json()
    (batch,) = told["batches"]
    (row,) = [
        r for r in served.world.frame("dealing_batches", D1).to_dicts() if r["book"] == "live"
    ]
    for name in ("batch_id", "seal", "merkle_root", "signature", "previous_seal", "price_version"):
        assert batch[name] == row[name]
    assert (batch["price_date"], batch["order_count"]) == (str(row["price_date"]), 2)
    proof = batch_proof(served.world.platform, row)
    assert proof.signed
    assert proof.seal == batch["seal"]
    lines = {line["asset_id"]: line for line in batch["lines"]}
    assert lines["EQ"]["gross_sells"] == lines["EQ"]["net"] == "40.000000"
    assert (lines["EQ"]["crossed"], lines["EQ"]["side"]) == ("0.000000", "S")
    assert lines["BD"]["net"] == "2.500000"
    assert verify_signature(told["public_key"], batch["signature"], b"another") is False


async def test_an_unchanged_date_is_not_sent_again(served: Served, keys: Keys) -> None:
    async with served.client(keys.other) as client:
        first = await client.get(f"/v1/batches/{D3}")
        again = await client.get(
            f"/v1/batches/{D3}", headers={"if-none-match": first.headers["etag"]}
        )
        other = await client.get(
            f"/v1/batches/{D1}", headers={"if-none-match": first.headers["etag"]}
        )
    assert (again.status_code, other.status_code) == (304, 200)


@pytest.mark.parametrize(
    "day", [str(D4), "2024-13-01", "yesterday", "20240304", "2024-03-4", "%00"]
)
async def test_what_is_not_published_is_not_there(served: Served, keys: Keys, day: str) -> None:
    async with served.client(keys.compliance) as client:
        assert (await client.get(f"/v1/batches/{day}")).status_code == 404
        assert (await client.get(f"/v1/evidence/{day}.zip")).status_code == 404
        assert (await client.get(f"/portal/{day}")).status_code == 404


async def test_a_batch_of_an_unpublished_run_does_not_show(served: Served, keys: Keys) -> None:
    """D4 has partitions of a run that stopped half-way."""
    world = served.world
    frame = world.frame("dealing_batches", D3).drop("run_date")
    lake = world.platform.lake
    fence, lake.fence = lake.fence, None
    lake.write(D4, "tests", {"core.dealing_batches": frame})
    lake.fence = fence
    async with served.client(keys.compliance) as client:
        assert (await client.get(f"/v1/batches/{D4}")).status_code == 404
