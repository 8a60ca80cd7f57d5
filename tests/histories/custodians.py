"""What custodians do with instructions, rightly and wrongly, and what they state they hold.

Events are rows of the feed `confirmations`, each planned for the run before which it lands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from acme.domain.calendars import Calendars
from tests.histories.chance import Chance
from tests.histories.world import BANK, CANARY, CURRENCY, Asset, Row

PENNY = Decimal("0.01")
SIX = 6
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
    "settled_never": 1.0,
    "settled_too_much": 1.0,
    "settled_before_executed": 2.0,
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


class Custodians:
    """All custodians of a scheme."""

    def __init__(
        self, chance: Chance, calendars: Calendars, prices: Callable[[date, Asset], Decimal]
    ) -> None:
        self.chance = chance
        self.calendars = calendars
        self.price = prices
        self.assets: dict[str, Asset] = {}
        self.coming: dict[date, list[Row]] = defaultdict(list)
        self.events: list[Row] = []
        self.moves: list[tuple[date, str, str, Decimal]] = []
        self.sides: dict[str, tuple[str, str, int]] = {}
        self.seen: list[Row] = []
        self.fine = 0
        self.coming_statements: dict[date, list[list[Row]]] = defaultdict(list)

    # ---- instructions ------------------------------------------------------------------------

    def take(self, row: Row) -> None:
        """Plan everything that will be said about an instruction."""
        asset = self.assets[row["asset_id"]]
        dealt = date.fromisoformat(row["dealing_date"])
        sent = Sent(row, asset, self.price(dealt, asset))
        sign = 1 if row["side"] == "B" else -1
        self.sides[sent.name] = (row["custodian_id"], row["asset_id"], sign)
        kind = self.chance.kind(EXECUTIONS)
        executions, fill = self._executions(kind, sent)
        for row, land in executions:
            self._plan(row, land)
        if fill is not None and (fill.units or fill.consideration):
            settle = self._settlements(sent, fill, kind)
            for row, land in settle:
                self._plan(row, land)

    def paid(self, custodian: str, day: date, amount: Decimal) -> None:
        """Note a cash movement."""
        self.moves.append((day, custodian, CURRENCY, amount))

    def _run_for(self, day: date) -> date:
        """Return the first run that may see an event of a day."""
        return self.calendars.dealing.next(day)

    def _after(self, day: date, days: int) -> date:
        return self.calendars.dealing.step(day, days)

    def _plan(self, row: Row, land: date) -> None:
        self.coming[land].append(row)
        self.events.append(row)

    def _executions(self, kind: str, sent: Sent) -> tuple[list[tuple[Row, date]], Fill | None]:
        """Return the rows, each with the run it lands before, and what is executed in the end."""
        chance, dealt = self.chance, sent.dealt
        next_day, run = self._after(dealt, 1), self._run_for(dealt)
        whole = sent.fill(sent.whole)

        def at(row: Row, days: int = 0) -> tuple[Row, date]:
            """Let a row land so many runs after the first."""
            return row, self._after(run, days)

        part = sent.fill(sent.part(chance.between(20, 80)))
        rest = Fill(whole.units - part.units, whole.consideration - part.consideration)
        if sent.by_units:
            rest = sent.fill(rest.units)
        both = Fill(part.units + rest.units, part.consideration + rest.consideration)
        match kind:
            case "filled":
                return [at(sent.event("executed", dealt, whole))], whole
            case "filled_in_parts":
                late = chance.between(0, 2)
                return [
                    at(sent.event("executed", dealt, part)),
                    at(sent.event("executed", self._after(dealt, late), rest), late),
                ], both
            case "part_filled_rest_cancelled" | "part_filled_rest_rejected":
                event = "cancelled" if kind.endswith("cancelled") else "rejected"
                late = chance.between(0, 2)
                told = chance.of([None, rest])
                ending = sent.event(event, self._after(dealt, late), told)
                return [at(sent.event("executed", dealt, part)), at(ending, late)], part
            case "rejected":
                return [at(sent.event("rejected", dealt))], None
            case "silent":
                return [], None
            case "answered_late":
                days = chance.between(1, 4)
                on = self._after(dealt, chance.of([0, days]))
                return [at(sent.event("executed", on, whole), days)], whole
            case "rejected_late":
                days = chance.between(1, 4)
                return [at(sent.event("rejected", self._after(dealt, days)), days)], None
            case "over_confirmed" | "over_confirmed_then_amended":
                more = sent.fill(sent.whole + Decimal(chance.between(1, 5)))
                rows = [at(sent.event("executed", dealt, more))]
                if kind == "over_confirmed":
                    return rows, None
                days = chance.between(1, 3)
                amends = rows[0][0]["confirmation_id"]
                right = sent.event("executed", self._after(dealt, days), whole, amends=amends)
                return [*rows, at(right, days)], whole
            case "off_price":
                other = sent.price + chance.of([PENNY, Decimal("0.5"), -PENNY])
                price, sent.price = sent.price, max(other, PENNY)
                fill = sent.fill(sent.whole)
                row = sent.event("executed", dealt, fill)
                sent.price = price
                return [at(row)], fill
            case "off_sum":
                if not sent.by_units:
                    return [at(sent.event("executed", dealt, whole))], whole
                fill = Fill(whole.units, whole.consideration + chance.of([PENNY, Decimal(3)]))
                return [at(sent.event("executed", dealt, fill))], fill
            case "units_not_what_the_amount_buys":
                if sent.by_units:
                    return [at(sent.event("executed", dealt, whole))], whole
                quantum = Decimal(1).scaleb(-sent.asset.decimals)
                fill = Fill(whole.units + quantum, whole.consideration)
                return [at(sent.event("executed", dealt, fill))], fill
            case "amended_before_booking":
                first = sent.event("executed", dealt, part)
                days = chance.between(0, 1)
                right = sent.event(
                    "executed", self._after(dealt, days), whole, amends=first["confirmation_id"]
                )
                return [at(first), at(right, days)], whole
            case "cancelled_before_booking":
                first = sent.event("executed", dealt, part)
                gone = sent.event("cancelled", dealt, amends=first["confirmation_id"])
                days = chance.between(0, 2)
                again = sent.event("executed", self._after(dealt, days), whole)
                return [at(first), at(gone), at(again, days)], whole
            case "amends_unknown":
                return [at(sent.event("executed", dealt, whole, amends=f"{sent.name}-none"))], whole
            case "event_landed_early":
                ahead = self._after(dealt, chance.between(1, 2))
                return [at(sent.event("executed", ahead, whole))], whole
            case "event_landed_late":
                return [at(sent.event("executed", dealt, whole), chance.between(1, 2))], whole
        return self._corrected(kind, sent, whole, part, next_day)

    def _corrected(
        self, kind: str, sent: Sent, whole: Fill, part: Fill, next_day: date
    ) -> tuple[list[tuple[Row, date]], Fill | None]:
        """Return an execution that is booked and then corrected, days later or once it settled."""
        chance, dealt = self.chance, sent.dealt
        first = sent.event("executed", dealt, whole)
        days = chance.between(1, 2)
        if kind.endswith("settlement"):
            settles = self.calendars.settlement_date(
                dealt, sent.asset.calendar_id, sent.asset.days_on(dealt)
            )
            while self._after(dealt, days) <= settles:
                days += 1
            days += chance.between(0, 2)
        on = self._after(dealt, days)
        # Known by the run after, or one later; dated on its day or back on the dealing date.
        land = self._after(on, chance.of([1, 1, 2]))
        dated = chance.of([on, dealt])
        amends = first["confirmation_id"]
        rows = [(first, self._run_for(dealt))]
        match kind:
            case "amended_after_booking" | "amended_after_settlement":
                fill = chance.of([part, whole, sent.fill(sent.part(chance.between(90, 99)))])
                price, row_price = sent.price, sent.price
                if fill is whole or chance.roll(0.3):
                    sent.price = row_price = max(price + chance.of([PENNY, -PENNY]), PENNY)
                    quantity = fill.units if sent.by_units else fill.consideration
                    fill = sent.fill(quantity)
                right = sent.event("executed", dated, fill, amends=amends, price=f"{row_price}")
                sent.price = price
                rows.append((right, land))
                if fill.units < whole.units and chance.roll(0.7):
                    rows.append(
                        (sent.event("cancelled", dated), self._after(land, chance.of([0, 1])))
                    )
            case "ended_after_booking":
                rows.append((sent.event("cancelled", dated), land))
            case _:
                rows.append((sent.event("cancelled", dated, amends=amends), land))
                if chance.roll(0.6):
                    again = sent.event("executed", dated, chance.of([whole, whole, part]))
                    rows.append((again, self._after(land, chance.of([0, 1]))))
                if chance.roll(0.5):
                    rows.append(
                        (sent.event("cancelled", on), self._after(land, chance.of([0, 1, 2])))
                    )
        return rows, whole

    def _settlements(self, sent: Sent, fill: Fill, executed: str) -> Iterator[tuple[Row, date]]:
        chance = self.chance
        settles = self.calendars.settlement_date(
            sent.dealt, sent.asset.calendar_id, sent.asset.days_on(sent.dealt)
        )
        kind = chance.kind(SETTLEMENTS)
        if executed.startswith(("answered_late", "over", "event_landed", "filled_in")):
            settles = max(settles, self._after(sent.dealt, 4)) if chance.roll(0.8) else settles
        run = self._run_for(settles)
        match kind:
            case "settled_in_parts":
                units = sent.asset.truncate(fill.units / 3)
                pence = (fill.consideration / 3).quantize(PENNY, ROUND_DOWN)
                on = self._after(settles, chance.between(0, 1))
                yield sent.event("settled", settles, Fill(units, pence)), run
                rest = Fill(fill.units - units, fill.consideration - pence)
                yield sent.event("settled", on, rest), self._run_for(on)
            case "settled_late":
                on = self._after(settles, chance.between(1, 3))
                yield sent.event("settled", on, fill), self._run_for(on)
            case "settled_early" | "settled_before_executed":
                on = sent.dealt if kind == "settled_before_executed" else settles
                land = self._run_for(sent.dealt)
                yield sent.event("settled", on, fill), land
            case "settlement_failed":
                yield sent.event("failed", settles), run
                if chance.roll(0.7):
                    on = self._after(settles, chance.between(1, 2))
                    yield sent.event("settled", on, fill), self._run_for(on)
            case "settled_never":
                return
            case "settled_too_much":
                more = Fill(fill.units + 1, fill.consideration + 1)
                yield sent.event("settled", settles, more), run
            case "settlement_amended" | "settlement_cancelled":
                first = sent.event("settled", settles, fill)
                yield first, run
                on = self._after(settles, chance.between(0, 2))
                amends = first["confirmation_id"]
                if kind == "settlement_cancelled":
                    yield sent.event("cancelled", on, amends=amends), self._run_for(on)
                    if chance.roll(0.6):
                        yield sent.event("settled", on, fill), self._after(self._run_for(on), 1)
                else:
                    other = chance.of([fill, Fill(fill.units, fill.consideration - PENNY)])
                    if other.consideration >= 0:
                        row = sent.event("settled", on, other, amends=amends)
                        yield row, self._run_for(on)
            case _:
                yield sent.event("settled", settles, fill), run

    # ---- what lands before a run -------------------------------------------------------------

    def confirmations(self, run_date: date) -> list[tuple[str, list[Row]]]:
        """Return the files of events; rows in no order, some twice, some in dispute."""
        chance = self.chance
        rows = self.coming.pop(run_date, [])
        extra: list[Row] = []
        files = []
        for row in rows:
            if chance.maybe(0.02, "confirmation_repeated"):
                extra.append(dict(row))
            if row["units"] and chance.maybe(0.01, "confirmation_conflicting"):
                extra.append(row | {"units": f"{Decimal(row['units']) + 1}"})
                if chance.roll(0.6):
                    self.coming[self._after(run_date, 1)].append(dict(row))
        for _ in range(1 + len(self.seen) // 100):
            one, alone = self._odd_events(run_date)
            extra += one
            files += alone
        self.seen += rows
        rows = rows + extra
        chance.random.shuffle(rows)
        return [("confirmations", rows), *files]

    def _odd_events(self, run_date: date) -> tuple[list[Row], list[tuple[str, list[Row]]]]:
        """Return events that repeat, contradict or name nothing, and files that fail."""
        chance, found = self.chance, []
        if not self.seen:
            return [], []
        old = chance.of(self.seen)
        if chance.maybe(0.05, "confirmation_repeated"):
            found.append(dict(old))
        if old["units"] and chance.maybe(0.05, "confirmation_changed"):
            found.append(old | {"units": f"{Decimal(old['units']) + 2}"})
        if chance.maybe(0.03, "unknown_instruction"):
            name = old["instruction_id"].replace("-U", "-X").replace("-A", "-N", 1)
            new = f"{name}-{run_date}-{len(self.seen)}"
            found.append(old | {"instruction_id": name, "confirmation_id": new, "amends": ""})
        asset = self.assets[self.sides[old["instruction_id"]][1]]
        if old["units"] and asset.decimals < SIX and chance.maybe(0.03, "confirmation_too_fine"):
            self.fine += 1
            fine = {
                "confirmation_id": f"{old['confirmation_id']}-fine-{self.fine}",
                "units": f"{Decimal(old['units']) + Decimal('0.000001')}",
            }
            return found, [("!confirmations", [old | fine])]
        return found, []

    # ---- statements --------------------------------------------------------------------------

    def holdings(self, day: date, basis: str) -> dict[str, dict[str, Decimal]]:
        """Return custodian → asset → what it truly holds at a close, on a basis."""
        known = [r for r in self.events if r["event_date"] <= f"{day}"]
        gone = {r["amends"] for r in known if r["amends"]}
        books: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for moved, custodian, asset, quantity in self.moves:
            if moved <= day:
                books[custodian][asset] += quantity
        wanted = "settled" if basis == "settled" else "executed"
        for row in known:
            if row["event"] == wanted and row["confirmation_id"] not in gone:
                custodian, asset, sign = self.sides[row["instruction_id"]]
                books[custodian][asset] += sign * Decimal(row["units"])
                bank = CANARY if custodian == CANARY else BANK
                books[bank][CURRENCY] -= sign * Decimal(row["consideration"])
        return books

    def statements(self, run_date: date, custodians: list[str]) -> list[tuple[str, list[Row]]]:
        """Return the files of statements that land before a run."""
        chance = self.chance
        close = self.calendars.dealing.prev(run_date)
        files = []
        books = {basis: self.holdings(close, basis) for basis in ("settled", "traded")}
        for custodian in custodians:
            if chance.maybe(0.05, "statement_missing"):
                continue
            for basis in ("settled", "traded"):
                if not chance.maybe(
                    0.9 if basis == "settled" else 0.25,
                    "statement_right" if basis == "settled" else "statement_traded",
                ):
                    continue
                held = {a: n for a, n in books[basis][custodian].items() if n}
                name = f"{custodian}-{close}-{basis}"
                rows = self._statement(name, custodian, close, basis, held)
                if chance.maybe(0.03, "statement_late"):
                    self.coming_statements[self._after(run_date, 1)].append(rows)
                    continue
                files.append(("statements", rows))
                if chance.maybe(0.04, "statement_twice"):
                    wrong = {a: n + 1 for a, n in held.items()}
                    again = chance.of([name, f"{name}-again"])
                    files.append(
                        ("statements", self._page_rows(again, custodian, close, basis, wrong))
                    )
        files += [("statements", rows) for rows in self.coming_statements.pop(run_date, [])]
        return files

    def _statement(
        self, name: str, custodian: str, day: date, basis: str, held: dict[str, Decimal]
    ) -> list[Row]:
        chance = self.chance
        units = [a for a in held if a != CURRENCY]
        if units and chance.maybe(0.015, "statement_wrong"):
            held[chance.of(units)] += chance.of([Decimal(1), Decimal("-1.25"), Decimal("0.01")])
        if units and chance.maybe(0.01, "statement_leaves_out"):
            del held[chance.of(units)]
        if self.assets and chance.maybe(0.01, "statement_adds"):
            held.setdefault(chance.of(sorted(self.assets)), Decimal(7))
        if held.get(CURRENCY) and chance.maybe(0.05, "statement_currency_wrong"):
            held[CURRENCY] += PENNY
        return self._page_rows(name, custodian, day, basis, held)

    def _page_rows(
        self, name: str, custodian: str, day: date, basis: str, held: dict[str, Decimal]
    ) -> list[Row]:
        chance = self.chance
        lines = [(a, f"{n}") for a, n in sorted(held.items()) if n]
        if not lines:
            chance.count("statement_empty")
        elif chance.maybe(0.05, "statement_split_lines"):
            asset, quantity = lines.pop(0)
            lines += [(asset, f"{Decimal(quantity) - Decimal('1.01')}"), (asset, "1.01")]
        lines = lines or [("", chance.of(["", "0"]))]
        pages = 2 if len(lines) > 1 and chance.maybe(0.3, "statement_in_pages") else 1
        rows = [
            {
                "statement_id": name,
                "custodian_id": custodian,
                "statement_date": f"{day}",
                "basis": basis,
                "page": f"{1 + n * pages // len(lines)}",
                "pages": f"{pages}",
                "asset_id": asset,
                "units": units,
            }
            for n, (asset, units) in enumerate(lines)
        ]
        if chance.maybe(0.03, "statement_row_repeated"):
            rows.append(dict(rows[0]))
        if pages == 2 and chance.maybe(0.2, "statement_page_missing"):
            rows = [row for row in rows if row["page"] == "1"]
        return rows
