"""Orders, their states, and pots (rules §4)."""

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Optional

from tests.reference.numbers import ZERO

if TYPE_CHECKING:
    from tests.reference.batching import Line

OWN_SOURCES = frozenset({"rebalancing", "switch", "withdrawal", "opening"})
TERMINAL = frozenset({"settled", "rejected", "cancelled"})
TRADES = frozenset({"buy", "sell", "switch"})

# rules §4: what an order may do; the last lines are what a correction alone may do (ADR 12).
MOVES = {
    ("", "received"),
    ("received", "accepted"),
    ("received", "rejected"),
    ("accepted", "settled"),
    ("accepted", "rejected"),
    ("accepted", "batched"),
    ("batched", "placed"),
    *((at, to) for at in ("placed", "unknown") for to in ("executed", "part_executed", "rejected")),
    ("placed", "unknown"),
    ("executed", "settled"),
    ("part_executed", "settled"),
}
CORRECTIONS = {
    (at, to)
    for at in ("settled", "rejected", "executed", "part_executed")
    for to in ("executed", "part_executed", "rejected")
    if at != to
}


def order_id_of(source: str, source_ref: str) -> str:
    """First 32 hexadecimal digits of SHA-256 of source, line feed, source_ref (rules §4)."""
    return hashlib.sha256(f"{source}\n{source_ref}".encode()).hexdigest()[:32]


@dataclass(eq=False)
class Order:
    """An order of a third party or of our own."""

    source: str
    source_ref: str
    received_at: datetime
    dealing_date: date
    pot_id: str
    kind: str
    asset: str | None = None
    to_asset: str | None = None
    units: Fraction | None = None
    amount: Fraction | None = None
    profile: str | None = None
    state: str = ""
    reason: str = ""
    # A trade: whether a reserve stands behind it, its line, what it was allocated, its postings.
    reserves: bool = False
    line: Optional["Line"] = None
    got_units: Fraction = ZERO
    got_money: Fraction = ZERO
    execution: list = field(default_factory=list)
    settlement: list = field(default_factory=list)
    price_seen: Fraction | None = None
    stress_seen: Fraction = ZERO
    # A switch: the proceeds as first booked, for which its buy is made.
    proceeds: Fraction | None = None
    # A withdrawal: what it has reserved so far.
    held: Fraction = ZERO

    def __post_init__(self) -> None:
        self.order_id = order_id_of(self.source, self.source_ref)

    @property
    def side(self) -> str:
        """B buys, S sells; a switch is a sale (rules §4)."""
        return "B" if self.kind == "buy" else "S"

    @property
    def quantity_type(self) -> str:
        """U for a trade in units, A for one in an amount (rules §6)."""
        return "U" if self.amount is None else "A"

    @property
    def booked(self) -> bool:
        """Whether its line has been booked."""
        return self.line is not None and self.line.booked is not None

    @property
    def third_party(self) -> bool:
        """Whether it came from outside."""
        return self.source not in OWN_SOURCES

    @property
    def age_key(self) -> tuple[date, datetime, str]:
        """Oldest first: by dealing date, received_at, order_id (rules §4)."""
        return self.dealing_date, self.received_at, self.order_id


@dataclass(eq=False)
class Pot:
    """A pot with what is open in it."""

    pot_id: str
    book: str
    profile: str
    opened_on: date
    status: str = "open"
    trades: dict[str, Order] = field(default_factory=dict)  # not in a terminal state
    waiting: dict[str, Order] = field(default_factory=dict)  # switch sales whose buy is to come
    withdrawals: list[Order] = field(default_factory=list)  # open, of an amount
    whole: Order | None = None  # the open withdrawal of *all*
    reprofiled: date | None = None
    causes: set[str] = field(default_factory=set)  # why its cash may be below zero (rules §8.3)

    @property
    def account(self) -> str:
        """Its account in the ledger (rules §8)."""
        return f"pot/{self.pot_id}"
