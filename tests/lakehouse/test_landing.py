"""Landing: one test per kind of bad file, remarks, resends, torn files, the inbox."""

import hashlib
import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landing_fake import FakeControl

from acme.lakehouse import contracts, raw_files
from acme.lakehouse.control import Control
from acme.lakehouse.home import Home
from acme.lakehouse.landing import (
    LandedFileDamaged,
    LandingError,
    LandingReport,
    land_file,
    read_landed,
    render,
    sweep_inbox,
    waiting_files,
)
from acme.lakehouse.landing_rules import InstructionSplit, instruction_splits, repeats

HEADERS = {feed.name: ",".join(feed.column_names) for feed in contracts.all_feeds()}
REFERENCE = {
    "holidays": "DEALING,2020-12-25,Christmas Day\n",
    "assets": (
        "USD,US dollar,USD,BANK,DEALING,2,0,0,,2000-01-01\n"
        'F-1,"Fund, ""one""",USD,C-1,DEALING,4,2,0.1,0.5,2000-01-01\n'
        "F2,Fund two,USD,C,DEALING,0,2,0.1,,2000-01-01\n"
        "1-F2,Fund two again,USD,C,DEALING,3,2,0.1,,2000-01-01\n"
    ),
    "risk_profiles": "BAL,F-1,0.95,2000-01-01\nBAL,CASH,0.05,2000-01-01\n",
    "risk_profile_parameters": "SELF,0.01,0.01,0.00,none,2000-01-01\n",
    "pots": "P1,M1,BAL,live,2020-01-01\nP2,M2,SELF,canary,2020-01-01\n",
}


def contents(feed: str, rows: str) -> bytes:
    """A file of that feed: the right header, then `rows`."""
    return f"{HEADERS[feed]}\n{rows}".encode()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def control() -> FakeControl:
    """An empty control."""
    return FakeControl()


def put(home: Home, feed: str, name: str, content: bytes, sidecar: str | None = None) -> Path:
    """Drop a file into the inbox."""
    folder = home.inbox / feed
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    if sidecar is not None:
        (folder / f"{name}.sha256").write_text(sidecar)
    return path


def land(home: Home, control: FakeControl, feed: str, content: bytes) -> LandingReport:
    """Land `content` from outside the inbox, under a name of its own."""
    path = home.root / f"{hashlib.sha256(content).hexdigest()[:8]}.csv"
    path.write_bytes(content)
    return land_file(home, control, feed, path)


@pytest.fixture
def known(home: Home, control: FakeControl) -> FakeControl:
    """A control that knows the reference data above."""
    for feed, rows in REFERENCE.items():
        report = land(home, control, feed, contents(feed, rows))
        assert report.exit_code == 0, render(report)
    return control


# ---- bad files ----------------------------------------------------------------------------------

ORDER = "emp,r1,2020-01-02T09:00:00Z,P1,"


def order(fields: str) -> bytes:
    """One order row: from `kind` on."""
    return contents("orders", f"{ORDER}{fields}\n")


def raw_order(row: str) -> bytes:
    return contents("orders", f"{row}\n")


def price(row: str) -> bytes:
    return contents("closing_prices", f"{row}\n")


def confirmation(instruction: str, fields: str) -> bytes:
    return contents("confirmations", f"K1,{instruction},{fields}\n")


GOOD_ORDER = f"{ORDER}buy,F-1,,,10.00,"
BIG = "9" * 13
PRICE_HEADER = HEADERS["closing_prices"].encode()

