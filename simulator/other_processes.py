"""What arrives for the scheme's other processes: rates, payroll's schedules, income, campaigns.

Rates and who may ask for journals come once, with the reference files. The rest comes by the
business date of the month, so that every month has its own and a longer simulation begins exactly
as a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from simulator.calendars import Calendar
from simulator.draws import between, draws
from simulator.exact import MONEY_DECIMALS, PRICE_DECIMALS, cost, format_fixed
from simulator.members import EMPLOYERS, PAYDAY_LAST, Members, pot_id
from simulator.scheme import ASSETS, CURRENCY, SELF_SELECT, VALID_FROM, Row, written

# Business dates of a month, counted from 1. An announcement comes before its ex date; how much is
# paid in all is known before the run that shares it, the one before the pay date.
_CAMPAIGN_TOLD, _CAMPAIGN_DEALS = 3, 5
_INCOME_TOLD, _INCOME_EX, _INCOME_TOTAL, _INCOME_PAID = 6, 8, 10, 11
_INCOME_FUND = "TSP-F"
_INCOME_PER_UNIT = (10_000, 30_000)
"""Income of one unit, in ``10**-6``."""
_CAMPAIGN_FROM, _CAMPAIGN_TO = "TSP-I", "TSP-C"
_SCHEDULE_OFF_ONE_IN = 150
_SCHEDULE_OFF_BY = 1_00
_CHARGES = {"TSP-G": "15", "TSP-F": "20", "TSP-C": "30", "TSP-S": "37.5", "TSP-I": "42.25"}
_FEES = {"NORTH": "1.5", "SOUTH": "2.25"}
_SOURCES = (
    ("management_charge", "charge", "team:finance"),
    ("income_distribution", "distribution", "team:corporate_actions"),
)


def standing_files() -> Iterator[tuple[str, list[Row]]]:
    """Feed and rows of what holds from the start: who may ask for journals, charges, fees."""
    since = VALID_FROM.isoformat()
    yield "journal_sources", [(source, kind, since, "", owner) for source, kind, owner in _SOURCES]
    yield "charge_rates", [(fund, since, rate) for fund, rate in _CHARGES.items()]
    yield "custodian_fee_rates", [(custodian, since, rate) for custodian, rate in _FEES.items()]


@dataclass(frozen=True, slots=True)
class Income:
    """Income of a fund: who holds it at the close before ``ex_date`` is paid on ``pay_date``."""

    announcement_id: str
    asset_id: str
    ex_date: date
    pay_date: date
    per_unit: int

    def total(self, units: int) -> int:
        """What the custodian pays for ``units``, in cents."""
        return cost(units, ASSETS[self.asset_id].unit_decimals, self.per_unit)

    def row(self, total: int | None) -> Row:
        """The announcement as it is sent; ``total`` in cents, ``None`` before it is known."""
        return (
            self.announcement_id,
            self.asset_id,
            self.ex_date.isoformat(),
            self.pay_date.isoformat(),
            format_fixed(self.per_unit, PRICE_DECIMALS),
            "" if total is None else format_fixed(total, MONEY_DECIMALS),
        )


class Incomes:
    """The income that a custodian pays, one payment a month, from ``first`` on."""

    def __init__(self, seed: int, first: date, calendar: Calendar) -> None:
        self._seed = seed
        self._first = first
        self._calendar = calendar

    def paid_on(self, day: date) -> Income | None:
        """The income that is paid on a business date; none whose announcement nobody heard."""
        income = self.of_month(day)
        return income if income is not None and income.pay_date == day else None

    def of_month(self, day: date) -> Income | None:
        """The income of the month of ``day``, if its announcement came on ``first`` or later."""
        dates = self._of_month(day)
        if dates[_INCOME_TOLD - 1] < self._first:
            return None
        drawn = draws(self._seed, "income", f"{day:%Y-%m}")
        return Income(
            announcement_id=f"{_INCOME_FUND}-{day:%Y-%m}",
            asset_id=_INCOME_FUND,
            ex_date=dates[_INCOME_EX - 1],
            pay_date=dates[_INCOME_PAID - 1],
            per_unit=between(drawn[0], *_INCOME_PER_UNIT),
        )

    def _of_month(self, day: date) -> list[date]:
        start = self._calendar.prev(day.replace(day=1))
        return [self._calendar.step(start, number) for number in range(1, _INCOME_PAID + 1)]


class OtherProcesses:
    """The files of each run date from ``first`` on."""

    def __init__(self, seed: int, members: Members, calendar: Calendar, first: date) -> None:
        self.incomes = Incomes(seed, first, calendar)
        self._seed = seed
        self._members = members
        self._calendar = calendar
        self._first = first

    def files(
        self, run_date: date, holdings: Mapping[str, int] | None
    ) -> Iterator[tuple[str, str, Iterator[Row]]]:
        """Feed, name and rows of every file that arrives before the run of ``run_date``.

        ``holdings``: by asset, at the close before the ex date of the month's income; ``None``
        where that close is still to come.
        """
        if run_date == self._first or self._calendar.ordinal_in_month(run_date) == 1:
            for number, employer in enumerate(EMPLOYERS):
                rows = self._schedule(number, employer, run_date)
                yield "contribution_schedules", f"schedule_{employer}_{run_date:%Y-%m}.csv", rows
        ordinal = self._calendar.ordinal_in_month(run_date)
        if ordinal == _CAMPAIGN_TOLD:
            yield "switch_campaigns", f"campaign_{run_date:%Y-%m}.csv", self._campaign(run_date)
        income = self.incomes.of_month(run_date)
        if income is not None and ordinal == _INCOME_TOLD:
            yield "income_announcements", f"income_{run_date}.csv", iter([income.row(None)])
        if income is not None and ordinal == _INCOME_TOTAL and holdings is not None:
            total = income.total(holdings[income.asset_id])
            yield "income_announcements", f"income_{run_date}.csv", iter([income.row(total)])

    def _campaign(self, run_date: date) -> Iterator[Row]:
        """Those who select for themselves are moved from one fund to another."""
        deals = self._calendar.step(run_date, _CAMPAIGN_DEALS - _CAMPAIGN_TOLD)
        yield (
            f"{_CAMPAIGN_FROM}-{run_date:%Y-%m}",
            _CAMPAIGN_FROM,
            _CAMPAIGN_TO,
            SELF_SELECT,
            deals.isoformat(),
            "planned",
        )

    def _schedule(self, employer: int, name: str, run_date: date) -> Iterator[Row]:
        """What an employer says it will pay in the month of ``run_date``, from then on.

        Of one pot in 150 it is wrong, a dollar off or forgotten; the first employer still names one
        who has left, for whom nothing comes.
        """
        members, month = self._members, f"{run_date:%Y-%m}"
        start = self._calendar.prev(run_date.replace(day=1))
        due = [self._calendar.step(start, number) for number in range(1, PAYDAY_LAST + 1)]
        if employer == 0 and due[0] >= run_date:
            yield name, pot_id(0), due[0].isoformat(), "75.00"
        for number, payday in enumerate(members.payday, 1):
            if members.employer[number - 1] != employer or due[payday - 1] < run_date:
                continue
            amount = members.contribution[number - 1]
            drawn = draws(self._seed, "schedule", month, number)
            if drawn[0] % _SCHEDULE_OFF_ONE_IN == 0:
                if drawn[1] % 2:
                    continue
                amount += _SCHEDULE_OFF_BY
            yield name, pot_id(number), due[payday - 1].isoformat(), written(amount, CURRENCY)
