"""Sharing by largest remainder, worked by hand (`rules §1`, Split)."""

import hashlib

import polars as pl
import pytest

from acme.domain import allocation
from acme.domain import quantities as q
from acme.domain.allocation import split, tie_break

SCHEMA = {
    "g": pl.String,
    "batch_id": pl.String,
    "order_id": pl.String,
    "t": pl.Int128,
    "w": pl.Int128,
}


def shares(rows: list[tuple], batch: str = "B") -> dict[str, int]:
    """Share rows of (group, order, total, weight)."""
    frame = pl.DataFrame([(g, batch, o, t, w) for g, o, t, w in rows], schema=SCHEMA, orient="row")
    out = split(frame, ["g"], "t", "w", "share")
    assert out.columns == [*SCHEMA, "share"]
    assert out["order_id"].to_list() == [row[1] for row in rows]
    return dict(out.select("order_id", "share").iter_rows())


def by_hash(batch: str, orders: list[str]) -> list[str]:
    return sorted(orders, key=lambda o: hashlib.sha256(f"{batch}:{o}".encode()).hexdigest())


def test_largest_remainder_wins() -> None:
    # 100 over 5, 3, 1: 55.56, 33.33, 11.11; floors 55 + 33 + 11 = 99; the one left goes to .56.
    assert shares([("x", "a", 100, 5), ("x", "b", 100, 3), ("x", "c", 100, 1)]) == {
        "a": 56,
        "b": 33,
        "c": 11,
    }
    # 10 over 1, 2, 4: 1.43, 2.86, 5.71; floors 8; two left go to .86 and .71.
    assert shares([("x", "a", 10, 1), ("x", "b", 10, 2), ("x", "c", 10, 4)]) == {
        "a": 1,
        "b": 3,
        "c": 6,
    }


def test_an_exact_share_has_no_remainder() -> None:
    assert shares([("x", "a", 60, 1), ("x", "b", 60, 2), ("x", "c", 60, 3)]) == {
        "a": 10,
        "b": 20,
        "c": 30,
    }


def test_ties_go_to_the_lowest_hash() -> None:
    orders = ["a", "b", "c", "d", "e", "f", "g"]
    for batch in ("B-2026-03-11-live", "B-2026-03-12-live"):
        # 17 over seven equal weights: 2.43 each, 14, three left.
        lucky = set(by_hash(batch, orders)[:3])
        expected = {o: 3 if o in lucky else 2 for o in orders}
        assert shares([("x", o, 17, 5) for o in orders], batch) == expected


def test_the_hash_decides_among_ties_only() -> None:
    # 7 over 3, 3, 2, 4 (sum 12): 1.75, 1.75, 1.17, 2.33; floors 1+1+1+2 = 5; both .75 get one.
    rows = [("x", "a", 7, 3), ("x", "b", 7, 3), ("x", "c", 7, 2), ("x", "d", 7, 4)]
    assert shares(rows) == {"a": 2, "b": 2, "c": 1, "d": 2}
    # 6 over the same: 1.5, 1.5, 1.0, 2.0; one left for one of the two halves.
    first, second = by_hash("B", ["a", "b"])
    assert shares([(g, o, 6, w) for g, o, _, w in rows]) == {first: 2, second: 1, "c": 1, "d": 2}


def test_tie_break_is_the_sha_256_of_batch_and_order() -> None:
    assert tie_break("B-1", "o") == hashlib.sha256(b"B-1:o").hexdigest()
    # printf 'B-1:o' | sha256sum
    assert tie_break("B-1", "o").startswith("6237c23a3231d735")


def test_only_what_is_contested_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def recorded(batch: str, order: str) -> str:
        hashed.append(order)
        return tie_break(batch, order)

    monkeypatch.setattr(allocation, "tie_break", recorded)
    # x: 2 each, nothing left. y: one left for .67 of .67 and .33. z: one left, two halves.
    rows = [("x", "a", 4, 1), ("x", "b", 4, 1), ("y", "c", 1, 2), ("y", "d", 1, 1)]
    found = shares([*rows, ("z", "e", 3, 1), ("z", "f", 3, 1)])
    assert {o: found[o] for o in "abcd"} == {"a": 2, "b": 2, "c": 1, "d": 0}
    assert hashed == ["e", "f"]


def test_one_order_gets_the_whole() -> None:
    assert shares([("x", "a", 5, 1), ("y", "b", 7, 10**9)]) == {"a": 5, "b": 7}


def test_groups_do_not_share() -> None:
    rows = [("x", "a", 1, 1), ("y", "b", 2, 1), ("x", "c", 1, 3), ("y", "d", 2, 1)]
    # x: 0.25 and 0.75 of 1; y: one each.
    assert shares(rows) == {"a": 0, "c": 1, "b": 1, "d": 1}


def test_fewer_units_than_orders() -> None:
    lucky = by_hash("B", ["a", "b", "c"])[0]
    assert shares([("x", o, 1, 9) for o in "abc"]) == {o: int(o == lucky) for o in "abc"}


def test_zero_weights_and_zero_totals() -> None:
    assert shares([("x", "a", 0, 0), ("x", "b", 0, 0)]) == {"a": 0, "b": 0}
    assert shares([("x", "a", 0, 1), ("x", "b", 0, 2)]) == {"a": 0, "b": 0}
    assert shares([("x", "a", 9, 0), ("x", "b", 9, 2)]) == {"a": 0, "b": 9}


def test_a_total_without_weights_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"nothing to share t=7 over in \['y'\]"):
        shares([("x", "a", 1, 1), ("y", "b", 7, 0), ("z", "c", 0, 0)])


def test_totals_beyond_64_bits() -> None:
    total = 10**20 + 1
    # Two equal weights: half each, the odd one by hash.
    first, second = by_hash("B", ["a", "b"])
    assert shares([("x", "a", total, 10**15), ("x", "b", total, 10**15)]) == {
        first: 5 * 10**19 + 1,
        second: 5 * 10**19,
    }
    with pytest.raises(q.QuantityOverflowError):
        shares([("x", "a", 2**100, 2**27), ("x", "b", 2**100, 1)])


def test_nothing_to_split() -> None:
    empty = pl.DataFrame(schema=SCHEMA)
    assert split(empty, ["g"], "t", "w", "share").schema["share"] == pl.Int128