BAD: list[tuple[str, str, bytes, str, int | None]] = [
    # bytes
    ("empty", "orders", b"", "empty_file", None),
    ("byte order mark", "orders", b"\xef\xbb\xbf" + order("buy,F-1,,,1,"), "byte_order_mark", 1),
    ("UTF-16", "orders", order("buy,F-1,,,1,").decode().encode("utf-16"), "not_utf8", 1),
    (
        "Latin-1",
        "holidays",
        contents("holidays", "D,2020-01-01,caf\n")[:-1] + b"\xe9\n",
        "not_utf8",
        2,
    ),
    (
        "UTF-8 cut",
        "holidays",
        contents("holidays", "D,2020-01-01,a\n")[:-1] + b"\xe2\x82",
        "not_utf8",
        2,
    ),
    (
        "surrogate",
        "holidays",
        contents("holidays", "D,2020-01-01,") + b"\xed\xa0\x80\n",
        "not_utf8",
        2,
    ),
    ("NUL", "orders", order("buy,F-1,,,1,\0"), "nul_byte", 2),
    ("lone CR", "orders", order("buy,F-1,,,1,\r" + "x"), "line_ending", 2),
    ("no line feed at the end", "orders", order("buy,F-1,,,1,")[:-1], "truncated", 2),
    ("line too long", "orders", order(f"buy,{'F' * (1 << 20)},,,1,"), "line_too_long", 2),
    # header
    ("no header", "orders", f"{GOOD_ORDER}\n".encode(), "header", 1),
    ("only a line feed", "orders", b"\n", "header", 1),
    (
        "two columns swapped",
        "closing_prices",
        b"asset_id,price_date,currency,closing_price\n",
        "header",
        1,
    ),
    ("missing column", "closing_prices", b"price_date,asset_id,currency\n", "missing_column", 1),
    ("unknown column", "closing_prices", PRICE_HEADER + b",volume\n", "unknown_column", 1),
    ("column twice", "closing_prices", PRICE_HEADER + b",closing_price\n", "header", 1),
    ("capitals", "closing_prices", PRICE_HEADER.upper() + b"\n", "header", 1),
    ("space in header", "closing_prices", PRICE_HEADER.replace(b",", b", ") + b"\n", "header", 1),
    ("semicolons", "closing_prices", PRICE_HEADER.replace(b",", b";") + b"\n", "header", 1),
    # shape of rows
    ("too few fields", "closing_prices", price("2020-01-02,F-1,USD"), "ragged_row", 2),
    ("too many fields", "closing_prices", price("2020-01-02,F-1,USD,1,2"), "ragged_row", 2),
    ("blank line", "closing_prices", price("2020-01-02,F-1,USD,1\n"), "required", 3),
    (
        "line feed in a field",
        "orders",
        raw_order('emp,"r\n1",2020-01-02T09:00:00Z,P1,buy,F-1,,,1,'),
        "line_feed",
        2,
    ),
    (
        "quote not closed",
        "orders",
        raw_order('emp,"r1,2020-01-02T09:00:00Z,P1,buy,F-1,,,1,'),
        "line_feed",
        2,
    ),
    (
        "stray quotes",
        "orders",
        raw_order('emp,"r"1"",2020-01-02T09:00:00Z,P1,buy,F-1,,,1,'),
        "quoting",
        2,
    ),
    # types
    ("exponent", "closing_prices", price("2020-01-02,F-1,USD,1e2"), "type", 2),
    ("thousands", "closing_prices", price('2020-01-02,F-1,USD,"1,000"'), "type", 2),
    ("space", "closing_prices", price("2020-01-02,F-1,USD, 1"), "type", 2),
    ("plus", "closing_prices", price("2020-01-02,F-1,USD,+1"), "type", 2),
    ("no digit after the point", "closing_prices", price("2020-01-02,F-1,USD,1."), "type", 2),
    ("no digit before the point", "closing_prices", price("2020-01-02,F-1,USD,.5"), "type", 2),
    ("NaN", "closing_prices", price("2020-01-02,F-1,USD,NaN"), "type", 2),
    ("infinity", "closing_prices", price("2020-01-02,F-1,USD,inf"), "type", 2),
    ("hexadecimal", "closing_prices", price("2020-01-02,F-1,USD,0x10"), "type", 2),
    ("other digits", "closing_prices", price("2020-01-02,F-1,USD,\u0661"), "type", 2),
    ("comma as point", "closing_prices", price('2020-01-02,F-1,USD,"1,5"'), "type", 2),
    ("7 decimals", "closing_prices", price("2020-01-02,F-1,USD,1.0000001"), "too_many_decimals", 2),
    ("13 digits", "closing_prices", price(f"2020-01-02,F-1,USD,{BIG}"), "too_large", 2),
    (
        "integer with point",
        "statements",
        contents("statements", "S,C,2020-01-02,settled,1.0,1,,\n"),
        "type",
        2,
    ),
    (
        "integer too large",
        "statements",
        contents("statements", "S,C,2020-01-02,settled,2147483648,1,,\n"),
        "too_large",
        2,
    ),
    ("30 February", "closing_prices", price("2020-02-30,F-1,USD,1"), "type", 2),
    ("date the other way round", "closing_prices", price("02/01/2020,F-1,USD,1"), "type", 2),
    ("short date", "closing_prices", price("2020-1-2,F-1,USD,1"), "type", 2),
    ("year 0", "closing_prices", price("0000-01-03,F-1,USD,1"), "type", 2),
    ("no offset", "orders", raw_order("emp,r1,2020-01-02T09:00:00,P1,buy,F-1,,,1,"), "type", 2),
    ("no time", "orders", raw_order("emp,r1,2020-01-02,P1,buy,F-1,,,1,"), "type", 2),
    (
        "nanoseconds",
        "orders",
        raw_order("emp,r1,2020-01-02T09:00:00.0000001Z,P1,buy,F-1,,,1,"),
        "type",
        2,
    ),
    ("leap second", "orders", raw_order("emp,r1,2020-01-02T23:59:60Z,P1,buy,F-1,,,1,"), "type", 2),
    ("24 hours", "orders", raw_order("emp,r1,2020-01-02T24:00:00Z,P1,buy,F-1,,,1,"), "type", 2),
    (
        "offset of 24 hours",
        "orders",
        raw_order("emp,r1,2020-01-02T09:00:00+24:00,P1,buy,F-1,,,1,"),
        "type",
        2,
    ),
    (
        "named zone",
        "orders",
        raw_order("emp,r1,2020-01-02T09:00:00 UTC,P1,buy,F-1,,,1,"),
        "type",
        2,
    ),
    # required, enums, bounds
    ("empty price", "closing_prices", price("2020-01-02,F-1,USD,"), "required", 2),
    ("zero price", "closing_prices", price("2020-01-02,F-1,USD,0.000000"), "bounds", 2),
    ("negative price", "closing_prices", price("2020-01-02,F-1,USD,-1"), "bounds", 2),
    ("zero amount", "orders", order("buy,F-1,,,0.00,"), "bounds", 2),
    ("negative amount", "orders", order("contribution,,,,-5,"), "bounds", 2),
    ("zero units", "orders", order("sell,F-1,,0,,"), "bounds", 2),
    ("negative units", "orders", order("sell,F-1,,-1,,"), "bounds", 2),
    ("unknown kind", "orders", order("transfer,F-1,,,1,"), "enum", 2),
    ("kind in capitals", "orders", order("BUY,F-1,,,1,"), "enum", 2),
    ("unknown event", "confirmations", confirmation("I", "done,2020-01-02,1,1,1,,"), "enum", 2),
    (
        "negative confirmed units",
        "confirmations",
        confirmation("I", "executed,2020-01-02,-1,1,1,,"),
        "bounds",
        2,
    ),
    (
        "zero confirmed price",
        "confirmations",
        confirmation("I", "executed,2020-01-02,1,0,1,,"),
        "bounds",
        2,
    ),
    (
        "3 decimals of money",
        "confirmations",
        confirmation("I", "executed,2020-01-02,1,1,1.005,,"),
        "too_many_decimals",
        2,
    ),
    (
        "unknown basis",
        "statements",
        contents("statements", "S,C,2020-01-02,traded?,1,1,F2,1\n"),
        "enum",
        2,
    ),
    (
        "unknown schedule",
        "risk_profile_parameters",
        contents("risk_profile_parameters", "R,0,0,0,weekly,2020-01-01\n"),
        "enum",
        2,
    ),
    ("unknown book", "pots", contents("pots", "P9,M9,BAL,test,2020-01-01\n"), "enum", 2),
    (
        "7 unit decimals",
        "assets",
        contents("assets", "A,,USD,C,DEALING,7,0,0,,2020-01-01\n"),
        "bounds",
        2,
    ),
    (
        "negative unit decimals",
        "assets",
        contents("assets", "A,,USD,C,DEALING,-1,0,0,,2020-01-01\n"),
        "bounds",
        2,
    ),
    (
        "negative settlement days",
        "assets",
        contents("assets", "A,,USD,C,DEALING,2,-1,0,,2020-01-01\n"),
        "bounds",
        2,
    ),
    (
        "stress above 1",
        "assets",
        contents("assets", "A,,USD,C,DEALING,2,0,1.00000001,,2020-01-01\n"),
        "bounds",
        2,
    ),
    (
        "negative stress",
        "assets",
        contents("assets", "A,,USD,C,DEALING,2,0,-0.1,,2020-01-01\n"),
        "bounds",
        2,
    ),
    (
        "custodian as a path",
        "assets",
        contents("assets", "A,,USD,../C,DEALING,2,0,0,,2020-01-01\n"),
        "pattern",
        2,
    ),
    (
        "asset with line end",
        "assets",
        contents("assets", "A\t,,USD,C,DEALING,2,0,0,,2020-01-01\n"),
        "pattern",
        2,
    ),
    (
        "weight above 1",
        "risk_profiles",
        contents("risk_profiles", "R,F2,1.5,2020-01-01\n"),
        "bounds",
        2,
    ),
    (
        "negative weight",
        "risk_profiles",
        contents("risk_profiles", "R,F2,-0.5,2020-01-01\n"),
        "bounds",
        2,
    ),
    # orders
    (
        "empty source_ref",
        "orders",
        raw_order("emp,,2020-01-02T09:00:00Z,P1,buy,F-1,,,1,"),
        "required",
        2,
    ),
    (
        "empty source",
        "orders",
        raw_order(",r1,2020-01-02T09:00:00Z,P1,buy,F-1,,,1,"),
        "required",
        2,
    ),
    *[
        (
            f"source {source}",
            "orders",
            raw_order(f"{source},r,2020-01-02T09:00:00Z,P1,buy,F-1,,,1,"),
            "reserved_source",
            2,
        )
        for source in ("rebalancing", "switch", "withdrawal", "opening")
    ],
    *[
        (f"order fields {fields}", "orders", order(fields), "fields_by_kind", 2)
        for fields in (
            "contribution,,,,,",
            "contribution,F-1,,,1,",
            "contribution,,,1,1,",
            "contribution,,,,1,BAL",
            "withdrawal,F-1,,,1,",
            "withdrawal,,,1,,",
            "withdrawal,,,,1,BAL",
            "withdrawal,,F2,,1,",
            "buy,F-1,,,,",
            "buy,,,,1,",
            "buy,F-1,,1,1,",
            "buy,F-1,F2,,1,",
            "buy,F-1,,,1,BAL",
            "sell,,,1,,",
            "sell,F-1,,1,1,",
            "sell,F-1,F2,1,,",
            "sell,F-1,,1,,BAL",
            "switch,F-1,,1,,",
            "switch,,F2,1,,",
            "switch,F-1,F2,1,1,",
            "switch,F-1,F2,1,,BAL",
            "profile_change,,,,,",
            "profile_change,F-1,,,,BAL",
            "profile_change,,,,1,BAL",
            "profile_change,,,1,,BAL",
            "profile_change,,F2,,,BAL",
        )
    ],
    # against what is known
    (
        "price in another currency",
        "closing_prices",
        price("2020-01-02,F-1,EUR,1"),
        "scheme_currency",
        2,
    ),
    (
        "asset in another currency",
        "assets",
        contents("assets", "A,,GBP,C,DEALING,2,0,0,,2020-01-01\n"),
        "scheme_currency",
        2,
    ),
    (
        "price of the currency",
        "closing_prices",
        price("2020-01-02,USD,USD,1"),
        "not_the_currency",
        2,
    ),
    ("price of an unknown asset", "closing_prices", price("2020-01-02,F9,USD,1"), "known_asset", 2),
    ("price on Saturday", "closing_prices", price("2020-01-04,F-1,USD,1"), "business_date", 2),
    ("price on Sunday", "closing_prices", price("2020-01-05,F-1,USD,1"), "business_date", 2),
    ("price on a holiday", "closing_prices", price("2020-12-25,F-1,USD,1"), "business_date", 2),
    (
        "weights below 1",
        "risk_profiles",
        contents("risk_profiles", "R,F2,0.5,2020-01-01\nR,CASH,0.49999999,2020-01-01\n"),
        "weights_sum_to_one",
        2,
    ),
    (
        "weights above 1",
        "risk_profiles",
        contents("risk_profiles", "R,F2,0.5,2020-01-01\nR,CASH,0.50000001,2020-01-01\n"),
        "weights_sum_to_one",
        2,
    ),
    (
        "weights over two dates",
        "risk_profiles",
        contents("risk_profiles", "R,F2,0.5,2020-01-01\nR,CASH,0.5,2020-01-02\n"),
        "weights_sum_to_one",
        2,
    ),
    (
        "weights that disagree",
        "risk_profiles",
        contents("risk_profiles", "R,F2,1,2020-01-01\nR,F2,0.9,2020-01-01\n"),
        "weights_sum_to_one",
        2,
    ),
    (
        "weight of an unknown asset",
        "risk_profiles",
        contents("risk_profiles", "R,F9,1,2020-01-01\n"),
        "known_asset",
        2,
    ),
    (
        "weight of the currency",
        "risk_profiles",
        contents("risk_profiles", "R,USD,1,2020-01-01\n"),
        "not_the_currency",
        2,
    ),
    (
        "pot of an unknown profile",
        "pots",
        contents("pots", "P9,M9,R9,live,2020-01-01\n"),
        "known_risk_profile",
        2,
    ),
    (
        "opening of an unknown pot",
        "opening_positions",
        contents("opening_positions", "2020-01-01,P9,F-1,1\n"),
        "known_pot",
        2,
    ),
    (
        "opening of an unknown asset",
        "opening_positions",
        contents("opening_positions", "2020-01-01,P1,F9,1\n"),
        "known_asset",
        2,
    ),
    (
        "negative opening",
        "opening_positions",
        contents("opening_positions", "2020-01-01,P1,F-1,-1\n"),
        "bounds",
        2,
    ),
    (
        "opening finer than units",
        "opening_positions",
        contents("opening_positions", "2020-01-01,P1,F-1,1.00001\n"),
        "unit_decimals",
        2,
    ),
    (
        "opening finer than money",
        "opening_positions",
        contents("opening_positions", "2020-01-01,P1,USD,1.001\n"),
        "unit_decimals",
        2,
    ),
    (
        "confirmed finer than units",
        "confirmations",
        confirmation("B-2020-01-02-live-C-1-F-1-B-U", "executed,2020-01-02,1.00001,1,1,,"),
        "unit_decimals",
        2,
    ),
    (
        "confirmed finer, canary",
        "confirmations",
        confirmation("B-2020-01-02-canary-CANARY-F2-S-A", "executed,2020-01-02,1.5,1,1,,"),
        "unit_decimals",
        2,
    ),
    (
        "executed without units",
        "confirmations",
        confirmation("I", "executed,2020-01-02,,1,1,,"),
        "fields_by_kind",
        2,
    ),
    (
        "settled without money",
        "confirmations",
        confirmation("I", "settled,2020-01-02,1,1,,,"),
        "fields_by_kind",
        2,
    ),
    (
        "asset without units",
        "statements",
        contents("statements", "S,C,2020-01-02,settled,1,1,F2,\n"),
        "empty_holding",
        2,
    ),
    (
        "units without asset",
        "statements",
        contents("statements", "S,C,2020-01-02,settled,1,1,,5\n"),
        "empty_holding",
        2,
    ),
]


