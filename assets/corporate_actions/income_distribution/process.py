"""Distribution of income: who is entitled, and what each of them is paid."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import ledger
from acme.domain import quantities as q
from acme.domain.allocation import split
from acme.domain.day import Day
from acme.domain.reference import cash_custodian

# As the registered source of the feed journal_sources, and as the kind of decision 20.
SOURCE, KIND = "income_distribution", "distribution"
REST = "suspense/distributions"
ENTITLES = ["announcement_id", "asset_id", "ex_date"]


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Note the entitlements of the ex dates that T opens; pay what is distributed on T.

    Entitled is what an account has of the fund, settled or reserved, at the close before the ex
    date: what the custodian holds for us then, and pays for. What he pays is shared over these
    units by largest remainder (`rules §1`). The part of a closed pot, and of units that are in
    suspense, goes to suspense/distributions.
    """
    open_ = inputs["corporate_actions.income_announcements"].filter(
        pl.col("distribution_date") >= day.run_date
    )
    noted = inputs["previous.corporate_actions.income_entitlements"].drop("run_date")
    entitled = pl.concat(
        [
            noted.join(open_, on=ENTITLES, how="semi"),
            _entitled(day, open_, inputs["core.ledger_balances"]).select(noted.columns),
        ]
    )
    due = open_.filter(pl.col("distribution_date") == day.run_date)
    payments = _payments(entitled, due, inputs["core.pots"])
    custodian = cash_custodian(
        inputs["core.assets"], day.calendars.dealing.next(day.run_date), day.currency
    )
    return {
        "corporate_actions.income_entitlements": entitled,
        "corporate_actions.income_payments": payments,
        "feed.journals": _journals(payments, due, f"custodian/{custodian}", day.currency),
    }


def _entitled(day: Day, announced: pl.DataFrame, balances: pl.DataFrame) -> pl.DataFrame:
    """Return who holds what is to be paid for, of the announcements whose ex date T opens."""
    opened = announced.filter(pl.col("ex_date").is_between(day.as_of, day.run_date, closed="right"))
    held = balances.filter(
        (pl.col("book") == "live")
        & ~pl.col("account").str.starts_with("custodian/")
        & pl.col("state").is_in([ledger.SETTLED, ledger.RESERVED])
    )
    return (
        opened.select(ENTITLES)
        .join(held, on="asset_id")
        .group_by(*ENTITLES, "account")
        .agg(pl.col("quantity").sum().cast(q.QUANTITY).alias("units"))
        .filter(pl.col("units") > 0)
    )


def _payments(entitled: pl.DataFrame, due: pl.DataFrame, pots: pl.DataFrame) -> pl.DataFrame:
    """Return announcement_id, account, units, amount, paid_to of what is distributed on T."""
    rows = entitled.join(due.select(*ENTITLES, "amount_per_unit", "total"), on=ENTITLES).sort(
        "announcement_id", "account"
    )
    whole = q.minor("units").sum().over("announcement_id")
    q.assert_bounds(
        "income",
        int(rows.select(q.minor("units").sum()).item()),
        q.largest(rows, "amount_per_unit"),
    )
    payers = pots.filter(pl.col("status") != "closed").select(ledger.pot_account().alias("account"))
    shared = split(
        rows.with_columns(
            pl.col("announcement_id").alias("batch_id"),
            pl.col("account").alias("order_id"),
            q.minor("total")
            .fill_null(q.consideration_expr(whole, q.minor("amount_per_unit")))
            .alias("_total"),
            q.minor("units").alias("_units"),
        ),
        ["announcement_id"],
        "_total",
        "_units",
        "_amount",
    )
    is_open = pl.col("account").is_in(payers["account"].implode())
    return shared.select(
        "announcement_id",
        "account",
        "units",
        q.as_decimal(pl.col("_amount"), q.CASH).alias("amount"),
        pl.when(is_open).then("account").otherwise(pl.lit(REST)).alias("paid_to"),
    )


def _journals(
    payments: pl.DataFrame, due: pl.DataFrame, custodian: str, currency: str
) -> pl.DataFrame:
    """Return one journal per announcement: the custodian's cash to everybody who is paid."""
    named = payments.filter(pl.col("amount") != 0).rename({"announcement_id": "journal_ref"})
    paid = named.group_by("journal_ref", pl.col("paid_to").alias("account")).agg(
        pl.col("amount").sum().alias("quantity")
    )
    received = named.group_by("journal_ref", pl.lit(custodian).alias("account")).agg(
        (-pl.col("amount").sum()).alias("quantity")
    )
    about = due.select(
        pl.col("announcement_id").alias("journal_ref"),
        # Paid as the pay date begins, which is before the run of that date.
        pl.col("pay_date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("event_time"),
        pl.format("Income of {} held before {}", "asset_id", "ex_date").alias("description"),
    )
    lines = pl.concat([received, paid]).join(about, on="journal_ref").sort("journal_ref", "account")
    return lines.select(
        pl.lit(SOURCE).alias("source"),
        "journal_ref",
        pl.int_range(1, pl.len() + 1).over("journal_ref").cast(pl.Int32).alias("line"),
        pl.lit("live").alias("book"),
        pl.lit(KIND).alias("kind"),
        "event_time",
        "account",
        pl.lit(currency).alias("asset_id"),
        pl.col("quantity").cast(q.UNITS),
        pl.lit(None, dtype=pl.String).alias("reverses"),
        pl.lit(None, dtype=pl.Date).alias("reverses_run_date"),
        "description",
    )
