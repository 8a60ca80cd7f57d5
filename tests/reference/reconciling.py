"""Reconciliation at zero tolerance, breaks and suspension (rules §9, ADR 5, 6, 14)."""

import re
from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.reference.batching import Line
from tests.reference.contracts import Row
from tests.reference.numbers import ZERO, money, trunc

if TYPE_CHECKING:
    from tests.reference.custody import Custody
    from tests.reference.world import World

Identity = tuple[str, str, str, str, str]  # book, custodian, asset, class, reference
SUSPENDING = frozenset({"quantity", "missing_at_custodian", "missing_in_ledger", "unknown"})
HOLDING_CLASSES = ("timing", "missing_at_custodian", "missing_in_ledger", "quantity")
LINE_CLASSES = ("timing", "quantity", "consideration", "settlement_failed")


class Breaks:
    """Every break ever found, with its state; nobody closes any here."""

    def __init__(self) -> None:
        self.states: dict[Identity, str] = {}

    def show(self, identity: Identity) -> None:
        """The evidence of the run shows a break: it is open."""
        self.states[identity] = "open"

    def clear(self, identity: Identity) -> None:
        """The evidence of the run shows it no more: it is corrected."""
        if identity in self.states:
            self.states[identity] = "corrected"


def book_of(custodian: str) -> str:
    """The book a custodian belongs to (rules §3)."""
    return "canary" if custodian == "CANARY" else "live"


def reconcile(world: "World", custody: "Custody") -> None:
    """Compare with the statements of P and with the confirmations; suspend (rules §9)."""
    _statements(world, custody)
    for line in {**world.open_lines, **dict.fromkeys(world.today.touched)}:
        _line(world, custody, line)
    _strays(world, custody)
    world.today.suspended = {
        (book, asset)
        for (book, _, asset, kind, _), state in world.breaks.states.items()
        if kind in SUSPENDING and state == "open" and asset not in {"", world.currency}
    }


# -- statements -------------------------------------------------------------------------------


def _statements(world: "World", custody: "Custody") -> None:
    """Custodian accounts against each statement of P, on its own basis (rules §9, ADR 5)."""
    landed: dict[tuple[str, str], list[tuple[int, list[Row]]]] = defaultdict(list)
    for sequence, rows in world.landing.statements.pop(world.close, ()):
        parts: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            parts[row["custodian_id"], row["basis"]].append(row)
        for key, part in parts.items():
            landed[key].append((sequence, part))
    timing = _timing(world, custody) if landed else {}
    for (custodian, basis), files in sorted(landed.items()):
        _statement(world, custodian, basis, _latest(files), timing)
    stated = {custodian for custodian, _ in landed}
    for (book, account), balances in world.ledger.accounts.items():
        kind, _, custodian = account.partition("/")
        if kind == "custodian" and balances and custodian not in stated:
            world.breaks.show((book, custodian, "", "stale_statement", ""))


def _latest(files: list[tuple[int, list[Row]]]) -> list[Row]:
    """Of several statements the latest landed counts; a page sent again replaces itself (§9)."""
    statement_id = max(row["statement_id"] for row in files[-1][1])
    newest = [row for row in files[-1][1] if row["statement_id"] == statement_id]
    pages_in_all = newest[0]["pages"]
    pages: dict[int, list[Row]] = {}
    for _, rows in files:
        fresh: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if row["statement_id"] == statement_id and row["pages"] == pages_in_all:
                fresh[row["page"]].append(row)
        pages.update(fresh)
    odd = [row for row in newest if row["pages"] != pages_in_all]
    return [row for page in sorted(pages) for row in pages[page]] + odd


def _statement(
    world: "World",
    custodian: str,
    basis: str,
    rows: list[Row],
    timing: dict[tuple[str, str, str], Fraction],
) -> None:
    """Compare one statement with what we believe the custodian holds (rules §8, §9)."""
    book, breaks = book_of(custodian), world.breaks
    if not _has_every_page(rows):
        breaks.show((book, custodian, "", "statement_defect", basis))
        return
    theirs: dict[str, Fraction] = defaultdict(Fraction)
    for row in rows:
        if row["asset_id"] is not None:
            theirs[row["asset_id"]] += row["units"]
    ours: dict[str, Fraction] = defaultdict(Fraction)
    for (state, asset), quantity in world.ledger.of(book, f"custodian/{custodian}").items():
        if basis == "traded" or state != "in_flight":
            ours[asset] -= quantity
    shown = set()
    for asset in theirs.keys() | ours.keys():
        difference = theirs.get(asset, ZERO) - ours.get(asset, ZERO)
        if not difference:
            continue
        if difference == timing.get((custodian, basis, asset)):
            kind = "timing"
        else:
            kind = _difference_class(asset in theirs, bool(ours.get(asset)))
        shown.add((book, custodian, asset, kind, basis))
    _whole_statement(world, book, custodian, basis, shown)


def _has_every_page(rows: list[Row]) -> bool:
    """Pages must be 1..`pages` (rules §9)."""
    pages = {row["page"] for row in rows}
    count = rows[0]["pages"]
    return (
        all(row["pages"] == count for row in rows)
        and len(pages) == count
        and min(pages) == 1
        and max(pages) == count
    )


def _difference_class(has_line: bool, has_balance: bool) -> str:
    """What a difference is called that nothing confirmed explains (rules §9)."""
    if not has_line:
        return "missing_at_custodian"
    return "quantity" if has_balance else "missing_in_ledger"


