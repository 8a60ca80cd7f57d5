"""What custodians state that they hold: right, wrong, in pages, twice, late or not at all."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal

from tests.histories.custodians import Custodians
from tests.histories.executions import PENNY
from tests.histories.world import CURRENCY, File, Row

BASES = (("settled", 0.9, "statement_right"), ("traded", 0.25, "statement_traded"))


class Statements:
    """The statements of a scheme's custodians."""

    def __init__(self, custodians: Custodians, names: list[str]) -> None:
        self.custodians = custodians
        self.names = names
        self.chance = custodians.chance
        self.late: dict[date, list[File]] = defaultdict(list)

    def before(self, run_date: date) -> list[File]:
        """Return the files that land before a run: of its close, and late ones."""
        dealing = self.custodians.calendars.dealing
        close, chance = dealing.prev(run_date), self.chance
        books = {basis: self.custodians.holdings(close, basis) for basis, *_ in BASES}
        files = []
        for custodian in self.names:
            if chance.maybe(0.05, "statement_missing"):
                continue
            for basis, probability, kind in BASES:
                if not chance.maybe(probability, kind):
                    continue
                held = {a: n for a, n in books[basis][custodian].items() if n}
                head = (f"{custodian}-{close}-{basis}", custodian, f"{close}", basis)
                rows = self._rows(head, self._as_told(held))
                if chance.maybe(0.03, "statement_late"):
                    self.late[dealing.next(run_date)].append(("statements", rows))
                    continue
                files.append(("statements", rows))
                if chance.maybe(0.04, "statement_twice"):
                    name = chance.of([head[0], f"{head[0]}-again"])
                    other = {a: n + chance.of([0, 0, 1]) for a, n in held.items()}
                    files.append(("statements", self._rows((name, *head[1:]), other)))
        return files + self.late.pop(run_date, [])

    def _as_told(self, held: dict[str, Decimal]) -> dict[str, Decimal]:
        """Return holdings as a custodian states them, sometimes wrongly."""
        chance, told = self.chance, dict(held)
        units = [a for a in told if a != CURRENCY]
        if units and chance.maybe(0.015, "statement_wrong"):
            told[chance.of(units)] += chance.of([Decimal(1), Decimal("-1.25"), PENNY])
        if units and chance.maybe(0.01, "statement_leaves_out"):
            del told[chance.of(units)]
        if chance.maybe(0.01, "statement_adds"):
            told.setdefault(chance.of(sorted(self.custodians.assets)), Decimal(7))
        if told.get(CURRENCY) and chance.maybe(0.05, "statement_currency_wrong"):
            told[CURRENCY] += PENNY
        return told

    def _rows(self, head: tuple[str, str, str, str], held: dict[str, Decimal]) -> list[Row]:
        """Return the rows of a statement: its id, custodian, date and basis, and its lines."""
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
                "statement_id": head[0],
                "custodian_id": head[1],
                "statement_date": head[2],
                "basis": head[3],
                "page": f"{1 + n * pages // len(lines)}",
                "pages": f"{pages}",
                "asset_id": asset,
                "units": units,
            }
            for n, (asset, units) in enumerate(lines)
        ]
        if chance.maybe(0.03, "statement_row_repeated"):
            rows.append(dict(rows[0]))
        if pages > 1 and chance.maybe(0.2, "statement_page_missing"):
            rows = [row for row in rows if row["page"] == "1"]
        return rows
