"""Admission: the orders of T, withdrawals and closing pots are decided one by one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl

from acme.domain import admission, ledger, pricing
from acme.domain import quantities as q
from acme.domain.booking import Entries, custodian_of
from acme.domain.day import Day
from acme.domain.ledger import RESERVED, SETTLED, Leg
from acme.domain.orders import TERMINAL
from acme.domain.reference import assets_on, profiles_on

LIVE_BOOK = "live"


def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Decide the orders of T (`rules §4`), after reconciliation and before re-balancing."""
    assets = assets_on(inputs["core.assets"], day.run_date)
    landed = inputs["core.orders"].drop("run_date")
    cancelled = landed.filter(pl.col("cancelled_at").is_not_null())
    orders = landed.filter(pl.col("cancelled_at").is_null()).drop("cancelled_at")
    standing = inputs["stage.posted_orders"].drop("run_date")
    touched = _touched(orders, standing, inputs["stage.landed_pots"])
    pots = _pots(touched, standing, _balances(touched, inputs), day.currency)
    profiles = profiles_on(inputs["core.risk_profiles"], day.run_date)["risk_profile_id"].unique()
    decisions = _decide(day, inputs, assets, frozenset(profiles), pots, orders)

    entries = Entries()
    _post(day, entries, decisions, assets)
    _record_cancelled(entries, cancelled)
    rejoined = _orders_after(standing, pots, decisions)
    return {
        "core.pots": _pots_after(inputs["stage.landed_pots"], pots),
        "core.cash_movements": _cash_movements(day, decisions, assets),
        "stage.admitted_orders": rejoined,
        "stage.reprofiled_pots": pl.DataFrame(
            sorted(decisions.reprofiled),
            schema={"book": pl.String, "pot_id": pl.String},
            orient="row",
        ),
        "stage.admitted_journals": entries.all_journals(),
        "stage.admitted_postings": entries.all_postings(),
        "stage.admitted_order_events": entries.all_events(),
    }


def _touched(orders: pl.DataFrame, standing: pl.DataFrame, pots: pl.DataFrame) -> pl.DataFrame:
    """Return the pots that decide looks at."""
    waiting = standing.filter(
        (pl.col("kind") == "withdrawal") | (pl.col("state") == "received")
    ).select("pot_id")
    closing = pots.filter(pl.col("status") == "closing").select("pot_id")
    named = pl.concat([orders.select("pot_id"), waiting, closing]).unique()
    return pots.join(named, on="pot_id", how="semi")


