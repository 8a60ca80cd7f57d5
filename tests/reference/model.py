"""The second opinion: the dealing rules (`rules §n`) once more, in plain Python.

Written from the rules and the decision records alone. `Reference.land` takes a file,
`Reference.day` runs a date; each step of the day has a module of its own.
"""

from dataclasses import dataclass
from datetime import date, time
from fractions import Fraction

from tests.reference.asking import take_journals
from tests.reference.batching import deal
from tests.reference.books import identities
from tests.reference.custody import Custody
from tests.reference.deciding import decide
from tests.reference.orders import Pot
from tests.reference.rebalancing import rebalance
from tests.reference.reconciling import reconcile
from tests.reference.world import World

Balances = dict[tuple[str, str, str, str], Fraction]


@dataclass
class Day:
    """What the run of a date made."""

    balances: Balances
    allocations: dict[str, tuple[Fraction, Fraction]]
    orders: dict[str, tuple[str, str]]
    trades: dict[tuple[str, str], tuple[str, Fraction]]
    instructions: dict[str, tuple[Fraction | None, Fraction | None]]
    cash: dict[str, tuple[str, Fraction]]
    breaks: dict[tuple[str, str, str, str], set[str]]
    suspended: set[tuple[str, str]]
    journals: dict[str, tuple[str, str]]
    violations: list[str]


class Reference:
    """A scheme, file by file and date by date."""

    def __init__(
        self, currency: str = "USD", cutoff: time = time(12), timezone: str = "Europe/London"
    ) -> None:
        self.world = World(currency, cutoff, timezone)
        self.custody = Custody(self.world)

    def land(self, feed: str, rows: list[dict[str, str]]) -> bool:
        """Take a file; whether its contract accepts it (rules §10)."""
        return self.world.landing.land(feed, rows)

    def day(self, run_date: date) -> Day:
        """Run a date with all that was landed since the last one (rules §2)."""
        world = self.world
        world.start(run_date)
        self._open_pots()
        self._open_positions()
        self.custody.post()
        balances = world.ledger.balances()
        violations = identities(world.ledger, world.currency)
        reconcile(world, self.custody)
        take_journals(world)
        decide(world)
        rebalance(world)
        deal(world)
        for line in world.lines_of_today():
            self.custody.events.adopt(line)
        violations += self._overdrafts() + world.ledger.violations + world.violations
        violations += identities(world.ledger, world.currency)
        world.ledger.violations, world.violations = [], []
        return Day(
            balances=balances,
            allocations=dict(world.allocations),
            orders={i: (order.state, order.reason) for i, order in world.orders.items()},
            trades=world.today.trades,
            instructions=world.today.instructions,
            cash=world.today.cash,
            breaks=self._breaks(),
            suspended=world.today.suspended,
            journals={"/".join(key): told for key, told in world.requests.outcomes.items()},
            violations=sorted(set(violations)),
        )

    def _open_pots(self) -> None:
        """Pots as the first run that knows them reads them; a later row stands aside (ADR 17)."""
        world, landing = self.world, self.world.landing
        for key in landing.named_pots:
            if key[0] in world.pots or key in landing.held["pots"]:
                continue
            row = landing.values["pots"][key]
            world.pots[key[0]] = Pot(key[0], row["book"], row["risk_profile_id"], row["opened_on"])
        landing.named_pots.clear()

    def _open_positions(self) -> None:
        """Positions members bring, effective at `as_of` (rules §2), taken once or not (ADR 17)."""
        world, landing = self.world, self.world.landing
        for key in landing.named_openings:
            as_of, pot_id, asset = key
            pot = world.pots.get(pot_id)
            if key in world.opened or key in landing.held["opening_positions"]:
                continue
            if as_of > world.close or pot is None or world.version(asset) is None:
                continue
            units = world.opened[key] = landing.values["opening_positions"][key]["units"]
            custodian = f"custodian/{landing.custodian(pot.book, asset, world.run_date)}"
            world.ledger.post(
                pot.book,
                [(pot.account, "settled", asset, units), (custodian, "settled", asset, -units)],
            )
        landing.named_openings.clear()

    def _breaks(self) -> dict[tuple[str, str, str, str], set[str]]:
        found: dict[tuple[str, str, str, str], set[str]] = {}
        for (book, custodian, asset, kind, _), state in self.world.breaks.states.items():
            found.setdefault((book, custodian, asset, kind), set()).add(state)
        return found

    def _overdrafts(self) -> list[str]:
        """A pot's settled cash is below zero only with a cause (rules §8.3)."""
        world = self.world
        return [
            f"3: {pot.account} settled cash is {world.settled(pot, world.currency)} without cause"
            for pot in world.pots.values()
            if world.settled(pot, world.currency) < 0 and not pot.causes
        ]
