"""Small frames for the domain's tests: rows as dictionaries, decimals as text, then defaults."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

P, T = date(2026, 3, 10), date(2026, 3, 11)
CUT_OFF = datetime(2026, 3, 11, 12, tzinfo=UTC)
KNOWN_AT = datetime(2026, 3, 11, 12, 0, 1, tzinfo=UTC)
CURRENCY = "USD"

UNITS, PRICE, CASH = pl.Decimal(18, 6), pl.Decimal(18, 6), pl.Decimal(18, 2)
QUANTITY, RATIO = pl.Decimal(28, 6), pl.Decimal(9, 8)
INSTANT = pl.Datetime("us", "UTC")

ORDER = {
    "book": pl.String,
    "order_id": pl.String,
    "source": pl.String,
    "source_ref": pl.String,
    "received_at": INSTANT,
    "dealing_date": pl.Date,
    "pot_id": pl.String,
    "kind": pl.String,
    "asset_id": pl.String,
    "to_asset_id": pl.String,
    "quantity_type": pl.String,
    "side": pl.String,
    "units": UNITS,
    "amount": CASH,
    "reserved": QUANTITY,
    "state": pl.String,
    "line_id": pl.String,
    "allocated_units": UNITS,
    "consideration": CASH,
    "settlement_date": pl.Date,
}
ORDER_DEFAULTS = {
    "book": "live",
    "source": "employer",
    "source_ref": "ref",
    "received_at": CUT_OFF,
    "dealing_date": P,
    "pot_id": "P1",
    "asset_id": "A",
    "reserved": "0",
    "state": "placed",
    "allocated_units": "0",
    "consideration": "0",
}
LINE = {
    "book": pl.String,
    "batch_id": pl.String,
    "line_id": pl.String,
    "custodian_id": pl.String,
    "asset_id": pl.String,
    "quantity_type": pl.String,
    "gross_buys": QUANTITY,
    "gross_sells": QUANTITY,
    "crossed": QUANTITY,
    "net": QUANTITY,
    "side": pl.String,
    "instruction_id": pl.String,
    "unit_decimals": pl.Int32,
    "settlement_date": pl.Date,
    "order_count": pl.Int64,
    "dealing_date": pl.Date,
    "state": pl.String,
    "confirmed_units": UNITS,
    "confirmed_consideration": CASH,
    "cash_custodian": pl.String,
    "booked_price": PRICE,
    "settled_effective": pl.Date,
    "settlement_amended": pl.Boolean,
}
LINE_DEFAULTS = {
    "book": "live",
    "batch_id": "B-1",
    "line_id": "L1",
    "custodian_id": "CUST",
    "asset_id": "A",
    "quantity_type": "U",
    "gross_buys": "0",
    "gross_sells": "0",
    "crossed": "0",
    "net": "0",
    "side": "B",
    "instruction_id": "I1",
    "unit_decimals": 4,
    "settlement_date": date(2026, 3, 12),
    "order_count": 1,
    "dealing_date": P,
    "state": "placed",
    "confirmed_units": "0",
    "confirmed_consideration": "0",
    "cash_custodian": "BANK",
    "settlement_amended": False,
}
CONFIRMATION = {
    "confirmation_id": pl.String,
    "instruction_id": pl.String,
    "event": pl.String,
    "event_date": pl.Date,
    "units": UNITS,
    "price": PRICE,
    "consideration": CASH,
    "settlement_date": pl.Date,
    "amends": pl.String,
}
CONFIRMATION_DEFAULTS = {"instruction_id": "I1", "event": "executed", "event_date": P}
BALANCE = {
    "book": pl.String,
    "account": pl.String,
    "state": pl.String,
    "asset_id": pl.String,
    "quantity": QUANTITY,
}
BALANCE_DEFAULTS = {"book": "live", "state": "settled"}
POSTING = {
    "book": pl.String,
    "journal_id": pl.String,
    "account": pl.String,
    "state": pl.String,
    "asset_id": pl.String,
    "quantity": QUANTITY,
    "effective_date": pl.Date,
}
POSTING_DEFAULTS = {"book": "live", "journal_id": "J1", "state": "settled", "effective_date": P}
STATEMENT = {
    "statement_id": pl.String,
    "custodian_id": pl.String,
    "statement_date": pl.Date,
    "basis": pl.String,
    "page": pl.Int64,
    "pages": pl.Int64,
    "asset_id": pl.String,
    "units": QUANTITY,
    "file_sha256": pl.String,
    "row": pl.Int64,
    "sequence": pl.Int64,
}
STATEMENT_DEFAULTS = {
    "statement_id": "S1",
    "custodian_id": "CUST",
    "statement_date": P,
    "basis": "settled",
    "page": 1,
    "pages": 1,
    "file_sha256": "f1",
    "sequence": 1,
}


def frame(schema: dict, rows: list[dict], defaults: dict | None = None) -> pl.DataFrame:
    """Build a frame; text in a decimal column is an exact decimal, what is missing is null."""
    filled = []
    for row in rows:
        unknown = set(row) - set(schema)
        assert not unknown, unknown
        values = {name: (defaults or {}).get(name) for name in schema} | row
        filled.append(
            [
                Decimal(v) if isinstance(v, str) and isinstance(schema[n], pl.Decimal) else v
                for n, v in values.items()
            ]
        )
    return pl.DataFrame(filled, schema=schema, orient="row")


def orders(*rows: dict) -> pl.DataFrame:
    return frame(ORDER, list(rows), ORDER_DEFAULTS)


def lines(*rows: dict) -> pl.DataFrame:
    return frame(LINE, list(rows), LINE_DEFAULTS)


def confirmations(*rows: dict) -> pl.DataFrame:
    return frame(CONFIRMATION, list(rows), CONFIRMATION_DEFAULTS)


def balances(*rows: dict) -> pl.DataFrame:
    return frame(BALANCE, list(rows), BALANCE_DEFAULTS)


def postings(*rows: dict) -> pl.DataFrame:
    return frame(POSTING, list(rows), POSTING_DEFAULTS)


def statements(*rows: dict) -> pl.DataFrame:
    numbered = [{"row": n} | row for n, row in enumerate(rows)]
    return frame(STATEMENT, numbered, STATEMENT_DEFAULTS)


def prices(*rows: tuple[date, str, str]) -> pl.DataFrame:
    schema = {"price_date": pl.Date, "asset_id": pl.String, "closing_price": PRICE}
    return frame(schema, [dict(zip(schema, row, strict=True)) for row in rows])


def column(frame_: pl.DataFrame, name: str) -> list:
    return frame_[name].to_list()
