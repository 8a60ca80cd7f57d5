"""What a sealed batch proves: its seal recomputed from the lake, its signature, its leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from acme.domain import proofs
from acme.evidence import seals
from acme.evidence.keys import public_key, salt_key, verify_signature
from acme.lakehouse.platform import Platform


@dataclass(frozen=True)
class Inclusion:
    """The proof that an order is a leaf of a batch; hashes in hexadecimal, from the leaf up."""

    leaf: str
    index: int
    path: tuple[str, ...]
    proven: bool


@dataclass(frozen=True)
class BatchProof:
    """A batch computed again from its orders and lines; `order_ids` in the order of the leaves."""

    seal: str
    signed: bool
    order_ids: tuple[str, ...]
    leaves: tuple[bytes, ...]
    root: bytes

    def inclusion(self, order_id: str) -> Inclusion:
        """Prove that an order was in the batch, against the root that was sealed."""
        index = self.order_ids.index(order_id)
        path = proofs.inclusion_proof(self.leaves, index)
        leaf = self.leaves[index]
        proven = proofs.verify_inclusion(leaf, index, len(self.leaves), path, self.root)
        return Inclusion(leaf.hex(), index, tuple(p.hex() for p in path), proven)


def batch_proof(platform: Platform, batch: Mapping[str, Any]) -> BatchProof:
    """Recompute a batch's seal from verified partitions; `batch`: a row of core.dealing_batches."""
    run_date: date = batch["run_date"]
    frames = platform.lake.read(run_date, ["stage.batched_orders", "core.batch_lines"])
    mine = pl.col("batch_id") == batch["batch_id"]
    orders = frames["stage.batched_orders"].filter(mine).sort("order_id")
    salt = salt_key(platform.home)
    terms = seals.SealTerms(
        dealing_date=batch["dealing_date"],
        price_date=batch["price_date"],
        price_version=batch["price_version"],
        rules_version=batch["rules_version"],
        code_version=batch["code_version"],
    )
    lines = frames["core.batch_lines"].filter(mine)
    header = seals.seal_header(
        batch["batch_id"], orders, lines, terms, batch["previous_seal"], salt
    )
    return BatchProof(
        seal=header.seal(),
        signed=verify_signature(public_key(platform.home), batch["signature"], header.canonical()),
        order_ids=tuple(orders["order_id"]),
        leaves=tuple(seals.leaves(orders, salt)),
        root=bytes.fromhex(batch["merkle_root"]),
    )