def _whole_statement(
    world: "World", book: str, custodian: str, basis: str, shown: set[Identity]
) -> None:
    """What a later whole statement no longer shows becomes `corrected` (rules §9)."""
    breaks = world.breaks
    for identity in list(breaks.states):
        of_book, of_custodian, _, kind, reference = identity
        if (of_book, of_custodian) != (book, custodian) or identity in shown:
            continue
        of_holding = kind in HOLDING_CLASSES and reference == basis
        of_defect = kind == "statement_defect" and reference == basis
        if of_holding or of_defect or kind == "stale_statement":
            breaks.clear(identity)
    for identity in shown:
        breaks.show(identity)


def _timing(world: "World", custody: "Custody") -> dict[tuple[str, str, str], Fraction]:
    """What stands confirmed on instructions not yet booked (traded) or settled (rules §9)."""
    expected: dict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
    for line in world.open_lines:
        sign = 1 if line.side == "B" else -1
        for basis, event, done in (
            ("traded", "executed", line.booked is not None),
            ("settled", "settled", line.settled),
        ):
            if done or not line.events:
                continue
            units, consideration = custody.confirmed(line, event)
            expected[line.custodian, basis, line.asset] += sign * units
            expected[line.cash_custodian, basis, world.currency] -= sign * consideration
    return expected


# -- instructions -----------------------------------------------------------------------------


def _line(world: "World", custody: "Custody", line: Line) -> None:
    """Instructions against confirmations (rules §9, ADR 6)."""
    if not line.net:
        return
    shown = _line_breaks(world, custody, line)
    for kind in LINE_CLASSES:
        identity = (line.book, line.custodian, line.asset, kind, line.instruction_id)
        if shown.get(kind):
            world.breaks.show(identity)
        elif kind in shown and _may_disprove(world, custody, line, kind):
            world.breaks.clear(identity)
    _confirmations(world, custody, line)
    if custody.events.disputed(world, line):
        return
    reference = f"{line.instruction_id}:booked"
    waits = (line.book, line.custodian, line.asset, "consideration", reference)
    if _waits(custody, line) == "consideration":
        world.breaks.show(waits)
    else:
        world.breaks.clear(waits)


def _waits(custody: "Custody", line: Line) -> str:
    """The class of a booked line that is not booked as what stands, and waits (§7, ADR 17)."""
    if line.booked is None or custody.exceeds(line):
        return ""
    units, consideration = custody.confirmed(line, "executed")
    if units != line.booked.filled:
        return "quantity"
    return "consideration" if consideration != line.booked.confirmed else ""


def _may_disprove(world: "World", custody: "Custody", line: Line, kind: str) -> bool:
    """A line that has settled cannot disprove what its units cost, unless amended (ADR 6)."""
    events = custody.events
    if kind != "consideration":
        return True
    return not line.settled or any(events.amended(world, name) for name in line.events)


def _line_breaks(world: "World", custody: "Custody", line: Line) -> dict[str, bool]:
    """Which breaks a line shows; a class that cannot be judged now is left out."""
    rows = custody.events.standing(line)
    failures = [row["event_date"] for row in rows if row["event"] == "failed"]
    if line.settled:
        failures = [day for day in failures if day > line.settled_on]
    elif line.ended:
        failures = []  # nothing to settle
    closing = world.landing.price(line.asset, line.batch_date)
    shown = {
        "timing": custody.unanswered(line),
        "settlement_failed": bool(failures),
    }
    disputed = custody.events.disputed(world, line)
    if not disputed:
        shown["quantity"] = custody.exceeds(line) or _waits(custody, line) == "quantity"
    if line.quantity_type == "A" and closing is not None and not disputed:
        units, spent = custody.confirmed(line, "executed")
        is_spent = spent == line.net
        shown["consideration"] = is_spent and units != trunc(spent / closing, line.decimals)
    return shown


def _confirmations(world: "World", custody: "Custody", line: Line) -> None:
    """Executions at another price, or whose arithmetic is off; each is a break (ADR 6, 17)."""
    events = custody.events
    closing = world.landing.price(line.asset, line.batch_date)
    shown = set()
    for row in events.standing(line):
        if row["event"] != "executed":
            continue
        name = row["confirmation_id"]
        if closing is not None and row["price"] != closing:
            shown.add(("price", name))
        if line.quantity_type == "U" and row["consideration"] != money(row["units"] * row["price"]):
            shown.add(("consideration", name))
    judged = closing is not None and not line.settled and not events.disputed(world, line)
    for name in line.mispriced:
        for kind in ("price", "consideration"):
            if (kind, name) not in shown and (judged or events.amended(world, name)):
                world.breaks.clear((line.book, line.custodian, line.asset, kind, name))
    for kind, name in shown:
        line.mispriced.add(name)
        world.breaks.show((line.book, line.custodian, line.asset, kind, name))


def _strays(world: "World", custody: "Custody") -> None:
    """An event that names no instruction of ours is a break `unknown` without asset (ADR 6)."""
    shown = set()
    for instruction_id in custody.events.strays:
        canary = re.match(r"B-\d{4}-\d{2}-\d{2}-canary-", instruction_id)
        shown.add(("canary" if canary else "live", "", "", "unknown", instruction_id))
    for identity in list(world.breaks.states):
        if identity[3] == "unknown" and identity not in shown:
            world.breaks.clear(identity)
    for identity in shown:
        world.breaks.show(identity)
