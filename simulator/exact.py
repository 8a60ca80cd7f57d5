"""Whole numbers of minor units: text to integer, integer to text, and the one rounding."""

from __future__ import annotations

MONEY_DECIMALS = 2
PRICE_DECIMALS = 6


def parse_fixed(text: str, decimals: int) -> int:
    """The decimal ``text`` as an integer count of ``10**-decimals``; ``ValueError`` otherwise."""
    sign = -1 if text.startswith("-") else 1
    whole, point, fraction = text.removeprefix("-").partition(".")
    digits = whole + fraction
    if not (whole and digits.isascii() and digits.isdigit()) or bool(point) != bool(fraction):
        msg = f"expected a decimal number, got {text!r}"
        raise ValueError(msg)
    if len(fraction) > decimals:
        msg = f"expected at most {decimals} decimals, got {text!r}"
        raise ValueError(msg)
    return sign * int(digits) * int(10 ** (decimals - len(fraction)))


def format_fixed(value: int, decimals: int) -> str:
    """``value`` minor units as text with exactly ``decimals`` digits after the point."""
    sign = "-" if value < 0 else ""
    if decimals == 0:
        return f"{sign}{abs(value)}"
    whole, fraction = divmod(abs(value), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}"


def half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` rounded to an integer, ties to the even neighbour."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient


def cost(units: int, unit_decimals: int, price: int) -> int:
    """Units times price (``10**-6``) in cents, rounded half-even."""
    return half_even(units * price, 10 ** (unit_decimals + PRICE_DECIMALS - MONEY_DECIMALS))


def units_for(amount: int, unit_decimals: int, price: int) -> int:
    """The units that ``amount`` cents buy at ``price`` (``10**-6``), truncated."""
    return amount * int(10 ** (unit_decimals + PRICE_DECIMALS - MONEY_DECIMALS)) // price
