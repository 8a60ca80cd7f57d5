r"""What left the inbox, as text to be hashed on both sides: here of frames, elsewhere of Postgres.

A line is an order's id and its values as Postgres writes them (COPY, text format): parted by tabs,
`\N` for none, decimals with 6 places, instants in UTC to the microsecond.
"""

from __future__ import annotations

import hashlib
from typing import Final

import polars as pl

ORDER: Final = (
    "source",
    "source_ref",
    "received_at",
    "pot_id",
    "kind",
    "asset_id",
    "to_asset_id",
    "units",
    "amount",
    "risk_profile_id",
)
CANCELLATION: Final = ("source", "source_ref", "cancelled_at")

# Lines made at a time; it bounds memory and does not show in the hash.
_SLICE_ROWS: Final = 100_000
_ESCAPES: Final = (
    ("\\", "\\\\"),
    ("\b", "\\b"),
    ("\f", "\\f"),
    ("\n", "\\n"),
    ("\r", "\\r"),
    ("\t", "\\t"),
    ("\v", "\\v"),
)


def content_sha256(rows: pl.DataFrame, columns: tuple[str, ...]) -> str:
    """Return the SHA-256 over the lines of `rows` (order_id and `columns`), by order_id."""
    wanted = rows.select("order_id", *columns).sort("order_id")
    digest = hashlib.sha256()
    for part in wanted.iter_slices(_SLICE_ROWS):
        texts = [_text(column) for column in part]
        line = pl.concat_str(texts, separator="\t") + "\n"
        digest.update(part.select(line.str.join("")).item().encode())
    return digest.hexdigest()


def _text(column: pl.Series) -> pl.Expr:
    value = pl.col(column.name)
    match column.dtype:
        case pl.String():
            text = value
            for plain, escaped in _ESCAPES:
                # Seldom any: to look is cheaper than to replace nothing.
                if column.str.contains(plain, literal=True).any():
                    text = text.str.replace_all(plain, escaped, literal=True)
        case pl.Datetime():
            text = value.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
        case _:
            text = value.cast(pl.String)
    return text.fill_null("\\N")
