"""What the scheme of the simulation consists of: assets, custodians, profiles, time zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from zoneinfo import ZoneInfo

from simulator.exact import MONEY_DECIMALS, format_fixed, parse_fixed

CURRENCY = "USD"
CUTOFF = time(12, 0)
TIMEZONE = ZoneInfo("Europe/London")
DEALING = "DEALING"
CUSTODIANS = ("NORTH", "SOUTH")
CASH_CUSTODIAN = "NORTH"
CALENDARS = (DEALING, "NORTH_CAL", "SOUTH_CAL")
VALID_FROM = date(2003, 1, 1)
SELF_SELECT = "SELF_SELECT"

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asset:
    """One row of the feed ``assets``; stress and price limit as they are written."""

    asset_id: str
    name: str
    custodian_id: str
    calendar_id: str
    unit_decimals: int
    settlement_days: int
    stress: str
    price_limit: str


_ASSETS = (
    Asset("TSP-G", "Government Securities Fund", "NORTH", "NORTH_CAL", 4, 1, "0.01", "0.05"),
    Asset("TSP-F", "Fixed Income Index Fund", "NORTH", "NORTH_CAL", 4, 1, "0.03", "0.05"),
    Asset("TSP-C", "Common Stock Index Fund", "SOUTH", "SOUTH_CAL", 4, 2, "0.10", "0.25"),
    Asset("TSP-S", "Small Cap Stock Index Fund", "SOUTH", "SOUTH_CAL", 4, 2, "0.12", "0.25"),
    Asset("TSP-I", "International Stock Index Fund", "SOUTH", "SOUTH_CAL", 4, 2, "0.10", "0.25"),
    Asset(CURRENCY, "US dollar", CASH_CUSTODIAN, DEALING, MONEY_DECIMALS, 0, "0", ""),
)
ASSETS = {asset.asset_id: asset for asset in _ASSETS}
FUNDS = tuple(asset.asset_id for asset in _ASSETS if asset.asset_id != CURRENCY)


@dataclass(frozen=True, slots=True)
class Profile:
    """A risk profile with its parameters; weights in ten-thousandths, cash under ``CASH``."""

    profile_id: str
    weights: tuple[tuple[str, int], ...]
    drift_band: str
    cash_band: str
    min_trade: str
    schedule: str
    share: int
    """How many of a hundred pots have it."""


def _weights(**weights: int) -> tuple[tuple[str, int], ...]:
    """Weights by the fund's last letter, as asset ids; the rest of 10,000 is cash."""
    funds = tuple((f"TSP-{letter}", weight) for letter, weight in weights.items())
    return (*funds, ("CASH", 10_000 - sum(weight for _, weight in funds)))


PROFILES = (
    Profile(
        "CAUTIOUS", _weights(G=5000, F=3000, C=1000, S=300, I=500),
        "0.03", "0.02", "25.00", "drift", 18,
    ),
    Profile(
        "BALANCED", _weights(G=2000, F=3000, C=2500, S=1000, I=1300),
        "0.03", "0.02", "25.00", "drift", 32,
    ),
    Profile(
        "GROWTH", _weights(F=1500, C=4000, S=2000, I=2350),
        "0.04", "0.02", "20.00", "drift", 24,
    ),
    Profile(
        "ADVENTUROUS", _weights(C=4500, S=2700, I=2700),
        "0.05", "0.03", "10.00", "drift", 12,
    ),
    Profile("INCOME", _weights(G=6700, F=3000), "0.02", "0.02", "50.00", "daily", 4),
    Profile(SELF_SELECT, _weights(), "0.05", "0.05", "10.00", "none", 10),
)  # fmt: skip


def asset_rows() -> Iterator[Row]:
    """Rows of the feed ``assets``."""
    for asset in _ASSETS:
        yield (
            asset.asset_id,
            asset.name,
            CURRENCY,
            asset.custodian_id,
            asset.calendar_id,
            str(asset.unit_decimals),
            str(asset.settlement_days),
            asset.stress,
            asset.price_limit,
            VALID_FROM.isoformat(),
        )


def profile_rows() -> Iterator[Row]:
    """Rows of the feed ``risk_profiles``."""
    for profile in PROFILES:
        for asset_id, weight in profile.weights:
            yield profile.profile_id, asset_id, format_fixed(weight, 4), VALID_FROM.isoformat()


def parameter_rows() -> Iterator[Row]:
    """Rows of the feed ``risk_profile_parameters``."""
    for profile in PROFILES:
        yield (
            profile.profile_id,
            profile.drift_band,
            profile.cash_band,
            profile.min_trade,
            profile.schedule,
            VALID_FROM.isoformat(),
        )


def minor(text: str, asset_id: str) -> int:
    """A quantity of ``asset_id`` in its minor units."""
    return parse_fixed(text, ASSETS[asset_id].unit_decimals)


def written(quantity: int, asset_id: str) -> str:
    """Minor units of ``asset_id`` as text with exactly its decimals."""
    return format_fixed(quantity, ASSETS[asset_id].unit_decimals)
