"""What custodians did, line by line, and how a complete line is booked and settled (`rules §7`).

Lines: stage.open_lines; members: stage.open_orders with a `line_id`; confirmations as landed.
Only events with `event_date ≤ P` count; later ones wait in `open_confirmations`.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from acme.domain import quantities as q
from acme.domain.allocation import split

PROGRESS_COLUMNS = (
    "executed_units",
    "executed_consideration",
    "settled_units",
    "settled_consideration",
)


def as_last_stated(*stated: pl.DataFrame) -> pl.DataFrame:
    """Return each confirmation once, from the first of the frames that has it (`rules §10`).

    stated: confirmations, what was stated last first. A custodian may state one anew under the
    same id, and what it said before then counts no more.
    """
    first, *earlier = stated
    columns = [c for c in first.columns if c != "run_date"]
    frames = [first.select(columns), *[frame.select(columns) for frame in earlier]]
    return pl.concat(frames).unique("confirmation_id", keep="first", maintain_order=True)


def not_on_hold(confirmations: pl.DataFrame, holds: pl.DataFrame) -> pl.DataFrame:
    """Return the confirmations that no file disagrees about; holds: stage.confirmation_holds."""
    return confirmations.join(
        holds.select(pl.col("key").alias("confirmation_id")), on="confirmation_id", how="anti"
    )


def disputed(stated: pl.DataFrame, holds: pl.DataFrame, as_of: date) -> frozenset[str]:
    """Return the instructions of which an event that counted is on hold (`rules §10`).

    stated: confirmations, those on hold as they were stated before. What was booked with one stays.
    """
    held = stated.join(holds.select(pl.col("key").alias("confirmation_id")), on="confirmation_id")
    return frozenset(held.filter(pl.col("event_date") <= as_of)["instruction_id"])


def standing(confirmations: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Return the events up to `as_of` that no other such event amends (`rules §7`).

    A cancellation that names an event only removes it, so it does not itself stand.
    """
    known = confirmations.filter(pl.col("event_date") <= as_of)
    by_others = known.filter(pl.col("amends") != pl.col("confirmation_id"))
    amended = by_others.select(pl.col("amends").alias("confirmation_id"))
    removes = (pl.col("event") == "cancelled") & pl.col("amends").is_not_null()
    return known.join(amended, on="confirmation_id", how="anti").filter(~removes)


