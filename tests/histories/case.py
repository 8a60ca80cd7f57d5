"""A history as files, day by day: drawn by chance, kept in a folder, landed in the platform."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

from acme.domain.calendars import Calendars
from acme.lakehouse import contracts
from tests.histories.asking import Asking
from tests.histories.chance import Chance
from tests.histories.custodians import Custodians
from tests.histories.runner import MemoryPlatform
from tests.histories.statements import Statements
from tests.histories.world import BANK, CALENDARS, CANARY, CURRENCY, LONG_AGO, File, Row, World

FEEDS = (
    "holidays",
    "assets",
    "risk_profiles",
    "risk_profile_parameters",
    "pots",
    "opening_positions",
    "journal_sources",
    "closing_prices",
    "confirmations",
    "statements",
    "orders",
    "journals",
)
CLOCKS = (("12:00", "Europe/London"), ("12:00", "Europe/London"), ("16:00", "America/New_York"))


@dataclass
class Case:
    """What lands before each run, file by file in order, and the scheme's clock."""

    seed: str
    cutoff: str = "12:00"
    timezone: str = "Europe/London"
    days: list[tuple[date, list[File]]] = field(default_factory=list)

    def platform(self) -> MemoryPlatform:
        """Return an empty platform for the case."""
        return MemoryPlatform(CURRENCY, time.fromisoformat(self.cutoff), self.timezone)

    def filtered(self, keep: Callable[[Row], bool]) -> Case:
        """Return the case with those rows only; empty files are left out."""
        days = [
            (day, [(f, kept) for f, rows in files if (kept := [r for r in rows if keep(r)])])
            for day, files in self.days
        ]
        return Case(self.seed, self.cutoff, self.timezone, days)

    def until(self, day: date) -> Case:
        """Return the case up to a date."""
        days = [(d, files) for d, files in self.days if d <= day]
        return Case(self.seed, self.cutoff, self.timezone, days)

    def rows(self) -> Iterator[Row]:
        """Return every row."""
        for _, files in self.days:
            for _, rows in files:
                yield from rows

    def write(self, folder: Path) -> None:
        """Keep the case as CSV files below `folder`, by date and in landing order."""
        folder.mkdir(parents=True, exist_ok=True)
        scheme = {"seed": self.seed, "cutoff": self.cutoff, "timezone": self.timezone}
        (folder / "scheme.json").write_text(json.dumps(scheme) + "\n", "utf-8")
        for day, files in self.days:
            place = folder / f"{day}"
            place.mkdir(exist_ok=True)
            for number, (feed, rows) in enumerate(files):
                with (place / f"{number:02}_{feed}.csv").open("w", newline="") as file:
                    names = contracts.feed(feed).column_names
                    writer = csv.DictWriter(file, names, lineterminator="\n")
                    writer.writeheader()
                    writer.writerows(rows)

    @staticmethod
    def read(folder: Path) -> Case:
        """Return the case that lies in a folder."""
        scheme = json.loads((folder / "scheme.json").read_text("utf-8"))
        case = Case(scheme["seed"], scheme["cutoff"], scheme["timezone"])
        for place in sorted(p for p in folder.iterdir() if p.is_dir()):
            files: list[File] = []
            for path in sorted(place.glob("*.csv")):
                with path.open(newline="") as file:
                    files.append((path.stem.split("_", 1)[1], list(csv.DictReader(file))))
            case.days.append((date.fromisoformat(place.name), files))
        return case


