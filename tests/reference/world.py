"""What all steps of a day share: reference data, books, pots, orders, lines, breaks."""

from dataclasses import dataclass, field
from datetime import date, datetime, time
from fractions import Fraction

from tests.reference.asking import Requests
from tests.reference.batching import Line
from tests.reference.books import Ledger
from tests.reference.dates import Calendars
from tests.reference.landing import Landing, Version
from tests.reference.orders import CORRECTIONS, MOVES, TERMINAL, TRADES, Order, Pot
from tests.reference.reconciling import Breaks

BOOKS = ("live", "canary")


@dataclass
class Today:
    """What one run makes."""

    trades: dict = field(default_factory=dict)
    instructions: dict = field(default_factory=dict)
    cash: dict = field(default_factory=dict)
    admitted: list[Order] = field(default_factory=list)  # trade orders accepted in this run
    versions: dict[str, Version | None] = field(default_factory=dict)
    touched: set[Line] = field(default_factory=set)  # lines an event or a price brings up
    restated: set[str] = field(default_factory=set)  # confirmations stated anew
    corrected_pots: set[str] = field(default_factory=set)
    suspended: set[tuple[str, str]] = field(default_factory=set)


class World:
    """The state of a scheme, and the date it is at."""

    def __init__(self, currency: str, cutoff: time, timezone: str) -> None:
        self.currency = currency
        self.calendars = Calendars(cutoff, timezone)
        self.landing = Landing(currency, self.calendars)
        self.ledger = Ledger()
        self.pots: dict[str, Pot] = {}
        self.orders: dict[str, Order] = {}
        self.lines: dict[str, Line] = {}  # by instruction
        self.open_lines: dict[Line, None] = {}  # not ended, oldest first
        self.priced_lines: dict[tuple[date, str], list[Line]] = {}  # by dealing date and asset
        self.allocations: dict[str, tuple[Fraction, Fraction]] = {}
        self.opened: dict[tuple, Fraction] = {}  # opening positions posted
        self.requests = Requests()  # journals that other processes asked for
        self.breaks = Breaks()
        self.violations: list[str] = []
        self.run_date = date.min
        self.close = date.min  # P, whose close the run starts from (rules §2)
        self.today = Today()

    def start(self, run_date: date) -> None:
        """Turn to the run of a date."""
        self.run_date = run_date
        self.close = self.calendars.prev(run_date)
        self.today = Today()

    @property
    def run_time(self) -> datetime:
        """The instant orders of our own count as received: the cut-off of the run."""
        return self.calendars.cutoff_of(self.run_date)

    def version(self, asset: str) -> Version | None:
        """The version of an asset valid on T."""
        versions = self.today.versions
        if asset not in versions:
            versions[asset] = self.landing.version(asset, self.run_date)
        return versions[asset]

    def price(self, asset: str) -> Fraction | None:
        """`p_i`: the accepted closing price of P (rules §5)."""
        return self.landing.price(asset, self.close)

    def settlement_date(self, version: Version) -> date:
        """T stepped settlement_days forward on the asset's calendar (rules §2)."""
        return self.calendars.step(version.calendar, self.run_date, version.settlement_days)

    def cash_custodian(self, book: str) -> str:
        """Who holds the cash of a book on T (rules §8)."""
        return self.landing.custodian(book, self.currency, self.run_date)

    def holdings(self, pot: Pot) -> dict[tuple[str, str], Fraction]:
        """The non-zero balances of a pot by state and asset."""
        return self.ledger.of(pot.book, pot.account)

    def settled(self, pot: Pot, asset: str) -> Fraction:
        """What a pot has settled of an asset: its available units (rules §4)."""
        return self.ledger.balance(pot.book, pot.account, "settled", asset)

    def holds_units(self, pot: Pot) -> bool:
        """Whether a pot holds units in any state (rules §4)."""
        return any(asset != self.currency for _, asset in self.holdings(pot))

    def lines_of_today(self) -> list[Line]:
        """The lines of the batches of T."""
        return [self.lines[instruction_id] for instruction_id in self.today.instructions]

    def move(self, order: Order, state: str, reason: str = "", *, correction: bool = False) -> None:
        """Change an order's state; an illegal change is an error (rules §4)."""
        legal = MOVES | CORRECTIONS if correction else MOVES
        if (order.state, state) not in legal:
            self.violations.append(f"5: {order.order_id} goes from {order.state} to {state}")
        order.state, order.reason = state, reason
        self.orders[order.order_id] = order
        pot = self.pots.get(order.pot_id)
        if pot is not None and order.kind in TRADES:
            if state in TERMINAL:
                pot.trades.pop(order.order_id, None)
            elif state != "received":
                pot.trades[order.order_id] = order