def _balances(touched: pl.DataFrame, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return what the touched pots hold, with what other processes have moved in this run."""
    accounts = touched.select(ledger.pot_account().alias("account"))
    return ledger.fold(
        *[
            inputs[name].join(accounts, on="account", how="semi")
            for name in ("core.ledger_balances", "stage.requested_postings")
        ]
    )


def _pots(
    touched: pl.DataFrame, standing: pl.DataFrame, balances: pl.DataFrame, currency: str
) -> dict[str, admission.Pot]:
    """Build the touched pots from their balances and the orders after post."""
    pots = {
        row["pot_id"]: admission.Pot(
            row["book"], row["pot_id"], row["risk_profile_id"], row["opened_on"], row["status"]
        )
        for row in touched.iter_rows(named=True)
    }
    accounts = touched.select(ledger.pot_account().alias("account"), "pot_id")
    held = balances.join(accounts, on="account").select(
        "pot_id", "state", "asset_id", q.minor("quantity")
    )
    for pot_id, state, asset_id, quantity in held.iter_rows():
        pot = pots[pot_id]
        if asset_id == currency:
            pot.cash += quantity if state == SETTLED else 0
        else:
            pot.holds_units = True
            if state == SETTLED:
                pot.units[asset_id] = quantity
    for row in _rows(standing.join(touched.select("pot_id"), on="pot_id", how="semi")):
        pots[row.pot_id].orders.append(row)
    return pots


def _rows(frame: pl.DataFrame) -> list[admission.Order]:
    """Turn open orders (stage.open_orders columns) into domain orders."""
    integers = frame.with_columns(
        q.minor("units"),
        q.cash_to_quantity(q.minor("amount")).alias("amount"),
        q.minor("reserved"),
        q.minor("allocated_units"),
        q.cash_to_quantity(q.minor("consideration")).alias("consideration"),
    )
    return [admission.Order(**row) for row in integers.iter_rows(named=True)]


def _new_orders(orders: pl.DataFrame) -> list[admission.Order]:
    """Turn the third-party orders of T (core.orders columns) into domain orders."""
    integers = orders.drop("file_sha256", "row").with_columns(q.minor("units"), q.minor("amount"))
    return [admission.Order(**row) for row in integers.iter_rows(named=True)]


def _decide(
    day: Day,
    inputs: Mapping[str, pl.DataFrame],
    assets: pl.DataFrame,
    profiles: frozenset[str],
    pots: dict[str, admission.Pot],
    orders: pl.DataFrame,
) -> admission.Decisions:
    """Decide book by book: suspensions differ, nothing else does (`rules §3`)."""
    merged = admission.Decisions()
    books = sorted({p.book for p in pots.values()} | set(orders["book"]))
    for book in books or [LIVE_BOOK]:
        known = _assets_of(day, inputs, assets, book)
        mine = {pot_id: pot for pot_id, pot in pots.items() if pot.book == book}
        decide = admission.Admission(
            day.run_date, day.currency, day.cut_off_instant, known, profiles, mine
        )
        found = decide.decide(_new_orders(orders.filter(pl.col("book") == book)))
        merged.moves += found.moves
        merged.transitions += found.transitions
        merged.taken += found.taken
        merged.reprofiled |= found.reprofiled
    return merged


def _assets_of(
    day: Day, inputs: Mapping[str, pl.DataFrame], assets: pl.DataFrame, book: str
) -> dict[str, admission.Asset]:
    price = _price_map(pricing.prices_of(inputs["stage.price_book"], day.as_of))
    last = _price_map(pricing.last_prices(inputs["stage.price_book"], day.as_of))
    suspended = set(inputs["core.suspended_assets"].filter(pl.col("book") == book)["asset_id"])
    rows = assets.filter(pl.col("asset_id") != day.currency).select(
        "asset_id", "unit_decimals", q.minor("stress"), "calendar_id", "settlement_days"
    )
    return {
        asset_id: admission.Asset(
            asset_id=asset_id,
            unit_decimals=decimals,
            price=price.get(asset_id),
            last_price=last.get(asset_id),
            stress=stress,
            suspended=asset_id in suspended,
            settlement_date=day.calendars.settlement_date(day.run_date, calendar, days),
        )
        for asset_id, decimals, stress, calendar, days in rows.iter_rows()
    }


def _price_map(prices: pl.DataFrame) -> dict[str, int]:
    return dict(prices.select("asset_id", q.minor("closing_price")).iter_rows())


def _post(day: Day, entries: Entries, decisions: admission.Decisions, assets: pl.DataFrame) -> None:
    """Write decisions as journals: contributions, reservations, payments (`rules §8`)."""
    cash_custodian = _cash_custodian(day, assets)
    moves = _frame(
        [
            {
                "kind": m.kind,
                "book": m.order.book,
                "order_id": m.order.order_id,
                "pot_id": m.order.pot_id,
                "asset_id": m.asset_id,
                "moved": m.quantity,
                "event_time": m.order.received_at
                if m.kind == "contribution"
                else day.cut_off_instant,
            }
            for m in decisions.moves
        ],
        {
            "kind": pl.String,
            "book": pl.String,
            "order_id": pl.String,
            "pot_id": pl.String,
            "asset_id": pl.String,
            "moved": pl.Int128,
            "event_time": pl.Datetime("us", "UTC"),
        },
    ).with_columns(
        pl.lit(day.run_date).alias("effective_date"),
        pl.lit(day.known_at).alias("known_at"),
        custodian_of(pl.col("book"), pl.lit(cash_custodian)).alias("custodian_id"),
    )
    pot, custodian = ledger.pot_account(), ledger.custodian_account("custodian_id")
    asset, moved = pl.col("asset_id"), pl.col("moved")
    legs = {
        "contribution": [
            Leg(pot, SETTLED, asset, moved),
            Leg(custodian, SETTLED, asset, -1 * moved),
        ],
        "reservation": [Leg(pot, SETTLED, asset, -1 * moved), Leg(pot, RESERVED, asset, moved)],
        "payment": [Leg(pot, RESERVED, asset, -1 * moved), Leg(custodian, SETTLED, asset, moved)],
    }
    for kind, kind_legs in legs.items():
        mine = moves.filter(pl.col("kind") == kind).with_columns(
            pl.format("{}:{}:{}", "kind", "order_id", pl.lit(day.run_date.isoformat())).alias(
                "journal_id"
            )
        )
        entries.journal(mine, kind, "order_id", kind_legs)
    _record_events(day, entries, decisions)


def _record_events(day: Day, entries: Entries, decisions: admission.Decisions) -> None:
    events = _frame(
        [
            {
                "book": t.order.book,
                "order_id": t.order.order_id,
                "from_state": t.from_state,
                "to_state": t.to_state,
                "reason": t.reason,
            }
            for t in decisions.transitions
        ],
        dict.fromkeys(("book", "order_id", "from_state", "to_state", "reason"), pl.String),
    )
    entries.event(events.with_columns(pl.lit(day.cut_off_instant).alias("event_time")), "decide")


def _record_cancelled(entries: Entries, cancelled: pl.DataFrame) -> None:
    """Write that orders ended before anything was decided of them (`rules §4`)."""
    events = cancelled.with_columns(
        pl.lit("received").alias("from_state"),
        pl.lit("cancelled").alias("to_state"),
        pl.lit("cancelled_by_source").alias("reason"),
        pl.col("cancelled_at").alias("event_time"),
    )
    entries.event(events, "decide")


def _frame(rows: list[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema)


def _cash_custodian(day: Day, assets: pl.DataFrame) -> str:
    return str(assets.filter(pl.col("asset_id") == day.currency)["custodian_id"][0])


def _orders_after(
    standing: pl.DataFrame, pots: dict[str, admission.Pot], decisions: admission.Decisions
) -> pl.DataFrame:
    """Return every order that is open after admission, in the columns of stage.open_orders."""
    seen: dict[str, admission.Order] = {}
    for pot in pots.values():
        seen |= {o.order_id: o for o in pot.orders}
    seen |= {o.order_id: o for o in decisions.taken}
    still_open = [o for o in seen.values() if o.state not in TERMINAL]
    untouched = standing.filter(~pl.col("pot_id").is_in(list(pots)))
    return pl.concat([untouched, _order_frame(still_open, standing)])


def _order_frame(orders: list[admission.Order], like: pl.DataFrame) -> pl.DataFrame:
    rows = [
        [
            _decimal(name, getattr(o, name)) if name in _SCALED else getattr(o, name)
            for name in like.columns
        ]
        for o in orders
    ]
    return pl.DataFrame(rows, schema=like.schema, orient="row")


_SCALED = frozenset({"units", "amount", "reserved", "allocated_units", "consideration"})


def _decimal(name: str, value: int | None) -> Decimal | None:
    del name
    return None if value is None else Decimal(value).scaleb(-q.UNIT_DECIMALS_MAX)


def _pots_after(landed: pl.DataFrame, pots: dict[str, admission.Pot]) -> pl.DataFrame:
    changed = pl.DataFrame(
        [(p.pot_id, p.risk_profile_id, p.status) for p in pots.values()],
        schema={"pot_id": pl.String, "_profile": pl.String, "_status": pl.String},
        orient="row",
    )
    return (
        landed.drop("run_date")
        .join(changed, on="pot_id", how="left")
        .with_columns(
            pl.coalesce("_profile", "risk_profile_id").alias("risk_profile_id"),
            pl.coalesce("_status", "status").alias("status"),
        )
        .drop("_profile", "_status")
    )


def _cash_movements(day: Day, decisions: admission.Decisions, assets: pl.DataFrame) -> pl.DataFrame:
    """Return the money that came in and goes out: one row per order (`rules §6`)."""
    direction = {"contribution": "IN", "payment": "OUT"}
    rows = [
        {
            "book": m.order.book,
            "movement_id": m.order.order_id,
            "value_date": day.run_date,
            "direction": direction[m.kind],
            "amount": Decimal(m.quantity).scaleb(-6),
        }
        for m in decisions.moves
        if m.kind in direction
    ]
    schema = {
        "book": pl.String,
        "movement_id": pl.String,
        "value_date": pl.Date,
        "direction": pl.String,
        "amount": q.CASH,
    }
    return pl.DataFrame(rows, schema=schema).with_columns(
        custodian_of(pl.col("book"), pl.lit(_cash_custodian(day, assets))).alias("custodian_id"),
        pl.lit(day.currency).alias("currency"),
    )
