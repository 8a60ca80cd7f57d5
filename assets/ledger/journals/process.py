"""Journals: what other processes ask for is booked before the orders of T, or rejected."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain import journals, ledger, pricing
from acme.domain.booking import Entries
from acme.domain.day import Day
from acme.domain.ledger import SETTLED, Leg
from acme.domain.reference import assets_on


def wanted(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Name the journals of earlier runs that are to be reversed, and when they were booked."""
    named = journals.originals_of(inputs["stage.landed_journals"])
    return named.filter(pl.col("run_date") < day.run_date).rename({"run_date": "dealing_date"})


def found(
    day: Day, inputs: Mapping[str, pl.DataFrame], needed: pl.DataFrame, ended: pl.DataFrame
) -> pl.DataFrame:
    """Return those journals and what has reversed them since."""
    del day, inputs
    originals = needed["original"].unique().implode()
    return ended.filter(
        pl.col("request_id").is_in(originals) | pl.col("reverses").is_in(originals).fill_null(False)
    )


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Judge the journals of T on the balances after post, and post what is booked (ADR 20)."""
    assets = assets_on(inputs["core.assets"], day.run_date)
    last = pricing.last_prices(inputs["stage.price_book"], day.as_of).select(
        "asset_id", pl.col("closing_price").alias("last_price")
    )
    earlier = inputs["history.core.journal_requests"]
    judged = journals.judge(
        inputs["stage.landed_journals"],
        journals.Terms(
            run_date=day.run_date,
            known_at=day.known_at,
            currency=day.currency,
            sources=inputs["core.journal_sources"],
            pots=inputs["stage.landed_pots"],
            assets=assets.select("asset_id", "custodian_id", "unit_decimals"),
            balances=inputs["core.ledger_balances"],
            committed=journals.committed_cash(
                inputs["stage.posted_orders"], assets.join(last, on="asset_id", how="left")
            ),
            earlier=earlier,
            earlier_lines=inputs["history.stage.landed_journals"].join(
                earlier, on=["run_date", "request_id"], how="semi"
            ),
        ),
    )
    entries = Entries()
    _post(day, entries, judged)
    return {
        "core.journal_requests": judged.requests.drop("reverses_journal"),
        "stage.requested_journals": entries.all_journals(),
        "stage.requested_postings": entries.all_postings(),
    }


def _post(day: Day, entries: Entries, judged: journals.Judged) -> None:
    """Write what is booked as journals of T, as `rules §2` has it of reservations."""
    dated = judged.flows.with_columns(pl.lit(day.run_date).alias("effective_date"))
    leg = Leg(pl.col("account"), SETTLED, pl.col("asset_id"), pl.col("quantity"))
    entries.postings.append(ledger.post(dated, [leg]))
    booked = (
        judged.requests.filter(pl.col("state") == "booked")
        .drop("reverses")
        .rename({"reverses_journal": "reverses"})
        .with_columns(
            pl.lit(day.run_date).alias("effective_date"), pl.lit(day.known_at).alias("known_at")
        )
    )
    entries.journals += [
        ledger.journals(booked.filter(pl.col("kind") == kind), kind, "request_id")
        for kind in (*journals.MOVES, journals.REVERSAL)
    ]
