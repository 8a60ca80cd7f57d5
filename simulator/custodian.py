"""The two custodians: they execute, settle, and keep books of what has settled.

An instruction of dealing date D is executed at the true closing price of D. The cash of both is
one account at the custodian of the currency, so they settle against one record of cash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from simulator.calendars import Calendar
from simulator.draws import between, draws
from simulator.exact import PRICE_DECIMALS, cost, parse_fixed, units_for
from simulator.instructions import Instruction, read_cash, read_instructions
from simulator.other_processes import Incomes
from simulator.planted import Plan
from simulator.scheme import ASSETS, CURRENCY, CUSTODIANS, Row, written

_PARTIAL_PER_CENT = 12
_REJECTED_PER_MILLE = 2


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the feed ``confirmations``; quantities in minor units, ``None`` = empty."""

    confirmation_id: str
    instruction: Instruction
    kind: str
    event_date: date
    units: int | None
    consideration: int | None
    price: str = ""
    settlement_date: date | None = None

    def row(self) -> Row:
        """The event as it is sent."""
        asset_id = self.instruction.asset_id
        return (
            self.confirmation_id,
            self.instruction.instruction_id,
            self.kind,
            self.event_date.isoformat(),
            "" if self.units is None else written(self.units, asset_id),
            self.price,
            "" if self.consideration is None else written(self.consideration, CURRENCY),
            "" if self.settlement_date is None else self.settlement_date.isoformat(),
            "",
        )


@dataclass(frozen=True, slots=True)
class Close:
    """The close of one business date: what happened on it, and what is held after it."""

    events: Mapping[str, tuple[Event, ...]]
    """By custodian."""
    holdings: Mapping[str, int]
    """By asset, in minor units, settled."""