@pytest.mark.parametrize(
    ("feed", "content", "rule", "row"),
    [pytest.param(*case[1:], id=case[0]) for case in BAD],
)
def test_a_bad_file_is_quarantined_whole(
    home: Home, known: FakeControl, *, feed: str, content: bytes, rule: str, row: int | None
) -> None:
    before = {kind: dict(keys) for kind, keys in known.reference.items()}
    report = land(home, known, feed, content)
    assert (report.verdict, report.exit_code) == ("quarantined", 1)
    assert rule in report.counts, render(report)
    assert row in [finding.row for finding in report.findings if finding.rule == rule]
    # Nothing is used, nothing is lost.
    assert known.reference == before
    digest = hashlib.sha256(content).hexdigest()
    assert (home.landed / digest[:2] / digest).read_bytes() == content
    assert known.files[-1].verdict == "quarantined"
    assert known.files[-1].size == len(content)
    assert report.report_path is not None
    assert json.loads(report.report_path.read_bytes())["counts"] == report.counts
    assert rule in report.report_path.with_suffix(".txt").read_text("utf-8")


def test_findings_name_row_field_expected_and_got(home: Home, known: FakeControl) -> None:
    rows = "2020-01-02,F-1,USD,1\n2020-01-03,F-1,USD,abc\n2020-01-06,F-1,EUR,-2\n"
    report = land(home, known, "closing_prices", contents("closing_prices", rows))
    found = [(item.row, item.field, item.rule, item.expected, item.got) for item in report.findings]
    number = "a number: digits, at most one point, no exponent, no separators, no spaces"
    assert found == [
        (3, "closing_price", "type", number, "'abc'"),
        (4, "closing_price", "bounds", "> 0", "'-2'"),
        (4, "currency", "scheme_currency", "the scheme currency USD", "'EUR'"),
    ]


