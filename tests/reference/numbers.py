"""Exact numbers (rules §1): money, truncation, the split by largest remainder."""

import hashlib
from collections.abc import Callable
from fractions import Fraction

ZERO = Fraction(0)
PENNY = Fraction(1, 100)
MILLIONTH = Fraction(1, 10**6)


def money(value: Fraction) -> Fraction:
    """Round half-even to 2 decimals (rules §1); `round` of a fraction is half-even."""
    return Fraction(round(value * 100), 100)


def trunc(value: Fraction, decimals: int) -> Fraction:
    """Cut a quotient towards zero at so many decimals (rules §1)."""
    scale = 10**decimals
    return Fraction(int(value * scale), scale)


def fits(value: Fraction, decimals: int) -> bool:
    """Whether a number has no more than so many decimals."""
    return (value * 10**decimals).denominator == 1


def tie_hash(batch_id: str, order_id: str) -> str:
    """What decides between equal remainders: the lowest wins (rules §1)."""
    return hashlib.sha256(f"{batch_id}:{order_id}".encode()).hexdigest()


def split(
    total: Fraction, weights: dict[str, Fraction], unit: Fraction, tie: Callable[[str], str]
) -> dict[str, Fraction]:
    """A total over weights by largest remainder in minor units (rules §1).

    Exact pro rata share, floor, then one minor unit each to the largest fractional remainders.
    """
    whole = sum(weights.values(), ZERO)
    if total == 0 or whole == 0:
        return dict.fromkeys(weights, ZERO)
    if (total / unit).denominator != 1:
        # Only an event that landed before its instruction existed can be finer than the asset.
        unit = MILLIONTH
    minor = total / unit
    shares = {key: minor * weight / whole for key, weight in weights.items()}
    parts = {key: share.numerator // share.denominator for key, share in shares.items()}
    left = int(minor) - sum(parts.values())
    ranked = sorted(shares, key=lambda key: (parts[key] - shares[key], tie(key)))
    for key in ranked[:left]:
        parts[key] += 1
    return {key: part * unit for key, part in parts.items()}