class Generator:
    """Draws a case of `worlds` worlds over `days` dates, as the platform answers it."""

    def __init__(
        self, seed: str, worlds: int, days: int, kinds: frozenset[str], counts: Counter[str]
    ) -> None:
        self.chance = Chance(seed, kinds, counts)
        self.dates, self.holidays = self._calendar(days)
        pairs = [(r["calendar_id"], date.fromisoformat(r["holiday"])) for r in self.holidays]
        self.calendars = Calendars.of(pairs)
        width = max(2, len(str(worlds - 1)))
        self.worlds = [
            World(
                f"W{n:0{width}}", Chance(f"{seed}:{n}", kinds, counts), self.calendars, self.dates
            )
            for n in range(worlds)
        ]
        # A chance of their own: what else happens in a history does not hang on them.
        self.asking = [
            Asking(world, Chance(f"{seed}:{n}:journals", kinds, counts))
            for n, world in enumerate(self.worlds)
        ]
        self.of_asset = {a.asset_id: (w, a) for w in self.worlds for a in w.assets}
        self.custodians = Custodians(
            self.chance,
            self.calendars,
            lambda day, a: self.of_asset[a.asset_id][0].true_price(day, a),
        )
        self.custodians.assets = {name: asset for name, (_, asset) in self.of_asset.items()}
        cutoff, timezone = self.chance.of(CLOCKS)
        self.case = Case(seed, cutoff, timezone)

    def _calendar(self, days: int) -> tuple[list[date], list[Row]]:
        """Return the run dates, and holidays that differ from calendar to calendar."""
        chance = self.chance
        first = date(2020, 1, 6) + timedelta(days=chance.between(0, 1000))
        holidays = []
        for calendar in CALENDARS:
            for offset in range(-5, 2 * days + 20):
                if chance.roll(0.05):
                    holidays.append((calendar, first + timedelta(days=offset)))
                    if calendar != "DEALING":
                        chance.count("holiday_of_one_calendar")
        dealing = Calendars.of(holidays).dealing
        dates = [dealing.next(first)]
        while len(dates) < days:
            dates.append(dealing.next(dates[-1]))
        rows = [{"calendar_id": c, "holiday": f"{d}", "name": "Holiday"} for c, d in holidays]
        return dates, rows

    def opening(self) -> list[File]:
        """Return the files of the scheme as it opens."""
        bank = {
            "asset_id": CURRENCY,
            "name": "Money",
            "currency": CURRENCY,
            "custodian_id": BANK,
            "calendar_id": "DEALING",
            "unit_decimals": "2",
            "settlement_days": "0",
            "stress": "0",
            "price_limit": "",
            "valid_from": LONG_AGO,
        }
        files = [("holidays", self.holidays), ("assets", [bank])]
        for world in self.worlds:
            files += world.reference()
            books = {pot: book for pot, (_, book, _) in world.pots.items()}
            for row in world.opening:
                asset, book = row["asset_id"], books[row["pot_id"]]
                at = BANK if asset == CURRENCY else self.of_asset[asset][1].custodian_id
                before = date.fromisoformat(row["as_of"])
                custodian = CANARY if book == "canary" else at
                self.custodians.moves.append((before, custodian, asset, Decimal(row["units"])))
        files += [asking.registered() for asking in self.asking]
        return merged(files)

    def play(self, land: Callable[[date, list[File]], MemoryPlatform]) -> Case:
        """Draw the case date by date; `land` takes the files of a date and runs it."""
        everyone = sorted({c for w in self.worlds for c in w.custodians} | {BANK, CANARY})
        statements = Statements(self.custodians, everyone)
        for run_date in self.dates:
            files = self.opening() if run_date == self.dates[0] else []
            files = files + merged([f for w in self.worlds for f in w.before(run_date)])
            close = self.calendars.dealing.prev(run_date)
            files += merged([f for a in self.asking for f in a.before(run_date, close)])
            files += merged(self.custodians.confirmations(run_date))
            files += merged(statements.before(run_date), whole=True)
            self.case.days.append((run_date, files))
            platform = land(run_date, files)
            for row in platform.sent():
                self.custodians.take(row)
            for row in platform.sent("cash.csv"):
                sign = 1 if row["direction"] == "IN" else -1
                self.custodians.paid(row["to"], run_date, sign * Decimal(row["amount"]))
            self._moved(run_date, platform)
        return self.case

    def _moved(self, run_date: date, platform: MemoryPlatform) -> None:
        """Let the custodians hold what the journals of a run say that came to them or left."""
        moved = platform.frame("stage.requested_postings").select("account", "asset_id", "quantity")
        for account, asset, quantity in moved.iter_rows():
            kind, _, custodian = account.partition("/")
            if kind == "custodian":
                self.custodians.moves.append((run_date, custodian, asset, -quantity))


def merged(files: Sequence[File], *, whole: bool = False) -> list[File]:
    """Bring files of a feed together, feeds in landing order; one marked `!` stays alone.

    With `whole` files stay as they are, but for the order of feeds.
    """
    together: dict[str, list[Row]] = {}
    alone: list[File] = []
    for feed, rows in files:
        if not rows:
            continue
        if feed.startswith("!") or whole:
            alone.append((feed.removeprefix("!"), rows))
        else:
            together.setdefault(feed, []).extend(rows)
    made = [*together.items(), *alone]
    return sorted(made, key=lambda file: FEEDS.index(file[0]))