def test_rows_after_ragged_ones_keep_their_numbers(home: Home, known: FakeControl) -> None:
    rows = "2020-01-02,F-1\n2020-01-03,F-1,USD,x\n1,2,3,4,5\n2020-01-06,F-1,USD,-2\n"
    report = land(home, known, "closing_prices", contents("closing_prices", rows))
    assert [(item.row, item.rule) for item in report.findings] == [
        (2, "ragged_row"),
        (3, "type"),
        (4, "ragged_row"),
        (5, "bounds"),
    ]


def test_findings_are_capped_and_counted(home: Home, known: FakeControl) -> None:
    rows = "".join(f"2020-01-02,X{number},USD,1\n" for number in range(1000))
    report = land(home, known, "closing_prices", contents("closing_prices", rows))
    assert len(report.findings) == 100
    assert report.counts == {"known_asset": 1000}
    assert json.loads(known.files[-1].findings)["counts"] == {"known_asset": 1000}
    assert len(render(report).splitlines()) < 30


# ---- good files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "content"),
    [
        ("orders", contents("orders", "")),
        ("orders", order("withdrawal,,,,,")),
        ("orders", order("withdrawal,,,,12.50,")),
        ("orders", order("sell,F-1,,,,")),
        ("orders", order("switch,F-1,F2,,,")),
        ("orders", order("switch,F-1,F2,1.5000,,")),
        ("orders", order("profile_change,,,,,SELF")),
        ("orders", order("contribution,,,,0.01,").replace(b"\n", b"\r\n")),
        (
            "orders",
            raw_order(
                '"emp","r ""1"", x",2020-01-02t10:00:00.123456000-00:30,P1,buy,F-1,,,007.100000000,'
            ),
        ),
        ("closing_prices", price("2020-12-24,F-1,USD,999999999999.999999")),
        ("confirmations", confirmation("unknown", "executed,2020-01-02,1.123456,1,1,,")),
        (
            "confirmations",
            confirmation("B-2020-01-02-live-C-1-F-1-B-U", "executed,2020-01-02,1.0001000,1,1,,"),
        ),
        # Two ways to read it: F2 at C-1 (nobody holds it there) or 1-F2 at C, which has 3 decimals.
        (
            "confirmations",
            confirmation("B-2020-01-02-live-C-1-F2-B-U", "executed,2020-01-02,1.001,1,1,,"),
        ),
        ("confirmations", confirmation("I", "rejected,2020-01-02,,,,,")),
        (
            "statements",
            contents(
                "statements", "S,C,2020-01-02,settled,3,2,,\nS2,C,2020-01-02,traded,0,0,F2,-1.5\n"
            ),
        ),
        (
            "risk_profiles",
            contents(
                "risk_profiles",
                "R,F2,0.33333333,2020-01-01\nR,F-1,0.66666666,2020-01-01\nR,CASH,0.00000001,2020-01-01\n",
            ),
        ),
        (
            "opening_positions",
            contents("opening_positions", "2020-01-01,P1,F-1,1.0001\n2020-01-01,P1,USD,12.34\n"),
        ),
    ],
)
def test_a_good_file_is_accepted(home: Home, known: FakeControl, feed: str, content: bytes) -> None:
    report = land(home, known, feed, content)
    assert (report.verdict, report.exit_code) == ("accepted", 0), render(report)
    assert report.report_path is None
    frame = read_landed(home, contracts.feed(feed), report.file_sha256)
    assert frame.height == report.rows == known.files[-1].rows


