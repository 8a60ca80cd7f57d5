"""Orders: which third-party orders the decide of T takes, which wait, and which are cancelled."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import holds, inbox
from acme.domain.day import Day
from acme.domain.orders import order_id

KEY = ["source", "source_ref"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Admit landed rows to their dealing date (`rules §2`, `§4`, `§10`).

    An order that an earlier run took is immutable: an equal row has no effect, another one is
    quarantined alone. A later file replaces an order that still waits. One that is cancelled
    stays so, and is not dealt.
    """
    landed = _with_key(inputs["feed.orders"])
    cancelled_before = inputs["accepted.cancellations"].select("key")
    too_late = landed.join(cancelled_before, on="key", how="semi")
    resolved = holds.resolve(
        "orders",
        landed.join(cancelled_before, on="key", how="anti").drop("key"),
        KEY,
        inputs["previous.core.holds"],
        day.run_date,
    )
    new, changed = holds.split_known(
        "orders", resolved.rows, inputs["accepted.orders"], "order_already_taken"
    )
    waiting = _with_key(inputs["previous.stage.pending_orders"].drop("run_date"))
    # An equal row again changes nothing, not even the time of an order that waits.
    new = new.join(waiting, on=["key", "values_sha256"], how="anti")
    named = pl.concat([new.select("key"), resolved.holds.select("key")]).unique()
    kept = waiting.join(named, on="key", how="anti")
    dated = _dated(day, new)
    rows = _in_books(
        pl.concat([kept.drop("book"), dated.select(kept.drop("book").columns)]), inputs
    )
    cancellations = _cancellations(day, inputs, rows, resolved.holds)
    rows = _cancelled(rows, cancellations)
    due = rows.filter(pl.col("dealing_date") <= day.run_date).with_columns(
        pl.lit(day.run_date).alias("dealing_date")
    )
    later = rows.filter(pl.col("dealing_date") > day.run_date)
    quarantined = pl.concat([_refused_orders(too_late), changed, _refused(cancellations)])
    return {
        "core.orders": due.drop("key", "values_sha256"),
        "stage.pending_orders": later.drop("key"),
        "stage.order_holds": resolved.holds,
        "stage.order_quarantine": quarantined,
        "stage.cancellations": cancellations,
        "stage.inbox_exceptions": _exceptions(
            day, inputs, rows, holds_=resolved.holds, quarantined=quarantined
        ),
        "accepted.orders": due.select("key", "values_sha256"),
        "accepted.cancellations": _newly_cancelled(cancellations),
    }


