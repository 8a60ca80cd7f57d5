"""Post: complete lines are booked, covered ones settled; the balances as of the close of P."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import corrections, execution, ledger, overdrafts
from acme.domain import quantities as q
from acme.domain.booking import (
    Entries,
    book_allocations,
    book_settlements,
    custodian_of,
    journal_id,
    open_positions,
    reverse_bookings,
    switch_buys,
)
from acme.domain.day import Day
from acme.domain.reference import assets_on

PLACED = ["placed", "unknown"]
BOOKED = ["executed", "part_executed"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Book what custodians did up to the close of P, correct what they corrected (`rules §7`)."""
    assets = assets_on(inputs["core.assets"], day.run_date)
    entries = Entries()
    _open_positions(day, inputs, assets, entries)

    stated = execution.as_last_stated(
        inputs["core.confirmations"],
        inputs["previous.stage.open_confirmations"],
        inputs["stage.reopened_confirmations"],
    )
    confirmations = execution.not_on_hold(stated, inputs["stage.confirmation_holds"])
    events = execution.standing(confirmations, day.as_of)
    disputed = execution.disputed(stated, inputs["stage.confirmation_holds"], day.as_of)
    lines = _judged_lines(day, inputs, confirmations, events, disputed)
    orders = inputs["previous.stage.open_orders"].drop("run_date")
    bookings = _together(inputs, "previous.stage.open_bookings", "stage.reopened_bookings")

    booking = lines.filter((pl.col("state") == "placed") & pl.col("complete"))
    correcting = corrections.corrected(lines)
    members = orders.filter(pl.col("state").is_in(PLACED)).with_columns(
        pl.lit(None, dtype=pl.Date).alias("corrected_on"),
        pl.lit(value=False).alias("brought_proceeds"),
    )
    again = _reverse(day, entries, correcting, bookings)
    booked = pl.concat([booking, correcting])
    allocated = _book(day, entries, booked, pl.concat([members, again.select(members.columns)]))
    bookings = _replace(bookings, allocated)
    orders = pl.concat([_replace(orders, allocated), _switch_buys(allocated, again, orders)])

    lines = _mark_booked(lines, booking, correcting)
    settling = execution.settling(lines.filter(pl.col("state") == "booked"), day.as_of)
    settled = _settle(day, entries, settling, orders, bookings)
    lines, bookings = _mark_settled(lines, settling), _mark_settled_orders(bookings, settled)
    orders = _mark_unknown(day, entries, orders, _overdue(day, lines))
    orders = orders.join(settled, on="order_id", how="anti").filter(pl.col("state") != "rejected")

    live = orders.select("line_id").drop_nulls().unique()
    open_lines = lines.join(live, on="line_id", how="semi")
    closed_lines = lines.join(live, on="line_id", how="anti")
    ended = stated.filter(pl.col("event_date") <= day.as_of).join(
        closed_lines, on="instruction_id", how="semi"
    )
    moves = _to_suspense(day, inputs, assets, entries, again)
    postings = entries.all_postings()
    balances = _balances(day, inputs, postings)
    line_columns = [c for c in inputs["stage.reopened_lines"].columns if c != "run_date"]
    return {
        "core.allocations": _allocations(allocated, again),
        "core.ledger_balances": balances,
        "stage.overdraft_causes": _overdraft_causes(
            day,
            inputs,
            overdrafts.Evidence(
                allocated=allocated.join(
                    lines.select("line_id", "proposal_price", "stress"), on="line_id"
                ),
                lines=lines,
                off_price=_off_price(lines, events),
                orders=orders,
                corrected=again,
                ahead=_ahead(bookings, settling),
                as_of=day.as_of,
            ),
            balances,
        ),
        "stage.booked_sides": _booked_sides(booked),
        "stage.posted_orders": orders,
        "stage.posted_lines": open_lines.select(line_columns),
        "stage.open_bookings": bookings.join(open_lines, on="line_id", how="semi"),
        "stage.closed_lines": closed_lines.select(line_columns),
        "stage.closed_bookings": bookings.join(closed_lines, on="line_id", how="semi"),
        "stage.closed_confirmations": ended,
        "stage.open_confirmations": stated.join(ended, on="confirmation_id", how="anti"),
        "stage.suspense_moves": moves,
        "stage.posted_journals": entries.all_journals(),
        "stage.posted_postings": postings,
        "stage.posted_order_events": entries.all_events(),
    }


def _together(inputs: Mapping[str, pl.DataFrame], *names: str) -> pl.DataFrame:
    first, *others = [inputs[name].drop("run_date") for name in names]
    return pl.concat([first, *[other.select(first.columns) for other in others]])


