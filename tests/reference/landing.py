"""Landed files (rules §10): judged whole, equal rows dropped, disagreeing keys held."""

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import partial
from typing import Any

from tests.reference import contracts
from tests.reference.contracts import Row
from tests.reference.dates import DEALING, Calendars
from tests.reference.numbers import fits
from tests.reference.orders import OWN_SOURCES

MONEY_DECIMALS = 2


@dataclass(frozen=True)
class Version:
    """One version of an asset."""

    asset: str
    custodian: str
    calendar: str
    decimals: int
    settlement_days: int
    stress: Fraction
    price_limit: Fraction | None
    valid_from: date


class Landing:
    """Everything that has landed, by feed and key."""

    def __init__(self, currency: str, calendars: Calendars) -> None:
        self.currency = currency
        self.calendars = calendars
        self.hashes: set[str] = set()
        self.sequence = 0
        self.held: dict[str, set[tuple]] = defaultdict(set)
        self.values: dict[str, dict[tuple, Row]] = defaultdict(dict)
        self.known_assets: set[str] = set()
        self.known_profiles: set[str] = set()
        self.known_pots: set[str] = set()
        self.versions: dict[str, list[Version]] = defaultdict(list)
        self.weights: dict[str, dict[date, dict[str, Fraction]]] = defaultdict(dict)
        self.parameters: dict[str, dict[date, Row]] = defaultdict(dict)
        self.prices: dict[str, dict[date, Fraction]] = defaultdict(dict)  # accepted ones
        self.instruction_decimals: dict[str, int] = {}
        self.taken: dict[tuple, Row] = {}  # orders a decide has taken
        # What the next run takes up:
        self.named_pots: list[tuple] = []
        self.named_openings: list[tuple] = []
        self.changed_prices: set[tuple[date, str]] = set()
        self.changed_confirmations: list[str] = []
        self.pending_orders: dict[tuple, Row] = {}
        self.taken_journals: set[tuple] = set()
        self.pending_journals: dict[tuple, list[Row]] = {}
        self.statements: dict[date, list[tuple[int, list[Row]]]] = defaultdict(list)

    # -- judging ------------------------------------------------------------------------------

    def land(self, feed: str, rows: list[dict[str, str]]) -> bool:
        """Judge a file against what landed before (ADR 3), and take it in; whether it passed."""
        if feed not in contracts.COLUMNS:
            return True
        canonical = json.dumps([feed, rows], sort_keys=True).encode()
        digest = hashlib.sha256(canonical).hexdigest()
        if digest in self.hashes:
            return True  # the same bytes again have no effect
        try:
            parsed = contracts.parse(feed, rows)
        except ValueError:
            return False
        if not all(self._row_passes(feed, row) for row in parsed):
            return False
        if feed == "risk_profiles" and not _weights_sum_to_one(parsed):
            return False
        self.hashes.add(digest)
        self.sequence += 1
        self._take(feed, _distinct(parsed))
        return True

    def _row_passes(self, feed: str, row: Row) -> bool:
        """The rules of severity error of the feed's contract."""
        rule = getattr(self, f"_passes_{feed}", None)
        return rule is None or rule(row)

    def _passes_assets(self, row: Row) -> bool:
        return row["currency"] == self.currency

    def _passes_closing_prices(self, row: Row) -> bool:
        return (
            self.calendars.is_business(DEALING, row["price_date"])
            and row["asset_id"] in self.known_assets
            and row["asset_id"] != self.currency
            and row["currency"] == self.currency
        )

    def _passes_confirmations(self, row: Row) -> bool:
        decimals = self.instruction_decimals.get(row["instruction_id"])
        fine = row["units"] is None or decimals is None or fits(row["units"], decimals)
        return fine and contracts.right_event_fields(row)

    def _passes_journals(self, row: Row) -> bool:
        return contracts.right_journal_fields(row)

    def _passes_opening_positions(self, row: Row) -> bool:
        if row["pot_id"] not in self.known_pots or row["asset_id"] not in self.known_assets:
            return False
        if row["asset_id"] == self.currency:
            return fits(row["units"], MONEY_DECIMALS)
        version = self.version_or_first(row["asset_id"], row["as_of"])
        return version is None or fits(row["units"], version.decimals)

    def _passes_orders(self, row: Row) -> bool:
        return row["source"] not in OWN_SOURCES and contracts.right_order_fields(row)

    def _passes_pots(self, row: Row) -> bool:
        return row["risk_profile_id"] in self.known_profiles

    def _passes_risk_profiles(self, row: Row) -> bool:
        asset = row["asset_id"]
        return asset != self.currency and (asset == "CASH" or asset in self.known_assets)

    def _passes_statements(self, row: Row) -> bool:
        return contracts.right_holding(row)

    # -- taking in ----------------------------------------------------------------------------

    def _take(self, feed: str, rows: list[Row]) -> None:
        if feed == "statements":
            self._take_statements(rows)
            return
        by_key: dict[tuple, list[Row]] = defaultdict(list)
        for row in rows:
            by_key[tuple(row[column] for column in contracts.KEYS[feed])].append(row)
        if feed == "risk_profiles":
            self._take_profiles(by_key)
            return
        one = {
            "closing_prices": self._take_price,
            "orders": self._take_order,
            "journals": self._take_journal,
        }.get(feed, partial(self._take_key, feed))
        for key in sorted(by_key):
            one(key, by_key[key])

    def _take_statements(self, rows: list[Row]) -> None:
        """A statement waits for the run that starts from the close it shows (ADR 5)."""
        by_date: dict[date, list[Row]] = defaultdict(list)
        for row in rows:
            by_date[row["statement_date"]].append(row)
        for day, lines in by_date.items():
            self.statements[day].append((self.sequence, lines))

    def _take_key(self, feed: str, key: tuple, values: list[Row]) -> None:
        """One key of one file: a single value counts (and releases), several hold it (§10)."""
        self._know(feed, key)
        if len(values) > 1:
            self.held[feed].add(key)
        else:
            self.held[feed].discard(key)
            if self.values[feed].get(key) != values[0]:
                self.values[feed][key] = values[0]
                self._changed(feed, values[0])
        if feed == "confirmations":
            self.changed_confirmations.append(key[0])
        elif feed == "opening_positions":
            self.named_openings.append(key)
        elif feed == "pots":
            self.named_pots.append(key)

    def _know(self, feed: str, key: tuple) -> None:
        known = {"assets": self.known_assets, "pots": self.known_pots}.get(feed)
        if known is not None:
            known.add(key[0])

    def _changed(self, feed: str, row: Row) -> None:
        """Keep what is looked up often by date; a held key keeps what was accepted before."""
        if feed == "holidays":
            self.calendars.close(row["calendar_id"], row["holiday"])
        elif feed == "assets":
            self._version(row)
        elif feed == "risk_profile_parameters":
            self.parameters[row["risk_profile_id"]][row["valid_from"]] = row

    def _version(self, row: Row) -> None:
        version = Version(
            asset=row["asset_id"],
            custodian=row["custodian_id"],
            calendar=row["calendar_id"],
            decimals=row["unit_decimals"],
            settlement_days=row["settlement_days"],
            stress=row["stress"],
            price_limit=row["price_limit"],
            valid_from=row["valid_from"],
        )
        others = [v for v in self.versions[version.asset] if v.valid_from != version.valid_from]
        self.versions[version.asset] = sorted([*others, version], key=lambda v: v.valid_from)

    def _take_profiles(self, by_key: dict[tuple, list[Row]]) -> None:
        """A file holds whole sets (rules §5); a set with a key on hold waits whole."""
        sets: dict[tuple[str, date], dict[str, Fraction]] = defaultdict(dict)
        torn = set()
        for (profile, asset, valid_from), values in by_key.items():
            self.known_profiles.add(profile)
            sets[profile, valid_from][asset] = values[0]["weight"]
            if len(values) > 1:
                torn.add((profile, valid_from))
        for (profile, valid_from), weights in sets.items():
            if (profile, valid_from) not in torn:
                self.weights[profile][valid_from] = weights

    def _take_price(self, key: tuple, values: list[Row]) -> None:
        """A price on hold is no accepted price; a later single value releases or corrects (§10)."""
        price_date, asset = key
        prices = self.prices[asset]
        held = self.held["closing_prices"]
        value = values[0]["closing_price"]
        if len(values) > 1:
            held.add(key)
            prices.pop(price_date, None)
        elif key in held:
            held.discard(key)
            prices[price_date] = value
        elif self._beyond_limit(asset, price_date, value):
            held.add(key)
            prices.pop(price_date, None)
        else:
            prices[price_date] = value
        self.changed_prices.add(key)

    def _beyond_limit(self, asset: str, price_date: date, value: Fraction) -> bool:
        """Whether a price moved further than believable since the accepted one before it.

        Where a value was accepted, another one is a correction (rules §10).
        """
        if price_date in self.prices[asset]:
            return False
        version = self.version(asset, price_date)
        before = self.last_price(asset, price_date, inclusive=False)
        if version is None or version.price_limit is None or before is None:
            return False
        return abs(value - before) > version.price_limit * before

    def _take_order(self, key: tuple, values: list[Row]) -> None:
        """What a decide has taken is immutable; before that a later file replaces it (§4)."""
        if key in self.taken:
            return
        if len(values) > 1:
            self.held["orders"].add(key)
            self.pending_orders.pop(key, None)
        else:
            self.held["orders"].discard(key)
            self.pending_orders[key] = values[0]

    def _take_journal(self, key: tuple, rows: list[Row]) -> None:
        """A journal is all its rows of a file; what a run has taken is immutable (ADR 20)."""
        if key in self.taken_journals:
            return
        heads = {tuple(row[column] for column in contracts.JOURNAL_HEAD) for row in rows}
        if len(heads) > 1 or len({row["line"] for row in rows}) < len(rows):
            self.held["journals"].add(key)
            self.pending_journals.pop(key, None)
        else:
            self.held["journals"].discard(key)
            self.pending_journals[key] = rows

    # -- looking up ---------------------------------------------------------------------------

    def version(self, asset: str, day: date) -> Version | None:
        """The version of an asset valid on a date (rules §2)."""
        for version in reversed(self.versions.get(asset, ())):
            if version.valid_from <= day:
                return version
        return None

    def version_or_first(self, asset: str, day: date) -> Version | None:
        """The version valid on a date, or the first one where none is yet."""
        versions = self.versions.get(asset)
        return self.version(asset, day) or (versions[0] if versions else None)

    def custodian(self, book: str, asset: str, day: date) -> str:
        """Who holds an asset, cash included, on a date (rules §3, §8)."""
        if book == "canary":
            return "CANARY"
        version = self.version_or_first(asset, day)
        return version.custodian if version else ""

    def price(self, asset: str, day: date) -> Fraction | None:
        """The accepted closing price of a date."""
        prices = self.prices.get(asset)
        return prices.get(day) if prices else None

    def last_price(self, asset: str, day: date, *, inclusive: bool = True) -> Fraction | None:
        """The last accepted price up to (or before) a date (rules §5.4)."""
        prices = self.prices.get(asset, {})
        days = [d for d in prices if d < day or (inclusive and d == day)]
        return prices[max(days)] if days else None

    def weights_on(self, profile: str, day: date) -> dict[str, Fraction] | None:
        """The whole set of a profile with the newest valid_from (rules §5, ADR 4)."""
        return _newest(self.weights.get(profile), day)

    def parameters_on(self, profile: str, day: date) -> Row | None:
        """The parameters of a profile with the newest valid_from (rules §5, ADR 4)."""
        return _newest(self.parameters.get(profile), day)


def _newest(versions: dict[date, Any] | None, day: date) -> Any:
    valid = [valid_from for valid_from in versions or () if valid_from <= day]
    return versions[max(valid)] if versions and valid else None


def _distinct(rows: list[Row]) -> list[Row]:
    """Rows repeated with equal values are dropped (rules §10)."""
    return list({tuple(row.values()): row for row in rows}.values())


def _weights_sum_to_one(rows: list[Row]) -> bool:
    """Weights with cash sum to exactly 1; equal rows count once (rules §5)."""
    sums: dict[tuple[str, date], Fraction] = defaultdict(Fraction)
    for row in _distinct(rows):
        sums[row["risk_profile_id"], row["valid_from"]] += row["weight"]
    return all(total == 1 for total in sums.values())