def _with_key(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(holds.key_text(KEY).alias("key"))


def _with_id(rows: pl.DataFrame) -> pl.DataFrame:
    ids = [order_id(source, ref) for source, ref in rows.select(KEY).iter_rows()]
    return rows.with_columns(pl.Series("order_id", ids, dtype=pl.String))


def _moment(day: Day, stated: str) -> pl.Expr:
    """Return when a row counts as received: what it says, or when it landed (`rules §2`)."""
    return pl.col(stated if day.event_clock else "landed_at").alias(stated)


def _dated(day: Day, rows: pl.DataFrame) -> pl.DataFrame:
    """Give new rows their id and dealing date."""
    rows = _with_id(rows.with_columns(_moment(day, "received_at")))
    received = pl.col("received_at")
    in_time = received < day.cut_off_instant
    later = rows.filter(~in_time)["received_at"]
    dates = {m: day.cut_off.dealing_date(m, day.calendars.dealing) for m in later.unique()}
    return rows.with_columns(
        pl.when(in_time)
        .then(pl.lit(day.run_date))
        .otherwise(received.replace_strict(dates, default=day.run_date, return_dtype=pl.Date))
        .alias("dealing_date"),
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("cancelled_at"),
        pl.col("row").cast(pl.Int64),
    )


def _in_books(rows: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Give every order the book of its pot, which may land while the order waits."""
    pots = inputs["stage.landed_pots"].select("pot_id", "book")
    # An order for a pot nobody knows is rejected in the book of real members.
    return rows.join(pots, on="pot_id", how="left", maintain_order="left").with_columns(
        pl.col("book").fill_null("live")
    )


# ---- cancellations --------------------------------------------------------------------------


def _cancellations(
    day: Day, inputs: Mapping[str, pl.DataFrame], rows: pl.DataFrame, held: pl.DataFrame
) -> pl.DataFrame:
    """Say of every landed cancellation what it does to its order; the earliest of one counts."""
    landed = _with_id(_with_key(inputs["feed.cancellations"]))
    landed = landed.with_columns(_moment(day, "cancelled_at")).sort(
        "key", "cancelled_at", "sequence", "row"
    )

    def among(frame: pl.DataFrame) -> pl.Expr:
        return pl.col("key").is_in(frame["key"].unique().implode())

    done = inputs["accepted.cancellations"]
    standing = rows.filter(pl.col("cancelled_at").is_null())
    repeats = among(done) | (among(standing) & ~pl.col("key").is_first_distinct())
    reason = (
        pl.when(among(held))
        .then(pl.lit("order_on_hold"))
        .when(among(inputs["accepted.orders"]))
        .then(pl.lit("order_already_taken"))
        .otherwise(pl.lit("unknown_order"))
    )
    outcome = (
        pl.when(repeats)
        .then(pl.lit("repeated"))
        .when(among(standing))
        .then(pl.lit("cancelled"))
        .otherwise(pl.lit("refused"))
    )
    return landed.with_columns(outcome.alias("outcome")).select(
        "order_id",
        "key",
        *KEY,
        "cancelled_at",
        "outcome",
        pl.when(pl.col("outcome") == "refused").then(reason).alias("reason"),
        "file_sha256",
        pl.col("row").cast(pl.Int64),
    )


def _cancelled(rows: pl.DataFrame, cancellations: pl.DataFrame) -> pl.DataFrame:
    """Mark the orders that are cancelled now."""
    now = cancellations.filter(pl.col("outcome") == "cancelled").select(
        "key", pl.col("cancelled_at").alias("_now")
    )
    marked = rows.join(now, on="key", how="left", maintain_order="left")
    return marked.with_columns(pl.coalesce("cancelled_at", "_now").alias("cancelled_at")).drop(
        "_now"
    )


def _newly_cancelled(cancellations: pl.DataFrame) -> pl.DataFrame:
    done = cancellations.filter(pl.col("outcome") == "cancelled")
    return done.select("key", holds.value_digest(["cancelled_at"]).alias("values_sha256"))


def _refused(cancellations: pl.DataFrame) -> pl.DataFrame:
    return _quarantine(
        "cancellations",
        cancellations.filter(pl.col("outcome") == "refused"),
        pl.col("reason"),
        "it has no effect",
    )


def _refused_orders(rows: pl.DataFrame) -> pl.DataFrame:
    return _quarantine("orders", rows, pl.lit("order_cancelled"), "cancelled, and stays so")


def _quarantine(feed: str, rows: pl.DataFrame, rule: pl.Expr, detail: str) -> pl.DataFrame:
    return rows.select(
        pl.lit(feed).alias("feed"),
        "key",
        "file_sha256",
        pl.col("row").cast(pl.Int64),
        rule.alias("rule"),
        pl.lit(detail).alias("detail"),
    )


# ---- the inbox ------------------------------------------------------------------------------


def _exceptions(
    day: Day,
    inputs: Mapping[str, pl.DataFrame],
    rows: pl.DataFrame,
    *,
    holds_: pl.DataFrame,
    quarantined: pl.DataFrame,
) -> pl.DataFrame:
    """Return the orders that left the inbox for T and do not stand in `rows`, and why."""
    drained = inputs["feed.orders"].join(
        inputs["stage.inbox_control"].filter(pl.col("feed") == "orders").select("file_sha256"),
        on="file_sha256",
        how="semi",
    )
    origin = ["file_sha256", "row"]
    apart = _with_id(_with_key(drained.join(rows.select(origin), on=origin, how="anti")))
    refused = quarantined.filter(pl.col("feed") == "orders").select(
        *origin, pl.lit("quarantined").alias("_refused")
    )
    outcome = (
        pl.when(pl.col("_refused").is_not_null())
        .then(pl.col("_refused"))
        .when(pl.col("key").is_in(holds_["key"].implode()))
        .then(pl.lit("held"))
        .when(pl.col("key").is_in(rows["key"].implode()))
        .then(pl.lit("other_row"))
        .when(pl.col("key").is_in(inputs["accepted.orders"]["key"].implode()))
        .then(pl.lit("taken_before"))
    )
    return (
        apart.with_columns(_moment(day, "received_at"))
        .join(refused, on=origin, how="left")
        .select("order_id", "key", *inbox.ORDER, outcome.alias("outcome"), *origin)
        # One without a reason is lost, and is missed by the check.
        .filter(pl.col("outcome").is_not_null())
    )