def _judged_lines(
    day: Day,
    inputs: Mapping[str, pl.DataFrame],
    confirmations: pl.DataFrame,
    events: pl.DataFrame,
    disputed: frozenset[str],
) -> pl.DataFrame:
    """Return the open and the reopened lines with what stands for them and whether complete."""
    news = corrections.news(
        inputs["core.confirmations"],
        inputs["previous.stage.open_confirmations"],
        day.calendars.dealing.prev(day.as_of),
        day.as_of,
    )
    lines = execution.with_completeness(
        execution.progress(
            _together(inputs, "previous.stage.open_lines", "stage.reopened_lines"), events
        ),
        inputs["stage.line_prices"],
        disputed,
    )
    before = _together(inputs, "stage.reopened_confirmations", "previous.stage.open_confirmations")
    return corrections.with_settlement_amended(lines, news, confirmations, before)


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


def _reverse(
    day: Day, entries: Entries, correcting: pl.DataFrame, bookings: pl.DataFrame
) -> pl.DataFrame:
    """Reverse what corrected lines had booked; their orders, ready to be booked again."""
    terms = correcting.select(
        "line_id",
        "custodian_id",
        "cash_custodian",
        "settled_effective",
    )
    old = bookings.join(terms, on="line_id")
    dated = old.with_columns(
        pl.col("dealing_date").alias("effective_date"),
        _cut_offs(day, pl.col("dealing_date"), old["dealing_date"]).alias("event_time"),
        _cut_offs(day, pl.col("settled_effective"), old["settled_effective"]).alias(
            "settled_event_time"
        ),
        pl.lit(day.known_at).alias("known_at"),
    )
    reverse_bookings(entries, dated, day.currency)
    return bookings.join(terms, on="line_id", how="semi").with_columns(
        pl.when(pl.col("state") != "rejected")
        .then(journal_id("allocation"))
        .alias("_allocation_before"),
        pl.col("reserve").alias("reserved"),
        pl.lit(day.run_date, dtype=pl.Date).alias("corrected_on"),
    )


