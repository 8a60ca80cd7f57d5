"""Small frames of journals that other processes ask for: one call per journal or file."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl
from domain_frames import CUT_OFF, KNOWN_AT, P, T, balances, frame

from acme.domain import journals
from acme.domain.journals import Judged, Terms

NOON = CUT_OFF - timedelta(hours=1)
ORIGIN = {
    "file_sha256": pl.String,
    "row": pl.Int64,
    "sequence": pl.Int64,
    "landed_at": pl.Datetime("us", "UTC"),
}
ROW = {
    "source": pl.String,
    "journal_ref": pl.String,
    "line": pl.Int32,
    "book": pl.String,
    "kind": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "account": pl.String,
    "asset_id": pl.String,
    "quantity": pl.Decimal(18, 6),
    "reverses": pl.String,
    "reverses_run_date": pl.Date,
    "description": pl.String,
    **ORIGIN,
}
REQUEST = {
    "run_date": pl.Date,
    "request_id": pl.String,
    "kind": pl.String,
    "book": pl.String,
    "state": pl.String,
    "reverses": pl.String,
}
SOURCE = {
    "source": pl.String,
    "kind": pl.String,
    "valid_from": pl.Date,
    "valid_to": pl.Date,
    "owner": pl.String,
}
POT = {"pot_id": pl.String, "book": pl.String, "status": pl.String, "opened_on": pl.Date}
ASSET = {"asset_id": pl.String, "custodian_id": pl.String, "unit_decimals": pl.Int32}
COMMITTED = {"book": pl.String, "account": pl.String, "committed": pl.Int128}
OPENED = date(2026, 1, 1)
SHA = "f" * 64
Move = tuple[str, str, str]  # account, asset, quantity


def journal(
    ref: str,
    kind: str,
    *moves: Move,
    source: str = "fees",
    at: datetime = NOON,
    book: str = "live",
    said: str | None = None,
    sequence: int = 1,
) -> list[dict]:
    """Return the rows of a journal in its file."""
    head = {"source": source, "journal_ref": ref, "book": book, "kind": kind, "event_time": at}
    return [
        head
        | {
            "line": n,
            "account": account,
            "asset_id": asset,
            "quantity": Decimal(quantity),
            "description": said,
            "sequence": sequence,
        }
        for n, (account, asset, quantity) in enumerate(moves, start=1)
    ]


def reversal(ref: str, of: str, on: date = P, **more: object) -> list[dict]:
    """Return the row of a reversal."""
    (row,) = journal(ref, "reversal", ("", "", "0"), **more)
    nothing = dict.fromkeys(("account", "asset_id", "quantity"))
    return [row | nothing | {"reverses": of, "reverses_run_date": on}]


def charge(ref: str, pot: str, asset: str, quantity: str, **more: object) -> list[dict]:
    """Return a charge of units or cash."""
    moves = [(f"pot/{pot}", asset, f"-{quantity}"), ("suspense/charges", asset, quantity)]
    return journal(ref, "charge", *moves, **more)


def landed(*parts: Iterable[dict], seed: int | None = None) -> pl.DataFrame:
    """Return the rows of files, in which each row knows where it stands; shuffled by a seed."""
    rows = [row for part in parts for row in part]
    if seed is not None:
        random.Random(seed).shuffle(rows)
    numbered = [
        {"file_sha256": SHA, "row": n, "sequence": 1, "landed_at": NOON} | row
        for n, row in enumerate(rows, start=2)
    ]
    return frame(ROW, numbered)


def lines(*parts: Iterable[dict]) -> pl.DataFrame:
    """Return stage.landed_journals of journals that nothing stands against."""
    rows = landed(*parts)
    return journals.lines_of(rows, rows.unique([*journals.KEY, "sequence"]))


def sources(*rows: dict) -> pl.DataFrame:
    filled = [{"valid_from": OPENED, "owner": "team:charges"} | row for row in rows]
    return frame(SOURCE, filled)


EVERY_KIND = sources(*[{"source": "fees", "kind": k} for k in (*journals.MOVES, "reversal")])
TERMS = Terms(
    run_date=T,
    known_at=KNOWN_AT,
    currency="USD",
    sources=EVERY_KIND,
    pots=frame(
        POT,
        [
            {"pot_id": "A", "book": "live", "status": "open", "opened_on": OPENED},
            {"pot_id": "B", "book": "live", "status": "closing", "opened_on": OPENED},
            {"pot_id": "C", "book": "live", "status": "closed", "opened_on": OPENED},
            {"pot_id": "N", "book": "live", "status": "open", "opened_on": T + timedelta(1)},
            {"pot_id": "X", "book": "canary", "status": "open", "opened_on": T},
        ],
    ),
    assets=frame(
        ASSET,
        [
            {"asset_id": "EQ", "custodian_id": "NORTH", "unit_decimals": 4},
            {"asset_id": "BD", "custodian_id": "SOUTH", "unit_decimals": 0},
            {"asset_id": "FX", "custodian_id": "SOUTH", "unit_decimals": 6},
            {"asset_id": "USD", "custodian_id": "NORTH", "unit_decimals": 2},
        ],
    ),
    balances=balances(
        {"account": "pot/A", "asset_id": "EQ", "quantity": "10"},
        {"account": "pot/A", "asset_id": "EQ", "state": "reserved", "quantity": "99"},
        {"account": "pot/A", "asset_id": "USD", "quantity": "50"},
        {"account": "pot/B", "asset_id": "BD", "quantity": "7"},
        {"account": "pot/X", "asset_id": "EQ", "quantity": "10", "book": "canary"},
        {"account": "suspense/charges", "asset_id": "USD", "quantity": "3"},
        {"account": "custodian/NORTH", "asset_id": "EQ", "quantity": "-109"},
    ),
    committed=frame(COMMITTED, []),
    earlier=frame(REQUEST, []),
    earlier_lines=lines().with_columns(pl.lit(P).alias("run_date")),
)


def terms(**changed: object) -> Terms:
    return replace(TERMS, **changed)


def outcomes(judged: Judged) -> dict[str, str]:
    """Return journal_ref → its reason, or `booked`."""
    told = judged.requests.select("journal_ref", "state", "reason").iter_rows()
    return {ref: reason or state for ref, state, reason in told}
