"""Chance that repeats: integers that depend on their key alone, on any machine, in any order."""

from __future__ import annotations

import hashlib
import struct

_WORDS = struct.Struct(">16I")

Draws = tuple[int, ...]


def draws(*key: object) -> Draws:
    """Sixteen integers below 2**32, fixed by the text of ``key``."""
    text = "|".join(str(part) for part in key)
    return _WORDS.unpack(hashlib.blake2b(text.encode(), digest_size=64).digest())


def between(draw: int, low: int, high: int) -> int:
    """``draw`` brought into ``low..high``, both included."""
    return low + draw % (high - low + 1)