def _book(day: Day, entries: Entries, booked: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Share complete lines among their orders and post them; the orders as booked."""
    mine = members.join(booked.select("line_id", "custodian_id", "cash_custodian"), on="line_id")
    shared = execution.allocate(booked, mine)
    dated = shared.with_columns(
        pl.col("dealing_date").alias("effective_date"),
        _cut_offs(day, pl.col("dealing_date"), shared["dealing_date"]).alias("event_time"),
        pl.lit(day.known_at).alias("known_at"),
    )
    return book_allocations(entries, dated, day.currency).with_columns(
        pl.col("brought_proceeds") | (pl.col("consideration") > 0)
    )


def _switch_buys(
    allocated: pl.DataFrame, again: pl.DataFrame, orders: pl.DataFrame
) -> pl.DataFrame:
    """Return the buys of switches that are booked with proceeds for the first time."""
    first = allocated.join(again.filter("brought_proceeds"), on="order_id", how="anti")
    return switch_buys(first).select(orders.columns)


def _replace(orders: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(
        [orders.join(changed, on="order_id", how="anti"), changed.select(orders.columns)]
    )


def _mark_booked(
    lines: pl.DataFrame, booking: pl.DataFrame, correcting: pl.DataFrame
) -> pl.DataFrame:
    """Note what the lines were booked with; a corrected one that had settled settles again."""
    again = pl.col("line_id").is_in(correcting["line_id"].to_list())
    now = again | pl.col("line_id").is_in(booking["line_id"].to_list())

    def kept(value: pl.Expr, name: str) -> pl.Expr:
        return pl.when(now).then(value).otherwise(pl.col(name)).alias(name)

    return lines.with_columns(
        pl.when(again & (pl.col("state") == "settled") & ~pl.col("settlement_amended"))
        .then(pl.col("settled_effective"))
        .alias("resettles_on"),
        kept(pl.lit("booked"), "state"),
        kept(q.as_decimal(pl.col("executed_units"), q.UNITS), "confirmed_units"),
        kept(q.as_decimal(pl.col("executed_consideration"), q.CASH), "confirmed_consideration"),
        # Where nothing crossed, a corrected price changes nothing that was booked.
        pl.when(now | ((pl.col("crossed") == 0) & (pl.col("state") != "placed")))
        .then(pl.coalesce("closing_price", "booked_price"))
        .otherwise("booked_price")
        .alias("booked_price"),
        kept(pl.lit(None, dtype=pl.Date), "settled_effective"),
        kept(pl.lit(value=False), "settlement_amended"),
    )


def _settle(
    day: Day,
    entries: Entries,
    settling: pl.DataFrame,
    orders: pl.DataFrame,
    bookings: pl.DataFrame,
) -> pl.DataFrame:
    members = (
        orders.filter(pl.col("state").is_in(BOOKED))
        .join(
            settling.select(
                "line_id",
                "custodian_id",
                "cash_custodian",
                pl.col("settled_effective").alias("effective_date"),
            ),
            on="line_id",
        )
        .join(bookings.select("order_id", "corrected_on"), on="order_id")
    )
    dated = members.with_columns(
        _cut_offs(day, pl.col("effective_date"), members["effective_date"]).alias("event_time"),
        pl.lit(day.known_at).alias("known_at"),
    )
    book_settlements(entries, dated, day.currency)
    return members.select("order_id")


def _mark_settled(lines: pl.DataFrame, settling: pl.DataFrame) -> pl.DataFrame:
    settled = settling.select("line_id", pl.col("settled_effective").alias("_settled_on"))
    return lines.join(settled, on="line_id", how="left").with_columns(
        pl.when(pl.col("line_id").is_in(settled["line_id"].to_list()))
        .then(pl.lit("settled"))
        .otherwise(pl.col("state"))
        .alias("state"),
        pl.coalesce("_settled_on", "settled_effective").alias("settled_effective"),
    )


def _mark_settled_orders(bookings: pl.DataFrame, settled: pl.DataFrame) -> pl.DataFrame:
    now = pl.col("order_id").is_in(settled["order_id"].to_list())
    return bookings.with_columns(
        pl.when(now).then(pl.lit("settled")).otherwise(pl.col("state")).alias("state")
    )


def _ahead(bookings: pl.DataFrame, settling: pl.DataFrame) -> pl.DataFrame:
    """Return the orders of lines that settle now though their settlement date is yet to come."""
    early = settling.filter(pl.col("settled_effective") < pl.col("settlement_date"))
    return bookings.join(early, on="line_id", how="semi")


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


def _allocations(allocated: pl.DataFrame, again: pl.DataFrame) -> pl.DataFrame:
    """Return what each order got; a corrected one names the allocation it replaces, if any."""
    earlier = again.select(
        "order_id", pl.col("_allocation_before").alias("reverses"), pl.lit(1).alias("_again")
    )
    shown = allocated.join(earlier, on="order_id", how="left")
    return shown.filter((pl.col("state") != "rejected") | pl.col("_again").is_not_null()).select(
        "book",
        pl.col("journal_id").alias("allocation_id"),
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
        "reverses",
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


def _to_suspense(
    day: Day,
    inputs: Mapping[str, pl.DataFrame],
    assets: pl.DataFrame,
    entries: Entries,
    again: pl.DataFrame,
) -> pl.DataFrame:
    """Move to suspense what corrections leave no pot for; stage.suspense_moves."""
    key = ["book", "pot_id"]
    closed = inputs["previous.core.pots"].filter(pl.col("status") == "closed").select(key)
    left = corrections.leftovers(
        _balances(day, inputs, entries.all_postings()),
        again.select(key).unique(),
        closed,
        day.currency,
    )
    moves = left.join(assets.select("asset_id", "custodian_id"), on="asset_id").with_columns(
        pl.format(
            "correction:{}:{}:{}:{}", "pot_id", "asset_id", "state", pl.lit(day.run_date)
        ).alias("journal_id"),
        custodian_of(pl.col("book"), pl.col("custodian_id")).alias("custodian_id"),
        pl.lit(day.as_of, dtype=pl.Date).alias("effective_date"),
        pl.lit(day.cut_off.instant(day.as_of)).alias("event_time"),
        pl.lit(day.known_at).alias("known_at"),
    )
    corrections.move_to_suspense(entries, moves)
    return moves.select(*key, "journal_id", "custodian_id", "asset_id", "state", "quantity")


def _balances(day: Day, inputs: Mapping[str, pl.DataFrame], postings: pl.DataFrame) -> pl.DataFrame:
    """Fold the balances of the run before, what its decide posted, and what this post posted."""
    earlier = inputs["previous.core.ledger_postings"]
    decided = earlier.filter(pl.col("effective_date") == pl.col("run_date"))
    columns = [*ledger.BALANCE_KEY, "quantity"]
    changes = pl.concat([decided.select(columns), postings.select(columns)])
    return ledger.fold(inputs["previous.core.ledger_balances"], changes).with_columns(
        pl.lit(day.as_of, dtype=pl.Date).alias("effective_date")
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
