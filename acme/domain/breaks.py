"""The life of a break from day to day, and the assets that breaks suspend (`rules §9`)."""

from __future__ import annotations

import hashlib
from datetime import date

import polars as pl

from acme.domain.calendars import Calendar
from acme.domain.matching import NOT_AS_BOOKED

SUSPENDING = ("quantity", "missing_at_custodian", "missing_in_ledger", "unknown")
LIVE_STATES = ("open", "explained")
IDENTITY = ["book", "custodian_id", "asset_id", "class", "reference"]
OWNER = "team:operations"
AGE_BUCKETS = ((1, "0-1"), (3, "2-3"), (5, "4-5"))
OLDEST = "6+"


def break_id(book: str, custodian: str, asset: str | None, kind: str, reference: str) -> str:
    """Return the stable identity of a break, 16 hexadecimal digits."""
    text = "\n".join([book, custodian, asset or "", kind, reference])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def age_bucket(age: pl.Expr) -> pl.Expr:
    """Return the ageing class of an age in business days."""
    bucket = pl.lit(OLDEST)
    for days_max, name in reversed(AGE_BUCKETS):
        bucket = pl.when(age <= days_max).then(pl.lit(name)).otherwise(bucket)
    return bucket


def with_ids(found: pl.DataFrame) -> pl.DataFrame:
    """Add `break_id` to what reconciliation found, each break once.

    found: `acme.domain.matching.FOUND_SCHEMA`.
    """
    ids = [break_id(*row) for row in found.select(IDENTITY).iter_rows()]
    return found.with_columns(pl.Series("break_id", ids, dtype=pl.String)).unique(
        "break_id", keep="first", maintain_order=True
    )


def carry(
    found: pl.DataFrame,
    earlier: pl.DataFrame,
    proven: pl.DataFrame,
    run_date: date,
    calendar: Calendar,
) -> pl.DataFrame:
    """Return today's breaks: those found, with their history, and earlier ones not yet closed.

    found: `with_ids`. earlier: core.reconciliation_breaks of P. proven: break_id of the earlier
    breaks that today's evidence could show and does not: these become `corrected`. One that shows
    again reopens with its first-seen date; after it was closed it is a new break.
    """
    today = found
    earlier = earlier.filter(pl.col("state") != "closed")
    known = earlier.select(
        "break_id",
        pl.col("first_seen").alias("_seen"),
        pl.col("owner").alias("_owner"),
        pl.col("state").alias("_state"),
        "explained_by",
        "corrected_by",
    )
    shown = today.join(known, on="break_id", how="left").with_columns(
        pl.col("_seen").fill_null(run_date).alias("first_seen"),
        pl.col("_owner").fill_null(OWNER).alias("owner"),
        pl.when(pl.col("_state") == "explained")
        .then(pl.lit("explained"))
        .otherwise(pl.lit("open"))
        .alias("state"),
    )
    gone = earlier.join(today.select("break_id"), on="break_id", how="anti").with_columns(
        pl.when(pl.col("break_id").is_in(proven["break_id"].to_list()))
        .then(pl.lit("corrected"))
        .otherwise(pl.col("state"))
        .alias("state")
    )
    columns = [
        *IDENTITY,
        "break_id",
        "basis",
        "ours",
        "theirs",
        "difference",
        "first_seen",
        "owner",
        "state",
        "evidence",
        "explained_by",
        "corrected_by",
    ]
    merged = pl.concat([shown.select(columns), gone.select(columns)])
    seen = merged["first_seen"].to_list()
    ages = {day: calendar.business_days_between(day, run_date) for day in set(seen)}
    return merged.with_columns(
        pl.Series("age", [ages[day] for day in seen], dtype=pl.Int32)
    ).with_columns(age_bucket(pl.col("age")).alias("age_bucket"))


def amended(events: pl.DataFrame, news: pl.DataFrame, before: pl.DataFrame) -> frozenset[str]:
    """Return the confirmations that an event amends, and those that this run states anew.

    events: those that count; news: core.confirmations of the run; before: events stated earlier.
    """
    others = events.filter(pl.col("amends") != pl.col("confirmation_id"))
    anew = news.join(before, on="confirmation_id", how="semi")
    return frozenset(others["amends"]) | frozenset(anew["confirmation_id"])


def disproved(
    earlier: pl.DataFrame,
    whole_statements: pl.DataFrame,
    amended: frozenset[str],
    stated: pl.DataFrame,
    lines: pl.DataFrame,
) -> pl.DataFrame:
    """Return break_id of the earlier breaks that today's evidence is able to disprove.

    A statement's break needs a whole statement of the same custodian and basis (any basis for
    `stale_statement`). A price or consideration break needs its confirmation amended or stated
    anew, or its line judged again before it has settled; a quantity break or a failed settlement
    needs its line judged again, settled or not. What a correction left in suspense nothing
    disproves; others of an instruction are always judged.

    whole_statements: book, custodian_id, basis. amended: result of `amended`. stated: all events,
    those on hold too. lines: open lines, and those that ended or were looked at in this run, after
    `acme.domain.execution.with_completeness`; a disputed one is not judged.
    """
    accounts = set(whole_statements.select("book", "custodian_id", "basis").iter_rows())
    custodians = {(book, custodian) for book, custodian, _ in accounts}
    undisputed = lines.filter(~pl.col("disputed") & pl.col("instruction_id").is_not_null())
    known_lines = set(lines["instruction_id"])
    judged_lines = set(undisputed["instruction_id"])
    unsettled = undisputed.filter(
        (pl.col("state") != "settled") & pl.col("closing_price").is_not_null()
    )
    of_unsettled = stated.join(unsettled, on="instruction_id", how="semi")
    of_amended = stated.filter(pl.col("confirmation_id").is_in(sorted(amended)))
    revisited = {
        *amended,
        *of_amended["instruction_id"],
        *of_unsettled["confirmation_id"],
        *unsettled["instruction_id"],
    }

    def judged(row: dict[str, str]) -> bool:
        if row["class"] == "stale_statement":
            return (row["book"], row["custodian_id"]) in custodians
        if row["basis"] is not None:
            return (row["book"], row["custodian_id"], row["basis"]) in accounts
        waits = row["reference"].endswith(NOT_AS_BOOKED)
        if row["class"] == "settlement_failed":
            return row["reference"] in known_lines
        if row["class"] == "quantity" or waits:
            return row["reference"].removesuffix(NOT_AS_BOOKED) in judged_lines
        if row["class"] in {"price", "consideration"}:
            return row["reference"] in revisited
        return True

    rows = earlier.filter(pl.col("state").is_in(LIVE_STATES)).iter_rows(named=True)
    found = [r["break_id"] for r in rows if judged(r)]
    return pl.DataFrame({"break_id": found}, schema={"break_id": pl.String})


def suspended_assets(breaks: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Return book, asset_id, break_id, since of the assets that live breaks suspend.

    A break on the currency, or of a whole statement, suspends no asset.
    """
    return (
        breaks.filter(
            pl.col("state").is_in(LIVE_STATES)
            & pl.col("class").is_in(SUSPENDING)
            & (pl.col("asset_id") != currency)
        )
        .sort("first_seen", "break_id")
        .group_by("book", "asset_id")
        .agg(pl.col("break_id").first(), pl.col("first_seen").first().alias("since"))
        .sort("book", "asset_id")
    )
