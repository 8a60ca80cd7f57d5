"""Execution, booking, settlement and corrections (rules §7, ADR 12)."""

from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.batching import Figures, Line
from tests.reference.books import Posting, reservation
from tests.reference.confirming import Events
from tests.reference.contracts import Row
from tests.reference.numbers import PENNY, ZERO, money, split, tie_hash
from tests.reference.orders import Order

if TYPE_CHECKING:
    from tests.reference.world import World


def _ends(row: Row) -> bool:
    """`rejected`, or `cancelled` without `amends`, ends the rest of the instruction (rules §7)."""
    return row["event"] == "rejected" or (row["event"] == "cancelled" and row["amends"] is None)


class Custody:
    """What custodians did with our instructions, as far as we know."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.events = Events()

    def post(self) -> None:
        """Book complete lines, settle, correct (rules §7)."""
        world = self.world
        self.events.take(world)
        self._touch_priced_lines()
        for line in list({**world.open_lines, **dict.fromkeys(self._touched())}):
            self._post_line(line)
            if line.ended:
                world.open_lines.pop(line, None)
            else:
                world.open_lines[line] = None
        self._suspend_shortfalls()

    def _touched(self) -> list[Line]:
        return sorted(
            self.world.today.touched,
            key=lambda line: (line.batch_date, line.book, line.custodian, line.asset, line.side),
        )

    def _touch_priced_lines(self) -> None:
        """A price of its date brings a line back that crosses or was executed (ADR 6, 12)."""
        world = self.world
        for key in world.landing.changed_prices:
            world.today.touched.update(world.priced_lines.get(key, ()))
        world.landing.changed_prices.clear()

    # -- figures ------------------------------------------------------------------------------

    def confirmed(self, line: Line, event: str) -> tuple[Fraction, Fraction]:
        """Units and consideration of what stands of one event."""
        rows = [row for row in self.events.standing(line) if row["event"] == event]
        return (
            sum((row["units"] for row in rows), ZERO),
            sum((row["consideration"] for row in rows), ZERO),
        )

    def reached(self, line: Line) -> Fraction:
        """What must reach the instruction: units, or the money spent on an amount line (§7)."""
        units, consideration = self.confirmed(line, "executed")
        return units if line.quantity_type == "U" else consideration

    def exceeds(self, line: Line) -> bool:
        """Confirmed for more than instructed: not booked (rules §7)."""
        return bool(line.events) and self.reached(line) > line.net

    def figures(self, line: Line) -> Figures | None:
        """The figures of a complete line; None while it is not complete (rules §7)."""
        filled, confirmed = self.confirmed(line, "executed")
        reached = filled if line.quantity_type == "U" else confirmed
        ended = any(_ends(row) for row in self.events.standing(line))
        if reached > line.net or (reached < line.net and not ended):
            return None
        crossed_money = ZERO
        if line.crossed:
            price = self.world.landing.price(line.asset, line.batch_date)
            if price is None:
                return None
            crossed_money = money(line.crossed * price)
        return Figures(filled, confirmed, crossed_money)

    # -- a line -------------------------------------------------------------------------------

    def _post_line(self, line: Line) -> None:
        """Book whole, once, in the first run that sees it complete; later only correct (§7)."""
        figures = self.figures(line)
        if self.events.disputed(self.world, line):
            figures = line.booked  # what was booked with it stays (ADR 15)
        if figures is None:
            self._no_answer(line)
        elif line.booked is None:
            self._book(line, figures)
            for order in line.orders:
                self._allocated(order)
        elif not self.events.disputed(self.world, line) and (
            figures != line.booked or (line.settled and line.settled_amended)
        ):
            self._correct(line, figures)
        if line.booked is not None and not line.settled and not line.ended:
            settled_on = self._settles_on(line)
            if settled_on is not None:
                self._settle(line, settled_on)
        self._note_lateness(line)

    def _no_answer(self, line: Line) -> None:
        """Placed, no answer by the close of the next business date: `unknown` (rules §4)."""
        if self.unanswered(line):
            for order in line.orders:
                if order.state == "placed":
                    self.world.move(order, "unknown")

    def unanswered(self, line: Line) -> bool:
        """Whether an instruction has no answer by the close of next(T) (rules §4, §9, ADR 17)."""
        due = self.world.close >= self.world.calendars.next(line.batch_date)
        answered = any(
            row["event"] == "executed" or _ends(row) for row in self.events.standing(line)
        )
        return bool(line.net) and not answered and due and line.booked is None

    def _book(self, line: Line, figures: Figures) -> None:
        """Split what was executed over the orders, and post it (rules §7)."""
        heavier = line.side or "B"
        self._book_side(
            line,
            heavier,
            line.crossed + figures.filled,
            figures.crossed_money + figures.confirmed,
        )
        if line.crossed:
            lighter = "S" if heavier == "B" else "B"
            self._book_side(line, lighter, line.crossed, figures.crossed_money)
        line.booked = figures
        self._note_confirmed_price(line)

    def _book_side(self, line: Line, side: str, units: Fraction, consideration: Fraction) -> None:
        """Units by ordered units, then consideration by allocated units; an amount line's units
        and consideration each by ordered amounts (rules §7).
        """
        world = self.world
        orders = {order.order_id: order for order in line.orders if order.side == side}
        unit = Fraction(1, 10**line.decimals)
        in_units = line.quantity_type == "U"
        ordered = {i: (order.units if in_units else order.amount) for i, order in orders.items()}

        def tie(order_id: str) -> str:
            return tie_hash(line.batch_id, order_id)

        got_units = split(units, ordered, unit, tie)
        by_units = in_units and units
        got_money = split(consideration, got_units if by_units else ordered, PENNY, tie)
        if sum(got_units.values()) != units or sum(got_money.values()) != consideration:
            world.violations.append(f"4: {line.batch_id} {line.asset} {side} is not split whole")
        for order_id, order in orders.items():
            order.got_units, order.got_money = got_units[order_id], got_money[order_id]
            order.execution = world.ledger.post(line.book, self._execution(line, order))
            world.allocations[order_id] = (order.got_units, order.got_money)
            if order.kind == "switch" and order.proceeds is None and order.got_money > 0:
                order.proceeds = order.got_money  # as first booked (rules §4)
                world.pots[order.pot_id].waiting[order_id] = order
            self._note_price(line, order)

    def _execution(self, line: Line, order: Order) -> list[Posting]:
        """What was not executed returns from `reserved`; the rest goes in flight (rules §7)."""
        world = self.world
        pot = world.pots[order.pot_id].account
        back: list[Posting] = []
        if order.side == "S":
            back = reservation(pot, line.asset, order.got_units - order.units)
        elif order.reserves:
            back = reservation(pot, world.currency, order.got_money - order.amount)
        return back + self._exchange(line, order, "in_flight")

    def _exchange(
        self, line: Line, order: Order, state: str, pot_states: tuple[str, str] | None = None
    ) -> list[Posting]:
        """Pot against custodian: units +, cash − for a buy, the reverse for a sale (rules §7)."""
        world = self.world
        pot = world.pots[order.pot_id].account
        sign = 1 if order.side == "B" else -1
        units, cash = sign * order.got_units, -sign * order.got_money
        units_state, cash_state = pot_states or (state, state)
        return [
            (pot, units_state, line.asset, units),
            (f"custodian/{line.custodian}", state, line.asset, -units),
            (pot, cash_state, world.currency, cash),
            (f"custodian/{line.cash_custodian}", state, world.currency, -cash),
        ]

    def _outcome(self, order: Order) -> str:
        """Executed in full, in part, or nothing (rules §4)."""
        if not order.got_units and not order.got_money:
            return "rejected"
        whole = (
            order.got_units == order.units
            if order.quantity_type == "U"
            else order.got_money == order.amount
        )
        return "executed" if whole else "part_executed"

    def _allocated(self, order: Order) -> None:
        outcome = self._outcome(order)
        reason = "custodian_rejected" if outcome == "rejected" else ""
        self.world.move(order, outcome, reason)

    # -- settlement ---------------------------------------------------------------------------

    def _settles_on(self, line: Line) -> date | None:
        """When a line settles whole; None while it does not (rules §7)."""
        if not line.external:
            return line.settlement_date if self.world.close >= line.settlement_date else None
        units, consideration = self.confirmed(line, "settled")
        if units < line.booked.filled or consideration < line.booked.confirmed:
            return None
        return max(
            row["event_date"] for row in self.events.standing(line) if row["event"] == "settled"
        )

    def _settle(self, line: Line, settled_on: date) -> None:
        """Reverse the postings in flight and post them settled; the delivered leg comes from
        `reserved` where a reserve stands (rules §7).
        """
        for order in line.orders:
            if order.state not in {"executed", "part_executed"}:
                continue
            states = (
                ("reserved", "settled")
                if order.side == "S"
                else ("settled", "reserved" if order.reserves else "settled")
            )
            backwards = [(a, s, n, -q) for a, s, n, q in self._exchange(line, order, "in_flight")]
            order.settlement = self.world.ledger.post(
                line.book, backwards + self._exchange(line, order, "settled", states)
            )
            self.world.move(order, "settled")
            if self.world.pots[order.pot_id].status == "closed":
                self.world.today.corrected_pots.add(order.pot_id)
        line.settled, line.settled_on, line.settled_amended = True, settled_on, False
        if settled_on > line.settlement_date or self.world.close > line.settlement_date:
            self._blame(line, "settlement_late")
        if settled_on < line.settlement_date:
            self._blame(line, "settlement_ahead")  # ADR 16

    # -- corrections --------------------------------------------------------------------------

    def _correct(self, line: Line, figures: Figures) -> None:
        """Reverse the line's journals and book it again (rules §7, ADR 12).

        A line that had settled settles again, unless a `settled` event was itself amended.
        """
        world = self.world
        for order in line.orders:
            world.ledger.reverse(line.book, order.settlement)
            world.ledger.reverse(line.book, order.execution)
            order.settlement = []
        again = line.settled and not line.settled_amended
        was_settled = line.settled
        line.settled = False
        self._book(line, figures)
        for order in line.orders:
            outcome = self._outcome(order)
            if outcome == "rejected" == order.state:
                continue
            if outcome != order.state:
                reason = "custodian_rejected" if outcome == "rejected" else "corrected"
                world.move(order, outcome, reason, correction=True)
        self._blame(line, "correction")
        world.today.corrected_pots.update(order.pot_id for order in line.orders)
        if again:
            self._settle(line, line.settled_on)
        elif was_settled:
            line.settled_amended = False

    def _suspend_shortfalls(self) -> None:
        """Units a correction needs and the pot no longer has, and any balance it leaves in a
        closed pot, go to suspense, one break each (rules §7, ADR 12).
        """
        world = self.world
        for pot_id in sorted(world.today.corrected_pots):
            pot = world.pots[pot_id]
            for (state, asset), quantity in sorted(world.holdings(pot).items()):
                short = asset != world.currency and quantity < 0
                left = pot.status == "closed"
                if state == "in_flight" or not (short or left):
                    continue
                world.ledger.post(
                    pot.book,
                    [
                        (pot.account, state, asset, -quantity),
                        ("suspense/correction", "settled", asset, quantity),
                    ],
                )
                custodian = world.landing.custodian(pot.book, asset, world.run_date)
                reference = f"suspense:{pot_id}:{state}:{world.run_date}"
                world.breaks.show((pot.book, custodian, asset, "consideration", reference))

    # -- causes of overdrafts (rules §8.3, ADR 9) -----------------------------------------------

    def _blame(self, line: Line, cause: str) -> None:
        for order in line.orders:
            self.world.pots[order.pot_id].causes.add(cause)

    def _note_lateness(self, line: Line) -> None:
        if line.booked is None and self.world.close > line.batch_date:
            self._blame(line, "booked_late")
        if not line.ended and self.world.close >= line.settlement_date:
            self._blame(line, "settlement_late")
        if any(row["event"] == "failed" for row in self.events.standing(line)):
            self._blame(line, "settlement_failed")

    def _note_confirmed_price(self, line: Line) -> None:
        closing = self.world.landing.price(line.asset, line.batch_date)
        for row in self.events.standing(line):
            if row["event"] == "executed" and (
                row["price"] != closing or row["consideration"] != money(row["units"] * closing)
            ):
                self._blame(line, "confirmed_price")

    def _note_price(self, line: Line, order: Order) -> None:
        world = self.world
        causes = world.pots[order.pot_id].causes
        if order.side == "S" and self._outcome(order) != "executed":
            causes.add("sale_not_executed")
        if world.close > line.batch_date:
            causes.add("booked_late")
        if order.price_seen is not None and order.quantity_type == "U":
            worth = order.got_units * order.price_seen
            if order.side == "B":
                beyond = order.got_money >= money(worth * (1 + order.stress_seen))
            else:
                beyond = order.got_money <= money(worth) * (1 - order.stress_seen)
            if beyond and order.got_units:
                causes.add("price_beyond_stress")
