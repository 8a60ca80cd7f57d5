"""Executions, settlements and opening positions as journals and order events (`rules §7, §8`).

Works on frames of orders: one row per order with the columns of `stage.open_orders`. What was
executed and when a line settles is `acme.domain.execution`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from acme.domain import ledger
from acme.domain import quantities as q
from acme.domain.ledger import IN_FLIGHT, RESERVED, SETTLED, Leg
from acme.domain.orders import order_id

CANARY_BOOK, CANARY_CUSTODIAN = "canary", "CANARY"

EVENT_SCHEMA: dict[str, pl.DataType] = {
    "book": pl.String(),
    "order_id": pl.String(),
    "from_state": pl.String(),
    "to_state": pl.String(),
    "reason": pl.String(),
    "event_time": pl.Datetime("us", "UTC"),
    "stage": pl.String(),
}


@dataclass
class Entries:
    """Journals, postings and order events that one process makes, gathered in order."""

    journals: list[pl.DataFrame] = field(default_factory=list)
    postings: list[pl.DataFrame] = field(default_factory=list)
    events: list[pl.DataFrame] = field(default_factory=list)

    def journal(self, frame: pl.DataFrame, kind: str, reference: str, legs: list[Leg]) -> None:
        """Write one journal per row of `frame` that has at least one posting."""
        postings = ledger.post(frame, legs)
        self.postings.append(postings)
        posted = frame.join(postings, on="journal_id", how="semi")
        self.journals.append(ledger.journals(posted, kind, reference))

    def event(self, frame: pl.DataFrame, stage: str) -> None:
        """Record a transition per row: book, order_id, from_state, to_state, event_time, reason."""
        if "reason" not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias("reason"))
        self.events.append(
            frame.with_columns(pl.lit(stage).alias("stage")).select(
                pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items()
            )
        )

    def all_journals(self) -> pl.DataFrame:
        """Return every journal."""
        return pl.concat([pl.DataFrame(schema=ledger.JOURNAL_SCHEMA), *self.journals])

    def all_postings(self) -> pl.DataFrame:
        """Return every posting."""
        return pl.concat([pl.DataFrame(schema=ledger.POSTING_SCHEMA), *self.postings])

    def all_events(self) -> pl.DataFrame:
        """Return every order event with its `sequence` within the process, per order."""
        return pl.concat([pl.DataFrame(schema=EVENT_SCHEMA), *self.events]).with_columns(
            pl.int_range(pl.len(), dtype=pl.Int32).over("order_id").alias("sequence")
        )


def custodian_of(book: pl.Expr, custodian: pl.Expr) -> pl.Expr:
    """Return an asset's custodian in a book: in `canary` it is always `CANARY` (`rules §3`)."""
    return pl.when(book == CANARY_BOOK).then(pl.lit(CANARY_CUSTODIAN)).otherwise(custodian)


def open_positions(
    entries: Entries, positions: pl.DataFrame, pots: pl.DataFrame, assets: pl.DataFrame
) -> None:
    """Post opening positions: the pot's settled units against the custodian (`rules §2`, `§8`).

    positions: as_of, pot_id, asset_id, units DECIMAL, event_time, known_at. pots: pot_id, book.
    assets: asset_id, custodian_id. Raises `ValueError` for a pot or asset that is not among them.
    """
    placed = (
        positions.join(pots.select("pot_id", "book"), on="pot_id")
        .join(assets.select("asset_id", "custodian_id"), on="asset_id")
        .with_columns(
            pl.col("as_of").alias("effective_date"),
            pl.format("opening:{}:{}:{}", "as_of", "pot_id", "asset_id").alias("journal_id"),
            custodian_of(pl.col("book"), pl.col("custodian_id")).alias("custodian_id"),
        )
    )
    if placed.height != positions.height:
        lost = positions.join(placed, on=["pot_id", "asset_id"], how="anti").row(0, named=True)
        raise ValueError(f"opening position of an unknown pot or asset: {lost}")
    units = q.minor(pl.col("units").cast(q.QUANTITY))
    asset = pl.col("asset_id")
    entries.journal(
        placed,
        "opening",
        "pot_id",
        [
            Leg(ledger.pot_account(), SETTLED, asset, units),
            Leg(ledger.custodian_account("custodian_id"), SETTLED, asset, -1 * units),
        ],
    )


