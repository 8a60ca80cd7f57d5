"""Sealing a batch: its leaves, its header, its signature (`rules §6`). Decides no order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from acme.domain import proofs
from acme.domain.proofs import SealHeader

# What the first batch of a book names as the seal before it.
NO_SEAL = "0" * 64
LEAF_FIELDS = (
    "batch_id",
    "order_id",
    "kind",
    "asset_id",
    "side",
    "quantity_type",
    "units",
    "amount",
)


@dataclass(frozen=True)
class SealTerms:
    """What the batches of a run have in common."""

    dealing_date: date
    price_date: date
    price_version: str
    rules_version: str
    code_version: str


def leaves(orders: pl.DataFrame, salt_key: bytes) -> list[bytes]:
    """Return the leaf hashes of a batch's orders, in `order_id` order.

    orders: stage.batched_orders of one batch. A leaf is the canonical JSON of LEAF_FIELDS and the
    order's salt; a quantity that does not apply is the empty text.
    """
    return [proofs.leaf_hash(content) for content in leaf_contents(orders, salt_key)]


def leaf_contents(orders: pl.DataFrame, salt_key: bytes) -> Iterator[bytes]:
    """Yield the canonical JSON of a batch's leaves, in `order_id` order."""
    text = orders.sort("order_id").select(
        pl.col(name).cast(pl.String).fill_null("") for name in LEAF_FIELDS
    )
    for row in text.iter_rows(named=True):
        yield proofs.canonical_json(row | {"salt": proofs.order_salt(salt_key, row["order_id"])})


def frame_sha256(frame: pl.DataFrame, columns: list[str]) -> str:
    """Return the SHA-256 of a frame's columns as canonical lines, in the order given."""
    lines = frame.select(pl.col(c).cast(pl.String).fill_null("") for c in columns)
    digest = hashlib.sha256()
    for row in lines.iter_rows():
        digest.update(("\x1f".join(row) + "\n").encode())
    return digest.hexdigest()


LINE_COLUMNS = [
    "line_id",
    "gross_buys",
    "gross_sells",
    "crossed",
    "net",
    "side",
    "instruction_id",
    "settlement_date",
    "order_count",
]


def seal_header(
    batch_id: str,
    orders: pl.DataFrame,
    lines: pl.DataFrame,
    terms: SealTerms,
    previous_seal: str,
    salt_key: bytes,
) -> SealHeader:
    """Return the header that a batch's seal covers."""
    return SealHeader(
        batch_id=batch_id,
        dealing_date=terms.dealing_date.isoformat(),
        order_count=orders.height,
        lines_sha256=frame_sha256(lines.sort("line_id"), LINE_COLUMNS),
        price_date=terms.price_date.isoformat(),
        price_version=terms.price_version,
        rules_version=terms.rules_version,
        code_version=terms.code_version,
        previous_seal=previous_seal,
        merkle_root=proofs.merkle_root(leaves(orders, salt_key)).hex(),
    )


def sign(header: SealHeader, key: Ed25519PrivateKey) -> str:
    """Return the Ed25519 signature over the canonical header, in hexadecimal."""
    return key.sign(header.canonical()).hex()
