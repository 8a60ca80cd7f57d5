"""Examples of answers for the OpenAPI document; tests hold them against their schemas."""

from __future__ import annotations

from typing import Any, Final

from acme.domain.orders import order_id
from acme.domain.proofs import SealHeader, canonical_json, leaf_hash, merkle_root
from acme.gateway.problems import TYPES

ORDER_ID: Final = order_id("PAYROLL", "2024-0001")
_SEAL: Final = "5e" * 32
_SIGNATURE: Final = "51" * 64
_KEY: Final = "0e" * 32
_PUBLISHED: Final = {
    "published_date": "2024-03-05",
    "published_at": "2024-03-05T12:07:31.402233Z",
}

RECEIPT: Final[dict[str, Any]] = {
    "order_id": ORDER_ID,
    "source": "PAYROLL",
    "source_ref": "2024-0001",
    "received_at": "2024-03-04T09:00:00.123456+00:00",
    "dealing_date": "2024-03-04",
    "dealing_date_reason": "received at 09:00:00 Europe/London, before the cut-off of 2024-03-04",
    "cut_off": "2024-03-04T12:00:00+00:00",
}
_DEALING: Final = {
    name: RECEIPT[name]
    for name in ("received_at", "dealing_date", "dealing_date_reason", "cut_off")
}
# On a scheme that runs on event time; on others it has the dealing date itself.
BULK_RECEIPT: Final = {
    "idempotency_key": "2024-03-04",
    "body_sha256": "b0" * 32,
    "lines": 3,
    "created": 2,
    "repeated": 1,
    "first_order_id": ORDER_ID,
    "last_order_id": order_id("PAYROLL", "2024-0003"),
    "received_at": "2024-03-04T10:00:00.123456+00:00",
    "earliest": _DEALING,
    "latest": _DEALING,
}
CANCELLED: Final = RECEIPT | {"state": "cancelled"}
ORDER_STATE: Final = RECEIPT | {
    "pot_id": "P-1001",
    "kind": "sell",
    "asset_id": "EQ",
    "units": "12.5",
    "state": "executed",
    "reason": None,
    "batch_id": "B-2024-03-04-live",
    "published_date": "2024-03-05",
}
POT: Final = {
    **_PUBLISHED,
    "as_of": "2024-03-04",
    "pot_id": "P-1001",
    "book": "live",
    "status": "open",
    "risk_profile_id": "GROWTH",
    "currency": "USD",
    "positions": [
        {
            "asset_id": "EQ",
            "settled": "100.000000",
            "reserved": "0.000000",
            "in_flight": "-12.500000",
            "total": "87.500000",
            "price": "10.005000",
            "price_date": "2024-03-04",
            "value": "875.44",
        }
    ],
    "cash": {"settled": "20.00", "reserved": "0.00", "in_flight": "125.06", "total": "145.06"},
    "value": "1020.50",
}
BATCHES: Final = {
    **_PUBLISHED,
    "public_key": _KEY,
    "batches": [
        {
            "batch_id": "B-2024-03-05-live",
            "book": "live",
            "dealing_date": "2024-03-05",
            "order_count": 2,
            "lines": [
                {
                    "line_id": "B-2024-03-05-live-NORTH-EQ-U",
                    "custodian_id": "NORTH",
                    "asset_id": "EQ",
                    "quantity_type": "U",
                    "gross_buys": "0.000000",
                    "gross_sells": "40.000000",
                    "crossed": "0.000000",
                    "net": "40.000000",
                    "side": "S",
                    "instruction_id": "B-2024-03-05-live-NORTH-EQ-S-U",
                    "settlement_date": "2024-03-07",
                    "order_count": 2,
                }
            ],
            "price_date": "2024-03-04",
            "price_version": "9c" * 32,
            "rules_version": "1f" * 8,
            "code_version": "2e" * 8,
            "previous_seal": "0" * 64,
            "merkle_root": "3d" * 32,
            "seal": _SEAL,
            "signature": _SIGNATURE,
        }
    ],
}


def proof() -> dict[str, Any]:
    """Return the proof of the only order of a batch; all but its signature holds."""
    leaf = canonical_json(
        {
            "batch_id": "B-2024-03-05-live",
            "order_id": ORDER_ID,
            "kind": "sell",
            "asset_id": "EQ",
            "side": "S",
            "quantity_type": "U",
            "units": "12.500000",
            "amount": "",
            "salt": "4c" * 32,
        }
    )
    root = merkle_root([leaf_hash(leaf)]).hex()
    header = SealHeader(
        batch_id="B-2024-03-05-live",
        dealing_date="2024-03-05",
        order_count=1,
        lines_sha256="6b" * 32,
        price_date="2024-03-04",
        price_version="9c" * 32,
        rules_version="1f" * 8,
        code_version="2e" * 8,
        previous_seal="0" * 64,
        merkle_root=root,
    )
    return {
        **_PUBLISHED,
        "order_id": ORDER_ID,
        "batch_id": header.batch_id,
        "leaf": leaf.decode(),
        "leaf_hash": leaf_hash(leaf).hex(),
        "leaf_index": 0,
        "tree_size": 1,
        "path": [],
        "merkle_root": root,
        "header": header.canonical().decode(),
        "seal": header.seal(),
        "signature": _SIGNATURE,
        "public_key": _KEY,
    }


def problem(kind: str) -> dict[str, Any]:
    """Return a problem of a kind."""
    status, title = TYPES[kind]
    return {
        "type": f"/problems/{kind}",
        "title": title,
        "status": status,
        "detail": "what was expected, and what came",
        "instance": "urn:acme:request:0123456789abcdef",
    }
