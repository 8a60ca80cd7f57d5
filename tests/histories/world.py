"""One small world of a history: its assets, profiles, pots, prices and orders, drawn by chance.

Many worlds share a scheme; every id of one holds its tag, so that none meets another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal

from acme.domain.calendars import Calendars
from tests.histories.chance import Chance

Row = dict[str, str]
File = tuple[str, list[Row]]

CURRENCY, BANK, CANARY = "USD", "BANK", "CANARY"
CALENDARS = ("DEALING", "NORTH_CAL", "SOUTH_CAL")
LONG_AGO = "2015-01-01"
ORDER_WEIGHTS = {
    "contribution": 5.0,
    "withdrawal": 3.0,
    "withdrawal_of_all": 1.5,
    "buy": 4.0,
    "sell": 4.0,
    "sell_all": 1.0,
    "switch": 2.0,
    "switch_all": 1.0,
    "profile_change": 1.0,
}


@dataclass
class Asset:
    """An asset as the market knows it; `price` is the newest true price."""

    asset_id: str
    custodian_id: str
    calendar_id: str
    decimals: int
    settlement_days: int
    stress: Decimal
    limit: str
    price: Decimal
    versions: list[tuple[date, int]] = field(default_factory=list)

    def days_on(self, day: date) -> int:
        """Return the settlement days of the version valid on a day."""
        found = self.settlement_days
        for valid_from, days in self.versions:
            if valid_from <= day:
                found = days
        return found

    def row(self, valid_from: str, settlement_days: int) -> Row:
        """Return the asset's row of the feed."""
        return {
            "asset_id": self.asset_id,
            "name": self.asset_id,
            "currency": CURRENCY,
            "custodian_id": self.custodian_id,
            "calendar_id": self.calendar_id,
            "unit_decimals": f"{self.decimals}",
            "settlement_days": f"{settlement_days}",
            "stress": f"{self.stress}",
            "price_limit": self.limit,
            "valid_from": valid_from,
        }

    def truncate(self, units: Decimal) -> Decimal:
        """Cut units to the asset's decimals."""
        return units.quantize(Decimal(1).scaleb(-self.decimals), ROUND_DOWN)


