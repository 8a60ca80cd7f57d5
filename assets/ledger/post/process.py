"""Post: complete lines are booked, covered ones settled; the balances as of the close of P."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import execution, ledger, overdrafts
from acme.domain import quantities as q
from acme.domain.booking import (
    Entries,
    book_allocations,
    book_settlements,
    custodian_of,
    open_positions,
    switch_buys,
)
from acme.domain.day import Day
from acme.domain.reference import assets_on

PLACED = ["placed", "unknown"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Book what custodians did up to the close of P (`rules §7`, `§8`)."""
    assets = assets_on(inputs["core.assets"], day.run_date)
    entries = Entries()
    _open_positions(day, inputs, assets, entries)

    confirmations = pl.concat(
        [inputs["previous.stage.open_confirmations"], inputs["core.confirmations"]]
    ).drop("run_date")
    events = execution.standing(confirmations, day.as_of)
    lines = execution.with_completeness(
        execution.progress(inputs["previous.stage.open_lines"].drop("run_date"), events),
        inputs["stage.price_book"],
    )
    judged = lines
    orders = inputs["previous.stage.open_orders"].drop("run_date")

    booking = lines.filter((pl.col("state") == "placed") & pl.col("complete"))
    allocated = _book(day, entries, booking, orders, assets)
    orders = pl.concat([_replace(orders, allocated), switch_buys(allocated).select(orders.columns)])
    lines = _mark_booked(lines, booking)

    settling = execution.settling(lines.filter(pl.col("state") == "booked"), day.as_of)
    settled = _settle(day, entries, settling, orders, assets)
    overdue = _overdue(day, lines)
    orders = _mark_unknown(day, entries, orders, overdue)
    orders = orders.join(settled, on="order_id", how="anti").filter(pl.col("state") != "rejected")
    live_lines = orders["line_id"].drop_nulls().unique()
    lines = lines.filter(pl.col("line_id").is_in(live_lines.to_list()))

    postings = entries.all_postings()
    balances = _balances(day, inputs, postings)
    return {
        "core.allocations": _allocations(allocated),
        "core.ledger_balances": balances,
        "stage.overdraft_causes": _overdraft_causes(
            day,
            inputs,
            overdrafts.Evidence(
                allocated=_with_proposal(day, inputs, allocated, assets),
                lines=judged,
                off_price=_off_price(judged, events),
                orders=orders,
                as_of=day.as_of,
            ),
            balances,
        ),
        "stage.booked_sides": _booked_sides(booking),
        "stage.posted_orders": orders,
        "stage.posted_lines": lines.select(_line_columns(inputs)),
        "stage.posted_journals": entries.all_journals(),
        "stage.posted_postings": postings,
        "stage.posted_order_events": entries.all_events(),
        "stage.open_confirmations": _still_open(confirmations, inputs, lines),
    }


def _line_columns(inputs: Mapping[str, pl.DataFrame]) -> list[str]:
    return [c for c in inputs["previous.stage.open_lines"].columns if c != "run_date"]


def _open_positions(
    day: Day, inputs: Mapping[str, pl.DataFrame], assets: pl.DataFrame, entries: Entries
) -> None:
    positions = inputs["stage.opening_positions"].with_columns(
        _cut_offs(day, pl.col("as_of"), inputs["stage.opening_positions"]["as_of"]).alias(
            "event_time"
        ),
        pl.lit(day.known_at).alias("known_at"),
    )
    open_positions(entries, positions, inputs["stage.landed_pots"], assets)


def _cut_offs(day: Day, column: pl.Expr, dates: pl.Series) -> pl.Expr:
    """Return the cut-off instants of a date column."""
    instants = {d: day.cut_off.instant(d) for d in dates.unique() if d is not None}
    return column.replace_strict(instants, default=None, return_dtype=pl.Datetime("us", "UTC"))


def _with_custody(day: Day, orders: pl.DataFrame, assets: pl.DataFrame) -> pl.DataFrame:
    """Add the cash custodian and the run's `known_at`; the asset's custodian is the line's."""
    cash = assets.filter(pl.col("asset_id") == day.currency)["custodian_id"][0]
    return orders.with_columns(
        custodian_of(pl.col("book"), pl.lit(cash)).alias("cash_custodian"),
        pl.lit(day.known_at).alias("known_at"),
    )


