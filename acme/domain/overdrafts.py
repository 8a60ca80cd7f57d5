"""Why a pot's settled cash may be below zero: the causes that the rules name (`rules §8.3`).

Buys are capped so that one bad day cannot overdraw a pot (`rules §5.4`); what goes beyond that day
is reported by name. A cause stays with its pot until the pot has no trade open and no overdraft.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from acme.domain import quantities as q
from acme.domain.admission import BOOKED_STATES, PENDING_STATES

CAUSE_SCHEMA: dict[str, pl.DataType] = {
    "book": pl.String(),
    "pot_id": pl.String(),
    "cause": pl.String(),
    "reference": pl.String(),
}
POT = ["book", "pot_id"]


@dataclass(frozen=True)
class Evidence:
    """What post found in this run.

    allocated: orders as booked, with Int128 executed_units / executed_consideration and
    `proposal_price` and `stress` they were made with. lines: open
    lines with `closing_price`, `complete`. off_price: instruction_id of the lines with an execution
    at another price than the closing price. orders: open orders after post. corrected: orders
    booked again in this run. ahead: orders of lines that settled in this run, before their date.
    """

    allocated: pl.DataFrame
    lines: pl.DataFrame
    off_price: pl.DataFrame
    orders: pl.DataFrame
    corrected: pl.DataFrame
    ahead: pl.DataFrame
    as_of: date


def _causes(frame: pl.DataFrame, cause: str) -> pl.DataFrame:
    return frame.select(
        *POT, pl.lit(cause).alias("cause"), pl.col("order_id").alias("reference")
    ).cast(pl.Schema(CAUSE_SCHEMA))


def beyond_stress(allocated: pl.DataFrame) -> pl.DataFrame:
    """Return unit orders that cost or brought what one stressed day is capped for, or worse.

    Several orders that each stay within their stress may, rounded, be a penny beyond it together
    (`rules §5.4` scales units, not pennies), so an order at its very stress counts.
    """
    units, price, stress = pl.col("executed_units"), q.minor("proposal_price"), q.minor("stress")
    pence = pl.col("executed_consideration")
    expected = q.consideration_expr(units, price)
    dear = pence + 1 >= q.stressed_cost_expr(units, price, stress)
    poor = pence * q.RATIO_SCALE <= expected * (q.RATIO_SCALE - stress)
    buys = pl.col("side") == "B"
    return allocated.filter((pl.col("quantity_type") == "U") & ((buys & dear) | (~buys & poor)))


def causes(evidence: Evidence) -> pl.DataFrame:
    """Return CAUSE_SCHEMA of this run: every order that can leave its pot short of cash."""
    short_sales = evidence.allocated.filter(
        (pl.col("side") == "S") & pl.col("state").is_in(["rejected", "part_executed"])
    )
    off_price = evidence.lines.join(evidence.off_price, on="instruction_id", how="semi")
    orders = evidence.orders
    late = orders.filter(
        pl.col("state").is_in(list(BOOKED_STATES)) & (pl.col("settlement_date") <= evidence.as_of)
    )
    unbooked = orders.filter(
        (pl.col("side") == "S")
        & pl.col("state").is_in(list(PENDING_STATES))
        & (pl.col("settlement_date") <= evidence.as_of)
    )
    unpriced = evidence.lines.filter(
        (pl.col("state") == "placed") & (pl.col("crossed") > 0) & pl.col("closing_price").is_null()
    )
    return pl.concat(
        [
            _causes(beyond_stress(evidence.allocated), "price_beyond_stress"),
            _causes(short_sales, "sale_rejected_or_part_executed"),
            _causes(
                evidence.allocated.join(off_price.select("line_id"), on="line_id", how="semi"),
                "confirmed_price_differs",
            ),
            _causes(late, "settlement_late"),
            _causes(unbooked, "sale_late"),
            _causes(
                orders.join(unpriced.select("line_id"), on="line_id", how="semi"),
                "price_on_hold_or_missing",
            ),
            _causes(evidence.corrected, "correction"),
            # Takes cash that the pot awaits from sales of the settlement date.
            _causes(evidence.ahead.filter(pl.col("side") == "B"), "settlement_ahead"),
        ]
    )


def carried(earlier: pl.DataFrame, relevant: pl.DataFrame) -> pl.DataFrame:
    """Return the earlier causes of pots that still matter; relevant: book, pot_id."""
    return earlier.select(list(CAUSE_SCHEMA)).join(relevant, on=POT, how="semi")


def unexplained(overdrawn: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return the overdrawn pot accounts (`acme.domain.ledger.overdrawn_pots`) without a cause."""
    named = known.select(pl.format("pot/{}", "pot_id").alias("account"), "book")
    return overdrawn.join(named, on=["book", "account"], how="anti")