class World:
    """The third parties, the vendor and the assets of one world."""

    def __init__(
        self, tag: str, chance: Chance, calendars: Calendars, dates: Sequence[date]
    ) -> None:
        self.tag = tag
        self.chance = chance
        self.calendars = calendars
        self.dates = dates
        self.custodians = [f"{tag}X", f"{tag}Y"][: chance.between(1, 2)]
        self.assets = [self._asset(n) for n in range(chance.between(2, 4))]
        self.profiles = [f"{tag}R{n}" for n in range(chance.between(1, 3))]
        self.pots = self._pots()
        self.opening: list[Row] = []
        self.true_prices: dict[tuple[date, str], Decimal] = {}
        self.held: dict[str, dict[str, Decimal]] = defaultdict(dict)
        self._orders = 0
        self._taken: list[Row] = []
        self._waiting: list[Row] = []
        self._later: dict[date, list[File]] = defaultdict(list)
        self._holds: list[tuple[str, date, str]] = []
        self.busy = chance.of([0.15, 0.3, 0.5])

    # ---- reference ---------------------------------------------------------------------------

    def _asset(self, number: int) -> Asset:
        chance = self.chance
        return Asset(
            asset_id=f"{self.tag}A{number}",
            custodian_id=chance.of([*self.custodians, BANK]),
            calendar_id=chance.of(CALENDARS),
            decimals=chance.of([0, 2, 3, 4, 4, 4, 6]),
            settlement_days=chance.of([0, 1, 1, 2, 2, 2, 3]),
            stress=Decimal(chance.of(["0", "0.05", "0.1", "0.1", "0.3", "1"])),
            limit=chance.of(["", "", "0.25"]),
            price=Decimal(chance.between(50, 30000)).scaleb(-2)
            + Decimal(chance.of([0, 0, 1234, 7])).scaleb(-6),
        )

    def _pots(self) -> dict[str, tuple[str, str, date]]:
        """Return pot → profile, book, opened_on."""
        pots = {}
        for number in range(self.chance.between(2, 5)):
            book = "canary" if self.chance.maybe(0.15, "canary_pot") else "live"
            self.chance.counts["live_pot"] += book == "live"
            opened = self.dates[0] - timedelta(days=400)
            if self.chance.maybe(0.05, "order_before_opening"):
                opened = self._date(1, 5)
            pots[f"{self.tag}P{number}"] = (self.chance.of(self.profiles), book, opened)
        return pots

    def reference(self) -> list[File]:
        """Return the files of the scheme as it opens."""
        chance = self.chance
        late = (
            self.assets[-1]
            if len(self.assets) > 2 and chance.maybe(0.2, "asset_landed_later")
            else None
        )
        first = [a for a in self.assets if a is not late]
        assets = [a.row(LONG_AGO, a.settlement_days) for a in first]
        if late is not None:
            day = self._date(1, 3)
            self._later[day].append(("assets", [late.row(f"{day}", late.settlement_days)]))
            late.price = late.price + 1
        files: list[File] = [("assets", assets)]
        files.append(
            ("risk_profiles", [r for p in self.profiles for r in self._weights(p, LONG_AGO, first)])
        )
        files.append(
            ("risk_profile_parameters", [self._parameters(p, LONG_AGO) for p in self.profiles])
        )
        later_pot = chance.of(list(self.pots)) if chance.maybe(0.2, "pot_landed_later") else None
        rows = []
        for pot in self.pots:
            row = self._pot_row(pot)
            if pot == later_pot:
                self._later[self._date(1, 4)].append(("pots", [row]))
            else:
                rows.append(row)
                if chance.maybe(0.05, "pot_repeated_otherwise"):
                    other = chance.of(
                        [
                            {"member_ref": "another"},
                            {"risk_profile_id": chance.of(self.profiles)},
                            {"opened_on": f"{self._date(2, 8)}"},
                        ]
                    )
                    self._later[self._date(1, 6)].append(("pots", [row | other]))
        files.append(("pots", rows))
        self._open(first, [r["pot_id"] for r in rows])
        files.append(("opening_positions", self.opening))
        self._plan_changes(first)
        return files

    def _date(self, first: int, last: int) -> date:
        """Return one of the run dates, by number; a short history has fewer."""
        last = min(last, len(self.dates) - 1)
        return self.dates[self.chance.between(min(first, last), last)]

    def _pot_row(self, pot: str) -> Row:
        profile, book, opened = self.pots[pot]
        return {
            "pot_id": pot,
            "member_ref": f"M-{pot}",
            "risk_profile_id": profile,
            "book": book,
            "opened_on": f"{opened}",
        }

    def _weights(
        self, profile: str, valid_from: str, assets: Sequence[Asset], off: int = 0
    ) -> list[Row]:
        chosen = self.chance.random.sample(list(assets), self.chance.between(1, len(assets)))
        cuts = sorted(self.chance.between(0, 100) for _ in chosen)
        shares = [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
        rows = [
            {"risk_profile_id": profile, "asset_id": a, "weight": f"{Decimal(share).scaleb(-2)}"}
            for a, share in zip([a.asset_id for a in chosen] + ["CASH"], shares, strict=True)
        ]
        if off:
            rows[-1]["weight"] = f"{Decimal(shares[-1]).scaleb(-2) + Decimal('0.01')}"
        return [row | {"valid_from": valid_from} for row in rows]

    def _parameters(self, profile: str, valid_from: str) -> Row:
        chance = self.chance
        return {
            "risk_profile_id": profile,
            "drift_band": chance.of(["0", "0.01", "0.05", "0.2"]),
            "cash_band": chance.of(["0.01", "0.05", "0.2"]),
            "min_trade": chance.of(["0", "1.00", "10.00", "250.00"]),
            "schedule": chance.of(["drift", "drift", "daily", "none"]),
            "valid_from": valid_from,
        }

    def _open(self, assets: Sequence[Asset], pots: Iterable[str]) -> None:
        as_of = self.calendars.dealing.prev(self.dates[0])
        for pot in pots:
            for asset in assets:
                if self.chance.roll(0.6):
                    worth = Decimal(self.chance.between(100, 20000))
                    units = asset.truncate(worth / asset.price)
                    if units > 0:
                        self._opened(as_of, pot, asset.asset_id, units)
            if self.chance.roll(0.85):
                self._opened(
                    as_of, pot, CURRENCY, Decimal(self.chance.between(1, 1_000_000)).scaleb(-2)
                )

    def _opened(self, as_of: date, pot: str, asset: str, units: Decimal) -> None:
        row = {"as_of": f"{as_of}", "pot_id": pot, "asset_id": asset, "units": f"{units}"}
        self.opening.append(row)
        self.held[pot][asset] = units
        if self.chance.maybe(0.02, "position_repeated_otherwise"):
            other = row | {"units": f"{units + 1}"}
            self._later[self._date(0, 4)].append(("!opening_positions", [other]))
        if self.chance.maybe(0.02, "position_dated_ahead"):
            ahead = row | {"as_of": f"{self._date(1, 4)}"}
            self._later[self._date(0, 1)].append(("!opening_positions", [ahead]))

    def _plan_changes(self, assets: Sequence[Asset]) -> None:
        chance, dates = self.chance, self.dates

        def some_day() -> date:
            return self._date(1, len(dates) - 2)

        for asset in assets:
            if asset.settlement_days > 1 and chance.maybe(0.25, "settlement_days_shortened"):
                day = some_day()
                valid = dates[min(dates.index(day) + chance.between(0, 2), len(dates) - 1)]
                asset.versions.append((valid, asset.settlement_days - 1))
                self._later[day].append(
                    ("assets", [asset.row(f"{valid}", asset.settlement_days - 1)])
                )
        for profile in self.profiles:
            if chance.maybe(0.15, "weights_changed"):
                day = some_day()
                self._later[day].append(("risk_profiles", self._weights(profile, f"{day}", assets)))
            if chance.maybe(0.1, "parameters_changed"):
                day = some_day()
                self._later[day].append(
                    ("risk_profile_parameters", [self._parameters(profile, f"{day}")])
                )
            if chance.maybe(0.03, "weights_do_not_sum"):
                day = some_day()
                self._later[day].append(
                    ("!risk_profiles", self._weights(profile, f"{day}", assets, 1))
                )

    # ---- each run ----------------------------------------------------------------------------

    def before(self, run_date: date) -> list[File]:
        """Return what lands before a run from third parties and vendor; `!` = a file of its own."""
        close = self.calendars.dealing.prev(run_date)
        files = [*self._later.pop(run_date, [])]
        files += self._prices(run_date, close)
        files += self._order_files(run_date, close)
        return files

    def true_price(self, day: date, asset: Asset) -> Decimal:
        """Return the market's closing price of a day, found on first use."""
        if (day, asset.asset_id) not in self.true_prices:
            self.true_prices[day, asset.asset_id] = self._next_price(asset)
        return self.true_prices[day, asset.asset_id]

    def _next_price(self, asset: Asset) -> Decimal:
        chance = self.chance
        move = Decimal(chance.between(-200, 200)).scaleb(-4)
        if chance.maybe(0.03, "price_beyond_stress"):
            move = Decimal(chance.of(["-0.4", "0.4", "0.35", "-0.15"]))
        if asset.limit and chance.maybe(0.04, "price_beyond_limit"):
            move = Decimal(chance.of(["-0.3", "0.5"]))
        price = (asset.price * (1 + move)).quantize(Decimal(1).scaleb(-chance.of([2, 4, 4, 6])))
        asset.price = max(price, Decimal("0.05"))
        return asset.price

    def _price_row(self, day: date, asset: str, price: Decimal) -> Row:
        return {
            "price_date": f"{day}",
            "asset_id": asset,
            "currency": CURRENCY,
            "closing_price": f"{price}",
        }

    def _prices(self, run_date: date, close: date) -> list[File]:
        """Return the vendor's files for a close, with what is missing, disputed or wrong."""
        rows: list[Row] = []
        extra: list[File] = []
        for asset in self.assets:
            if not self._lands_later(asset):
                rows += self._prices_of(asset, run_date, close)
                if self.chance.maybe(0.004, "price_on_weekend"):
                    saturday = close + timedelta(days=5 - close.weekday())
                    row = self._price_row(saturday, asset.asset_id, asset.price)
                    extra.append(("!closing_prices", [row]))
        return [("closing_prices", rows), *extra]

    def _prices_of(self, asset: Asset, run_date: date, close: date) -> list[Row]:
        chance, name = self.chance, asset.asset_id
        before = self.true_prices.get((self.calendars.dealing.prev(close), name))
        price = self.true_price(close, asset)
        row = self._price_row(close, name, price)
        limit = Decimal(asset.limit) if asset.limit else None
        beyond = limit and before and abs(price - before) > limit * before
        if beyond and chance.maybe(0.7, "price_limit_released"):
            self._price_later(run_date, 1, row)
        if chance.maybe(0.015, "price_missing"):
            return []
        if chance.maybe(0.02, "price_late"):
            self._price_later(run_date, chance.between(1, 2), row)
            return []
        self._corrected_prices(run_date, close, name, price)
        rows = [row, *self._disputed_prices(run_date, close, name, price)]
        if chance.maybe(0.02, "price_repeated"):
            rows.append(dict(row))
        if chance.maybe(0.01, "price_early"):
            rows.append(self._price_row(run_date, name, self.true_price(run_date, asset)))
        return rows

    def _price_later(self, run_date: date, runs: int, *rows: Row) -> None:
        self._later[self._run_after(run_date, runs)].append(("closing_prices", list(rows)))

    def _disputed_prices(self, run_date: date, close: date, name: str, price: Decimal) -> list[Row]:
        chance, other = self.chance, Decimal("0.11")
        if not chance.maybe(0.02, "price_conflicting"):
            return []
        if chance.maybe(0.7, "price_conflict_released"):
            right = price + chance.of([Decimal(0), other, Decimal("0.3")])
            self._price_later(run_date, chance.between(1, 3), self._price_row(close, name, right))
        return [self._price_row(close, name, price + other)]

    def _corrected_prices(self, run_date: date, close: date, name: str, price: Decimal) -> None:
        chance = self.chance
        if chance.maybe(0.03, "price_corrected"):
            right = (price * Decimal("1.013")).quantize(Decimal("0.0001"))
            self._price_later(run_date, chance.between(1, 5), self._price_row(close, name, right))
        if chance.maybe(0.01, "price_held_after_use"):
            both = [
                self._price_row(close, name, price + off)
                for off in (Decimal("0.01"), Decimal("0.02"))
            ]
            runs = chance.between(1, 3)
            self._price_later(run_date, runs, *both)
            if chance.roll(0.5):
                self._price_later(run_date, runs + 1, both[0])

    def _lands_later(self, asset: Asset) -> bool:
        return any(
            row["asset_id"] == asset.asset_id
            and row["valid_from"] != LONG_AGO
            and not asset.versions
            for files in self._later.values()
            for feed, rows in files
            if feed == "assets"
            for row in rows
        )

    def _run_after(self, run_date: date, runs: int) -> date:
        for _ in range(runs):
            run_date = self.calendars.dealing.next(run_date)
        return run_date

    # ---- orders ------------------------------------------------------------------------------

    def _order_files(self, run_date: date, close: date) -> list[File]:
        chance, rows, files = self.chance, [], []
        rows += [
            _with_other_quantity(row)
            for row in self._waiting
            if chance.maybe(0.3, "order_replaced_while_waiting")
        ]
        self._waiting = []
        for pot in self.pots:
            while chance.roll(self.busy):
                rows += self._order(pot, run_date, close)
        if self._taken and chance.maybe(0.05, "order_changed_after_taken"):
            rows.append(_with_other_quantity(chance.of(self._taken)))
        if self._taken and chance.maybe(0.05, "order_repeated"):
            rows.append(dict(chance.of(self._taken)))
        if rows and chance.maybe(0.01, "order_reserved_source"):
            files.append(
                (
                    "!orders",
                    [
                        dict(rows[0])
                        | {"source": "rebalancing", "source_ref": f"{self.tag}-rs-{run_date}"}
                    ],
                )
            )
        return [("orders", rows), *files] if rows else files

    def _order(self, pot: str, run_date: date, close: date) -> list[Row]:
        chance = self.chance
        kind = chance.kind(ORDER_WEIGHTS)
        if kind == "withdrawal_of_all" and chance.roll(0.5):
            kind = "withdrawal"
        self._orders += 1
        row = {
            "source": chance.of(["EMPLOYER", "PLATFORM"]),
            "source_ref": f"{self.tag}-{self._orders}",
            "received_at": self._received(run_date, close),
            "pot_id": pot,
            "kind": {
                "withdrawal_of_all": "withdrawal",
                "sell_all": "sell",
                "switch_all": "switch",
            }.get(kind, kind),
            "asset_id": "",
            "to_asset_id": "",
            "units": "",
            "amount": "",
            "risk_profile_id": "",
        } | self._terms(kind, pot)
        row |= self._faults(row)
        if row["received_at"] > f"{run_date}T13":
            self._waiting.append(row)
        else:
            self._taken.append(row)
        if chance.maybe(0.02, "order_conflicting"):
            if chance.maybe(0.6, "order_conflict_released"):
                self._later[self._run_after(run_date, 1)].append(("orders", [dict(row)]))
            return [row, _with_other_quantity(row)]
        return [row]

    def _received(self, run_date: date, close: date) -> str:
        chance = self.chance
        if chance.maybe(0.06, "order_after_cut_off"):
            return f"{run_date}T{chance.between(18, 22)}:{chance.between(10, 59)}:00Z"
        if chance.maybe(0.04, "order_landed_late"):
            return f"{close}T0{chance.between(6, 9)}:30:00+00:00"
        if chance.roll(0.2):
            return f"{run_date - timedelta(days=1)}T23:{chance.between(10, 59)}:00.25+01:00"
        return (
            f"{run_date}T0{chance.between(6, 9)}:{chance.between(10, 59)}:{chance.between(10, 59)}Z"
        )

    def _terms(self, kind: str, pot: str) -> Row:
        chance = self.chance
        asset = chance.of(self.assets)
        units = asset.truncate(Decimal(chance.between(1, 4000)) / asset.price)
        if not units:
            units = Decimal(1)
        amount = f"{Decimal(chance.between(100, 400000)).scaleb(-2)}"
        other = chance.of([a for a in self.assets if a is not asset])
        switched = {"asset_id": asset.asset_id, "to_asset_id": other.asset_id}
        terms: dict[str, Row] = {
            "contribution": {"amount": amount},
            "withdrawal": {"amount": amount},
            "withdrawal_of_all": {},
            "buy": {"asset_id": asset.asset_id, "amount": amount},
            "sell": {"asset_id": asset.asset_id, "units": f"{units}"},
            "sell_all": {"asset_id": asset.asset_id},
            "switch": switched | {"units": f"{units}"},
            "switch_all": switched,
            "profile_change": {"risk_profile_id": chance.of(self.profiles)},
        }
        return terms[kind]

    def _faults(self, row: Row) -> Row:
        """Return what is wrong with an order, seldom anything: for the first reason that fits."""
        sized = "amount" if row["amount"] else "units" if row["units"] else ""
        trades = row["kind"] not in ("contribution", "withdrawal")
        quantity = Decimal(row[sized]) if sized else Decimal(0)
        faults = (
            ("order_too_large", sized and trades, 0.05, {sized: f"{quantity * 1000}"}),
            ("order_too_fine", sized, 0.03, {sized: f"{quantity + Decimal('0.000001')}"}),
            ("order_unknown_pot", True, 0.01, {"pot_id": f"{self.tag}NOBODY"}),
            ("order_unknown_asset", row["asset_id"], 0.015, {"asset_id": f"{self.tag}NOTHING"}),
            ("order_for_currency", row["asset_id"], 0.015, {"asset_id": CURRENCY}),
            (
                "order_unknown_profile",
                row["risk_profile_id"],
                0.15,
                {"risk_profile_id": f"{self.tag}NONE"},
            ),
        )
        for kind, fits, probability, fault in faults:
            if fits and self.chance.maybe(probability, kind):
                return fault
        return {}


def _with_other_quantity(row: Row) -> Row:
    """Return an order of the same reference with other values."""
    for name in ("amount", "units"):
        if row[name]:
            return row | {name: f"{Decimal(row[name]) + 1}"}
    return row | {"received_at": row["received_at"].replace(":", ":", 1).replace("T0", "T1", 1)}
