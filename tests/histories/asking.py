"""What another process of one world asks the ledger to book, and what it gets wrong."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from tests.histories.chance import Chance
from tests.histories.world import BANK, CANARY, CURRENCY, LONG_AGO, File, Row, World

KINDS = {
    "journal_charge": 5.0,
    "journal_charge_paid": 2.0,
    "journal_distribution": 3.0,
    "journal_corporate_action": 1.0,
    "journal_adjustment": 1.0,
}
Move = tuple[str, str, Decimal]  # account, asset, quantity
COLUMNS = ("account", "asset_id", "quantity", "reverses", "reverses_run_date", "description")


class Asking:
    """The process of a world that asks for journals; its chance is its own."""

    def __init__(self, world: World, chance: Chance) -> None:
        self.world = world
        self.chance = chance
        self.source = f"{world.tag}FEES"
        self._number = 0
        self._asked: list[tuple[date, list[Row]]] = []

    def registered(self) -> File:
        """Return the file that says what the process may ask for."""
        kinds = [kind.removeprefix("journal_") for kind in KINDS]
        rows = [
            {
                "source": self.source,
                "kind": kind,
                "valid_from": LONG_AGO,
                "valid_to": f"{self.world.dates[-1]}",
                "owner": "team:fees",
            }
            for kind in [*kinds, "reversal"]
            if not self.chance.roll(0.03)
        ]
        return ("journal_sources", rows)

    def before(self, run_date: date, close: date) -> list[File]:
        """Return what is asked for before a run; `!` = a file of its own."""
        chance, rows, more = self.chance, [], []
        while KINDS.keys() & chance.kinds and chance.roll(0.35):
            mine = self._journal(run_date, close)
            rows += mine
            if chance.maybe(0.03, "journal_conflicting"):
                rows.append(mine[0] | {"description": "another"})
            elif chance.maybe(0.03, "journal_replaced"):
                more.append(("!journals", [row | {"description": "later"} for row in mine]))
            self._asked.append((run_date, mine))
        if self._asked and chance.maybe(0.2, "journal_reversal"):
            rows += self._reversal(run_date)
        if self._asked and chance.maybe(0.05, "journal_repeated"):
            rows += [dict(row) for row in chance.of(self._asked)[1] if row not in rows]
        if self._asked and chance.maybe(0.05, "journal_changed"):
            more.append(("!journals", chance.of(self._asked)[1][:1]))
        return [("journals", rows), *more] if rows else more

    def _journal(self, run_date: date, close: date) -> list[Row]:
        kind = self.chance.kind(KINDS).removeprefix("journal_")
        pot = self.chance.of(list(self.world.pots))
        _, book, _ = self.world.pots[pot]
        moves = getattr(self, f"_{kind}")(pot, book)
        return self._rows(run_date, close, book, kind, self._faulty(moves))

    def _rows(
        self, run_date: date, close: date, book: str, kind: str, moves: list[Move]
    ) -> list[Row]:
        chance = self.chance
        self._number += 1
        at = f"{run_date}T0{chance.between(6, 9)}:{chance.between(10, 59)}:00Z"
        if chance.maybe(0.02, "journal_in_the_future"):
            at = f"{run_date}T23:00:00Z"
        elif chance.maybe(0.05, "journal_late"):
            at = f"{close}T08:00:00Z"
        unregistered = chance.maybe(0.02, "journal_unregistered")
        head = {
            "source": "NOBODY" if unregistered else self.source,
            "journal_ref": f"{self.world.tag}-{self._number}",
            "book": "live" if chance.maybe(0.02, "journal_wrong_book") else book,
            "kind": kind,
            "event_time": at,
        }
        return [
            head
            | dict.fromkeys(COLUMNS, "")
            | {"line": f"{n}", "account": account, "asset_id": asset, "quantity": f"{quantity:f}"}
            for n, (account, asset, quantity) in enumerate(moves, start=1)
        ]

    def _reversal(self, run_date: date) -> list[Row]:
        day, rows = self.chance.of(self._asked[-6:])
        if self.chance.roll(0.1):
            day = run_date
        self._number += 1
        row = rows[0] | {
            "journal_ref": f"{self.world.tag}-{self._number}",
            "kind": "reversal",
            "event_time": f"{run_date}T0{self.chance.between(6, 9)}:30:00Z",
            "reverses": rows[0]["journal_ref"],
            "reverses_run_date": f"{day}",
        }
        mine = [row | dict.fromkeys(("account", "asset_id", "quantity"), "")]
        self._asked.append((run_date, mine))
        return mine

    # ---- kinds -------------------------------------------------------------------------------

    def _what(self) -> tuple[str, str, Decimal]:
        """Return an asset or money, who holds it in book live, and a small quantity of it."""
        chance = self.chance
        if chance.roll(0.5):
            return CURRENCY, BANK, Decimal(chance.between(1, 5000)).scaleb(-2)
        asset = chance.of(self.world.assets)
        units = asset.truncate(Decimal(chance.between(1, 500)) / asset.price)
        return asset.asset_id, asset.custodian_id, units or Decimal(1)

    def _holder(self, book: str, custodian: str) -> str:
        return f"custodian/{CANARY if book == 'canary' else custodian}"

    def _charge(self, pot: str, book: str) -> list[Move]:
        del book
        asset, _, quantity = self._what()
        return [(f"pot/{pot}", asset, -quantity), ("suspense/charges", asset, quantity)]

    def _charge_paid(self, pot: str, book: str) -> list[Move]:
        del pot
        asset, custodian, quantity = self._what()
        paid = quantity / 2 if asset == CURRENCY and quantity % Decimal("0.02") == 0 else quantity
        return [
            ("suspense/charges", asset, -paid),
            (self._holder(book, custodian), asset, paid),
        ]

    def _distribution(self, pot: str, book: str) -> list[Move]:
        asset, custodian, quantity = self._what()
        others = [p for p, (_, b, _) in self.world.pots.items() if b == book]
        at = self._holder(book, custodian)
        moves = [(at, asset, -quantity), (f"pot/{pot}", asset, quantity)]
        if self.chance.roll(0.5):
            moves += [(at, asset, -quantity), (f"pot/{self.chance.of(others)}", asset, quantity)]
        if self.chance.roll(0.2):
            moves += [(at, asset, -quantity), ("suspense/distributions", asset, quantity)]
        return moves

    def _corporate_action(self, pot: str, book: str) -> list[Move]:
        old, new = self._what(), self._what()
        return [
            (f"pot/{pot}", old[0], -old[2]),
            (self._holder(book, old[1]), old[0], old[2]),
            (self._holder(book, new[1]), new[0], -new[2]),
            (f"pot/{pot}", new[0], new[2]),
        ]

    def _adjustment(self, pot: str, book: str) -> list[Move]:
        asset, _, quantity = self._what()
        others = [p for p, (_, b, _) in self.world.pots.items() if b == book]
        other = self.chance.of([*[f"pot/{p}" for p in others], "suspense/adjustments"])
        return [(f"pot/{pot}", asset, -quantity), (other, asset, quantity)]

    def _faulty(self, moves: list[Move]) -> list[Move]:
        """Return the moves with what is wrong with them, seldom anything."""
        chance = self.chance
        (account, asset, quantity), *others = moves
        if chance.maybe(0.03, "journal_unbalanced"):
            return [(account, asset, quantity - 1), *others]
        if chance.maybe(0.05, "journal_too_large"):
            return [(a, name, 10000 * q) for a, name, q in moves]
        if chance.maybe(0.03, "journal_too_fine"):
            step = Decimal("0.000001")
            return [(a, name, q + (step if q > 0 else -step)) for a, name, q in moves]
        if chance.maybe(0.02, "journal_unknown_pot"):
            return [(f"pot/{self.world.tag}NOBODY", asset, quantity), *others]
        if chance.maybe(0.02, "journal_wrong_account"):
            return [("custodian/ELSEWHERE", asset, quantity), *others]
        return moves