class Custodians:
    """Both custodians' books, from the opening holdings on, one business date after the other.

    ``price_text(date, asset_id)`` is the true closing price. Nothing is kept on disk: a new
    process reads the outbox again from ``first`` and arrives at the same books. With ``incomes``
    funds pay income, in cash.
    """

    def __init__(
        self,
        *,
        outbox: Path,
        seed: int,
        first: date,
        calendar: Calendar,
        price_text: Callable[[date, str], str],
        opening: Mapping[str, int],
        incomes: Incomes | None = None,
    ) -> None:
        self.plan = Plan(seed, first, calendar)
        self._outbox = outbox
        self._seed = seed
        self._calendar = calendar
        self._price_text = price_text
        self._incomes = incomes
        self._books = dict(opening)
        self._coming: dict[date, list[Event]] = {}
        self._rejections_due: set[str] = set()
        self._done = calendar.prev(first)
        self._closes = {self._done: Close(dict.fromkeys(CUSTODIANS, ()), dict(opening))}

    def close(self, day: date) -> Close:
        """The close of a business date from the one before ``first`` on.

        Raises ``OutboxError`` where a date up to ``day`` was not dispatched or is damaged.
        """
        while self._done < day:
            self._advance(self._calendar.next(self._done))
        return self._closes[day]

    def _advance(self, day: date) -> None:
        # All files are read before anything changes: a failure leaves the books as they were.
        read = {one: read_instructions(self._outbox, one, day) for one in CUSTODIANS}
        moved = read_cash(self._outbox, day)
        for custodian_id, instructions in read.items():
            for event in self._answers(custodian_id, day, instructions):
                self._coming.setdefault(event.event_date, []).append(event)
        self._books[CURRENCY] += moved + self._income(day)
        happened = self._coming.pop(day, [])
        for event in happened:
            if event.kind == "settled":
                self._settle(event)
        events = {
            custodian_id: tuple(
                event
                for event in happened
                if ASSETS[event.instruction.asset_id].custodian_id == custodian_id
            )
            for custodian_id in CUSTODIANS
        }
        self._closes[day] = Close(events, dict(self._books))
        self._done = day

    def _income(self, day: date) -> int:
        """What funds pay on ``day`` for what was held at the close before the ex date, in cents."""
        income = self._incomes.paid_on(day) if self._incomes is not None else None
        if income is None:
            return 0
        held = self._closes[self._calendar.prev(income.ex_date)].holdings
        return income.total(held[income.asset_id])

    def _settle(self, event: Event) -> None:
        sign = 1 if event.instruction.side == "B" else -1
        self._books[event.instruction.asset_id] += sign * (event.units or 0)
        self._books[CURRENCY] -= sign * (event.consideration or 0)

    def _answers(
        self, custodian_id: str, day: date, instructions: list[Instruction]
    ) -> Iterator[Event]:
        """Everything that will ever be said about the instructions of ``day``."""
        by_chance = sorted(
            instructions, key=lambda one: draws(self._seed, "pick", one.instruction_id)
        )
        rejected, partial = None, None
        if self.plan.rejects(day) == custodian_id:
            self._rejections_due.add(custodian_id)
        if by_chance and custodian_id in self._rejections_due:
            # A planned rejection waits for the first date with something to reject.
            self._rejections_due.remove(custodian_id)
            rejected = by_chance.pop()
        if by_chance and self.plan.partial_fill(day):
            partial = by_chance[0]
        for instruction in instructions:
            drawn = draws(self._seed, "answer", instruction.instruction_id)
            if instruction is rejected or drawn[0] % 1_000 < _REJECTED_PER_MILLE:
                yield _rejection(instruction)
            elif instruction is partial or drawn[1] % 100 < _PARTIAL_PER_CENT:
                yield from self._executions(instruction, parts=2 + drawn[2] % 2)
            else:
                yield from self._executions(instruction, parts=1)

    def _executions(self, instruction: Instruction, parts: int) -> Iterator[Event]:
        """The executions, in up to ``parts`` parts, and their settlement.

        Of several parts the last is executed on the next business date, the others on D.
        """
        day, asset = instruction.dealing_date, ASSETS[instruction.asset_id]
        price = self._price_text(day, instruction.asset_id)
        settles = self._calendar.step(day, asset.settlement_days)
        fills = self._fills(instruction, parse_fixed(price, PRICE_DECIMALS), parts)
        executions = [
            Event(
                confirmation_id=f"{instruction.instruction_id}-E{number}",
                instruction=instruction,
                kind="executed",
                event_date=self._calendar.next(day) if 1 < number == len(fills) else day,
                units=units,
                consideration=consideration,
                price=price,
                settlement_date=settles,
            )
            for number, (units, consideration) in enumerate(fills, start=1)
        ]
        yield from executions
        yield from self._settlements(instruction, executions, settles)

    def _settlements(
        self, instruction: Instruction, executions: list[Event], settles: date
    ) -> Iterator[Event]:
        """One event for every execution, or one for all of them."""
        if draws(self._seed, "settlement", instruction.instruction_id)[0] % 2:
            parts = [(event.units or 0, event.consideration or 0) for event in executions]
        else:
            parts = [
                (
                    sum(event.units or 0 for event in executions),
                    sum(event.consideration or 0 for event in executions),
                )
            ]
        for number, (units, consideration) in enumerate(parts, start=1):
            yield Event(
                confirmation_id=f"{instruction.instruction_id}-S{number}",
                instruction=instruction,
                kind="settled",
                event_date=settles,
                units=units,
                consideration=consideration,
                settlement_date=settles,
            )

    def _fills(self, instruction: Instruction, price: int, parts: int) -> list[tuple[int, int]]:
        """Units and consideration of each part; one part where the quantity is too small.

        The parts of the instructed quantity sum to it. On an amount line the units of all parts
        are those of the whole amount.
        """
        decimals = ASSETS[instruction.asset_id].unit_decimals
        quantities = self._parts(instruction, parts)
        if instruction.quantity_type == "U":
            fills = [(units, cost(units, decimals, price)) for units in quantities]
        else:
            units = [units_for(amount, decimals, price) for amount in quantities]
            units[-1] = units_for(instruction.quantity, decimals, price) - sum(units[:-1])
            fills = list(zip(units, quantities, strict=True))
        if parts > 1 and any(units <= 0 or money <= 0 for units, money in fills):
            return self._fills(instruction, price, 1)
        return fills

    def _parts(self, instruction: Instruction, parts: int) -> list[int]:
        """The instructed quantity in ``parts`` parts of different size."""
        drawn = draws(self._seed, "parts", instruction.instruction_id)
        rest, quantities = instruction.quantity, []
        for number in range(parts - 1):
            quantities.append(rest * between(drawn[number], 25, 70) // 100)
            rest -= quantities[-1]
        return [*quantities, rest]


def _rejection(instruction: Instruction) -> Event:
    """The whole instruction rejected on its dealing date; the rest it ends is all of it."""
    in_units = instruction.quantity_type == "U"
    return Event(
        confirmation_id=f"{instruction.instruction_id}-R1",
        instruction=instruction,
        kind="rejected",
        event_date=instruction.dealing_date,
        units=instruction.quantity if in_units else None,
        consideration=None if in_units else instruction.quantity,
    )
