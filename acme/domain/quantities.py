"""Exact arithmetic: scales, the one rounding, bounds. Nothing about orders or ledgers.

Quantities rest as decimals and are computed as integers of minor units (`rules §1`): units and
prices carry 6 decimals, cash 2, ratios (weights, bands, stresses) 8. Polars wraps 128-bit
products silently, so every product is preceded by `assert_bounds`.
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl

UNIT_DECIMALS_MAX = 6
PRICE_SCALE = 10**6
UNIT_SCALE = 10**6
CASH_SCALE = 10**2
RATIO_SCALE = 10**8
# Ledger quantities hold units and cash side by side, both with 6 decimals.
QUANTITY_SCALE = 10**6
QUANTITIES_PER_PENNY = QUANTITY_SCALE // CASH_SCALE
# units × price carries 12 decimals; a penny is 10^-2.
PRODUCT_PER_PENNY = UNIT_SCALE * PRICE_SCALE // CASH_SCALE
INT128_MAX = 2**127 - 1

UNITS = pl.Decimal(18, 6)
PRICE = pl.Decimal(18, 6)
CASH = pl.Decimal(18, 2)
RATIO = pl.Decimal(9, 8)
QUANTITY = pl.Decimal(28, 6)


class QuantityOverflowError(ArithmeticError):
    """A product or sum would leave the 128-bit range; nothing was computed."""


def half_even(numerator: int, denominator: int) -> int:
    """Round `numerator / denominator` half-even to an integer (`rules §1`, the one rounding)."""
    quotient, remainder = divmod(numerator, denominator)
    return quotient + (2 * remainder + (quotient & 1) > denominator)


def half_even_expr(numerator: pl.Expr, denominator: int) -> pl.Expr:
    """Return `half_even` as an expression over Int128 columns."""
    quotient = numerator // denominator
    remainder = numerator - quotient * denominator
    return quotient + (2 * remainder + quotient % 2 > denominator).cast(pl.Int128)


def consideration(units: int, price: int) -> int:
    """Return `money(units × price)` in pence, from units and price at 6 decimals (`rules §1`)."""
    return half_even(units * price, PRODUCT_PER_PENNY)


def consideration_expr(units: pl.Expr, price: pl.Expr) -> pl.Expr:
    """Return `consideration` as an expression over Int128 columns."""
    return half_even_expr(units * price, PRODUCT_PER_PENNY)


def stressed_cost(units: int, price: int, stress: int) -> int:
    """Return `money(units·price·(1+stress)) + 0.01` in pence (`rules §5.4`)."""
    product = units * price * (RATIO_SCALE + stress)
    return half_even(product, PRODUCT_PER_PENNY * RATIO_SCALE) + 1


def stressed_cost_expr(units: pl.Expr, price: pl.Expr, stress: pl.Expr) -> pl.Expr:
    """Return `stressed_cost` as an expression over Int128 columns."""
    product = units * price * (RATIO_SCALE + stress)
    return half_even_expr(product, PRODUCT_PER_PENNY * RATIO_SCALE) + 1


def unit_quantum(unit_decimals: int) -> int:
    """Return one minor unit of an asset, in units at 6 decimals."""
    return int(10 ** (UNIT_DECIMALS_MAX - unit_decimals))


def unit_quantum_expr(unit_decimals: pl.Expr) -> pl.Expr:
    """Return `unit_quantum` as an Int128 expression."""
    quanta = {d: unit_quantum(d) for d in range(UNIT_DECIMALS_MAX + 1)}
    return unit_decimals.replace_strict(quanta, return_dtype=pl.Int128)


def minor(column: str | pl.Expr) -> pl.Expr:
    """Return a decimal column as Int128 minor units of its own scale."""
    expression = pl.col(column) if isinstance(column, str) else column
    return expression.to_physical().cast(pl.Int128)


def as_decimal(expression: pl.Expr, dtype: pl.Decimal) -> pl.Expr:
    """Turn Int128 minor units into decimals of `dtype`; a value too wide for it raises."""
    unit = pl.lit(Decimal(1).scaleb(-dtype.scale), dtype=pl.Decimal(scale=dtype.scale))
    return (expression.cast(pl.Decimal()) * unit).cast(dtype)


def cash_to_quantity(column: str | pl.Expr) -> pl.Expr:
    """Return pence as Int128 ledger quantity (6 decimals)."""
    expression = pl.col(column) if isinstance(column, str) else column
    return expression * QUANTITIES_PER_PENNY


def assert_bounds(what: str, *factors: int) -> None:
    """Raise `QuantityOverflowError` when the product of the largest factors leaves 128 bits."""
    product = 1
    for factor in factors:
        product *= max(abs(factor), 1)
    if product > INT128_MAX:
        message = f"{what}: a product of {' × '.join(str(f) for f in factors)} exceeds 128 bits"
        raise QuantityOverflowError(message)


def largest(frame: pl.DataFrame, column: str) -> int:
    """Return the largest absolute minor-unit value of a decimal or Int128 column (0 if empty)."""
    value = frame[column].to_physical().abs().max()
    return 0 if value is None else int(value)  # type: ignore[arg-type]
