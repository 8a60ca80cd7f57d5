"""The tree of RFC 9162, canonical JSON and seals (`rules §6`)."""

import hashlib
import hmac

import pymerkle
import pytest
import rfc8785

from acme.domain import proofs

# The leaves and roots that the reference implementations of certificate transparency test with.
CT_LEAVES = [
    bytes.fromhex(h)
    for h in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [proofs.leaf_hash(leaf) for leaf in CT_LEAVES]


def test_the_empty_tree() -> None:
    assert proofs.merkle_root([]).hex() == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_of_the_published_test_vectors(size: int) -> None:
    assert proofs.merkle_root(HASHES[:size]).hex() == CT_ROOTS[size - 1]


# (leaf, size): the audit path, from the leaf up; the same source.
CT_PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize(("index", "size"), list(CT_PATHS))
def test_paths_of_the_published_test_vectors(index: int, size: int) -> None:
    path = proofs.inclusion_proof(HASHES[:size], index)
    assert [p.hex() for p in path] == CT_PATHS[index, size]
    root = bytes.fromhex(CT_ROOTS[size - 1])
    assert proofs.verify_inclusion(HASHES[index], index, size, path, root)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65])
def test_every_proof_of_a_tree_verifies_and_equals_pymerkle_s(size: int) -> None:
    data = [f"leaf {n}".encode() for n in range(size)]
    leaves = [proofs.leaf_hash(d) for d in data]
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for d in data:
        tree.append_entry(d)
    root = proofs.merkle_root(leaves)
    assert root == tree.get_root()
    for index in range(size):
        path = proofs.inclusion_proof(leaves, index)
        theirs = tree.prove_inclusion(index + 1)
        assert [leaves[index], *path] == list(theirs.path)
        pymerkle.verify_inclusion(tree.get_leaf(index + 1), root, theirs)
        assert proofs.verify_inclusion(leaves[index], index, size, path, root)
        for other in range(size + 2):
            assert proofs.verify_inclusion(leaves[index], other, size, path, root) == (
                other == index
            )


def test_a_proof_of_another_size_fails() -> None:
    path = proofs.inclusion_proof(HASHES, 7)
    root = proofs.merkle_root(HASHES)
    for size in [n for n in range(20) if n != 8]:
        assert not proofs.verify_inclusion(HASHES[7], 7, size, path, root)


def test_a_path_that_goes_on_above_the_root_proves_nothing() -> None:
    """RFC 9162 §2.1.3.2: a node left over fails, even where the hashes come to the root given."""
    leaf, more = HASHES[:2]
    assert proofs.verify_inclusion(leaf, 0, 1, [], leaf)
    for root in (proofs.node_hash(more, leaf), proofs.node_hash(leaf, more)):
        assert not proofs.verify_inclusion(leaf, 0, 1, [more], root)


def test_no_such_leaf() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            proofs.inclusion_proof(HASHES, index)
        assert not proofs.verify_inclusion(HASHES[0], index, 8, [], proofs.merkle_root(HASHES))
    with pytest.raises(IndexError):
        proofs.inclusion_proof([], 0)


def test_an_odd_leaf_is_not_duplicated() -> None:
    three = HASHES[:3]
    assert proofs.merkle_root(three) != proofs.merkle_root([*three, three[2]])


def test_a_node_is_no_leaf() -> None:
    left, right = HASHES[:2]
    assert proofs.leaf_hash(left + right) != proofs.node_hash(left, right)
    assert proofs.leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert proofs.node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()


ORDER = {"units": "1.000000", "amount": "", "order_id": "o1", "kind": "sell", "Z": "z", "_": "x"}


@pytest.mark.parametrize(
    "value", [{}, {"a": "1"}, ORDER, {"b": 'a "quoted" \\ text', "a": "~!@#$%^&*()_+"}, {"a": ""}]
)
def test_canonical_json_is_rfc_8785(value: dict) -> None:
    assert proofs.canonical_json(value) == rfc8785.dumps(value)
    backwards = dict(reversed(value.items()))
    assert proofs.canonical_json(backwards) == proofs.canonical_json(value)


@pytest.mark.parametrize("text", ["tab\t", "a\r\n", "\x7f", "\x00\x1f", "\b\f", "\u2028", "</a>"])
def test_control_characters_are_escaped_as_rfc_8785_has_it(text: str) -> None:
    assert proofs.canonical_json({"a": text}) == rfc8785.dumps({"a": text})


def test_text_that_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        proofs.canonical_json({"a": "\ud800"})
    # Names outside ASCII would be sorted by UTF-16 units.
    with pytest.raises(ValueError, match="ASCII"):
        proofs.canonical_json({"\u20ac": "a"})


@pytest.mark.parametrize("name", ["Soci\u00e9t\u00e9", "\u03b1", "\U0001f4b7", "\u20ac fund"])
def test_identifiers_of_other_scripts_can_be_sealed(name: str) -> None:
    """The contract of assets allows any printable `asset_id`; a leaf names it (`rules §6`)."""
    assert proofs.canonical_json({"asset_id": name}) == rfc8785.dumps({"asset_id": name})


def test_the_salt_is_the_hmac_of_the_order_id() -> None:
    expected = hmac.new(b"key", b"o1", hashlib.sha256).hexdigest()
    assert proofs.order_salt(b"key", "o1") == expected
    assert proofs.order_salt(b"key", "o2") != expected
    assert proofs.order_salt(b"yek", "o1") != expected


HEADER = {
    "batch_id": "B-2026-03-11-live",
    "dealing_date": "2026-03-11",
    "order_count": 3,
    "lines_sha256": "ab",
    "price_date": "2026-03-10",
    "price_version": "cd",
    "rules_version": "1",
    "code_version": "2",
    "previous_seal": "0" * 64,
    "merkle_root": "ef",
}


def test_a_seal_is_the_hash_of_its_canonical_header() -> None:
    header = proofs.SealHeader(**HEADER)
    text = {name: str(value) for name, value in HEADER.items()}
    assert header.canonical() == rfc8785.dumps(text)
    assert header.seal() == hashlib.sha256(rfc8785.dumps(text)).hexdigest()


@pytest.mark.parametrize("name", list(HEADER))
def test_every_field_changes_the_seal(name: str) -> None:
    changed = HEADER | {name: HEADER[name] + 1 if name == "order_count" else "other"}
    assert proofs.SealHeader(**changed).seal() != proofs.SealHeader(**HEADER).seal()
