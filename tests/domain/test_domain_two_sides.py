"""Two sides held against each other: every key once, in one class, whatever the row order."""

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acme.domain.two_sides import SidesError, compare

SCHEMA = {"key": pl.String, "amount": pl.Decimal(18, 2)}
# In any order, each key at most once.
SIDE = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.sampled_from([None, *map(Decimal, ("-0.01", "0", "2.00"))])
    ),
    unique_by=lambda row: row[0],
)


def frame(rows: dict[str, Decimal | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows.items()), schema=SCHEMA, orient="row")


@given(SIDE.map(dict), SIDE.map(dict))
def test_every_key_of_either_side_has_one_class(left, right) -> None:
    expected = {}
    for key in left.keys() | right.keys():
        if key not in left:
            told = "missing_left"
        elif key not in right:
            told = "missing_right"
        else:
            told = "matched" if left[key] == right[key] else "differs"
        expected[key] = (told, left.get(key), right.get(key))
    found = compare(frame(left), frame(right), ["key"], ["amount"])
    assert found.columns == ["key", "class", "left_amount", "right_amount"]
    assert {k: (c, a, b) for k, c, a, b in found.iter_rows()} == expected
    assert found["key"].to_list() == sorted(expected)


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (frame({}).drop("amount"), frame({}), "left: expected a column amount"),
        (frame({}), frame({}).cast({"amount": pl.Float64}), "right.amount: expected an exact type"),
        (frame({}), frame({}).cast({"amount": pl.Int64}), "amount: left is Decimal"),
        (pl.concat([frame({"a": None})] * 2), frame({}), r"left: expected one row per key.*'a'"),
        (frame({}), frame({"a": None}).with_columns(key=pl.lit(None, pl.String)), "right: a key"),
    ],
)
def test_sides_that_cannot_be_held_against_each_other(left, right, told) -> None:
    with pytest.raises(SidesError, match=told):
        compare(left, right, ["key"], ["amount"])


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(SidesError, match="at least one key"):
        compare(frame({}), frame({}), ["key"], [])


PAIR = {"a": pl.String, "b": pl.String, "x": pl.Int64, "y": pl.Int64}


def pairs(*rows: tuple[str | None, str | None, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PAIR, orient="row")


@pytest.mark.parametrize(
    ("there", "told"),
    [((1, 2), "matched"), ((1, 3), "differs"), ((3, 2), "differs"), ((3, 3), "differs")],
)
def test_all_that_is_compared_must_be_equal(there, told) -> None:
    found = compare(pairs(("k", "l", 1, 2)), pairs(("k", "l", *there)), ["a", "b"], ["x", "y"])
    assert found["class"].to_list() == [told]


def test_one_empty_key_of_several_is_refused() -> None:
    for row in ((None, "l", 1, 1), ("k", None, 1, 1)):
        with pytest.raises(SidesError, match="left: a key column of a, b is empty"):
            compare(pairs(row), pairs(), ["a", "b"], ["x"])


def test_of_several_repeated_keys_the_first_is_named() -> None:
    rows = [(key, "l", n, n) for n in (1, 2) for key in "dcbaefgh"]
    with pytest.raises(
        SidesError, match=r"right: expected one row per key, got more of \('a', 'l'\)"
    ):
        compare(pairs(), pairs(*rows), ["a", "b"], ["x"])