def _book(
    day: Day, entries: Entries, booking: pl.DataFrame, orders: pl.DataFrame, assets: pl.DataFrame
) -> pl.DataFrame:
    if booking.is_empty():
        return _no_allocation(orders)
    members = orders.filter(pl.col("state").is_in(PLACED)).join(
        booking.select("line_id", "custodian_id"), on="line_id"
    )
    shared = execution.allocate(booking, members)
    dated = _with_custody(day, shared, assets).with_columns(
        pl.col("dealing_date").alias("effective_date"),
        _cut_offs(day, pl.col("dealing_date"), shared["dealing_date"]).alias("event_time"),
    )
    return book_allocations(entries, dated, day.currency)


def _no_allocation(orders: pl.DataFrame) -> pl.DataFrame:
    return orders.clear().with_columns(
        pl.lit(None, dtype=pl.String).alias("batch_id"),
        pl.lit(None, dtype=pl.String).alias("journal_id"),
        pl.lit(None, dtype=pl.Date).alias("effective_date"),
    )


def _replace(orders: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        [orders.join(changed, on="order_id", how="anti"), changed.select(orders.columns)]
    )


def _mark_booked(lines: pl.DataFrame, booking: pl.DataFrame) -> pl.DataFrame:
    now = pl.col("line_id").is_in(booking["line_id"].to_list())
    return lines.with_columns(
        pl.when(now).then(pl.lit("booked")).otherwise(pl.col("state")).alias("state"),
        pl.when(now)
        .then(q.as_decimal(pl.col("executed_units"), q.UNITS))
        .otherwise(pl.col("confirmed_units"))
        .alias("confirmed_units"),
        pl.when(now)
        .then(q.as_decimal(pl.col("executed_consideration"), q.CASH))
        .otherwise(pl.col("confirmed_consideration"))
        .alias("confirmed_consideration"),
    )


def _settle(
    day: Day, entries: Entries, settling: pl.DataFrame, orders: pl.DataFrame, assets: pl.DataFrame
) -> pl.DataFrame:
    members = orders.filter(pl.col("state").is_in(["executed", "part_executed"])).join(
        settling.select(
            "line_id", "custodian_id", pl.col("settled_effective").alias("effective_date")
        ),
        on="line_id",
    )
    dated = _with_custody(day, members, assets).with_columns(
        _cut_offs(day, pl.col("effective_date"), members["effective_date"]).alias("event_time")
    )
    book_settlements(entries, dated, day.currency)
    return members.select("order_id")


def _overdue(day: Day, lines: pl.DataFrame) -> pl.DataFrame:
    """Return the placed lines without any answer by the close of the next business date."""
    last_answered = day.calendars.dealing.prev(day.as_of)
    return lines.filter(
        pl.col("instruction_id").is_not_null()
        & ~pl.col("answered")
        & (pl.col("state") == "placed")
        & (pl.col("dealing_date") <= last_answered)
    ).select("line_id")


def _mark_unknown(
    day: Day, entries: Entries, orders: pl.DataFrame, overdue: pl.DataFrame
) -> pl.DataFrame:
    silent = pl.col("line_id").is_in(overdue["line_id"].to_list()) & (pl.col("state") == "placed")
    entries.event(
        orders.filter(silent).with_columns(
            pl.col("state").alias("from_state"),
            pl.lit("unknown").alias("to_state"),
            pl.lit("no_answer").alias("reason"),
            pl.lit(day.cut_off_instant).alias("event_time"),
        ),
        "post",
    )
    return orders.with_columns(
        pl.when(silent).then(pl.lit("unknown")).otherwise(pl.col("state")).alias("state")
    )


