"""The one rounding, what a column holds and the bounds (`rules §1`)."""

from decimal import Decimal

import polars as pl
import pytest

from acme.domain import quantities as q

HALF_EVEN = [
    (0, 10, 0),
    (4, 10, 0),
    (5, 10, 0),
    (6, 10, 1),
    (14, 10, 1),
    (15, 10, 2),
    (16, 10, 2),
    (25, 10, 2),
    (26, 10, 3),
    (35, 10, 4),
    (45, 10, 4),
    (-4, 10, 0),
    (-5, 10, 0),
    (-6, 10, -1),
    (-14, 10, -1),
    (-15, 10, -2),
    (-16, 10, -2),
    (-25, 10, -2),
    (-26, 10, -3),
    (-35, 10, -4),
    # An odd denominator has no ties.
    (1, 3, 0),
    (2, 3, 1),
    (-1, 3, 0),
    (-2, 3, -1),
    (4, 7, 1),
    (3, 7, 0),
    (7, 7, 1),
    (-7, 7, -1),
    (1, 1, 1),
    (-1, 1, -1),
    (1, 2, 0),
    (3, 2, 2),
    (-1, 2, 0),
    (-3, 2, -2),
    # Beyond 64 bits, and beyond what a float can tell apart.
    (10**30 + 5, 10, 10**29),
    (10**30 + 15, 10, 10**29 + 2),
    (-(10**30) - 5, 10, -(10**29)),
    (2 * 10**30 + 1, 2, 10**30),
    (2 * 10**30 + 3, 2, 10**30 + 2),
]


def evaluated(expression: pl.Expr, **columns: int) -> int:
    frame = pl.DataFrame(
        {n: [v] for n, v in columns.items()}, schema=dict.fromkeys(columns, pl.Int128)
    )
    return int(frame.select(expression.alias("x"))["x"][0])


@pytest.mark.parametrize(("numerator", "denominator", "expected"), HALF_EVEN)
def test_half_even(numerator: int, denominator: int, expected: int) -> None:
    assert q.half_even(numerator, denominator) == expected
    assert evaluated(q.half_even_expr(pl.col("n"), denominator), n=numerator) == expected


MONEY = [
    ("1.0000", "1.000000", "1.00"),
    ("12.3450", "1.000000", "12.34"),  # a tie goes to the even penny
    ("12.3550", "1.000000", "12.36"),
    ("12.345001", "1.000000", "12.35"),
    ("-12.3450", "1.000000", "-12.34"),
    ("-12.3550", "1.000000", "-12.36"),
    ("0.0050", "1.000000", "0.00"),
    ("0.0150", "1.000000", "0.02"),
    ("0.000001", "0.000001", "0.00"),
    ("3.3333", "14.285714", "47.62"),  # 47.6185704762
]


@pytest.mark.parametrize(("units", "price", "expected"), MONEY)
def test_consideration(units: str, price: str, expected: str) -> None:
    u, p = (int(Decimal(x).scaleb(6)) for x in (units, price))
    assert q.consideration(u, p) == int(Decimal(expected).scaleb(2))
    assert evaluated(q.consideration_expr(pl.col("u"), pl.col("p")), u=u, p=p) == q.consideration(
        u, p
    )


def test_consideration_of_the_largest_units() -> None:
    # 999999999999.999999 x 1.000001 = 1000000999999.999998999999, and in pence half-even:
    assert q.consideration(999_999_999_999_999_999, 1_000_001) == 100_000_100_000_000
    found = evaluated(
        q.consideration_expr(pl.col("u"), pl.col("p")), u=999_999_999_999_999_999, p=1_000_001
    )
    assert found == 100_000_100_000_000


STRESSED = [
    # units, price, stress at 6, 6 and 8 decimals; pence
    (10_000_000, 2_500_000, 10_000_000, 2751),  # 10 x 2.50 x 1.1 = 27.50, and a penny
    (1_000_000, 1_000_000, 500_000, 101),  # 1.005: the tie goes to 1.00
    (1_000_000, 1_000_000, 1_500_000, 103),  # 1.015: the tie goes to 1.02
    (1_000_000, 1_000_000, 500_001, 102),  # just above the tie
    (0, 1_000_000, 10_000_000, 1),
    (3_333_300, 14_285_714, 0, 4763),
    (1_000_000, 1_000_000, 900_000_000, 1001),  # a stress above 1
]


