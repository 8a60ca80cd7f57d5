"""Proofs that orders were dealt in a sealed batch, as documents that are verified offline.

A document holds the exact bytes that were hashed (`leaf`, `header`, canonical JSON): whoever has
it and the scheme's public key needs nothing else (`rules §6`, docs/reference/http.md).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl

from acme.domain import proofs
from acme.domain.proofs import MerkleTree, SealHeader
from acme.evidence import seals
from acme.evidence.keys import public_key, salt_key
from acme.lakehouse.lake import PartitionDamagedError, dataset_contract
from acme.lakehouse.platform import Platform

ORDERS: Final = "stage.batched_orders"
BATCHES: Final = "core.dealing_batches"
LINES: Final = "core.batch_lines"
# Leaves hashed at a time; it bounds memory and does not show in the tree.
_SLICE_ROWS: Final = 50_000


@dataclass(frozen=True)
class InclusionProof:
    """One order's leaf, its way up the tree, and the signed header with the root; hashes in hex."""

    order_id: str
    batch_id: str
    leaf: str
    leaf_hash: str
    leaf_index: int
    tree_size: int
    path: tuple[str, ...]
    merkle_root: str
    header: str
    seal: str
    signature: str
    public_key: str


@dataclass(frozen=True)
class SealedTree:
    """A batch with its tree, found to be what was sealed."""

    batch: Mapping[str, Any]
    header: SealHeader
    tree: MerkleTree
    order_ids: pl.Series


def header_of(batch: Mapping[str, Any], lines: pl.DataFrame) -> SealHeader:
    """Return the header of a row of core.dealing_batches; `lines`: those of the batch.

    Raises `PartitionDamagedError` where it does not have the batch's seal.
    """
    header = SealHeader(
        batch_id=batch["batch_id"],
        dealing_date=batch["dealing_date"].isoformat(),
        order_count=batch["order_count"],
        lines_sha256=seals.frame_sha256(lines.sort("line_id"), seals.LINE_COLUMNS),
        price_date=batch["price_date"].isoformat(),
        price_version=batch["price_version"],
        rules_version=batch["rules_version"],
        code_version=batch["code_version"],
        previous_seal=batch["previous_seal"],
        merkle_root=batch["merkle_root"],
    )
    if header.seal() != batch["seal"]:
        raise PartitionDamagedError(f"batch {batch['batch_id']} does not have its seal")
    return header


def sealed_tree(platform: Platform, run_date: date, batch_id: str) -> SealedTree | None:
    """Return a batch of a published date with its tree; None where the date has no such batch.

    Reads verified partitions. Raises `PartitionDamagedError` where seal or root do not come out.
    """
    frames = platform.lake.read(run_date, [BATCHES, LINES, ORDERS])
    mine = pl.col("batch_id") == batch_id
    found = frames[BATCHES].filter(mine).to_dicts()
    if not found:
        return None
    orders = frames[ORDERS].filter(mine).sort("order_id")
    salt = salt_key(platform.home)
    leaves = bytearray()
    for rows in orders.iter_slices(_SLICE_ROWS):
        leaves += b"".join(seals.leaves(rows, salt))
    tree = MerkleTree(bytes(leaves))
    header = header_of(found[0], frames[LINES].filter(mine))
    if tree.root.hex() != header.merkle_root:
        raise PartitionDamagedError(f"batch {batch_id} does not have its Merkle root")
    return SealedTree(found[0], header, tree, orders["order_id"])


def rows_of(platform: Platform, dates: Sequence[date], order_id: str) -> pl.DataFrame:
    """Return an order's rows of stage.batched_orders; the files are read by predicate alone."""
    paths = []
    for day in dates:
        partition = platform.lake.manifest(day)[ORDERS]
        if partition.rows:
            paths.append(platform.lake.path(day, ORDERS, partition))
    if not paths:
        return dataset_contract(ORDERS).empty()
    scan = pl.scan_parquet(paths, hive_partitioning=False, glob=False)
    return scan.filter(pl.col("order_id") == order_id).collect()


def batches_of(platform: Platform, order_id: str) -> list[tuple[date, str]]:
    """Return (date, batch) of every published batch that has an order, by looking through all."""
    found = rows_of(platform, platform.control.published_dates(), order_id)
    return found.select("run_date", "batch_id").rows()


def prove(platform: Platform, sealed: SealedTree, order_id: str) -> InclusionProof | None:
    """Prove that an order is in a batch; None where it is not.

    Raises `PartitionDamagedError` rather than give a proof that does not hold.
    """
    index = bisect_left(sealed.order_ids, order_id)
    if index >= sealed.order_ids.len() or sealed.order_ids[index] != order_id:
        return None
    rows = rows_of(platform, [sealed.batch["run_date"]], order_id)
    (leaf,) = seals.leaf_contents(rows, salt_key(platform.home))
    path = sealed.tree.path(index)
    if not proofs.verify_inclusion(
        proofs.leaf_hash(leaf), index, sealed.tree.size, path, sealed.tree.root
    ):
        raise PartitionDamagedError(f"order {order_id} does not have its leaf in the sealed batch")
    return InclusionProof(
        order_id=order_id,
        batch_id=sealed.header.batch_id,
        leaf=leaf.decode(),
        leaf_hash=proofs.leaf_hash(leaf).hex(),
        leaf_index=index,
        tree_size=sealed.tree.size,
        path=tuple(node.hex() for node in path),
        merkle_root=sealed.header.merkle_root,
        header=sealed.header.canonical().decode(),
        seal=sealed.batch["seal"],
        signature=sealed.batch["signature"],
        public_key=public_key(platform.home),
    )
