"""The text of what left the inbox is what Postgres writes."""

import hashlib
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from acme.domain import inbox

ROW = {
    "order_id": "0" * 32,
    "source": "EMP",
    "source_ref": "a\tb\\c\rd\ve\bf\fg",
    "received_at": datetime(2024, 3, 4, 9, 0, 0, 12, tzinfo=UTC),
    "pot_id": "Pé",
    "kind": "sell",
    "asset_id": "EQ",
    "to_asset_id": None,
    "units": Decimal("1.500000"),
    "amount": None,
    "risk_profile_id": None,
}
SCHEMA = dict.fromkeys(ROW, pl.String) | {
    "received_at": pl.Datetime("us", "UTC"),
    "units": pl.Decimal(18, 6),
    "amount": pl.Decimal(18, 6),
}


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def test_a_line_is_escaped_and_exact() -> None:
    line = (
        "0" * 32 + "\tEMP\ta\\tb\\\\c\\rd\\ve\\bf\\fg\t2024-03-04T09:00:00.000012Z\tPé\tsell\tEQ"
        "\t\\N\t1.500000\t\\N\t\\N\n"
    )
    found = inbox.content_sha256(frame(ROW), inbox.ORDER)
    assert found == hashlib.sha256(line.encode()).hexdigest()


def test_the_order_of_rows_does_not_matter_and_every_value_does() -> None:
    other = ROW | {"order_id": "1" * 32}
    one = inbox.content_sha256(frame(ROW, other), inbox.ORDER)
    assert inbox.content_sha256(frame(other, ROW), inbox.ORDER) == one
    changes = [{name: None} for name in inbox.ORDER if ROW[name] is not None]
    changes += [{"amount": Decimal("0.000001")}, {"to_asset_id": ""}]
    hashes = {inbox.content_sha256(frame(ROW | change, other), inbox.ORDER) for change in changes}
    assert len(hashes | {one}) == len(changes) + 1


def test_nothing_has_a_hash_too() -> None:
    assert inbox.content_sha256(frame(), inbox.ORDER) == hashlib.sha256().hexdigest()


def test_one_row_alone_may_need_escapes() -> None:
    plain = ROW | {"source_ref": "plain", "order_id": "1" * 32}
    tail = "\t2024-03-04T09:00:00.000012Z\tPé\tsell\tEQ\t\\N\t1.500000\t\\N\t\\N\n"
    lines = f"{'0' * 32}\tEMP\ta\\tb\\\\c\\rd\\ve\\bf\\fg{tail}{'1' * 32}\tEMP\tplain{tail}"
    found = inbox.content_sha256(frame(ROW, plain), inbox.ORDER)
    assert found == hashlib.sha256(lines.encode()).hexdigest()
