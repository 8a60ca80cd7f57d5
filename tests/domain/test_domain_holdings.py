"""What live pots hold."""

from datetime import date
from decimal import Decimal

import polars as pl

from acme.domain import holdings
from acme.domain.ledger import POSTING_SCHEMA

P, T = date(2024, 3, 4), date(2024, 3, 5)
QUANTITY = pl.Decimal(28, 6)


def balances(*rows: tuple[str, str, str, str, str]) -> pl.DataFrame:
    columns = ("book", "account", "state", "asset_id", "quantity")
    return pl.DataFrame(rows, schema=columns, orient="row").cast({"quantity": QUANTITY})


HELD = balances(
    ("live", "pot/A", "settled", "EQ", "10"),
    ("live", "pot/A", "reserved", "EQ", "2"),
    ("live", "pot/A", "in_flight", "EQ", "-1"),
    ("live", "pot/B", "settled", "BD", "3"),
    ("canary", "pot/X", "settled", "EQ", "5"),
    ("live", "suspense/charges", "settled", "EQ", "6"),
    ("live", "custodian/pot/NORTH", "settled", "EQ", "-18"),
)


def test_states_are_summed_and_only_live_pots_count() -> None:
    assert holdings.of_pots(HELD).rows() == [
        ("A", "EQ", Decimal(11)),
        ("B", "BD", Decimal(3)),
    ]
    assert holdings.of_pots(HELD, ["settled"]).rows() == [
        ("A", "EQ", Decimal(10)),
        ("B", "BD", Decimal(3)),
    ]


def test_the_run_leaves_what_it_posted_for_its_own_date() -> None:
    postings = pl.DataFrame(
        [
            ("live", "1", "pot/A", "settled", "EQ", Decimal(-4), T),
            ("live", "1", "pot/A", "reserved", "EQ", Decimal(4), T),
            ("live", "2", "pot/A", "settled", "EQ", Decimal(9), P),
        ],
        schema=POSTING_SCHEMA,
        orient="row",
    )
    left = holdings.left_by_the_run(HELD, postings, T)
    assert holdings.of_pots(left, ["settled"]).row(0) == ("A", "EQ", Decimal(6))
    assert holdings.of_pots(left, ["reserved"]).row(0) == ("A", "EQ", Decimal(6))