def progress(lines: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Add to every line what stands for its instruction.

    Adds Int128 `executed_units`, `executed_consideration`, `settled_units`,
    `settled_consideration` (6, 2, 6, 2 decimals), `ended`, `answered` and `settled_on`.
    """

    def total(column: str, event: str, name: str) -> pl.Expr:
        return q.minor(column).filter(pl.col("event") == event).sum().alias(name)

    by_instruction = events.group_by("instruction_id").agg(
        total("units", "executed", "executed_units"),
        total("consideration", "executed", "executed_consideration"),
        total("units", "settled", "settled_units"),
        total("consideration", "settled", "settled_consideration"),
        pl.col("event").is_in(["rejected", "cancelled"]).any().alias("ended"),
        pl.col("event").is_in(["executed", "rejected", "cancelled"]).any().alias("answered"),
        pl.col("event_date").filter(pl.col("event") == "settled").max().alias("settled_on"),
    )
    return lines.join(by_instruction, on="instruction_id", how="left").with_columns(
        *[pl.col(name).fill_null(0) for name in PROGRESS_COLUMNS],
        pl.col("ended").fill_null(value=False),
        pl.col("answered").fill_null(value=False),
    )


def with_completeness(
    lines: pl.DataFrame, prices: pl.DataFrame, disputed: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """Add `closing_price` of the dealing date, `over_confirmed` and `complete` (`rules §7`).

    `lines` is the result of `progress`; prices: price_date, asset_id, closing_price. A booked line
    of a `disputed` instruction waits as it is; `disputed` says so.
    """
    booked = pl.col("state").is_in(["booked", "settled"])
    reached = pl.col("_done") >= pl.col("_net")
    priced = (pl.col("crossed") == 0) | pl.col("closing_price").is_not_null()
    return (
        lines.join(
            prices.select("asset_id", "closing_price", pl.col("price_date").alias("dealing_date")),
            on=["asset_id", "dealing_date"],
            how="left",
        )
        .with_columns(
            q.minor("net").alias("_net"),
            pl.when(pl.col("quantity_type") == "U")
            .then(pl.col("executed_units"))
            .otherwise(q.cash_to_quantity("executed_consideration"))
            .alias("_done"),
        )
        .with_columns(
            (pl.col("_done") > pl.col("_net")).alias("over_confirmed"),
            (booked & pl.col("instruction_id").is_in(sorted(disputed)))
            .fill_null(value=False)
            .alias("disputed"),
        )
        .with_columns(
            (
                (reached | pl.col("ended"))
                & priced
                & ~pl.col("over_confirmed")
                & ~pl.col("disputed")
            ).alias("complete")
        )
        .drop("_net", "_done")
    )


def side_totals(lines: pl.DataFrame) -> pl.DataFrame:
    """Spread complete lines over their sides: line_id, side, `side_units`, `side_consideration`.

    Heavier side: what crossed and what was executed outside; lighter side: what crossed, at the
    closing price (`rules §7`). Int128, 6 and 2 decimals.
    """
    crossed = q.minor("crossed")
    base = lines.with_columns(
        crossed.alias("_x"),
        pl.when(pl.col("crossed") == 0)
        .then(pl.lit(0, dtype=pl.Int128))
        .otherwise(q.consideration_expr(crossed, q.minor("closing_price")))
        .alias("_cx"),
    )
    q.assert_bounds(
        "crossed consideration", q.largest(base, "crossed"), q.largest(base, "closing_price")
    )
    # A net of zero has no heavier side: both sides cross whole.
    heavier = base.with_columns(
        pl.when(pl.col("side") == "").then(pl.lit("B")).otherwise(pl.col("side")).alias("side"),
        (pl.col("_x") + pl.col("executed_units")).alias("side_units"),
        (pl.col("_cx") + pl.col("executed_consideration")).alias("side_consideration"),
    )
    lighter = heavier.filter(pl.col("crossed") != 0).with_columns(
        pl.when(pl.col("side") == "B").then(pl.lit("S")).otherwise(pl.lit("B")).alias("side"),
        pl.col("_x").alias("side_units"),
        pl.col("_cx").alias("side_consideration"),
    )
    columns = ["line_id", "batch_id", "side", "unit_decimals", "side_units", "side_consideration"]
    return pl.concat([heavier.select(columns), lighter.select(columns)])


def allocate(lines: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Share complete lines among their orders (`rules §1` Split, `§7`).

    lines: result of `with_completeness`, complete only. members: open orders of those lines.
    Returns the members with Int128 `executed_units` (6 decimals) and `executed_consideration`
    (pence), row order of `members` not kept.
    """
    joined = members.join(side_totals(lines), on=["line_id", "side"], how="inner")
    quantum = q.unit_quantum_expr(pl.col("unit_decimals"))
    is_unit_line = pl.col("quantity_type") == "U"
    ordered = pl.when(is_unit_line).then(q.minor("units")).otherwise(q.minor("amount"))
    weighted = joined.with_columns(
        ordered.alias("_ordered"),
        quantum.alias("_quantum"),
        (pl.col("side_units") // quantum).alias("_side_units"),
    )
    group = ["line_id", "side"]
    by_units = split(weighted, group, "_side_units", "_ordered", "_share")
    by_units = by_units.with_columns(
        (pl.col("_share") * pl.col("_quantum")).alias("executed_units"),
        # Money for no units at all has only the ordered units to be shared by.
        pl.when(is_unit_line & (pl.col("_side_units") > 0))
        .then(pl.col("_share"))
        .otherwise(pl.col("_ordered"))
        .alias("_weight"),
    )
    return split(by_units, group, "side_consideration", "_weight", "executed_consideration").drop(
        "_ordered",
        "_quantum",
        "_side_units",
        "_share",
        "_weight",
        "side_units",
        "side_consideration",
        "unit_decimals",
    )


def settling(lines: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Return the booked lines that settle now, with `settled_effective` (`rules §7`).

    A line settles whole: when `settled` events cover what was confirmed; with no external part,
    once `as_of` (P) has reached its settlement date; or in the run that corrects it after it had
    settled (`resettles_on`, the old effective date). One that was booked with nothing ends with
    no date, since nothing of it has settled. `lines` is the result of `progress` with
    `confirmed_units` and `confirmed_consideration` as booked.
    """
    external = (pl.col("confirmed_units") != 0) | (pl.col("confirmed_consideration") != 0)
    covered = (pl.col("settled_units") >= q.minor("confirmed_units")) & (
        pl.col("settled_consideration") >= q.minor("confirmed_consideration")
    )
    due = pl.col("settlement_date") <= as_of
    again = pl.col("resettles_on").is_not_null()
    return lines.filter(again | (external & covered) | (~external & due)).with_columns(
        pl.when(again)
        .then(pl.col("resettles_on"))
        .when(external)
        .then(pl.col("settled_on"))
        .when(pl.col("crossed") != 0)
        .then(pl.col("settlement_date"))
        .alias("settled_effective")
    )
