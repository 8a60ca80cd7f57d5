"""Rounding, truncation and sharing against exact fractions (`rules §1`)."""

import hashlib
from fractions import Fraction
from math import trunc

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from acme.domain import quantities as q
from acme.domain.allocation import split

UNITS = st.integers(-(10**15), 10**15)
PRICES = st.integers(1, 10**12)


def evaluated(expression: pl.Expr, **columns: int) -> int:
    schema = dict.fromkeys(columns, pl.Int128)
    frame = pl.DataFrame({n: [v] for n, v in columns.items()}, schema=schema)
    return int(frame.select(expression.alias("x"))["x"][0])


@given(st.integers(-(10**36), 10**36), st.integers(1, 10**20))
def test_half_even_is_the_rounding_of_a_fraction(numerator: int, denominator: int) -> None:
    expected = round(Fraction(numerator, denominator))
    assert q.half_even(numerator, denominator) == expected
    assert evaluated(q.half_even_expr(pl.col("n"), denominator), n=numerator) == expected


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**6))
def test_half_even_of_ties(whole: int, half: int) -> None:
    """Numerators at exactly half: the case that a wrong rounding gets wrong."""
    numerator = (2 * whole + 1) * half
    assert q.half_even(numerator, 2 * half) == round(Fraction(numerator, 2 * half))
    expression = q.half_even_expr(pl.col("n"), 2 * half)
    assert evaluated(expression, n=numerator) == q.half_even(numerator, 2 * half)


@given(UNITS, PRICES)
def test_consideration_is_exact(units: int, price: int) -> None:
    expected = round(Fraction(units, 10**6) * Fraction(price, 10**6) * 100)
    assert q.consideration(units, price) == expected
    assert evaluated(q.consideration_expr(pl.col("u"), pl.col("p")), u=units, p=price) == expected


@given(st.integers(0, 10**13), st.integers(1, 10**10), st.integers(0, 999_999_999))
def test_stressed_cost_is_exact(units: int, price: int, stress: int) -> None:
    product = Fraction(units, 10**6) * Fraction(price, 10**6) * (1 + Fraction(stress, 10**8))
    expected = round(product * 100) + 1
    assert q.stressed_cost(units, price, stress) == expected
    expression = q.stressed_cost_expr(pl.col("u"), pl.col("p"), pl.col("s"))
    assert evaluated(expression, u=units, p=price, s=stress) == expected


WEIGHTS = st.lists(st.integers(0, 10**6) | st.sampled_from([1, 1, 1, 7]), min_size=1, max_size=12)


def shared(groups: dict[str, tuple[int, list[int]]], batch: str) -> dict[tuple[str, int], int]:
    schema = {
        "g": pl.String,
        "batch_id": pl.String,
        "order_id": pl.String,
        "t": pl.Int128,
        "w": pl.Int128,
    }
    rows = [
        (g, batch, f"{g}{n}", total, w)
        for g, (total, weights) in groups.items()
        for n, w in enumerate(weights)
    ]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    out = split(frame, ["g"], "t", "w", "share")
    return {(o[0], int(o[1:])): s for o, s in out.select("order_id", "share").iter_rows()}


def largest_remainder(group: str, total: int, weights: list[int], batch: str) -> list[int]:
    """Share by fractions alone."""
    whole = sum(weights)
    exact = [Fraction(total * w, whole) if whole else Fraction(0) for w in weights]
    floors = [trunc(x) for x in exact]
    ties = [hashlib.sha256(f"{batch}:{group}{n}".encode()).hexdigest() for n in range(len(weights))]
    ranked = sorted(range(len(weights)), key=lambda n: (floors[n] - exact[n], ties[n]))
    for n in ranked[: total - sum(floors)]:
        floors[n] += 1
    return floors


@given(
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 10**12), WEIGHTS), min_size=1),
    st.text("0123456789-live", max_size=8),
)
def test_split_is_the_largest_remainder_method(
    groups: dict[str, tuple[int, list[int]]], batch: str
) -> None:
    groups = {g: (t if sum(w) else 0, w) for g, (t, w) in groups.items()}
    found = shared(groups, batch)
    for group, (total, weights) in groups.items():
        mine = [found[group, n] for n in range(len(weights))]
        assert sum(mine) == total
        assert mine == largest_remainder(group, total, weights, batch)
        for share, weight in zip(mine, weights, strict=True):
            exact = Fraction(total * weight, sum(weights) or 1)
            assert exact - 1 < share < exact + 1
