"""What makes a landed file fail: the shapes of the feeds' contracts (rules §10, ADR 3)."""

import re
from collections.abc import Callable
from datetime import date, datetime
from fractions import Fraction
from typing import Any

Parser = Callable[[str], Any]
Row = dict[str, Any]

NAME = r"[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?"
FOLDER = r"[^\s/\\.\x00-\x1f\x7f]([^/\\\x00-\x1f\x7f]*[^\s/\\\x00-\x1f\x7f])?"
INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)


def text(pattern: str = r"(?s:.*)", longest: int = 10**6) -> Parser:
    """Text of a form."""
    form = re.compile(pattern)

    def parse(value: str) -> str:
        if len(value) > longest or not form.fullmatch(value):
            raise ValueError(value)
        return value

    return parse


def whole(low: int | None = None, high: int | None = None) -> Parser:
    """A whole number."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ValueError(value)
        number = int(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(value)
        return number

    return parse


def decimal(
    digits: int,
    places: int,
    low: int | None = None,
    high: int | None = None,
    above: int | None = None,
) -> Parser:
    """DECIMAL(digits, places) in bounds."""

    def parse(value: str) -> Fraction:
        match = re.fullmatch(r"[+-]?([0-9]+)(?:\.([0-9]+))?", value)
        if not match or len(match[2] or "") > places:
            raise ValueError(value)
        number = Fraction(value)
        too_small = (low is not None and number < low) or (above is not None and number <= above)
        too_large = abs(number) >= 10 ** (digits - places) or (high is not None and number > high)
        if too_small or too_large:
            raise ValueError(value)
        return number

    return parse


def day(value: str) -> date:
    """A date."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError(value)
    return date.fromisoformat(value)


def instant(value: str) -> datetime:
    """An instant: RFC 3339 with offset, microseconds at most."""
    if not INSTANT.fullmatch(value):
        raise ValueError(value)
    return datetime.fromisoformat(value.upper())


def one_of(*values: str) -> Parser:
    """One of some words."""

    def parse(value: str) -> str:
        if value not in values:
            raise ValueError(value)
        return value

    return parse


