"""Proof that an order was dealt in a batch: canonical leaves, Merkle tree, seals (`rules §6`).

The tree is that of RFC 9162: SHA-256, leaf prefix 0x00, node prefix 0x01, no duplicated leaf.
Canonical JSON is RFC 8785; every value here is a string, for which sorted names without white
space, and only the escapes that JSON demands, are canonical.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

LEAF_PREFIX, NODE_PREFIX = b"\x00", b"\x01"
HASH_BYTES = 32


def canonical_json(value: dict[str, str]) -> bytes:
    """Return RFC 8785 canonical JSON of an object of strings with ASCII names.

    Raises `ValueError` for a name that is not ASCII (RFC 8785 sorts by UTF-16 units, Python by
    code points; on ASCII they agree) and for text that UTF-8 cannot hold.
    """
    for name in value:
        if not name.isascii():
            raise ValueError(f"a name of canonical JSON is ASCII, got {name!r}")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def order_salt(salt_key: bytes, order_id: str) -> str:
    """Return the salt of an order's leaf, HMAC-SHA-256(scheme salt key, order_id)."""
    return hmac.digest(salt_key, order_id.encode(), "sha256").hex()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf's canonical bytes."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; that of no leaf is SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf `index`, from the leaf up (RFC 9162 §2.1.3.1).

    Raises `IndexError` where there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"no leaf {index} among {len(leaves)}")
    path: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]
        index //= 2
    return path


class MerkleTree:
    """A tree with all its levels kept, 64 bytes a leaf, for many proofs of one batch."""

    def __init__(self, leaves: bytes) -> None:
        """Build the levels over leaf hashes that stand one after the other."""
        self._levels = [leaves]
        while len(self._levels[-1]) > HASH_BYTES:
            self._levels.append(_level_above(self._levels[-1]))

    @property
    def size(self) -> int:
        """Return the number of leaves."""
        return len(self._levels[0]) // HASH_BYTES

    @property
    def root(self) -> bytes:
        """Return the root, as `merkle_root` does."""
        return self._levels[-1] or merkle_root([])

    def path(self, index: int) -> list[bytes]:
        """Return the audit path of a leaf, as `inclusion_proof` does; `IndexError` without it."""
        if not 0 <= index < self.size:
            raise IndexError(f"no leaf {index} among {self.size}")
        path = []
        for level in self._levels[:-1]:
            at = (index ^ 1) * HASH_BYTES
            if at < len(level):
                path.append(level[at : at + HASH_BYTES])
            index //= 2
        return path


def _level_above(level: bytes) -> bytes:
    pair = 2 * HASH_BYTES
    whole = len(level) - len(level) % pair
    above = bytearray()
    for at in range(0, whole, pair):
        above += hashlib.sha256(NODE_PREFIX + level[at : at + pair]).digest()
    return bytes(above + level[whole:])


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Say whether `leaf` is leaf `index` of the tree of `size` leaves with `root` (RFC 9162)."""
    if not 0 <= index < size:
        return False
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            return False
        if index % 2 == 1 or index == last:
            node = node_hash(sibling, node)
            # Never 0 here: it is odd, or the last of more than one.
            while index % 2 == 0:
                index, last = index >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and hmac.compare_digest(node, root)


@dataclass(frozen=True)
class SealHeader:
    """What a batch's seal covers; its hash is what is signed and what the next seal names."""

    batch_id: str
    dealing_date: str
    order_count: int
    lines_sha256: str
    price_date: str
    price_version: str
    rules_version: str
    code_version: str
    previous_seal: str
    merkle_root: str

    def canonical(self) -> bytes:
        """Return the canonical bytes of the header."""
        return canonical_json({name: str(value) for name, value in vars(self).items()})

    def seal(self) -> str:
        """Return the seal: SHA-256 of the canonical header, in hexadecimal."""
        return hashlib.sha256(self.canonical()).hexdigest()
