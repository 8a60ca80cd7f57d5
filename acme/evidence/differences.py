"""Where two versions of one table differ: the first row, its key, its column, both values.

Pure comparison of frames; which versions are compared, and why, is the caller's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from acme.lakehouse.contracts import Contract

What = Literal[
    "value", "missing_row", "extra_row", "file", "table", "seal", "check", "start", "stopped"
]


@dataclass(frozen=True)
class Difference:
    """One difference between what was published and what was recomputed, for people.

    `where` is a table, a file or a batch. `key` names the row, `column` the field; both are empty
    where the difference is not one of a row. `rows` counts the rows of the table that differ.
    `missing_row`: recomputed but not published; `extra_row`: published but not recomputed.
    `stopped`: nothing could be computed from there on.
    """

    where: str
    what: What
    key: Mapping[str, str]
    column: str | None
    published: str | None
    recomputed: str | None
    rows: int = 0

    def text(self) -> str:
        """Return the difference as one line."""
        row = ", ".join(f"{name} {value}" for name, value in self.key.items())
        at = f"{self.where}{f' row [{row}]' if row else ''}"
        match self.what:
            case "missing_row":
                return f"{at}: recomputed, but not published ({self.rows} rows differ)"
            case "extra_row":
                return f"{at}: published, but not recomputed ({self.rows} rows differ)"
            case "stopped":
                return f"{at}: nothing was computed from there on"
            case "value":
                return (
                    f"{at} column {self.column}: published {_shown(self.published)}, recomputed"
                    f" {_shown(self.recomputed)} ({self.rows} rows differ)"
                )
            case _:
                column = f" {self.column}" if self.column else ""
                return (
                    f"{at}{column}: expected {_shown(self.published)},"
                    f" got {_shown(self.recomputed)}"
                )

    def as_json(self) -> dict[str, object]:
        """Return the difference as JSON values."""
        return {
            "where": self.where,
            "what": self.what,
            "key": dict(self.key),
            "column": self.column,
            "published": self.published,
            "recomputed": self.recomputed,
            "rows": self.rows,
        }


def _shown(value: str | None) -> str:
    return "nothing" if value is None else value


def first_difference(
    contract: Contract, published: pl.DataFrame, recomputed: pl.DataFrame
) -> Difference | None:
    """Return the first row in key order that differs between two enforced frames, or None.

    Every column counts, those outside the table hash too. Keys are unique and never null in an
    enforced frame; a frame that breaks that still compares, row by row of equal keys.
    """
    key = list(contract.key)
    rest = [c for c in contract.column_names if c not in key]
    left = published.select(*key, *[pl.col(c).alias(f"{c}\x1fpublished") for c in rest])
    right = recomputed.select(*key, *[pl.col(c).alias(f"{c}\x1frecomputed") for c in rest])
    joined = left.with_columns(pl.lit(value=True).alias("\x1fleft")).join(
        right.with_columns(pl.lit(value=True).alias("\x1fright")),
        on=key,
        how="full",
        coalesce=True,
        nulls_equal=True,
    )
    one_sided = pl.col("\x1fleft").is_null() | pl.col("\x1fright").is_null()
    unequal = [
        pl.col(f"{c}\x1fpublished").ne_missing(pl.col(f"{c}\x1frecomputed")).alias(c) for c in rest
    ]
    differing = joined.filter(pl.any_horizontal(one_sided, *unequal)).sort(key, nulls_last=False)
    if differing.is_empty():
        return None
    row = differing.row(0, named=True)
    named = {k: str(row[k]) for k in key}
    if row["\x1fright"] is None or row["\x1fleft"] is None:
        what: What = "extra_row" if row["\x1fright"] is None else "missing_row"
        return Difference(contract.dataset, what, named, None, None, None, differing.height)
    column = next(c for c in rest if row[f"{c}\x1fpublished"] != row[f"{c}\x1frecomputed"])
    before, after = row[f"{column}\x1fpublished"], row[f"{column}\x1frecomputed"]
    return Difference(
        contract.dataset,
        "value",
        named,
        column,
        None if before is None else str(before),
        None if after is None else str(after),
        differing.height,
    )
