"""What goes wrong on purpose, and on which dates.

Business dates from the first on are counted in blocks of ten; every block has its partial
fills, one rejection, one wrong holding and one late statement, on slots drawn from the seed. A
longer simulation therefore begins exactly as a shorter one.
"""

from __future__ import annotations

from datetime import date

from simulator.calendars import Calendar
from simulator.draws import Draws, between, draws
from simulator.scheme import CUSTODIANS

_BLOCK = 10
_PARTIAL_SLOTS = (0, 1, 2, 5)


class Plan:
    """The planted events of each business date; before ``first`` there is none."""

    def __init__(self, seed: int, first: date, calendar: Calendar) -> None:
        self._seed = seed
        self._first = first
        self._calendar = calendar

    def _place(self, day: date) -> tuple[int, Draws]:
        """The slot of ``day`` in its block (-1 before the first date), and the block's draws."""
        count = len(self._calendar.dates(self._first, day))
        block, slot = divmod(count - 1, _BLOCK)
        return (slot if count else -1), draws(self._seed, "planted", block)

    def partial_fill(self, day: date) -> bool:
        """Whether each custodian fills one instruction of dealing date ``day`` in parts."""
        slot, _ = self._place(day)
        return slot in _PARTIAL_SLOTS

    def rejects(self, day: date) -> str | None:
        """The custodian that rejects one instruction of dealing date ``day``."""
        slot, drawn = self._place(day)
        return CUSTODIANS[drawn[1] % 2] if slot == between(drawn[0], 3, 7) else None

    def wrong_holding(self, day: date) -> str | None:
        """The custodian whose statement of ``day`` has one holding wrong."""
        slot, drawn = self._place(day)
        return CUSTODIANS[drawn[3] % 2] if slot == between(drawn[2], 2, 3) else None

    def late_statement(self, day: date) -> str | None:
        """The custodian whose statement of ``day`` arrives a business date late."""
        slot, drawn = self._place(day)
        return CUSTODIANS[drawn[5] % 2] if slot == between(drawn[4], 5, 7) else None
