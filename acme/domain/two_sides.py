"""Two sides held against each other: which keys are on both, on one only, or differ."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

MATCHED, DIFFERS = "matched", "differs"
MISSING_LEFT, MISSING_RIGHT = "missing_left", "missing_right"


class SidesError(ValueError):
    """The two sides cannot be held against each other; the text names the side and the columns."""


def compare(
    left: pl.DataFrame, right: pl.DataFrame, keys: Sequence[str], compares: Sequence[str]
) -> pl.DataFrame:
    """Return one row per key of either side: `keys`, `class`, then left_ and right_ of `compares`.

    Values are equal or they differ: no tolerance, and a null equals a null alone. Rows come in
    key order whatever the order of either side. Raises SidesError where a column is missing, the
    types of the sides differ, a type is inexact, or a key is null or repeated on one side.
    """
    for name, side in (("left", left), ("right", right)):
        _require_side(name, side, keys, compares)
    names = [*keys, *compares]
    for name in names:
        if left.schema[name] != right.schema[name]:
            raise SidesError(
                f"{name}: left is {left.schema[name]}, right is {right.schema[name]}: expected"
                " one type"
            )
    here, there = (
        _marked(side, n, keys, compares) for side, n in ((left, "left"), (right, "right"))
    )
    both = here.join(there, on=list(keys), how="full", coalesce=True)
    equal = [pl.col(f"left_{c}").eq_missing(pl.col(f"right_{c}")) for c in compares]
    verdict = (
        pl.when(pl.col("in_left").is_null())
        .then(pl.lit(MISSING_LEFT))
        .when(pl.col("in_right").is_null())
        .then(pl.lit(MISSING_RIGHT))
        .when(pl.all_horizontal(equal))
        .then(pl.lit(MATCHED))
        .otherwise(pl.lit(DIFFERS))
    )
    values = [f"{side}_{c}" for c in compares for side in ("left", "right")]
    return both.select(*keys, verdict.alias("class"), *values).sort(list(keys))


def _marked(
    side: pl.DataFrame, name: str, keys: Sequence[str], compares: Sequence[str]
) -> pl.DataFrame:
    values = [pl.col(c).alias(f"{name}_{c}") for c in compares]
    return side.select(*keys, *values, pl.lit(value=True).alias(f"in_{name}"))


def _require_side(
    name: str, side: pl.DataFrame, keys: Sequence[str], compares: Sequence[str]
) -> None:
    if not keys or not compares:
        raise SidesError("expected at least one key and one compared column")
    for column in (*keys, *compares):
        if column not in side.columns:
            raise SidesError(f"{name}: expected a column {column}, got {', '.join(side.columns)}")
        if side.schema[column].is_float():
            raise SidesError(f"{name}.{column}: expected an exact type, got {side.schema[column]}")
    if side.select(pl.any_horizontal(pl.col(k).is_null().any() for k in keys)).item():
        raise SidesError(f"{name}: a key column of {', '.join(keys)} is empty")
    repeated = side.filter(pl.struct(keys).is_duplicated()).select(keys).sort(keys)
    if repeated.height:
        raise SidesError(f"{name}: expected one row per key, got more of {repeated.row(0)}")