@pytest.mark.parametrize(("units", "price", "stress", "expected"), STRESSED)
def test_stressed_cost(units: int, price: int, stress: int, expected: int) -> None:
    assert q.stressed_cost(units, price, stress) == expected
    expression = q.stressed_cost_expr(pl.col("u"), pl.col("p"), pl.col("s"))
    assert evaluated(expression, u=units, p=price, s=stress) == expected


def test_quanta() -> None:
    assert [q.unit_quantum(d) for d in range(7)] == [10**6, 10**5, 10**4, 1000, 100, 10, 1]
    frame = pl.DataFrame({"d": [0, 4, 6]}, schema={"d": pl.Int32})
    assert frame.select(q.unit_quantum_expr(pl.col("d")))["d"].to_list() == [10**6, 100, 1]
    with pytest.raises(pl.exceptions.InvalidOperationError):
        pl.DataFrame({"d": [7]}, schema={"d": pl.Int32}).select(q.unit_quantum_expr(pl.col("d")))


def test_minor_units_and_back() -> None:
    frame = pl.DataFrame({"x": [Decimal("-12.345600"), None]}, schema={"x": pl.Decimal(18, 6)})
    minor = frame.select(q.minor("x"))
    assert minor["x"].to_list() == [-12_345_600, None]
    assert minor.select(q.as_decimal(pl.col("x"), q.UNITS))["x"].to_list() == [
        Decimal("-12.345600"),
        None,
    ]
    doubled = frame.select(q.minor(pl.col("x") + pl.col("x")))
    assert doubled["x"].to_list() == [-24_691_200, None]
    assert evaluated(q.cash_to_quantity("p"), p=-1234) == -12_340_000
    assert evaluated(q.cash_to_quantity(-1 * pl.col("p")), p=-1234) == 12_340_000


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("UNITS", "999999999999.999999"),
        ("PRICE", "999999999999.999999"),
        ("CASH", "9999999999999999.99"),
        ("RATIO", "9.99999999"),
        # Ledger quantities: units or cash at 6 decimals, of all members together.
        ("QUANTITY", "9999999999999999999999.999999"),
    ],
)
def test_what_a_column_holds_at_most(name: str, largest: str) -> None:
    dtype = getattr(q, name)
    minor = int(largest.replace(".", ""))
    for value in (minor, -minor):
        frame = pl.DataFrame({"x": [value]}, schema={"x": pl.Int128})
        found = frame.select(q.as_decimal(pl.col("x"), dtype))["x"].item()
        assert found == Decimal(largest).copy_sign(value)
    beyond = pl.DataFrame({"x": [minor + 1]}, schema={"x": pl.Int128})
    with pytest.raises(pl.exceptions.PolarsError):
        beyond.select(q.as_decimal(pl.col("x"), dtype))


def test_bounds() -> None:
    q.assert_bounds("edge", 2**127 - 1)
    q.assert_bounds("zero", 0, 2**126)
    with pytest.raises(q.QuantityOverflowError, match="too far"):
        q.assert_bounds("too far", 2**127)
    with pytest.raises(q.QuantityOverflowError):
        q.assert_bounds("negative factors count as well", -(2**64), 2**63)


def test_largest() -> None:
    frame = pl.DataFrame(
        {
            "d": [Decimal("-3.50"), None, Decimal("2.00")],
            "i": [5, -9, 3],
            "p": [1, -2, 7],
            "n": [None, None, None],
        },
        schema={"d": pl.Decimal(18, 2), "i": pl.Int128, "p": pl.Int128, "n": pl.Int128},
    )
    assert [q.largest(frame, c) for c in "dipn"] == [350, 9, 7, 0]
    assert q.largest(frame.clear(), "d") == 0