def test_read_landed_gives_exact_typed_rows(home: Home, known: FakeControl) -> None:
    rows = (
        'emp,"r ""1"", x",2020-01-02T10:00:00.5+05:30,P1,buy,F-1,,,0000123456789012.120000000,\n'
        "emp,r2,2020-01-02T00:15:00-23:59,P1,sell,F-1,,0.0001,,\n"
    )
    report = land(home, known, "orders", contents("orders", rows))
    frame = read_landed(home, contracts.feed("orders"), report.file_sha256)
    assert dict(frame.schema) == {**contracts.feed("orders").polars_schema, "row": pl.Int64}
    first, second = frame.rows(named=True)
    assert first["source_ref"] == 'r "1", x'
    assert first["received_at"] == datetime(2020, 1, 2, 4, 30, 0, 500_000, tzinfo=UTC)
    assert first["amount"] == Decimal("123456789012.120000")
    assert (first["row"], first["units"]) == (2, None)
    assert second["received_at"] == datetime(2020, 1, 3, 0, 14, tzinfo=UTC)
    assert (second["row"], second["units"], second["to_asset_id"]) == (3, Decimal("0.0001"), None)


@settings(max_examples=100, deadline=None)
@given(st.decimals("0.000001", "999999999999.999999", places=6), st.integers(0, 9))
def test_prices_are_read_exactly(
    tmp_path_factory: pytest.TempPathFactory, value: Decimal, zeros: int
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    control = FakeControl()
    control.reference["asset"] = {"F-1": {"versions": []}}
    content = price(f"2020-01-02,F-1,USD,{'0' * zeros}{value:f}{'0' * zeros}")
    report = land_content(home, control, "closing_prices", content)
    frame = read_landed(home, contracts.feed("closing_prices"), report.file_sha256)
    assert frame.get_column("closing_price").to_list() == [value]


def land_content(home: Home, control: FakeControl, feed: str, content: bytes) -> LandingReport:
    home.create()
    report = land(home, control, feed, content)
    assert report.verdict == "accepted", render(report)
    return report


def test_damaged_bytes_are_never_read(home: Home, known: FakeControl) -> None:
    feed = contracts.feed("closing_prices")
    report = land(home, known, feed.name, price("2020-01-02,F-1,USD,1.5"))
    stored = home.landed / report.file_sha256[:2] / report.file_sha256
    content = stored.read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        stored.write_bytes(damaged)
        with pytest.raises(LandedFileDamaged):
            read_landed(home, feed, report.file_sha256)
    stored.unlink()
    with pytest.raises(LandedFileDamaged, match="No such file"):
        read_landed(home, feed, report.file_sha256)
    quarantined = land(home, known, feed.name, price("2020-01-02,F-1,USD,-1"))
    with pytest.raises(LandedFileDamaged, match="bounds"):
        read_landed(home, feed, quarantined.file_sha256)


# ---- remarks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "rule", "field"),
    [
        ("buy,F9,,,1,", "unknown_asset", "asset_id"),
        ("buy,USD,,,1,", "unknown_asset", "asset_id"),
        ("switch,F-1,F9,,,", "unknown_asset", "to_asset_id"),
        ("profile_change,,,,,R9", "unknown_profile", "risk_profile_id"),
        ("buy,F-1,,,1.005,", "too_many_decimals", "amount"),
        ("contribution,,,,1.000001,", "too_many_decimals", "amount"),
        ("sell,F-1,,1.00001,,", "too_many_decimals", "units"),
        ("sell,F2,,1.5,,", "too_many_decimals", "units"),
    ],
)
def test_an_order_to_be_rejected_alone_is_remarked_on(
    home: Home, known: FakeControl, fields: str, rule: str, field: str
) -> None:
    report = land(home, known, "orders", order(fields))
    assert (report.verdict, report.exit_code) == ("accepted", 3)
    assert [(item.severity, item.rule, item.row, item.field) for item in report.findings] == [
        ("remark", rule, 2, field)
    ]


