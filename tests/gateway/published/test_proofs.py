"""GET /v1/orders/{id}/proof: what it gives is verified without the platform."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from acme.domain.orders import order_id
from acme.domain.proofs import SealHeader, leaf_hash, verify_inclusion
from tests.gateway.published.conftest import Keys, Served
from tests.scenarios.driver import D1, D3, Scenario

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("published")]

SELL, BONDS = order_id("T", "sell"), order_id("T", "bonds")
REFUSED, PAY_IN = order_id("T", "too-much"), order_id("T", "pay-in")
WAITING, UNKNOWN = order_id("T", "waiting"), order_id("T", "unknown")
BATCH = f"B-{D1}-live"


@pytest.fixture(autouse=True)
def states(world: Scenario) -> Iterator[None]:
    """Have an order wait for its batch; keep what the publications say of all others."""
    with psycopg.connect(world.platform.url) as connection:
        connection.execute("CREATE TABLE served.kept AS TABLE served.order_states")
        connection.execute(
            "INSERT INTO served.order_states (order_id, source, source_ref, book, pot_id, state,"
            " dealing_date, run_date) VALUES (%s, 'T', 'waiting', 'live', 'B', 'accepted', %s, %s)",
            [WAITING, D1, D1],
        )
    yield
    with psycopg.connect(world.platform.url) as connection:
        connection.execute("DELETE FROM served.order_states")
        connection.execute("INSERT INTO served.order_states TABLE served.kept")
        connection.execute("DROP TABLE served.kept")


def verifies(proof: dict[str, Any]) -> bool:
    """Verify as docs/reference/http.md says, with nothing but the document."""
    leaf, header = proof["leaf"].encode(), proof["header"].encode()
    path = [bytes.fromhex(node) for node in proof["path"]]
    stated = json.loads(header)
    if leaf_hash(leaf).hex() != proof["leaf_hash"] or stated["merkle_root"] != proof["merkle_root"]:
        return False
    root = bytes.fromhex(proof["merkle_root"])
    if hashlib.sha256(header).hexdigest() != proof["seal"]:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(proof["public_key"]))
        key.verify(bytes.fromhex(proof["signature"]), header)
    except (InvalidSignature, ValueError):
        return False
    return verify_inclusion(leaf_hash(leaf), proof["leaf_index"], proof["tree_size"], path, root)


async def ask(served: Served, key: str, order: str) -> httpx.Response:
    async with served.client(key) as client:
        return await client.get(f"/v1/orders/{order}/proof")


@pytest.mark.parametrize("order", [SELL, BONDS])
async def test_a_proof_is_verified_offline(served: Served, keys: Keys, order: str) -> None:
    answer = await ask(served, keys.owner, order)
    assert answer.status_code == 200, answer.text
    proof = answer.json()
    assert verifies(proof)
    assert json.loads(proof["leaf"])["order_id"] == order
    assert (proof["published_date"], proof["batch_id"]) == (str(D1), BATCH)
    assert SealHeader(**json.loads(proof["header"])).seal() == proof["seal"]
    (batch,) = [
        r for r in served.world.frame("dealing_batches", D1).to_dicts() if r["book"] == "live"
    ]
    assert (proof["seal"], proof["tree_size"]) == (batch["seal"], batch["order_count"])


async def test_a_proof_that_is_tampered_with_fails(served: Served, keys: Keys) -> None:
    proof = (await ask(served, keys.owner, SELL)).json()
    other = (await ask(served, keys.owner, BONDS)).json()
    tampered = {
        "leaf": proof["leaf"].replace("40.000000", "41.000000"),
        "header": proof["header"].replace(f'"dealing_date":"{D1}"', f'"dealing_date":"{D3}"'),
        "leaf_index": other["leaf_index"],
        "path": other["path"],
        "tree_size": proof["tree_size"] + 1,
        "merkle_root": "00" * 32,
        "seal": "00" * 32,
        "signature": "00" * 64,
        "public_key": "00" * 32,
        "leaf_hash": other["leaf_hash"],
    }
    for name, value in tampered.items():
        assert value != proof[name]
        assert not verifies(proof | {name: value}), name


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        (REFUSED, 409, "rejected (insufficient_units)"),
        (PAY_IN, 409, "settled"),
        (WAITING, 404, "no published batch yet"),
    ],
)
async def test_an_order_in_no_batch_says_why(
    served: Served, keys: Keys, order: str, status: int, said: str
) -> None:
    for key in (keys.owner, keys.compliance):
        answer = await ask(served, key, order)
        assert answer.status_code == status
        assert said in answer.json()["detail"]


async def test_whose_proof_it_is(served: Served, keys: Keys) -> None:
    expected = {
        keys.owner: 200,
        keys.compliance: 200,
        keys.other: 404,
        keys.everything: 404,
        keys.submit_only: 403,
    }
    for key, status in expected.items():
        assert (await ask(served, key, SELL)).status_code == status
    theirs = (await ask(served, keys.other, SELL)).json()
    nobodys = (await ask(served, keys.other, UNKNOWN)).json()
    assert theirs["detail"] == nobodys["detail"]
    for text in (UNKNOWN, "x", SELL.upper(), "%00"):
        assert (await ask(served, keys.compliance, text)).status_code == 404


async def test_compliance_finds_orders_that_are_no_sources(served: Served, keys: Keys) -> None:
    """An order of the platform itself is in no table of states: it is looked for in all batches."""
    with psycopg.connect(served.world.platform.url) as connection:
        connection.execute("DELETE FROM served.order_states WHERE order_id = %s", [SELL])
    assert verifies((await ask(served, keys.compliance, SELL)).json())
    assert (await ask(served, keys.owner, SELL)).status_code == 404


async def test_an_order_of_the_inbox_is_followed_to_its_date(served: Served, keys: Keys) -> None:
    """Its state is not published yet in words: the batch of its dealing date is looked into."""
    with psycopg.connect(served.world.platform.url) as connection:
        connection.execute("DELETE FROM served.order_states WHERE order_id = %s", [SELL])
        connection.execute(
            "INSERT INTO intake.orders (order_id, source, source_ref, pot_id, kind, asset_id,"
            " units, stated_at, body_sha256, calendar_sequence) VALUES (%s, 'T', 'sell', 'B',"
            " 'sell', 'EQ', 40, %s, decode(repeat('00', 32), 'hex'), 0)",
            [SELL, f"{D1}T09:00:00Z"],
        )
    try:
        assert verifies((await ask(served, keys.owner, SELL)).json())
    finally:
        with psycopg.connect(served.world.platform.url) as connection:
            connection.execute("DELETE FROM intake.orders WHERE order_id = %s", [SELL])


async def test_a_proof_that_is_known_is_not_sent_again(served: Served, keys: Keys) -> None:
    tag = (await ask(served, keys.owner, SELL)).headers["etag"]
    async with served.client(keys.owner, if_none_match=tag) as client:
        assert (await client.get(f"/v1/orders/{SELL}/proof")).status_code == 304
        assert (await client.get(f"/v1/orders/{BONDS}/proof")).status_code == 200