NAMED = text(NAME, 200)
# feed -> column -> (parser, whether it is required)
COLUMNS: dict[str, dict[str, tuple[Parser, bool]]] = {
    "holidays": {
        "calendar_id": (NAMED, True),
        "holiday": (day, True),
        "name": (text(), False),
    },
    "assets": {
        "asset_id": (NAMED, True),
        "name": (text(), False),
        "currency": (text("[A-Z]{3}"), True),
        "custodian_id": (text(FOLDER, 100), True),
        "calendar_id": (NAMED, True),
        "unit_decimals": (whole(0, 6), True),
        "settlement_days": (whole(0, 365), True),
        "stress": (decimal(9, 8, low=0, high=1), True),
        "price_limit": (decimal(9, 8, low=0), False),
        "valid_from": (day, True),
    },
    "risk_profiles": {
        "risk_profile_id": (NAMED, True),
        "asset_id": (NAMED, True),
        "weight": (decimal(9, 8, low=0, high=1), True),
        "valid_from": (day, True),
    },
    "risk_profile_parameters": {
        "risk_profile_id": (NAMED, True),
        "drift_band": (decimal(9, 8, low=0), True),
        "cash_band": (decimal(9, 8, low=0), True),
        "min_trade": (decimal(18, 2, low=0), True),
        "schedule": (one_of("drift", "daily", "none"), True),
        "valid_from": (day, True),
    },
    "pots": {
        "pot_id": (NAMED, True),
        "member_ref": (NAMED, True),
        "risk_profile_id": (NAMED, True),
        "book": (one_of("live", "canary"), True),
        "opened_on": (day, True),
    },
    "opening_positions": {
        "as_of": (day, True),
        "pot_id": (NAMED, True),
        "asset_id": (NAMED, True),
        "units": (decimal(18, 6, low=0), True),
    },
    "closing_prices": {
        "price_date": (day, True),
        "asset_id": (NAMED, True),
        "currency": (text("[A-Z]{3}"), True),
        "closing_price": (decimal(18, 6, above=0), True),
    },
    "orders": {
        "source": (text(r"[^\n]+", 200), True),
        "source_ref": (text(r"[^\n]+", 400), True),
        "received_at": (instant, True),
        "pot_id": (text(), True),
        "kind": (
            one_of("contribution", "withdrawal", "buy", "sell", "switch", "profile_change"),
            True,
        ),
        "asset_id": (text(), False),
        "to_asset_id": (text(), False),
        "units": (decimal(18, 6, above=0), False),
        "amount": (decimal(18, 6, above=0), False),
        "risk_profile_id": (text(), False),
    },
    "confirmations": {
        "confirmation_id": (NAMED, True),
        "instruction_id": (text(NAME), True),
        "event": (one_of("executed", "rejected", "cancelled", "settled", "failed"), True),
        "event_date": (day, True),
        "units": (decimal(18, 6, low=0), False),
        "price": (decimal(18, 6, above=0), False),
        "consideration": (decimal(18, 2, low=0), False),
        "settlement_date": (day, False),
        "amends": (text(), False),
    },
    "statements": {
        "statement_id": (text(NAME), True),
        "custodian_id": (text(NAME), True),
        "statement_date": (day, True),
        "basis": (one_of("settled", "traded"), True),
        "page": (whole(), True),
        "pages": (whole(), True),
        "asset_id": (text(NAME), False),
        "units": (decimal(28, 6), False),
    },
    "journal_sources": {
        "source": (text(r"[^\n]+", 200), True),
        "kind": (
            one_of(
                "charge",
                "charge_paid",
                "distribution",
                "corporate_action",
                "adjustment",
                "reversal",
            ),
            True,
        ),
        "valid_from": (day, True),
        "valid_to": (day, False),
        "owner": (text(r"team:[a-z][a-z0-9_-]*", 100), True),
    },
    "journals": {
        "source": (text(r"[^\n]+", 200), True),
        "journal_ref": (text(r"[^\n]+", 400), True),
        "line": (whole(1), True),
        "book": (one_of("live", "canary"), True),
        "kind": (text(r"[a-z_]+", 40), True),
        "event_time": (instant, True),
        "account": (text(r"(pot|custodian|suspense)/.+", 210), False),
        "asset_id": (NAMED, False),
        "quantity": (decimal(18, 6), False),
        "reverses": (text(r"[^\n]+", 400), False),
        "reverses_run_date": (day, False),
        "description": (text(NAME, 2000), False),
    },
}
# Rows that agree on a key and not on the rest hold the key (rules §10); statements have none.
KEYS: dict[str, tuple[str, ...]] = {
    "holidays": ("calendar_id", "holiday"),
    "assets": ("asset_id", "valid_from"),
    "risk_profiles": ("risk_profile_id", "asset_id", "valid_from"),
    "risk_profile_parameters": ("risk_profile_id", "valid_from"),
    "pots": ("pot_id",),
    "opening_positions": ("as_of", "pot_id", "asset_id"),
    "closing_prices": ("price_date", "asset_id"),
    "orders": ("source", "source_ref"),
    "confirmations": ("confirmation_id",),
    "journal_sources": ("source", "kind", "valid_from"),
    "journals": ("source", "journal_ref"),
}
# What belongs to a journal, and is the same on each of its lines.
JOURNAL_HEAD = ("book", "kind", "event_time", "reverses", "reverses_run_date", "description")
JOURNAL_MOVES = ("charge", "charge_paid", "distribution", "corporate_action", "adjustment")
# kind -> (fields required, fields allowed besides); every other field is empty.
ORDER_FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "contribution": ({"amount"}, set()),
    "withdrawal": (set(), {"amount"}),
    "buy": ({"asset_id", "amount"}, set()),
    "sell": ({"asset_id"}, {"units"}),
    "switch": ({"asset_id", "to_asset_id"}, {"units"}),
    "profile_change": ({"risk_profile_id"}, set()),
}
ORDER_CHOICE = ("asset_id", "to_asset_id", "units", "amount", "risk_profile_id")
EVENT_FIELDS: dict[str, tuple[str, ...]] = {
    "executed": ("units", "price", "consideration"),
    "settled": ("units", "consideration"),
}


def parse(feed: str, rows: list[dict[str, str]]) -> list[Row]:
    """The rows of a file with typed values; ValueError if one is not of its contract's shape."""
    parsed = []
    for row in rows:
        values: Row = {}
        for column, (parser, required) in COLUMNS[feed].items():
            cell = row.get(column) or ""
            if required and not cell:
                raise ValueError(column)
            values[column] = parser(cell) if cell else None
        parsed.append(values)
    return parsed


def right_order_fields(row: Row) -> bool:
    """Each kind has its own fields (contract of orders, fields_by_kind)."""
    required, allowed = ORDER_FIELDS[row["kind"]]
    filled = {column for column in ORDER_CHOICE if row[column] is not None}
    return required <= filled <= required | allowed


def right_event_fields(row: Row) -> bool:
    """An execution tells units, price and consideration; a settlement units and consideration."""
    return all(row[column] is not None for column in EVENT_FIELDS.get(row["event"], ()))


def right_journal_fields(row: Row) -> bool:
    """A line names account, asset and quantity; a reversal what it takes back, and no more."""
    line = {"account", "asset_id", "quantity"}
    back = {"reverses", "reverses_run_date"}
    filled = {column for column in line | back if row[column] is not None}
    if row["kind"] == "reversal":
        return filled == back
    return row["kind"] not in JOURNAL_MOVES or filled == line


def right_holding(row: Row) -> bool:
    """Only an empty holding leaves the asset empty, then units are empty or zero."""
    if row["asset_id"] is None:
        return not row["units"]
    return row["units"] is not None