def test_the_first_reason_counts(home: Home, known: FakeControl) -> None:
    rows = "emp,r1,2020-01-02T09:00:00Z,P9,buy,F9,,,1.001,\n"
    rows += "emp,r2,2020-01-02T09:00:00Z,P1,buy,F9,,,1.001,\n"
    report = land(home, known, "orders", contents("orders", rows))
    assert [(item.rule, item.row) for item in report.findings] == [
        ("unknown_pot", 2),
        ("unknown_asset", 3),
    ]


def test_equal_and_conflicting_rows_are_remarked_on(home: Home, known: FakeControl) -> None:
    rows = (
        "2020-01-02,F-1,USD,1.50\n"
        "2020-01-02,F2,USD,2\n"
        "2020-01-02,F-1,USD,1.5\n"  # the same value, written otherwise
        "2020-01-02,F2,USD,3\n"
        "2020-01-03,F2,USD,3\n"
        "2020-01-02,F2,USD,2\n"
    )
    report = land(home, known, "closing_prices", contents("closing_prices", rows))
    assert (report.verdict, report.exit_code) == ("accepted", 3)
    assert sorted((item.rule, item.row) for item in report.findings) == [
        ("conflicting_rows", 3),
        ("conflicting_rows", 5),
        ("duplicate_row", 4),
        ("duplicate_row", 7),
    ]
    feed = contracts.feed("closing_prices")
    parted = repeats(feed, read_landed(home, feed, report.file_sha256))
    assert parted.single.get_column("row").to_list() == [2, 6]
    assert parted.dropped.get_column("row").to_list() == [4, 7]
    assert parted.conflicting.get_column("row").to_list() == [3, 5]


def test_equal_statement_lines_are_dropped_and_others_kept(home: Home, known: FakeControl) -> None:
    line = "S,C,2020-01-02,settled,1,1,F2,5\n"
    content = contents("statements", line + line.replace(",5", ",6") + line)
    report = land(home, known, "statements", content)
    assert report.exit_code == 3
    assert [(item.rule, item.row) for item in report.findings] == [("duplicate_row", 4)]


def test_a_key_on_hold_is_not_known(home: Home, control: FakeControl) -> None:
    land(
        home,
        control,
        "risk_profile_parameters",
        contents("risk_profile_parameters", REFERENCE["risk_profile_parameters"]),
    )
    rows = "P1,M1,SELF,live,2020-01-01\nP1,M2,SELF,live,2020-01-01\nP2,M3,SELF,live,2020-01-01\n"
    report = land(home, control, "pots", contents("pots", rows))
    assert report.exit_code == 3
    assert control.reference["pot"] == {"P2": {"book": "live"}}


# ---- sidecars, resends, names -------------------------------------------------------------------

GOOD = order("buy,F-1,,,1,")


@pytest.mark.parametrize(
    ("form", "is_fine"),
    [
        ("{sha}", True),
        ("{sha}\n", True),
        ("{sha}  o.csv\n", True),
        ("{sha} *o.csv\n", True),
        ("{SHA}\n", True),
        ("{sha}  other.csv\n", False),
        ("{sha}0\n", False),
        ("", False),
        ("0" * 64, False),
        ("not a hash", False),
    ],
)
def test_a_sidecar_is_verified(home: Home, known: FakeControl, form: str, *, is_fine: bool) -> None:
    digest = hashlib.sha256(GOOD).hexdigest()
    path = put(home, "orders", "o.csv", GOOD, form.format(sha=digest, SHA=digest.upper()))
    report = land_file(home, known, "orders", path)
    if is_fine:
        assert report.exit_code == 0
    else:
        assert (report.exit_code, list(report.counts)) == (1, ["sha256_mismatch"])


def test_a_sidecar_vouches_for_a_file_without_last_line_feed(
    home: Home, known: FakeControl
) -> None:
    content = GOOD[:-1]
    path = put(home, "orders", "o.csv", content)
    assert land_file(home, known, "orders", path).counts == {"truncated": 1}
    put(home, "orders", "o.csv", content, hashlib.sha256(content).hexdigest())
    report = land_file(home, known, "orders", path)
    assert (report.exit_code, report.rows) == (0, 1)
    assert read_landed(home, contracts.feed("orders"), report.file_sha256).height == 1


def test_the_same_bytes_again_have_no_effect(home: Home, known: FakeControl) -> None:
    first = land_file(home, known, "orders", put(home, "orders", "a.csv", GOOD))
    count = len(known.files)
    again = land_file(home, known, "orders", put(home, "orders", "b.csv", GOOD))
    assert (first.exit_code, again.exit_code) == (0, 3)
    assert again.again
    assert again.sequence == first.sequence
    assert len(known.files) == count
    assert "already landed, no effect" in render(again)


def test_other_bytes_under_an_accepted_name_are_quarantined(home: Home, known: FakeControl) -> None:
    assert land_file(home, known, "orders", put(home, "orders", "o.csv", GOOD)).exit_code == 0
    changed = put(home, "orders", "o.csv", order("buy,F-1,,,2,"))
    report = land_file(home, known, "orders", changed)
    assert (report.exit_code, list(report.counts)) == (1, ["name_reused"])
    # A name that was only ever quarantined is free.
    bad = put(home, "orders", "bad.csv", order("buy,F-1,,,x,"))
    assert land_file(home, known, "orders", bad).exit_code == 1
    mended = put(home, "orders", "bad.csv", order("buy,F-1,,,3,"))
    assert land_file(home, known, "orders", mended).exit_code == 0


