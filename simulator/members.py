"""The members: their pots, what these hold at the start, and what is paid in every month.

A pot depends on the seed and its own number alone, not on how many pots there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from simulator.draws import Draws, between, draws
from simulator.exact import units_for
from simulator.scheme import ASSETS, CURRENCY, FUNDS, PROFILES, SELF_SELECT, Profile, Row, written

EMPLOYERS = ("EMPLOYER-ALDER", "EMPLOYER-BEECH", "EMPLOYER-CEDAR", "EMPLOYER-DAMSON")
PLATFORMS = ("PLATFORM-ELM", "PLATFORM-FIR")

_OPENED_FIRST = date(2003, 6, 2)
_OPENED_DAYS = 5_900
_FIRST_PAYDAY_PER_CENT = 70
PAYDAY_LAST = 18
"""No month of the sample has fewer business dates."""
_VALUE_CENTS = (500_00, 250_000_00)
_CONTRIBUTION_CENTS = (50_00, 1_500_00)
_DRIFT = 400
"""A holding starts within this many ten-thousandths of its weight."""
_PROFILE_OF_SHARE = tuple(
    number for number, profile in enumerate(PROFILES) for _ in range(profile.share)
)


@dataclass(frozen=True, slots=True)
class Pot:
    """One pot at the start; quantities in minor units."""

    pot_id: str
    member_ref: str
    profile: Profile
    opened_on: date
    units: tuple[tuple[str, int], ...]
    cash: int


class Members:
    """``count`` pots, numbered from 1; ``prices`` (``10**-6``) turn values into units."""

    def __init__(self, seed: int, count: int, prices: Mapping[str, int]) -> None:
        self.count = count
        self._seed = seed
        self._prices = prices
        # One small number per pot and fact: what every date asks of all pots.
        self.payday = array("B")
        self.employer = array("B")
        self.profile = array("B")
        self.contribution = array("I")
        for number in range(1, count + 1):
            drawn = self._drawn(number)
            self.payday.append(_payday(drawn))
            self.employer.append(drawn[2] % len(EMPLOYERS))
            self.profile.append(_PROFILE_OF_SHARE[drawn[3] % 100])
            self.contribution.append(_skewed(drawn[4], drawn[5], *_CONTRIBUTION_CENTS))

    def _drawn(self, number: int) -> Draws:
        return draws(self._seed, "pot", number)

    def pot(self, number: int) -> Pot:
        """The pot with that number."""
        drawn = self._drawn(number)
        profile = PROFILES[_PROFILE_OF_SHARE[drawn[3] % 100]]
        value = _skewed(drawn[6], drawn[7], *_VALUE_CENTS)
        held = _held(profile, drawn)
        in_cash = value * (10_000 - sum(weight for _, weight in held)) // 10_000
        return Pot(
            pot_id=pot_id(number),
            member_ref=f"M{drawn[8]:08x}{drawn[9]:08x}",
            profile=profile,
            opened_on=_OPENED_FIRST + timedelta(days=drawn[10] % _OPENED_DAYS),
            units=tuple(self._units(held, value, drawn)),
            cash=in_cash * between(drawn[11], 80, 120) // 100,
        )

    def _units(
        self, held: list[tuple[str, int]], value: int, drawn: Draws
    ) -> Iterator[tuple[str, int]]:
        for position, (asset_id, weight) in enumerate(held):
            drift = (drawn[12 + position % 4] >> (8 * (position // 4))) % (2 * _DRIFT + 1) - _DRIFT
            worth = value * weight * (10_000 + drift) // 10_000**2
            units = units_for(worth, ASSETS[asset_id].unit_decimals, self._prices[asset_id])
            if units > 0:
                yield asset_id, units

    def pots(self) -> Iterator[Pot]:
        """Every pot, in order of its number."""
        return map(self.pot, range(1, self.count + 1))

    def pot_rows(self) -> Iterator[Row]:
        """Rows of the feed ``pots``."""
        for pot in self.pots():
            opened = pot.opened_on.isoformat()
            yield pot.pot_id, pot.member_ref, pot.profile.profile_id, "live", opened

    def opening_rows(self, as_of: date) -> Iterator[Row]:
        """Rows of the feed ``opening_positions``; cash is the row of the currency."""
        at = as_of.isoformat()
        for pot in self.pots():
            for asset_id, units in pot.units:
                yield at, pot.pot_id, asset_id, written(units, asset_id)
            yield at, pot.pot_id, CURRENCY, written(pot.cash, CURRENCY)

    def holdings(self) -> dict[str, int]:
        """What the scheme holds at the start: all pots added up, by asset, in minor units."""
        total = dict.fromkeys(ASSETS, 0)
        for pot in self.pots():
            for asset_id, units in pot.units:
                total[asset_id] += units
            total[CURRENCY] += pot.cash
        return total


def pot_id(number: int) -> str:
    """The id of the pot with that number."""
    return f"P{number:07d}"


def _payday(drawn: Draws) -> int:
    """The business date of the month, counted from 1, on which the contribution arrives."""
    if drawn[0] % 100 < _FIRST_PAYDAY_PER_CENT:
        return 1
    return between(drawn[1], 2, PAYDAY_LAST)


def _skewed(one: int, other: int, low: int, high: int) -> int:
    """A number in ``low..high``; small ones are likelier than large ones."""
    return low + (high - low) * one * other // (1 << 64)


def _held(profile: Profile, drawn: Draws) -> list[tuple[str, int]]:
    """Fund and weight of what a pot holds; who selects for himself has up to three funds."""
    if profile.profile_id != SELF_SELECT:
        return [(asset_id, weight) for asset_id, weight in profile.weights if asset_id in FUNDS]
    start, count = drawn[13] % len(FUNDS), 1 + drawn[14] % 3
    chosen = sorted(FUNDS[(start + offset) % len(FUNDS)] for offset in range(count))
    return [(asset_id, 9_800 // count) for asset_id in chosen]
