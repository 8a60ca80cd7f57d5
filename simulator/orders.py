"""What employers and platforms order on behalf of members, per run date.

Employers send contributions; platforms send what members ask for, some of it to be refused.
Who orders what depends on the seed, the run date and the number of pots alone: nobody outside
sees the platform's ledger, so an order may ask for what a pot no longer has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from simulator.calendars import Calendar, cutoff, instant
from simulator.draws import between, draws
from simulator.members import EMPLOYERS, PLATFORMS, Members, Pot, pot_id
from simulator.scheme import ASSETS, CURRENCY, FUNDS, PROFILES, SELF_SELECT, Row, written

_LATE_SECONDS = 4 * 3600
_SELF_SELECT = [profile.profile_id for profile in PROFILES].index(SELF_SELECT)


@dataclass(frozen=True, slots=True)
class Rates:
    """How many of 10,000 pots do it on an average business date; the last is of 10,000 orders."""

    withdrawals: int = 30
    buys: int = 100
    sells: int = 100
    switches: int = 20
    profile_changes: int = 20
    refused: int = 10
    after_cutoff: int = 100


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a member asks for, before it has a source, a reference and a time."""

    pot_id: str
    kind: str
    asset_id: str = ""
    to_asset_id: str = ""
    units: str = ""
    amount: str = ""
    risk_profile_id: str = ""


class Orders:
    """The order files of each run date from ``first`` on."""

    def __init__(
        self, seed: int, members: Members, calendar: Calendar, first: date, rates: Rates
    ) -> None:
        self._seed = seed
        self._members = members
        self._calendar = calendar
        self._first = first
        self._rates = rates

    def files(self, run_date: date) -> Iterator[tuple[str, Iterator[Row]]]:
        """Name and rows of every order file that arrives before the run of ``run_date``."""
        for _, name, rows in self.sent(run_date):
            yield name, rows

    def sent(self, run_date: date) -> Iterator[tuple[str, str, Iterator[Row]]]:
        """Source, name and rows of what each source orders before the run of ``run_date``."""
        for number, employer in enumerate(EMPLOYERS):
            yield employer, *self._file(employer, run_date, self._contributions(number, run_date))
        for number, platform in enumerate(PLATFORMS):
            yield platform, *self._file(platform, run_date, self._asked_for(number, run_date))

    def _file(
        self, source: str, run_date: date, wishes: Iterator[_Wish]
    ) -> tuple[str, Iterator[Row]]:
        return f"orders_{source}_{run_date}.csv", self._rows(source, run_date, wishes)

    def _rows(self, source: str, run_date: date, wishes: Iterator[_Wish]) -> Iterator[Row]:
        """Numbers the wishes and spreads them over the time before the cut-off.

        A few are given after the cut-off, within hours: they deal on the next date.
        """
        opens, closes = cutoff(self._calendar.prev(run_date)), cutoff(run_date)
        for sequence, wish in enumerate(wishes, start=1):
            drawn = draws(self._seed, "received", source, run_date, sequence)
            if drawn[0] % 10_000 < self._rates.after_cutoff:
                received = closes + drawn[1] % _LATE_SECONDS
            else:
                received = opens + drawn[1] % (closes - opens)
            yield (
                source,
                f"{run_date}-{sequence:07d}",
                instant(received),
                wish.pot_id,
                wish.kind,
                wish.asset_id,
                wish.to_asset_id,
                wish.units,
                wish.amount,
                wish.risk_profile_id,
            )

    def _payers(self, run_date: date) -> Iterator[int]:
        """The numbers of the pots whose payday is ``run_date``."""
        ordinal = self._calendar.ordinal_in_month(run_date)
        return (
            number for number, payday in enumerate(self._members.payday, 1) if payday == ordinal
        )

    def _contributions(self, employer: int, run_date: date) -> Iterator[_Wish]:
        members = self._members
        for number in self._payers(run_date):
            if members.employer[number - 1] == employer:
                amount = written(members.contribution[number - 1], CURRENCY)
                yield _Wish(pot_id(number), "contribution", amount=amount)

    def _asked_for(self, platform: int, run_date: date) -> Iterator[_Wish]:
        yield from self._invested(platform, run_date)
        # Every platform draws the same sample of members, one wish each, and takes its share.
        rng = random.Random(f"{self._seed}|members|{run_date}")  # noqa: S311
        kinds = [kind for kind, rate in self._kinds() for _ in range(self._count(rate, rng))]
        numbers = rng.sample(
            range(1, self._members.count + 1), min(len(kinds), self._members.count)
        )
        for number, wish in zip(numbers, kinds, strict=False):
            if number % len(PLATFORMS) == platform:
                private = random.Random(f"{self._seed}|wish|{run_date}|{number}")  # noqa: S311
                yield wish(self._members.pot(number), private)

    def _invested(self, platform: int, run_date: date) -> Iterator[_Wish]:
        """Who selects for himself invests his contribution on the business date after it."""
        paid_on = self._calendar.prev(run_date)
        if paid_on < self._first:
            return
        for number in self._payers(paid_on):
            if (
                self._members.profile[number - 1] == _SELF_SELECT
                and number % len(PLATFORMS) == platform
            ):
                drawn = draws(self._seed, "invested", run_date, number)
                paid = self._members.contribution[number - 1]
                amount = paid * between(drawn[0], 60, 100) // 100
                asset_id = FUNDS[drawn[1] % len(FUNDS)]
                yield _Wish(pot_id(number), "buy", asset_id, amount=written(amount, CURRENCY))

    def _count(self, rate: int, rng: random.Random) -> int:
        """``rate`` of 10,000 pots; the fraction that is left decides on one more by chance."""
        count, rest = divmod(rate * self._members.count, 10_000)
        return count + (rng.randrange(10_000) < rest)

    def _kinds(self) -> tuple[tuple[Callable[[Pot, random.Random], _Wish], int], ...]:
        rates = self._rates
        return (
            (_withdrawal, rates.withdrawals),
            (_buy, rates.buys),
            (_sell, rates.sells),
            (_switch, rates.switches),
            (_profile_change, rates.profile_changes),
            (_refused, rates.refused),
        )


