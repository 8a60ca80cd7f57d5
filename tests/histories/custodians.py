"""All custodians of a scheme: the events that land before each run, and what they truly hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from acme.domain.calendars import Calendars
from tests.histories.chance import Chance
from tests.histories.executions import Executions, Sent
from tests.histories.world import BANK, CANARY, CURRENCY, Asset, File, Row

SIX = 6


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

    # ---- instructions ------------------------------------------------------------------------

    def take(self, row: Row) -> None:
        """Plan everything that will be said about an instruction."""
        asset = self.assets[row["asset_id"]]
        dealt = date.fromisoformat(row["dealing_date"])
        sent = Sent(row, asset, self.price(dealt, asset))
        sign = 1 if row["side"] == "B" else -1
        self.sides[sent.name] = (row["custodian_id"], row["asset_id"], sign)
        Executions(self.chance, self.calendars, sent, self._plan).answer()

    def paid(self, custodian: str, day: date, amount: Decimal) -> None:
        """Note a cash movement."""
        self.moves.append((day, custodian, CURRENCY, amount))

    def _plan(self, row: Row, land: date) -> None:
        self.coming[land].append(row)
        self.events.append(row)

    # ---- what lands before a run -------------------------------------------------------------

    def confirmations(self, run_date: date) -> list[File]:
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
                    self.coming[self.calendars.dealing.next(run_date)].append(dict(row))
        for _ in range(1 + len(self.seen) // 100):
            one, alone = self._odd_events(run_date)
            extra += one
            files += alone
        self.seen += rows
        rows = rows + extra
        chance.random.shuffle(rows)
        return [("confirmations", rows), *files]

    def _odd_events(self, run_date: date) -> tuple[list[Row], list[File]]:
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

    # ---- books -------------------------------------------------------------------------------

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