def _allocations(allocated: pl.DataFrame) -> pl.DataFrame:
    return allocated.filter(pl.col("state") != "rejected").select(
        "book",
        pl.format("allocation:{}", "order_id").alias("allocation_id"),
        "batch_id",
        "line_id",
        "order_id",
        "pot_id",
        "asset_id",
        "quantity_type",
        "side",
        pl.col("allocated_units").alias("units"),
        "consideration",
        "journal_id",
        "effective_date",
    )


def _booked_sides(booking: pl.DataFrame) -> pl.DataFrame:
    """Return what each side of the booked lines executed, for the allocation identity."""
    return (
        execution.side_totals(booking)
        .select(
            "line_id",
            "side",
            q.as_decimal(pl.col("side_units"), q.UNITS).alias("units"),
            q.as_decimal(pl.col("side_consideration"), q.CASH).alias("consideration"),
        )
        .filter((pl.col("units") != 0) | (pl.col("consideration") != 0))
    )


def _balances(day: Day, inputs: Mapping[str, pl.DataFrame], postings: pl.DataFrame) -> pl.DataFrame:
    """Fold the balances of the run before, what its decide posted, and what this post posted."""
    earlier = inputs["previous.core.ledger_postings"]
    decided = earlier.filter(pl.col("effective_date") == pl.col("run_date"))
    columns = [*ledger.BALANCE_KEY, "quantity"]
    changes = pl.concat([decided.select(columns), postings.select(columns)])
    return ledger.fold(inputs["previous.core.ledger_balances"], changes).with_columns(
        pl.lit(day.as_of, dtype=pl.Date).alias("effective_date")
    )


def _with_proposal(
    day: Day, inputs: Mapping[str, pl.DataFrame], allocated: pl.DataFrame, assets: pl.DataFrame
) -> pl.DataFrame:
    """Add the price an order was proposed at, that of the date before its dealing date."""
    dates = allocated["dealing_date"].unique()
    before = {d: day.calendars.dealing.prev(d) for d in dates}
    if "executed_units" not in allocated.columns:
        allocated = allocated.with_columns(
            pl.lit(0, dtype=pl.Int128).alias("executed_units"),
            pl.lit(0, dtype=pl.Int128).alias("executed_consideration"),
        )
    prices = inputs["stage.price_book"].select(
        "asset_id",
        pl.col("price_date").alias("_before"),
        pl.col("closing_price").alias("proposal_price"),
    )
    return (
        allocated.with_columns(
            pl.col("dealing_date")
            .replace_strict(before, default=None, return_dtype=pl.Date)
            .alias("_before")
        )
        .join(prices, on=["asset_id", "_before"], how="left")
        .join(assets.select("asset_id", "stress"), on="asset_id", how="left")
    )


def _off_price(lines: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Return the instructions with an execution at another price than the closing price."""
    return (
        events.filter(pl.col("event") == "executed")
        .join(lines.select("instruction_id", "closing_price"), on="instruction_id")
        .filter(pl.col("price") != pl.col("closing_price"))
        .select("instruction_id")
        .unique()
    )


def _overdraft_causes(
    day: Day,
    inputs: Mapping[str, pl.DataFrame],
    evidence: overdrafts.Evidence,
    balances: pl.DataFrame,
) -> pl.DataFrame:
    """Return this run's causes and the earlier ones of pots that trade or are overdrawn."""
    short = ledger.overdrawn_pots(balances, day.currency).select(
        "book", pl.col("account").str.strip_prefix("pot/").alias("pot_id")
    )
    trading = evidence.orders.filter(pl.col("side").is_not_null()).select("book", "pot_id")
    earlier = overdrafts.carried(
        inputs["previous.stage.overdraft_causes"], pl.concat([short, trading]).unique()
    )
    return pl.concat([earlier, overdrafts.causes(evidence)]).unique()


def _still_open(
    confirmations: pl.DataFrame, inputs: Mapping[str, pl.DataFrame], lines: pl.DataFrame
) -> pl.DataFrame:
    """Return the events that later runs still need: all but those of lines that ended here."""
    before = inputs["previous.stage.open_lines"].select("line_id", "instruction_id")
    ended = before.join(lines.select("line_id"), on="line_id", how="anti")
    return confirmations.join(ended.drop_nulls(), on="instruction_id", how="anti")