def in_flight_legs(currency: str, sign: pl.Expr) -> list[Leg]:
    """Return the executed legs in flight, pot against custodian; `sign` is +1 for a buy."""
    units = sign * q.minor("executed_units")
    cash = sign * q.cash_to_quantity("executed_consideration")
    asset, money = pl.col("asset_id"), pl.lit(currency)
    pot = ledger.pot_account()
    return [
        Leg(pot, IN_FLIGHT, asset, units),
        Leg(ledger.custodian_account("custodian_id"), IN_FLIGHT, asset, -1 * units),
        Leg(pot, IN_FLIGHT, money, -1 * cash),
        Leg(ledger.custodian_account("cash_custodian"), IN_FLIGHT, money, cash),
    ]


def settled_legs(currency: str, sign: pl.Expr) -> list[Leg]:
    """Return the settled legs; what the pot delivers leaves `reserved` where a reserve stands."""
    units = sign * q.minor("executed_units")
    cash = sign * q.cash_to_quantity("executed_consideration")
    asset, money = pl.col("asset_id"), pl.lit(currency)
    pot = ledger.pot_account()
    reserve_stands = pl.col("reserved") != 0
    is_buy = sign == 1

    def where(condition: pl.Expr, quantity: pl.Expr) -> pl.Expr:
        return condition.cast(pl.Int128) * quantity

    units_reserved, cash_reserved = ~is_buy & reserve_stands, is_buy & reserve_stands
    return [
        Leg(pot, RESERVED, asset, where(units_reserved, units)),
        Leg(pot, SETTLED, asset, where(~units_reserved, units)),
        Leg(ledger.custodian_account("custodian_id"), SETTLED, asset, -1 * units),
        Leg(pot, RESERVED, money, where(cash_reserved, -1 * cash)),
        Leg(pot, SETTLED, money, where(~cash_reserved, -1 * cash)),
        Leg(ledger.custodian_account("cash_custodian"), SETTLED, money, cash),
    ]


def _reversed(legs: list[Leg]) -> list[Leg]:
    return [Leg(leg.account, leg.state, leg.asset, -1 * leg.quantity) for leg in legs]


def _side_sign() -> pl.Expr:
    return pl.when(pl.col("side") == "B").then(1).otherwise(-1).cast(pl.Int128)


def journal_id(kind: str) -> pl.Expr:
    """Name an order's journal of a kind; a correction's bears the run that made it."""
    return (
        pl.when(pl.col("corrected_on").is_null())
        .then(pl.format(kind + ":{}", "order_id"))
        .otherwise(pl.format(kind + ":{}:{}", "order_id", "corrected_on"))
    )


def _allocation_legs(currency: str, returned: pl.Expr) -> list[Leg]:
    held = pl.when(pl.col("side") == "S").then(pl.col("asset_id")).otherwise(pl.lit(currency))
    return [
        Leg(ledger.pot_account(), RESERVED, held, -1 * returned),
        Leg(ledger.pot_account(), SETTLED, held, returned),
        *in_flight_legs(currency, _side_sign()),
    ]


def _settlement_legs(currency: str) -> list[Leg]:
    sign = _side_sign()
    return [*_reversed(in_flight_legs(currency, sign)), *settled_legs(currency, sign)]