def test_a_quarantined_file_is_judged_again_when_it_comes_again(
    home: Home, control: FakeControl
) -> None:
    prices = put(home, "closing_prices", "p.csv", price("2020-01-02,F-1,USD,1"))
    assert land_file(home, control, "closing_prices", prices).counts == {"known_asset": 1}
    assert land_file(home, control, "closing_prices", prices).exit_code == 1
    assert len(control.files) == 1
    land(home, control, "assets", contents("assets", REFERENCE["assets"]))
    assert land_file(home, control, "closing_prices", prices).exit_code == 0
    assert [file.verdict for file in control.files] == ["quarantined", "accepted", "accepted"]


def test_versions_of_assets_are_kept(home: Home, known: FakeControl) -> None:
    later = "F2,Fund two,USD,C,DEALING,2,1,0.1,,2020-06-01\n"
    assert land(home, known, "assets", contents("assets", later)).exit_code == 0
    detail = known.reference["asset"]["F2"]
    assert (detail["unit_decimals"], detail["valid_from"]) == (2, "2020-06-01")
    for day, expected in (("2020-05-29", 1), ("2020-06-01", 0)):
        instruction = f"B-{day}-live-C-F2-B-U"
        content = confirmation(instruction, "executed,2020-06-02,1.25,1,1,,")
        assert land(home, known, "confirmations", content).exit_code == expected


def test_instruction_ids_are_read_in_every_way() -> None:
    assert instruction_splits("B-2020-01-02-live-C-1-F-B-U") == [
        InstructionSplit(date(2020, 1, 2), "live", "C", "1-F"),
        InstructionSplit(date(2020, 1, 2), "live", "C-1", "F"),
    ]
    for text in ("", "B-2020-13-02-live-C-F-B-U", "B-2020-01-02-test-C-F-B-U", "B-2020-01-02-live"):
        assert instruction_splits(text) == []


# ---- torn and huge files ------------------------------------------------------------------------


@pytest.mark.parametrize("with_sidecar", [False, True])
def test_a_file_cut_at_any_byte_never_means_something_else(
    home: Home, known: FakeControl, *, with_sidecar: bool
) -> None:
    rows = (
        "emp,r1,2020-01-02T09:00:00Z,P1,buy,F-1,,,10.25,\r\n"
        '"émp","r,""2""",2020-01-02T09:00:00+01:00,P1,sell,F-1,,1.5,,\n'
        "emp,r3,2020-01-02T09:00:00Z,P1,withdrawal,,,,,\n"
    )
    whole = contents("orders", rows)
    feed = contracts.feed("orders")
    full = land(home, known, "orders", whole)
    expected = read_landed(home, feed, full.file_sha256)
    for length in range(len(whole)):
        cut = whole[:length]
        path = put(
            home,
            "orders",
            f"cut-{length}.csv",
            cut,
            hashlib.sha256(whole).hexdigest() if with_sidecar else None,
        )
        report = land_file(home, known, "orders", path)
        is_whole_lines = cut.endswith(b"\n") and cut.startswith(HEADERS["orders"].encode())
        if is_whole_lines and not with_sidecar:
            # Nothing in the bytes tells that lines are missing; those there mean the same.
            assert report.verdict == "accepted"
            got = read_landed(home, feed, report.file_sha256)
            assert got.equals(expected.head(got.height))
        else:
            assert report.verdict == "quarantined", length


