"""One batch per dealing date and book: lines, netting, instructions (`rules §6`). Not its seal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from acme.domain import quantities as q
from acme.domain.booking import custodian_of

LINE_KEY = ["book", "batch_id", "custodian_id", "asset_id", "quantity_type"]


def batch_id(run_date: date, book: str) -> str:
    """Return the id of the batch of a dealing date and book."""
    return f"B-{run_date.isoformat()}-{book}"


def line_id() -> pl.Expr:
    """Return the id of a line: batch, custodian, asset and quantity type."""
    return pl.format("{}-{}-{}-{}", "batch_id", "custodian_id", "asset_id", "quantity_type")


def with_lines(orders: pl.DataFrame, assets: pl.DataFrame, run_date: date) -> pl.DataFrame:
    """Give each accepted trade order its batch and line.

    orders: stage.open_orders columns. assets: asset_id, custodian_id, unit_decimals,
    settlement_date. Adds batch_id, custodian_id, line_id, unit_decimals and settlement_date.
    """
    return (
        orders.drop("line_id", "settlement_date")
        .join(
            assets.select("asset_id", "custodian_id", "unit_decimals", "settlement_date"),
            on="asset_id",
            how="left",
        )
        .with_columns(
            pl.format("B-{}-{}", pl.lit(run_date.isoformat()), "book").alias("batch_id"),
            custodian_of(pl.col("book"), pl.col("custodian_id")).alias("custodian_id"),
        )
        .with_columns(line_id().alias("line_id"))
    )


def net(orders: pl.DataFrame) -> pl.DataFrame:
    """Net the orders of `with_lines` into lines, one per LINE_KEY, sorted by line_id.

    Gross buys and sells, crossed = the smaller, net = the difference, side of the net ('' when it
    is zero); amount lines carry money. `instruction_id` is null where nothing goes out.
    """
    quantity = (
        pl.when(pl.col("quantity_type") == "U")
        .then(q.minor("units"))
        .otherwise(q.cash_to_quantity(q.minor("amount")))
    )
    gross = (
        orders.group_by(*LINE_KEY, "line_id", "unit_decimals", "settlement_date")
        .agg(
            quantity.filter(pl.col("side") == "B").sum().alias("buys"),
            quantity.filter(pl.col("side") == "S").sum().alias("sells"),
            pl.len().cast(pl.Int64).alias("order_count"),
        )
        .with_columns(
            pl.min_horizontal("buys", "sells").alias("crossed"),
            (pl.col("buys") - pl.col("sells")).alias("signed"),
        )
    )
    side = (
        pl.when(pl.col("signed") > 0)
        .then(pl.lit("B"))
        .when(pl.col("signed") < 0)
        .then(pl.lit("S"))
        .otherwise(pl.lit(""))
    )
    return (
        gross.with_columns(side.alias("side"))
        .with_columns(
            q.as_decimal(pl.col("buys"), q.QUANTITY).alias("gross_buys"),
            q.as_decimal(pl.col("sells"), q.QUANTITY).alias("gross_sells"),
            q.as_decimal(pl.col("crossed"), q.QUANTITY).alias("crossed"),
            q.as_decimal(pl.col("signed").abs(), q.QUANTITY).alias("net"),
            pl.when(pl.col("side") != "")
            .then(
                pl.format(
                    "{}-{}-{}-{}-{}",
                    "batch_id",
                    "custodian_id",
                    "asset_id",
                    "side",
                    "quantity_type",
                )
            )
            .alias("instruction_id"),
        )
        .drop("buys", "sells", "signed")
        .sort("line_id")
    )


def instructions(lines: pl.DataFrame, run_date: date, currency: str) -> pl.DataFrame:
    """Return what goes out: the net of every line that has one, sorted by instruction_id."""
    in_units = pl.col("quantity_type") == "U"
    return (
        lines.filter(pl.col("instruction_id").is_not_null())
        .select(
            "book",
            "instruction_id",
            "batch_id",
            pl.lit(run_date).alias("dealing_date"),
            "custodian_id",
            "asset_id",
            "side",
            "quantity_type",
            pl.when(in_units).then(pl.col("net")).cast(q.UNITS).alias("units"),
            pl.when(~in_units).then(pl.col("net")).cast(q.CASH).alias("amount"),
            pl.lit(currency).alias("currency"),
            "unit_decimals",
        )
        .sort("instruction_id")
    )


CASH_DECIMALS = 2
INSTRUCTION_COLUMNS = (
    "instruction_id", "batch_id", "dealing_date", "custodian_id", "asset_id", "side",
    "quantity_type", "units", "amount", "currency",
)  # fmt: skip
CASH_COLUMNS = ("movement_id", "value_date", "direction", "amount", "currency")


def _digits(value: Decimal | None, decimals: int) -> str | None:
    """Return a quantity with exactly `decimals` digits; one that needs more raises `ValueError`.

    None stays None, which a CSV file shows as an empty field.
    """
    if value is None:
        return None
    text = f"{value:.{decimals}f}"
    if Decimal(text) != value:
        raise ValueError(f"{value} has more than {decimals} decimals and is never sent rounded")
    return text


def _csv(columns: tuple[str, ...], rows: Iterable[Iterable[str | None]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def instruction_file(rows: pl.DataFrame) -> bytes:
    """Write `instructions.csv`: units with exactly `unit_decimals` digits, amounts with 2.

    Rows by `instruction_id`, LF, the unused field empty (`rules §6`). Raises `ValueError` for a
    quantity that would be rounded.
    """

    def fields(row: dict[str, Any]) -> list[str | None]:
        quantities = {
            "units": _digits(row["units"], row["unit_decimals"]),
            "amount": _digits(row["amount"], CASH_DECIMALS),
        }
        return [quantities.get(name, str(row[name])) for name in INSTRUCTION_COLUMNS]

    ordered = rows.sort("instruction_id").iter_rows(named=True)
    return _csv(INSTRUCTION_COLUMNS, (fields(row) for row in ordered))


def cash_file(rows: pl.DataFrame) -> bytes:
    """Write `cash.csv`, rows by movement_id; amounts with 2 digits."""
    ordered = rows.sort("movement_id").select(CASH_COLUMNS)
    return _csv(
        CASH_COLUMNS,
        ([m, str(d), way, _digits(a, CASH_DECIMALS), c] for m, d, way, a, c in ordered.iter_rows()),
    )
