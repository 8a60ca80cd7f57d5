"""Merkle proofs: what is true verifies, and nothing else does (`rules §6`)."""

import pymerkle
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from acme.domain import proofs

LEAVES = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


@st.composite
def proven(draw: st.DrawFn) -> tuple[list[bytes], int, list[bytes], bytes]:
    """Draw leaf hashes, an index, its path and the root."""
    leaves = [proofs.leaf_hash(data) for data in draw(LEAVES)]
    index = draw(st.integers(0, len(leaves) - 1))
    return leaves, index, proofs.inclusion_proof(leaves, index), proofs.merkle_root(leaves)


@given(LEAVES)
def test_the_root_is_pymerkle_s(data: list[bytes]) -> None:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in data:
        tree.append_entry(leaf)
    assert proofs.merkle_root([proofs.leaf_hash(leaf) for leaf in data]) == tree.get_root()


@given(proven())
def test_a_true_proof_verifies(case: tuple[list[bytes], int, list[bytes], bytes]) -> None:
    leaves, index, path, root = case
    assert proofs.verify_inclusion(leaves[index], index, len(leaves), path, root)
    assert len(path) <= max(len(leaves) - 1, 1).bit_length()


@given(proven(), st.data())
def test_tampering_is_found(
    case: tuple[list[bytes], int, list[bytes], bytes], data: st.DataObject
) -> None:
    leaves, index, path, root = case
    size, leaf = len(leaves), leaves[index]

    def flipped(value: bytes) -> bytes:
        bit = data.draw(st.integers(0, 8 * len(value) - 1))
        return bytes(b ^ (1 << bit % 8 if n == bit // 8 else 0) for n, b in enumerate(value))

    assert not proofs.verify_inclusion(flipped(leaf), index, size, path, root)
    assert not proofs.verify_inclusion(leaf, index, size, path, flipped(root))
    assert not proofs.verify_inclusion(leaf, index, size, [*path, leaf], root)
    if path:
        n = data.draw(st.integers(0, len(path) - 1))
        changed = [flipped(p) if k == n else p for k, p in enumerate(path)]
        assert not proofs.verify_inclusion(leaf, index, size, changed, root)
        assert not proofs.verify_inclusion(leaf, index, size, path[:n] + path[n + 1 :], root)
        swapped = path[::-1]
        if swapped != path:
            assert not proofs.verify_inclusion(leaf, index, size, swapped, root)


@given(proven(), st.integers(-2, 90))
def test_another_index_never_verifies(
    case: tuple[list[bytes], int, list[bytes], bytes], other: int
) -> None:
    leaves, index, path, root = case
    # Equal leaves under equal siblings prove each other's place, and only these.
    truth = other == index or (
        0 <= other < len(leaves)
        and leaves[other] == leaves[index]
        and proofs.inclusion_proof(leaves, other) == path
    )
    assert proofs.verify_inclusion(leaves[index], other, len(leaves), path, root) == truth


@given(proven(), st.integers(0, 200))
def test_a_size_that_asks_for_another_path_length_never_verifies(
    case: tuple[list[bytes], int, list[bytes], bytes], size: int
) -> None:
    """The size is in the signed header; a proof alone pins it to the sizes of the same path."""
    leaves, index, path, root = case
    stand_ins = [leaves[index]] * size
    same_length = index < size and len(proofs.inclusion_proof(stand_ins, index)) == len(path)
    if not same_length:
        assert not proofs.verify_inclusion(leaves[index], index, size, path, root)


@given(LEAVES, st.data())
def test_any_change_to_the_leaves_changes_the_root(data: list[bytes], draw: st.DataObject) -> None:
    leaves = [proofs.leaf_hash(d) for d in data]
    root = proofs.merkle_root(leaves)
    n = draw.draw(st.integers(0, len(leaves) - 1))
    assert proofs.merkle_root(leaves[:n] + leaves[n + 1 :]) != root
    assert proofs.merkle_root([*leaves[:n], leaves[n], *leaves[n:]]) != root
    assert (
        proofs.merkle_root([*leaves[:n], proofs.leaf_hash(b"something else"), *leaves[n + 1 :]])
        != root
    )
    turned = leaves[n:] + leaves[:n]
    if turned != leaves:
        assert proofs.merkle_root(turned) != root


PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(PLAIN, ANY, max_size=8))
def test_canonical_json_is_that_of_the_rfc_8785_package(value: dict[str, str]) -> None:
    assert proofs.canonical_json(value) == rfc8785.dumps(value)


@given(LEAVES)
def test_a_kept_tree_gives_the_same_root_and_paths(data: list[bytes]) -> None:
    leaves = [proofs.leaf_hash(leaf) for leaf in data]
    tree = proofs.MerkleTree(b"".join(leaves))
    assert (tree.size, tree.root) == (len(leaves), proofs.merkle_root(leaves))
    paths = [tree.path(index) for index in range(tree.size)]
    assert paths == [proofs.inclusion_proof(leaves, index) for index in range(len(leaves))]
    for index in (-1, tree.size):
        with pytest.raises(IndexError, match=f"no leaf {index} among {len(leaves)}"):
            tree.path(index)


def test_a_kept_tree_of_nothing_has_the_root_of_nothing() -> None:
    tree = proofs.MerkleTree(b"")
    assert (tree.size, tree.root) == (0, proofs.merkle_root([]))
