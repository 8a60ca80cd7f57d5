"""Each class of change of a contract: what it breaks, and which version it asks for."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from acme.lakehouse import contracts
from acme.lakehouse.contract_changes import (
    Change,
    Level,
    Shape,
    changes,
    least_version,
    shape_of,
    version_of,
)
from acme.lakehouse.contracts import Bounds, Column, Contract, Rule

TABLE = contracts.table("core", "pots")
FEED = contracts.feed("pots")
PATCH, MINOR, MAJOR = Level.PATCH, Level.MINOR, Level.MAJOR
REFUSES = Rule("a_rule", "error", "Told.", {"of": 1})
WARNS = replace(REFUSES, severity="warning")


def column(contract: Contract, of: str, **change: Any) -> Contract:
    """Return the contract with one column changed."""
    columns = [replace(c, **change) if c.name == of else c for c in contract.columns]
    return replace(contract, columns=tuple(columns))


def levels(before: Contract, now: Contract) -> list[Level]:
    """Return the level of every change."""
    assert before.schema_name == now.schema_name
    return [c.level for c in between(before, now)]


def between(before: Contract, now: Contract) -> list[Change]:
    return changes(shape_of(before), shape_of(now), sent=before.schema_name == "feed")


def added(contract: Contract, **change: Any) -> Contract:
    new: Column = replace(contract.column("pot_id"), name="nickname", **change)
    return replace(contract, columns=(*contract.columns, new))


def without(contract: Contract, name: str) -> Contract:
    return replace(contract, columns=tuple(c for c in contract.columns if c.name != name))


@pytest.mark.parametrize("contract", [TABLE, FEED], ids=["table", "feed"])
def test_the_same_is_no_change(contract: Contract) -> None:
    assert between(contract, contract) == []
    again = Shape.of_json(shape_of(contract).as_json())
    assert again == shape_of(contract)


@pytest.mark.parametrize(
    ("change", "of_table", "of_feed"),
    [
        ({"sql_type": "BIGINT"}, MAJOR, MAJOR),
        ({"sql_type": "DECIMAL(18,4)"}, MAJOR, MAJOR),
        ({"unit": "pence"}, MAJOR, MAJOR),
        ({"hashed": False}, MAJOR, MAJOR),
        # Wider: readers meet what they were not promised; files stay right.
        ({"nullable": True}, MAJOR, MINOR),
        # Narrower: earlier partitions need not keep it, and files may become wrong.
        ({"max_length": 5}, MAJOR, MAJOR),
        ({"pattern": "^[A-Z]+$"}, MAJOR, MAJOR),
        ({"enum": ("A", "B")}, MAJOR, MAJOR),
        ({"bounds": Bounds(minimum=Decimal(0))}, MAJOR, MAJOR),
        ({"classification": "personal"}, MINOR, MINOR),
        ({"rules": (WARNS,)}, MINOR, MINOR),
        ({"description": "In other words."}, PATCH, PATCH),
    ],
)
def test_a_column_that_changes(change: dict[str, Any], of_table: Level, of_feed: Level) -> None:
    for contract, expected in ((TABLE, of_table), (FEED, of_feed)):
        (found, *_) = between(contract, column(contract, "pot_id", **change))
        assert found.level is expected
        assert found.what.startswith("pot_id: ")


@pytest.mark.parametrize(
    ("before", "now", "wider"),
    [
        ({"enum": ("A", "B")}, {"enum": ("A", "B", "C")}, True),
        ({"enum": ("A", "B")}, {"enum": ("A", "C")}, False),
        ({"enum": ("A",)}, {"enum": None}, True),
        ({"max_length": 5}, {"max_length": 6}, True),
        ({"max_length": 5}, {"max_length": 4}, False),
        ({"pattern": "^a$"}, {"pattern": None}, True),
        ({"pattern": "^a$"}, {"pattern": "^[ab]$"}, False),
        ({"nullable": True}, {"nullable": False}, False),
        ({"bounds": Bounds(minimum=Decimal(1))}, {"bounds": Bounds(minimum=Decimal(0))}, True),
        ({"bounds": Bounds(minimum=Decimal(1))}, {"bounds": Bounds(minimum=Decimal(2))}, False),
        ({"bounds": Bounds(maximum=Decimal(9))}, {"bounds": Bounds(maximum=Decimal(10))}, True),
        ({"bounds": Bounds(maximum=Decimal(9))}, {"bounds": Bounds(maximum=Decimal(8))}, False),
        (
            {"bounds": Bounds(minimum=Decimal(1))},
            {"bounds": Bounds(exclusive_minimum=Decimal(0))},
            False,
        ),
    ],
)
def test_what_was_allowed_in_a_file_still_is_or_not(
    before: dict[str, Any], now: dict[str, Any], wider: bool
) -> None:
    for contract, expected in ((FEED, MINOR if wider else MAJOR), (TABLE, MAJOR)):
        old = column(contract, "member_ref", **before)
        assert levels(old, column(old, "member_ref", **now)) == [expected]


def test_columns_come_and_go() -> None:
    assert levels(TABLE, added(TABLE, nullable=True)) == [MINOR]
    assert levels(TABLE, added(TABLE, nullable=False)) == [MAJOR]
    # The header of a file is the contract's, to the letter.
    assert levels(FEED, added(FEED, nullable=True)) == [MAJOR]
    for contract in (TABLE, FEED):
        assert levels(contract, without(contract, "member_ref")) == [MAJOR]
    renamed = column(TABLE, "member_ref", name="member", nullable=True)
    (gone, new) = between(TABLE, renamed)
    assert (gone.level, new.level) == (MAJOR, MINOR)
    assert gone.what.endswith("the column is gone; member is new: a new name breaks readers too")
    turned = replace(TABLE, columns=(*TABLE.columns[1:], TABLE.columns[0]))
    assert levels(TABLE, turned) == [MAJOR]


def test_what_concerns_the_whole() -> None:
    assert levels(TABLE, replace(TABLE, key=TABLE.key[:-1])) == [MAJOR, MAJOR]
    assert levels(TABLE, replace(TABLE, accepted_by=TABLE.key[:1])) == [MAJOR]
    assert levels(TABLE, replace(TABLE, owner="finance")) == [MINOR]
    assert levels(TABLE, replace(TABLE, retention_years=9)) == [MINOR]
    for text in ("purpose", "usage", "limitations", "grain"):
        assert levels(TABLE, replace(TABLE, **{text: "Other words."})) == [PATCH]
    for contract, expected in ((TABLE, MINOR), (FEED, MAJOR)):
        ruled = replace(contract, rules=(*contract.rules, REFUSES))
        assert levels(contract, ruled)[0] is expected
        assert levels(ruled, contract)[0] is MINOR
    changed = between(TABLE, replace(column(TABLE, "pot_id", unit="x"), owner="finance"))
    assert [c.what for c in changed] == [
        "pot_id: unit: was none, is x",
        f"owner: was {TABLE.owner}, is finance",
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], (1, 2, 3)),
        ([PATCH], (1, 2, 4)),
        ([PATCH, MINOR], (1, 3, 0)),
        ([MINOR, MAJOR, PATCH], (2, 0, 0)),
    ],
)
def test_the_version_that_says_it(found: list[Level], expected: tuple[int, int, int]) -> None:
    assert least_version("1.2.3", [Change(level, "") for level in found]) == expected


@pytest.mark.parametrize("text", ["1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.x", ""])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a version as 1\.0\.0, got"):
        version_of(text)
