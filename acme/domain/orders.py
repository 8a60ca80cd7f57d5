"""Orders: identity, kinds, states and their legal transitions (`rules §4`); decides none."""

from __future__ import annotations

import hashlib
from typing import Final

RESERVED_SOURCES: Final = frozenset({"rebalancing", "switch", "withdrawal", "opening"})

# The order in which the orders of a date are taken.
KIND_RANK: Final = {
    kind: rank
    for rank, kinds in enumerate(
        (("contribution", "profile_change"), ("sell", "switch"), ("buy",), ("withdrawal",))
    )
    for kind in kinds
}

TRANSITIONS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("received", "accepted"),
        ("received", "rejected"),
        ("received", "cancelled"),
        ("accepted", "batched"),
        ("accepted", "cancelled"),
        ("accepted", "settled"),
        ("accepted", "rejected"),
        ("batched", "placed"),
        ("placed", "unknown"),
        ("placed", "executed"),
        ("placed", "part_executed"),
        ("placed", "rejected"),
        ("unknown", "executed"),
        ("unknown", "part_executed"),
        ("unknown", "rejected"),
        ("executed", "settled"),
        ("part_executed", "settled"),
    }
)
# A corrected line is booked again, and its orders with it (`rules §7`): out of a terminal state
# too, but only for one of these reasons.
CORRECTION_REASONS: Final = ("corrected", "custodian_rejected")
CORRECTIONS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("executed", "part_executed"),
        ("executed", "rejected"),
        ("part_executed", "executed"),
        ("part_executed", "rejected"),
        ("rejected", "executed"),
        ("rejected", "part_executed"),
        ("settled", "executed"),
        ("settled", "part_executed"),
        ("settled", "rejected"),
    }
)
TERMINAL: Final = frozenset({"settled", "rejected", "cancelled"})


class IllegalTransitionError(ValueError):
    """An order was moved between two states that `TRANSITIONS` does not join."""


def order_id(source: str, source_ref: str) -> str:
    """Return the first 32 hexadecimal digits of SHA-256 of source, line feed, source_ref.

    Raises `ValueError` when either holds a line feed (`rules §4`).
    """
    if "\n" in source or "\n" in source_ref:
        raise ValueError(f"source and source_ref hold no line feed: {source!r}, {source_ref!r}")
    return hashlib.sha256(f"{source}\n{source_ref}".encode()).hexdigest()[:32]


def assert_transition(from_state: str, to_state: str) -> None:
    """Raise `IllegalTransitionError` unless the transition is legal."""
    if (from_state, to_state) not in TRANSITIONS:
        raise IllegalTransitionError(f"no order goes from {from_state!r} to {to_state!r}")
