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
