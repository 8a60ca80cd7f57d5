"""Batches, their lines and instructions (rules §6)."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.numbers import ZERO
from tests.reference.orders import Order

if TYPE_CHECKING:
    from tests.reference.world import World


@dataclass(frozen=True)
class Figures:
    """What a complete line is booked with (rules §7)."""

    filled: Fraction  # units confirmed
    confirmed: Fraction  # consideration confirmed
    crossed_money: Fraction  # CX


@dataclass(eq=False)
class Line:
    """One (custodian, asset, quantity type) of a batch, with what became of it."""

    book: str
    batch_id: str
    batch_date: date
    custodian: str
    cash_custodian: str  # of the day the line is dealt (ADR 12)
    asset: str
    quantity_type: str
    decimals: int
    settlement_date: date
    orders: list[Order]
    crossed: Fraction = ZERO
    net: Fraction = ZERO
    side: str = ""
    instruction_id: str = ""
    events: set[str] = field(default_factory=set)  # confirmations that name its instruction
    booked: Figures | None = None
    settled: bool = False
    settled_on: date | None = None  # the effective date of its settlement
    settled_run: date | None = None
    settled_amended: bool = False  # a `settled` event was amended after it had settled
    mispriced: set[str] = field(default_factory=set)  # confirmations with a break of their own

    def __post_init__(self) -> None:
        """Unit lines cross their smaller side; only the net goes out (rules §6)."""
        gross = {"B": ZERO, "S": ZERO}
        for order in self.orders:
            gross[order.side] += order.units if self.quantity_type == "U" else order.amount
        self.crossed = min(gross.values())
        self.net = abs(gross["B"] - gross["S"])
        if self.net:
            self.side = "B" if gross["B"] > gross["S"] else "S"
            self.instruction_id = (
                f"{self.batch_id}-{self.custodian}-{self.asset}-{self.side}-{self.quantity_type}"
            )

    @property
    def external(self) -> bool:
        """Whether anything was executed outside, so that `settled` events must cover it."""
        return self.booked is not None and bool(self.booked.filled or self.booked.confirmed)

    @property
    def ended(self) -> bool:
        """Booked, and settled or with nothing to settle."""
        return self.booked is not None and (self.settled or not (self.external or self.crossed))


def deal(world: "World") -> None:
    """One batch per date and book, of every accepted trade order of T (rules §6)."""
    members: dict[tuple[str, str, str, str], list[Order]] = defaultdict(list)
    for order in world.today.admitted:
        book = world.pots[order.pot_id].book
        version = world.version(order.asset)
        custodian = "CANARY" if book == "canary" else version.custodian
        members[book, custodian, order.asset, order.quantity_type].append(order)
    for (book, custodian, asset, quantity_type), orders in sorted(members.items()):
        version = world.version(asset)
        line = Line(
            book=book,
            batch_id=f"B-{world.run_date}-{book}",
            batch_date=world.run_date,
            custodian=custodian,
            cash_custodian=world.cash_custodian(book),
            asset=asset,
            quantity_type=quantity_type,
            decimals=version.decimals,
            settlement_date=world.settlement_date(version),
            orders=sorted(orders, key=lambda order: order.order_id),
        )
        _place(world, line)


def _place(world: "World", line: Line) -> None:
    """Seal and dispatch: only the net leaves, and a net of zero still makes a line (rules §6)."""
    for order in line.orders:
        if order.line is not None:
            world.violations.append(f"5: {order.order_id} is in two batches")
        order.line = line
        world.move(order, "batched")
        world.move(order, "placed")
    world.open_lines[line] = None
    world.priced_lines.setdefault((line.batch_date, line.asset), []).append(line)
    if line.net:
        world.lines[line.instruction_id] = line
        world.landing.instruction_decimals[line.instruction_id] = line.decimals
        in_units = line.quantity_type == "U"
        world.today.instructions[line.instruction_id] = (
            line.net if in_units else None,
            None if in_units else line.net,
        )
