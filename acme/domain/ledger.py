"""Double entry: how postings are written, folded into balances and proved to balance (`rules §8`).

Journals: book, journal_id, kind, reference, order_id?, line_id?, event_time, effective_date,
known_at, reverses?. Postings: book, journal_id, account, state, asset_id, quantity DECIMAL(28,6),
effective_date. Balances: book, account, state, asset_id, quantity. Accounts are `pot/{id}`,
`custodian/{id}`, `suspense/{reason}`; the custodian is the contra side, so what we believe it
holds is minus its balance.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from acme.domain import quantities as q

BALANCE_KEY = ["book", "account", "state", "asset_id"]
SETTLED, RESERVED, IN_FLIGHT = "settled", "reserved", "in_flight"

POSTING_SCHEMA: dict[str, pl.DataType] = {
    "book": pl.String(),
    "journal_id": pl.String(),
    "account": pl.String(),
    "state": pl.String(),
    "asset_id": pl.String(),
    "quantity": q.QUANTITY,
    "effective_date": pl.Date(),
}
JOURNAL_SCHEMA: dict[str, pl.DataType] = {
    "book": pl.String(),
    "journal_id": pl.String(),
    "kind": pl.String(),
    "reference": pl.String(),
    "order_id": pl.String(),
    "line_id": pl.String(),
    "event_time": pl.Datetime("us", "UTC"),
    "effective_date": pl.Date(),
    "known_at": pl.Datetime("us", "UTC"),
    "reverses": pl.String(),
}


def pot_account(pot: str | pl.Expr = "pot_id") -> pl.Expr:
    """Name a pot's account."""
    return pl.format("pot/{}", pot)


def custodian_account(custodian: str | pl.Expr) -> pl.Expr:
    """Name a custodian's account."""
    return pl.format("custodian/{}", custodian)


@dataclass(frozen=True)
class Leg:
    """One posting of each row of a frame: who, in which state, of what, how much (Int128, 6 dp)."""

    account: pl.Expr
    state: str
    asset: pl.Expr
    quantity: pl.Expr


def post(frame: pl.DataFrame, legs: list[Leg]) -> pl.DataFrame:
    """Write `legs` for every row of `frame` (book, journal_id, effective_date, …) as postings.

    Equal (journal, account, state, asset) are summed; what sums to zero is not written.
    """
    columns = [
        frame.select(
            "book",
            "journal_id",
            leg.account.alias("account"),
            pl.lit(leg.state).alias("state"),
            leg.asset.alias("asset_id"),
            leg.quantity.cast(pl.Int128).alias("quantity"),
            "effective_date",
        ).filter(pl.col("quantity") != 0)
        for leg in legs
    ]
    if not columns or frame.is_empty():
        return pl.DataFrame(schema=POSTING_SCHEMA)
    return (
        pl.concat(columns)
        .group_by("book", "journal_id", "account", "state", "asset_id", "effective_date")
        .agg(pl.col("quantity").sum())
        .filter(pl.col("quantity") != 0)
        .with_columns(q.as_decimal(pl.col("quantity"), q.QUANTITY))
        .select(list(POSTING_SCHEMA))
    )


def journals(frame: pl.DataFrame, kind: str, reference: str) -> pl.DataFrame:
    """Write the journal of each row of `frame`; `reference` names the column it is about.

    `frame` has book, journal_id, event_time, effective_date, known_at and, where they apply,
    order_id, line_id, reverses.
    """
    absent = [
        pl.lit(None, dtype=pl.String).alias(name)
        for name in ("order_id", "line_id", "reverses")
        if name not in frame.columns
    ]
    return frame.with_columns(
        *absent, pl.lit(kind).alias("kind"), pl.col(reference).alias("reference")
    ).select(pl.col(name).cast(dtype) for name, dtype in JOURNAL_SCHEMA.items())


def fold(balances: pl.DataFrame, postings: pl.DataFrame) -> pl.DataFrame:
    """Add postings to balances; the non-zero balances, keyed and sorted by `BALANCE_KEY`."""
    columns = [*BALANCE_KEY, "quantity"]
    return (
        pl.concat([balances.select(columns), postings.select(columns)])
        .group_by(BALANCE_KEY)
        .agg(pl.col("quantity").sum().cast(q.QUANTITY))
        .filter(pl.col("quantity") != 0)
        .sort(BALANCE_KEY)
    )


def unbalanced_journals(postings: pl.DataFrame) -> pl.DataFrame:
    """Identity 1: the (book, journal_id, asset_id) whose postings do not sum to zero."""
    return (
        postings.group_by("book", "journal_id", "asset_id")
        .agg(pl.col("quantity").sum())
        .filter(pl.col("quantity") != 0)
        .sort("book", "journal_id", "asset_id")
    )


def unbacked_holdings(balances: pl.DataFrame) -> pl.DataFrame:
    """Identity 2: (book, asset_id, state) where Σ pots + suspense ≠ − Σ custodians.

    `reserved` is counted with `settled`: a reserve is a pot's own affair.
    """
    return (
        balances.with_columns(pl.col("state").replace({RESERVED: SETTLED}))
        .group_by("book", "asset_id", "state")
        .agg(pl.col("quantity").sum())
        .filter(pl.col("quantity") != 0)
        .sort("book", "asset_id", "state")
    )


def negative_balances(balances: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Identity 3: pot balances below zero that no cause can excuse.

    No unit balance (settled or reserved; in flight is signed by nature) and no reserved cash.
    """
    excused = (pl.col("state") == IN_FLIGHT) | (
        (pl.col("asset_id") == currency) & (pl.col("state") == SETTLED)
    )
    return balances.filter(
        pl.col("account").str.starts_with("pot/") & (pl.col("quantity") < 0) & ~excused
    ).sort(BALANCE_KEY)


def overdrawn_pots(balances: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Identity 3: pots whose settled cash is below zero; each must be reported with a cause."""
    return balances.filter(
        pl.col("account").str.starts_with("pot/")
        & (pl.col("quantity") < 0)
        & (pl.col("asset_id") == currency)
        & (pl.col("state") == SETTLED)
    ).sort(BALANCE_KEY)


def leaked_quantities(balances: pl.DataFrame, canary_custodian: str = "CANARY") -> pl.DataFrame:
    """Identity 6: canary quantities at a real custodian, or live ones at the canary's."""
    is_custodian = pl.col("account").str.starts_with("custodian/")
    at_canary = pl.col("account") == f"custodian/{canary_custodian}"
    return balances.filter(is_custodian & (at_canary != (pl.col("book") == "canary"))).sort(
        BALANCE_KEY
    )