def _percent_of(quantity: int, rng: random.Random, low: int, high: int) -> int:
    return max(1, quantity * rng.randint(low, high) // 100)


def _withdrawal(pot: Pot, rng: random.Random) -> _Wish:
    """Mostly a part of what the pot had in cash, sometimes more than that, seldom everything."""
    if rng.randrange(25) == 0:
        return _Wish(pot.pot_id, "withdrawal")
    high = 300 if rng.randrange(4) == 0 else 60
    amount = _percent_of(pot.cash, rng, 10, high)
    return _Wish(pot.pot_id, "withdrawal", amount=written(amount, CURRENCY))


def _buy(pot: Pot, rng: random.Random) -> _Wish:
    amount = written(_percent_of(pot.cash, rng, 5, 50), CURRENCY)
    return _Wish(pot.pot_id, "buy", rng.choice(FUNDS), amount=amount)


def _sell(pot: Pot, rng: random.Random) -> _Wish:
    asset_id, held = rng.choice(pot.units)
    if rng.randrange(20) == 0:
        return _Wish(pot.pot_id, "sell", asset_id)
    return _Wish(pot.pot_id, "sell", asset_id, units=_part(asset_id, held, rng))


def _switch(pot: Pot, rng: random.Random) -> _Wish:
    asset_id, held = rng.choice(pot.units)
    to_asset_id = rng.choice([fund for fund in FUNDS if fund != asset_id])
    units = "" if rng.randrange(10) == 0 else _part(asset_id, held, rng)
    return _Wish(pot.pot_id, "switch", asset_id, to_asset_id, units=units)


def _part(asset_id: str, held: int, rng: random.Random) -> str:
    return written(_percent_of(held, rng, 1, 30), asset_id)


def _profile_change(pot: Pot, rng: random.Random) -> _Wish:
    others = [p.profile_id for p in PROFILES if p.profile_id != pot.profile.profile_id]
    return _Wish(pot.pot_id, "profile_change", risk_profile_id=rng.choice(others))


def _refused(pot: Pot, rng: random.Random) -> _Wish:
    """Well formed, but to be refused: one wish for each usual reason."""
    asset_id, held = pot.units[0]
    too_fine = ASSETS[asset_id].unit_decimals + 1
    wishes = (
        _Wish(pot.pot_id, "buy", "TSP-X", amount="100.00"),
        _Wish(pot.pot_id, "buy", asset_id, amount="9999999.00"),
        _Wish(pot.pot_id, "sell", asset_id, units=written(held * 10 + 1, asset_id)),
        _Wish(pot.pot_id, "sell", asset_id, units=f"0.{1:0{too_fine}d}"),
        _Wish(pot.pot_id, "profile_change", risk_profile_id="UNHEARD_OF"),
        _Wish(pot_id(0), "contribution", amount="75.00"),
    )
    return wishes[rng.randrange(len(wishes))]
