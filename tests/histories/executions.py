"""How a custodian answers one instruction: every way to execute, correct and settle it.

A method of `Executions` for each kind of answer; each plans events as rows of the feed
`confirmations` with the date before whose run they land.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from acme.domain.calendars import Calendars
from tests.histories.chance import Chance
from tests.histories.world import Asset, Row

PENNY = Decimal("0.01")
# How often each kind of answer is drawn, relative to the others.
EXECUTIONS = {
    "filled": 45.0,
    "filled_in_parts": 12.0,
    "part_filled_rest_cancelled": 4.0,
    "part_filled_rest_rejected": 2.0,
    "rejected": 3.0,
    "silent": 1.5,
    "answered_late": 2.0,
    "rejected_late": 1.0,
    "over_confirmed": 1.0,
    "over_confirmed_then_amended": 1.5,
    "off_price": 2.0,
    "off_sum": 1.0,
    "units_not_what_the_amount_buys": 1.0,
    "amended_before_booking": 2.0,
    "cancelled_before_booking": 2.0,
    "amends_unknown": 1.0,
    "event_landed_early": 1.0,
    "event_landed_late": 2.0,
    "settled_before_executed": 1.5,
    "amended_after_booking": 2.5,
    "cancelled_after_booking": 1.5,
    "ended_after_booking": 1.0,
    "amended_after_settlement": 2.0,
    "cancelled_after_settlement": 1.0,
}
SETTLEMENTS = {
    "settled_in_time": 60.0,
    "settled_in_parts": 8.0,
    "settled_late": 4.0,
    "settled_early": 1.0,
    "settlement_failed": 3.0,
    "failed_after_settlement": 1.0,
    "settled_never": 1.0,
    "settled_too_much": 1.0,
    "settled_ahead": 2.0,
    "settlement_amended": 2.0,
    "settlement_cancelled": 1.0,
}


def money(value: Decimal) -> Decimal:
    """Round to pennies, half to even."""
    return value.quantize(PENNY, ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Fill:
    """Units and consideration of an execution."""

    units: Decimal
    consideration: Decimal


@dataclass
class Sent:
    """An instruction as its custodian works on it."""

    row: Row
    asset: Asset
    price: Decimal
    serial: int = 0

    @property
    def name(self) -> str:
        """Return its id."""
        return self.row["instruction_id"]

    @property
    def by_units(self) -> bool:
        """Say whether it is denominated in units."""
        return self.row["quantity_type"] == "U"

    @property
    def dealt(self) -> date:
        """Return its dealing date."""
        return date.fromisoformat(self.row["dealing_date"])

    def fill(self, quantity: Decimal) -> Fill:
        """Execute a quantity, units or amount, at the closing price."""
        if self.by_units:
            return Fill(quantity, money(quantity * self.price))
        return Fill(self.asset.truncate(quantity / self.price), quantity)

    @property
    def whole(self) -> Decimal:
        """Return what was instructed."""
        return Decimal(self.row["units"] if self.by_units else self.row["amount"])

    def part(self, per_cent: int) -> Decimal:
        """Return a part of what was instructed."""
        part = self.whole * per_cent / 100
        return self.asset.truncate(part) if self.by_units else part.quantize(PENNY, ROUND_DOWN)

    def event(self, kind: str, on: date, fill: Fill | None = None, **more: str) -> Row:
        """Return an event under the next id."""
        self.serial += 1
        row = {
            "confirmation_id": f"{self.name}-{self.serial}",
            "instruction_id": self.name,
            "event": kind,
            "event_date": f"{on}",
            "units": f"{fill.units}" if fill else "",
            "price": f"{self.price}" if kind == "executed" else "",
            "consideration": f"{fill.consideration}" if fill else "",
            "settlement_date": "",
            "amends": "",
        }
        return row | more


class Executions:
    """Plans what is said about one instruction; `plan` takes a row and the run it lands before."""

    def __init__(
        self, chance: Chance, calendars: Calendars, sent: Sent, plan: Callable[[Row, date], None]
    ) -> None:
        self.chance = chance
        self.calendars = calendars
        self.sent = sent
        self.plan = plan
        self.dealt = sent.dealt
        self.whole = sent.fill(sent.whole)
        self.part = sent.fill(sent.part(chance.between(20, 80)))
        rest = Fill(
            self.whole.units - self.part.units, self.whole.consideration - self.part.consideration
        )
        self.rest = sent.fill(rest.units) if sent.by_units else rest
        # A settlement that begins before these days have passed would have nothing to settle.
        self.delay = 0

    def answer(self) -> None:
        """Draw an answer and, where something is executed, its settlement."""
        kind = self.chance.kind(EXECUTIONS)
        fill: Fill | None = getattr(self, f"_{kind}")()
        if fill is not None and (fill.units or fill.consideration):
            self._settle(fill)

    def _after(self, day: date, days: int) -> date:
        return self.calendars.dealing.step(day, days)

    def _run_for(self, day: date) -> date:
        """Return the first run that may see an event of a day."""
        return self.calendars.dealing.next(day)

    def _say(
        self, kind: str, fill: Fill | None = None, *, on: int = 0, late: int = 0, **more: str
    ) -> str:
        """Plan an event `on` days after dealing, landing `late` runs after the first; its id."""
        row = self.sent.event(kind, self._after(self.dealt, on), fill, **more)
        self.plan(row, self._after(self._run_for(self.dealt), late))
        return row["confirmation_id"]

    # ---- as it should be, and in parts -------------------------------------------------------

    def _filled(self) -> Fill:
        self._say("executed", self.whole)
        return self.whole

    def _filled_in_parts(self) -> Fill:
        late = self.delay = self.chance.between(0, 2)
        self._say("executed", self.part)
        self._say("executed", self.rest, on=late, late=late)
        return Fill(
            self.part.units + self.rest.units, self.part.consideration + self.rest.consideration
        )

    def _part_filled_rest_cancelled(self) -> Fill:
        return self._part_filled("cancelled")

    def _part_filled_rest_rejected(self) -> Fill:
        return self._part_filled("rejected")

    def _part_filled(self, ending: str) -> Fill:
        late = self.chance.between(0, 2)
        self._say("executed", self.part)
        self._say(ending, self.chance.of([None, self.rest]), on=late, late=late)
        return self.part

    def _rejected(self) -> None:
        self._say("rejected")

    # ---- late, early, never ------------------------------------------------------------------

    def _silent(self) -> None:
        """Nothing is ever said."""

    def _answered_late(self) -> Fill:
        days = self.delay = self.chance.between(1, 4)
        self._say("executed", self.whole, on=self.chance.of([0, days]), late=days)
        return self.whole

    def _rejected_late(self) -> None:
        days = self.chance.between(1, 4)
        self._say("rejected", on=days, late=days)

    def _event_landed_early(self) -> Fill:
        days = self.delay = self.chance.between(1, 2)
        self._say("executed", self.whole, on=days)
        return self.whole

    def _event_landed_late(self) -> Fill:
        self.delay = self.chance.between(1, 2)
        self._say("executed", self.whole, late=self.delay)
        return self.whole

    def _settled_before_executed(self) -> None:
        settles = self._settlement_date()
        self._event("settled", settles, self.whole)
        row = self.sent.event("executed", self.dealt, self.whole)
        self.plan(row, self._after(self._run_for(settles), self.chance.between(0, 2)))

    # ---- wrong -------------------------------------------------------------------------------

    def _over_confirmed(self) -> None:
        more = self.sent.fill(self.sent.whole + self.chance.between(1, 5))
        self._say("executed", more)

    def _over_confirmed_then_amended(self) -> Fill:
        more = self.sent.fill(self.sent.whole + self.chance.between(1, 5))
        amends = self._say("executed", more)
        days = self.delay = self.chance.between(1, 3)
        self._say("executed", self.whole, on=days, late=days, amends=amends)
        return self.whole

    def _off_price(self) -> Fill:
        fill, price = self._at_another_price(self.sent.whole)
        self._say("executed", fill, price=price)
        return fill

    def _at_another_price(self, quantity: Decimal) -> tuple[Fill, str]:
        right = self.sent.price
        off = self.chance.of([PENNY, Decimal("0.5"), -PENNY])
        self.sent.price = max(right + off, PENNY)
        fill, price = self.sent.fill(quantity), f"{self.sent.price}"
        self.sent.price = right
        return fill, price

    def _off_sum(self) -> Fill:
        fill = self.whole
        if self.sent.by_units:
            off = self.chance.of([PENNY, Decimal(3)])
            fill = Fill(fill.units, fill.consideration + off)
        self._say("executed", fill)
        return fill

    def _units_not_what_the_amount_buys(self) -> Fill:
        fill = self.whole
        if not self.sent.by_units:
            fill = Fill(
                fill.units + Decimal(1).scaleb(-self.sent.asset.decimals), fill.consideration
            )
        self._say("executed", fill)
        return fill

    # ---- amended before it is booked ---------------------------------------------------------

    def _amended_before_booking(self) -> Fill:
        amends = self._say("executed", self.part)
        days = self.chance.between(0, 1)
        self._say("executed", self.whole, on=days, late=days, amends=amends)
        return self.whole

    def _cancelled_before_booking(self) -> Fill:
        amends = self._say("executed", self.part)
        self._say("cancelled", amends=amends)
        days = self.delay = self.chance.between(0, 2)
        self._say("executed", self.whole, on=days, late=days)
        return self.whole

    def _amends_unknown(self) -> Fill:
        self._say("executed", self.whole, amends=f"{self.sent.name}-none")
        return self.whole

    # ---- corrected after it is booked --------------------------------------------------------

    def _amended_after_booking(self) -> Fill:
        return self._amend(self.chance.between(1, 2))

    def _amended_after_settlement(self) -> Fill:
        return self._amend(self._days_to_settlement())

    def _cancelled_after_booking(self) -> Fill:
        return self._cancel(self.chance.between(1, 2))

    def _cancelled_after_settlement(self) -> Fill:
        return self._cancel(self._days_to_settlement())

    def _ended_after_booking(self) -> Fill:
        self._say("executed", self.whole)
        days = self.chance.between(1, 2)
        self._say("cancelled", on=self.chance.of([0, days]), late=days)
        return self.whole

    def _days_to_settlement(self) -> int:
        days, settles = 1, self._settlement_date()
        while self._after(self.dealt, days) <= settles:
            days += 1
        return days + self.chance.between(0, 2)

    def _amend(self, days: int) -> Fill:
        amends = self._say("executed", self.whole)
        on, late = self.chance.of([0, days]), days + self.chance.of([0, 0, 1])
        less = self.sent.fill(self.sent.part(self.chance.between(90, 99)))
        fill, price = self.chance.of([self.part, self.whole, less]), f"{self.sent.price}"
        if fill is self.whole or self.chance.roll(0.3):
            quantity = fill.units if self.sent.by_units else fill.consideration
            fill, price = self._at_another_price(quantity)
        self._say("executed", fill, on=on, late=late, amends=amends, price=price)
        if fill.units < self.whole.units and self.chance.roll(0.7):
            self._say("cancelled", on=on, late=late + self.chance.of([0, 1]))
        return self.whole

    def _cancel(self, days: int) -> Fill:
        amends = self._say("executed", self.whole)
        on, late = self.chance.of([0, days]), days + self.chance.of([0, 0, 1])
        self._say("cancelled", on=on, late=late, amends=amends)
        if self.chance.roll(0.6):
            again = self.chance.of([self.whole, self.whole, self.part])
            self._say("executed", again, on=on, late=late + self.chance.of([0, 1]))
        if self.chance.roll(0.5):
            self._say("cancelled", on=days, late=late + self.chance.of([0, 1, 2]))
        return self.whole

    # ---- settlement --------------------------------------------------------------------------

    def _settlement_date(self) -> date:
        asset = self.sent.asset
        days = asset.days_on(self.dealt)
        return self.calendars.settlement_date(self.dealt, asset.calendar_id, days)

    def _settle(self, fill: Fill) -> None:
        settles = self._settlement_date()
        if self.delay and self.chance.roll(0.8):
            settles = max(settles, self._after(self.dealt, self.delay))
        getattr(self, f"_{self.chance.kind(SETTLEMENTS)}")(fill, settles)

    def _event(self, kind: str, on: date, fill: Fill | None = None, **more: str) -> str:
        """Plan an event that lands before the first run that may see it; its id."""
        row = self.sent.event(kind, on, fill, **more)
        self.plan(row, self._run_for(on))
        return row["confirmation_id"]

    def _settled_in_time(self, fill: Fill, settles: date) -> None:
        self._event("settled", settles, fill)

    def _settled_in_parts(self, fill: Fill, settles: date) -> None:
        units = self.sent.asset.truncate(fill.units / 3)
        pence = (fill.consideration / 3).quantize(PENNY, ROUND_DOWN)
        self._event("settled", settles, Fill(units, pence))
        rest = Fill(fill.units - units, fill.consideration - pence)
        self._event("settled", self._after(settles, self.chance.between(0, 1)), rest)

    def _settled_late(self, fill: Fill, settles: date) -> None:
        self._event("settled", self._after(settles, self.chance.between(1, 3)), fill)

    def _settled_early(self, fill: Fill, settles: date) -> None:
        self.plan(self.sent.event("settled", settles, fill), self._run_for(self.dealt))

    def _settled_ahead(self, fill: Fill, settles: date) -> None:
        del settles
        self._event("settled", self.dealt, fill)

    def _settlement_failed(self, fill: Fill, settles: date) -> None:
        self._event("failed", settles)
        if self.chance.roll(0.7):
            self._event("settled", self._after(settles, self.chance.between(1, 2)), fill)

    def _failed_after_settlement(self, fill: Fill, settles: date) -> None:
        self._event("settled", settles, fill)
        self._event("failed", self._after(settles, self.chance.between(0, 2)))

    def _settled_never(self, fill: Fill, settles: date) -> None:
        """Nothing is ever said."""

    def _settled_too_much(self, fill: Fill, settles: date) -> None:
        self._event("settled", settles, Fill(fill.units + 1, fill.consideration + 1))

    def _settlement_amended(self, fill: Fill, settles: date) -> None:
        amends = self._event("settled", settles, fill)
        other = Fill(
            fill.units, max(fill.consideration - self.chance.of([Decimal(0), PENNY]), Decimal(0))
        )
        on = self._after(settles, self.chance.between(0, 2))
        self._event("settled", on, other, amends=amends)

    def _settlement_cancelled(self, fill: Fill, settles: date) -> None:
        amends = self._event("settled", settles, fill)
        on = self._after(settles, self.chance.between(0, 2))
        self._event("cancelled", on, amends=amends)
        if self.chance.roll(0.6):
            again = self.sent.event("settled", on, fill)
            self.plan(again, self._after(self._run_for(on), 1))