@contextmanager
def memory_growth_below(limit_bytes: int) -> Iterator[None]:
    """Fails if the process's peak of resident memory grows by more."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < limit_bytes


def test_a_gigabyte_in_one_line_is_refused_in_bounded_memory(
    home: Home, known: FakeControl
) -> None:
    path = put(home, "orders", "big.csv", b"")
    with path.open("r+b") as stream:
        stream.truncate(1 << 30)  # sparse: a gigabyte of NUL without line end
    started = time.monotonic()
    with memory_growth_below(64 << 20):
        report = land_file(home, known, "orders", path)
    assert time.monotonic() - started < 30
    assert report.exit_code == 1
    assert "line_too_long" in report.counts
    stored = home.landed / report.file_sha256[:2] / report.file_sha256
    assert stored.stat().st_size == 1 << 30


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 40 << 20])
@pytest.mark.parametrize("start", [0, 5, 1 << 19, (1 << 20) - 1])
def test_lines_are_measured_across_chunks(
    home: Home, tmp_path: Path, size: int, start: int
) -> None:
    path = tmp_path / "long"
    with path.open("wb") as stream:
        stream.write(b"\n" * start)
        left = size
        while left:
            left -= stream.write(b"x" * min(left, 1 << 20))
        stream.write(b"\nlast\n")
    with path.open("rb") as stream:
        facts = raw_files.store(stream, home.landed)
    assert facts.too_long_row == (start + 1 if size > 1 << 20 else None)
    assert facts.lines == start + 2
    assert facts.size == path.stat().st_size
    assert facts.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 7))
def test_the_raw_pass_sees_the_same_in_any_chunks(content: bytes, chunk: int) -> None:
    scan = raw_files.Scan()
    for at in range(0, len(content), chunk):
        scan.take(content[at : at + chunk])
    facts = scan.finish()
    try:
        content.decode()
        bad = None
    except UnicodeDecodeError as error:
        bad = content.count(b"\n", 0, error.start) + 1
    assert facts.not_utf8_row == bad
    assert facts.line_feeds == content.count(b"\n")
    lone = content.replace(b"\r\n", b"\n").find(b"\r")
    if lone < 0 or not content.endswith(b"\r"):
        assert (facts.lone_carriage_return_row is None) == (lone < 0)
    assert (facts.nul_row is None) == (b"\0" not in content)
    assert facts.ends_in_line_feed == content.endswith(b"\n")


# ---- the inbox ----------------------------------------------------------------------------------


def test_a_sweep_lands_what_waits_in_landing_order(home: Home, control: FakeControl) -> None:
    put(home, "orders", "b.csv", order("buy,F-1,,,2,"))
    put(home, "orders", "a.csv", GOOD, hashlib.sha256(GOOD).hexdigest())
    put(home, "orders", "c.csv.part", b"half")
    put(home, "orders", ".hidden", b"half")
    put(home, "orders", "d.tmp", b"half")
    put(home, "closing_prices", "p.csv", price("2020-01-02,F-1,USD,x"))
    for feed, rows in reversed(REFERENCE.items()):
        put(home, feed, "r.csv", contents(feed, rows))
    expected = [(feed, path.name) for feed, path in waiting_files(home)]
    reports = sweep_inbox(home, control)
    assert [(report.feed, report.name) for report in reports] == expected
    assert expected == [
        *((feed, "r.csv") for feed in REFERENCE),
        ("closing_prices", "p.csv"),
        ("orders", "a.csv"),
        ("orders", "b.csv"),
    ]
    assert [report.exit_code for report in reports] == [0, 0, 0, 0, 0, 1, 0, 0]
    left = sorted(path.name for path in home.inbox.rglob("*") if path.is_file())
    assert left == [".hidden", "c.csv.part", "d.tmp"]
    assert sweep_inbox(home, control) == []


class Crash(Exception):  # noqa: N818  it is no error of the code
    """Stands for a process that dies."""


def test_a_file_its_sha256_denied_stays_denied_when_a_sweep_is_cut_short(
    home: Home, known: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(home, "orders", "o.csv", GOOD, "0" * 64)

    def cut(name: str) -> None:
        if name in ("landing.retire:after", "landing.unvouch:after"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("acme.lakehouse.landing.reach", cut)
        with pytest.raises(KeyboardInterrupt):
            sweep_inbox(home, known)
    assert not path.exists()
    assert sweep_inbox(home, known) == []
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_sweep_cut_short_is_swept_again(
    home: Home, known: FakeControl, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    put(home, "orders", "a.csv", GOOD)
    register = known.register_file

    def dies(**fields: object) -> None:
        if moment == "after":
            register(**fields)  # type: ignore[arg-type]
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(known, "register_file", dies)
        with pytest.raises(Crash):
            sweep_inbox(home, known)
    assert [path.name for _, path in waiting_files(home)] == ["a.csv"]
    (report,) = sweep_inbox(home, known)
    assert report.exit_code == (3 if moment == "after" else 0)
    assert len([file for file in known.files if file.feed == "orders"]) == 1
    assert waiting_files(home) == []
    assert not list(home.landed.glob("*.tmp"))


def test_what_is_no_feed_file_is_reported_and_left(home: Home, control: FakeControl) -> None:
    put(home, "prices", "p.csv", b"x")
    (home.inbox / "nothing").mkdir()
    (home.inbox / "stray.csv").write_bytes(b"x")
    (home.inbox / "orders" / "folder").mkdir(parents=True)
    (home.inbox / "orders" / "link.csv").symlink_to("/dev/zero")
    os.mkfifo(home.inbox / "orders" / "pipe.csv")
    reports = sweep_inbox(home, control)
    assert [(report.feed, report.name, list(report.counts)) for report in reports] == [
        ("prices", "", ["unknown_feed"]),
        ("stray.csv", "", ["unknown_feed"]),
        ("orders", "folder", ["not_a_file"]),
        ("orders", "link.csv", ["not_a_file"]),
        ("orders", "pipe.csv", ["not_a_file"]),
    ]
    assert {report.exit_code for report in reports} == {1}
    assert control.files == []
    assert (home.inbox / "prices" / "p.csv").exists()


def test_names_of_any_bytes_are_landed(home: Home, known: FakeControl) -> None:
    folder = home.inbox / "orders"
    folder.mkdir(exist_ok=True)
    name = os.fsdecode(b"caf\xe9\n.csv")
    (folder / name).write_bytes(order("buy,F-1,,,x,"))
    long = "n" * 250
    (folder / long).write_bytes(order("buy,F-1,,,y,"))
    reports = sweep_inbox(home, known)
    assert [report.name for report in reports] == ["caf\\xe9\n.csv", long]
    assert all(report.report_path and report.report_path.is_file() for report in reports)


def test_no_such_feed_or_file_is_said_plainly(home: Home, control: FakeControl) -> None:
    with pytest.raises(LandingError, match="no feed 'prices': expected one of holidays"):
        land_file(home, control, "prices", home.root / "x")
    with pytest.raises(LandingError, match=r"x: cannot be read: No such file"):
        land_file(home, control, "orders", home.root / "x")
    with pytest.raises(LandingError, match="expected a regular file"):
        land_file(home, control, "orders", home.root)


# ---- with Postgres ------------------------------------------------------------------------------


def test_landing_works_against_postgres(home: Home, database: str) -> None:
    control = Control(database)
    control.create_scheme("USD", clock_time(12), "Europe/London")
    known_at = datetime(2020, 1, 2, 12, tzinfo=UTC)
    for feed, rows in REFERENCE.items():
        put(home, feed, "r.csv", contents(feed, rows))
    put(home, "closing_prices", "bad.csv", price("2020-01-02,F9,USD,1"))
    put(home, "orders", "o.csv", GOOD)
    reports = sweep_inbox(home, control, clock_known_at=known_at)
    assert [report.exit_code for report in reports] == [0, 0, 0, 0, 0, 1, 0]
    assert [report.sequence for report in reports] == list(range(1, 8))
    landed = control.file_by_sha("orders", reports[-1].file_sha256)
    assert landed is not None
    assert landed.received_at == known_at
    assert sorted(control.known("pot", ["P1", "P2", "P3"])) == ["P1", "P2"]
    # Judged again once the asset is there.
    put(home, "assets", "more.csv", contents("assets", "F9,,USD,C,DEALING,2,1,0,,2000-01-01\n"))
    put(home, "closing_prices", "bad.csv", price("2020-01-02,F9,USD,1"))
    again = sweep_inbox(home, control)
    assert [report.exit_code for report in again] == [0, 0]
    assert again[-1].sequence == 9