def book_allocations(entries: Entries, allocated: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Post each allocation and return its orders as they stand now, with `reserve` as it was.

    allocated: orders with Int128 executed_units / executed_consideration, custodian_id,
    cash_custodian, corrected_on, event_time, effective_date, known_at. What was not executed
    returns from `reserved` to `settled`, the executed part stays reserved, and the execution is
    posted in flight, in one journal (`rules §7`). States: executed, part_executed, or rejected
    (`custodian_rejected`) where nothing was allocated.
    """
    sells = pl.col("side") == "S"
    nothing = (pl.col("executed_units") == 0) & (pl.col("executed_consideration") == 0)
    kept = (
        pl.when(pl.col("reserved") == 0)
        .then(pl.lit(0, dtype=pl.Int128))
        .when(sells)
        .then(pl.col("executed_units"))
        .otherwise(q.cash_to_quantity("executed_consideration"))
    )
    whole = (
        pl.when(pl.col("quantity_type") == "U")
        .then(pl.col("executed_units") == q.minor("units"))
        .otherwise(pl.col("executed_consideration") == q.minor("amount"))
    )
    frame = allocated.with_columns(
        journal_id("allocation").alias("journal_id"),
        (q.minor("reserved") - kept).alias("_returned"),
        kept.alias("_kept"),
        pl.col("state").alias("from_state"),
        pl.when(nothing)
        .then(pl.lit("rejected"))
        .when(whole)
        .then(pl.lit("executed"))
        .otherwise(pl.lit("part_executed"))
        .alias("to_state"),
    ).with_columns(
        pl.when(nothing)
        .then(pl.lit("custodian_rejected"))
        .when(pl.col("corrected_on").is_not_null())
        .then(pl.lit("corrected"))
        .alias("reason")
    )
    entries.journal(
        frame, "allocation", "order_id", _allocation_legs(currency, pl.col("_returned"))
    )
    entries.event(frame.filter(pl.col("from_state") != pl.col("to_state")), "post")
    return frame.with_columns(
        pl.col("to_state").alias("state"),
        pl.col("reserved").cast(q.QUANTITY).alias("reserve"),
        q.as_decimal(pl.col("_kept"), q.QUANTITY).alias("reserved"),
        q.as_decimal(pl.col("executed_units"), q.UNITS).alias("allocated_units"),
        q.as_decimal(pl.col("executed_consideration"), q.CASH).alias("consideration"),
    )


def reverse_bookings(entries: Entries, booked: pl.DataFrame, currency: str) -> None:
    """Reverse the journals of orders that are to be booked again (`rules §7`, Corrections).

    booked: stage.open_bookings columns with custodian_id, cash_custodian, event_time,
    effective_date, settled_effective (null where the line had not settled), known_at. Each
    reversal names its original and keeps its effective date.
    """
    frame = booked.with_columns(
        q.minor("allocated_units").alias("executed_units"),
        q.minor("consideration").alias("executed_consideration"),
        journal_id("allocation").alias("reverses"),
    ).with_columns(pl.format("reversal:{}", "reverses").alias("journal_id"))
    returned = q.minor("reserve") - q.minor("reserved")
    legs = _reversed(_allocation_legs(currency, returned))
    entries.journal(frame, "reversal", "order_id", legs)
    settled = (
        frame.filter(pl.col("settled_effective").is_not_null())
        .with_columns(
            journal_id("settlement").alias("reverses"),
            pl.col("settled_effective").alias("effective_date"),
            pl.col("settled_event_time").alias("event_time"),
        )
        .with_columns(pl.format("reversal:{}", "reverses").alias("journal_id"))
    )
    entries.journal(settled, "reversal", "order_id", _reversed(_settlement_legs(currency)))


def switch_buys(allocated: pl.DataFrame) -> pl.DataFrame:
    """Return the buys that booked switches call for, in state `received` (`rules §4`).

    One amount buy of `to_asset_id` of exactly the proceeds as first booked, where above zero;
    `settlement_date` is the sale's until the buy is made.
    """
    sales = allocated.filter((pl.col("kind") == "switch") & (pl.col("consideration") > 0))
    ids = [order_id("switch", sale) for sale in sales["order_id"]]
    return sales.with_columns(
        pl.col("order_id").alias("source_ref"),
        pl.Series("order_id", ids, dtype=pl.String),
        pl.lit("switch").alias("source"),
        pl.lit("buy").alias("kind"),
        pl.col("to_asset_id").alias("asset_id"),
        pl.lit(None, dtype=pl.String).alias("to_asset_id"),
        pl.lit("B").alias("side"),
        pl.lit("A").alias("quantity_type"),
        pl.lit(None, dtype=q.UNITS).alias("units"),
        pl.col("consideration").alias("amount"),
        pl.lit(0, dtype=q.QUANTITY).alias("reserved"),
        pl.lit("received").alias("state"),
        pl.lit(None, dtype=pl.String).alias("line_id"),
        pl.lit(0, dtype=q.UNITS).alias("allocated_units"),
        pl.lit(0, dtype=q.CASH).alias("consideration"),
    )


def book_settlements(entries: Entries, settled: pl.DataFrame, currency: str) -> None:
    """Settle executed orders: in flight reversed, the same quantities posted settled (`rules §7`).

    settled: orders in state executed or part_executed with custodian_id, cash_custodian,
    corrected_on, event_time, effective_date, known_at.
    """
    frame = settled.with_columns(
        q.minor("allocated_units").alias("executed_units"),
        q.minor("consideration").alias("executed_consideration"),
        journal_id("settlement").alias("journal_id"),
        pl.col("state").alias("from_state"),
        pl.lit("settled").alias("to_state"),
    )
    entries.journal(frame, "settlement", "order_id", _settlement_legs(currency))
    entries.event(frame, "post")
