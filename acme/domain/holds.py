"""Rows that repeat or contradict each other: dropped, held, released, replaced (`rules §10`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date

import polars as pl

# What a landed row carries besides its own fields.
ORIGIN = ["file_sha256", "row", "sequence", "landed_at"]

HOLD_SCHEMA: dict[str, pl.DataType] = {
    "feed": pl.String(),
    "key": pl.String(),
    "reason": pl.String(),
    "first_run_date": pl.Date(),
    "file_sha256": pl.String(),
    "candidates": pl.String(),
}
QUARANTINE_SCHEMA: dict[str, pl.DataType] = {
    "feed": pl.String(),
    "key": pl.String(),
    "file_sha256": pl.String(),
    "row": pl.Int64(),
    "rule": pl.String(),
    "detail": pl.String(),
}


@dataclass(frozen=True)
class Resolved:
    """What a feed's rows of one run come to.

    rows: the one row of every key that counts, with ORIGIN, `key` and `values_sha256`, sorted by
    key. holds: HOLD_SCHEMA, every hold of the feed that is open now.
    """

    rows: pl.DataFrame
    holds: pl.DataFrame


def key_text(key: list[str]) -> pl.Expr:
    """Return a row's key as text, its fields joined by '|', which is escaped inside a field."""
    fields = [pl.col(k).cast(pl.String).fill_null("") for k in key]
    escaped = [
        f.str.replace_all("\\", "\\\\", literal=True).str.replace_all("|", "\\|", literal=True)
        for f in fields
    ]
    return pl.concat_str(escaped, separator="|")


def resolve(
    feed: str, rows: pl.DataFrame, key: list[str], open_holds: pl.DataFrame, run_date: date
) -> Resolved:
    """Bring each key of a feed to one row, or put it on hold.

    rows: the feed's fields and ORIGIN, of all files of the run. Within a file equal rows count
    once and rows that disagree hold the key; the latest landed file that names a key decides.
    """
    values = [c for c in rows.columns if c not in ORIGIN and c not in key]
    mine = open_holds.filter(pl.col("feed") == feed).select(list(HOLD_SCHEMA))
    keyed = rows.with_columns(
        key_text(key).alias("key"), value_digest(values).alias("values_sha256")
    )
    per_file = keyed.sort("row").unique(["key", "sequence", "values_sha256"], keep="first")
    latest = per_file.filter(pl.col("sequence") == pl.col("sequence").max().over("key"))
    disputed = latest.filter(pl.len().over("key") > 1)
    held = _holds(feed, disputed, values, mine, run_date)
    settled = latest.join(disputed.select("key"), on="key", how="anti")
    return Resolved(
        rows=_first_of_its_values(per_file, settled).sort("key"),
        holds=pl.concat([mine.join(latest, on="key", how="anti"), held]).sort("key"),
    )


def _first_of_its_values(per_file: pl.DataFrame, latest: pl.DataFrame) -> pl.DataFrame:
    """Return the first row that gave each key its latest values: repeating changes nothing."""
    final = latest.select("key", pl.col("values_sha256").alias("_final"))
    others = pl.col("sequence").filter(pl.col("values_sha256") != pl.col("_final"))
    changed = others.max().over("key")
    return (
        per_file.join(final, on="key")
        .filter(changed.is_null() | (pl.col("sequence") > changed))
        .sort("sequence")
        .unique("key", keep="first")
        .drop("_final")
    )


def value_digest(values: list[str]) -> pl.Expr:
    """Return an expression for the SHA-256 of a row's values in canonical text."""
    text = pl.struct([pl.col(v).cast(pl.String) for v in values]).struct.json_encode()
    return text.map_elements(
        lambda t: hashlib.sha256(t.encode()).hexdigest(), return_dtype=pl.String
    )


def _holds(
    feed: str, disputed: pl.DataFrame, values: list[str], earlier: pl.DataFrame, run_date: date
) -> pl.DataFrame:
    since = dict(earlier.select("key", "first_run_date").iter_rows())
    found = []
    ordered = disputed.sort("values_sha256")
    for (key, file_sha256), group in ordered.group_by("key", "file_sha256"):
        candidates = [
            {name: None if value is None else str(value) for name, value in row.items()}
            for row in group.select(values).iter_rows(named=True)
        ]
        found.append(
            {
                "feed": feed,
                "key": str(key),
                "reason": "conflicting_rows",
                "first_run_date": since.get(str(key), run_date),
                "file_sha256": str(file_sha256),
                "candidates": json.dumps(candidates, sort_keys=True),
            }
        )
    return pl.DataFrame(found, schema=HOLD_SCHEMA)


def split_known(
    feed: str, rows: pl.DataFrame, known: pl.DataFrame, rule: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part rows into new ones and those whose key was accepted by an earlier run.

    For what is immutable once accepted. rows: `Resolved.rows`. known: key, accepted_sha256. An
    equal repeat has no effect; one with other values is quarantined alone, under `rule`
    (`rules §4`). Returns (new, QUARANTINE_SCHEMA).
    """
    seen = rows.join(known, on="key")
    changed = seen.filter(pl.col("values_sha256") != pl.col("accepted_sha256"))
    quarantined = changed.select(
        pl.lit(feed).alias("feed"),
        "key",
        "file_sha256",
        pl.col("row").cast(pl.Int64),
        pl.lit(rule).alias("rule"),
        pl.lit("accepted earlier with other values; the earlier values stand").alias("detail"),
    )
    return rows.join(known, on="key", how="anti"), quarantined


def without_repeats(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that are new, or were accepted with other values (`rules §10`).

    For what a later file corrects. rows: `Resolved.rows`. known: key, accepted_sha256.
    """
    same = pl.col("values_sha256").eq_missing(pl.col("accepted_sha256"))
    return rows.join(known, on="key", how="left").filter(~same).drop("accepted_sha256")
