"""`GET /v1/pots/{pot_id}`: what a member's pot holds and is worth, as published."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Final

import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acme.domain import quantities as q
from acme.gateway import order_bodies
from acme.gateway.answer_types import Book, Money, Units
from acme.gateway.conditional import etag, headers, not_modified
from acme.gateway.problems import ProblemError
from acme.gateway.published import Snapshot
from acme.gateway.state import Gateway

PENNY: Final = Decimal("0.01")
_GRANTED: Final = (
    "SELECT EXISTS (SELECT FROM intake.sources WHERE source = %(source)s AND all_pots) OR EXISTS"
    " (SELECT FROM intake.source_pots WHERE source = %(source)s AND pot_id = %(pot)s)"
)


class Position(msgspec.Struct):
    """What a pot holds of an asset, in units with 6 decimals; `value` is money(total × price)."""

    asset_id: str
    settled: Units
    reserved: Units
    in_flight: Units
    total: Units
    price: Units | None
    price_date: date | None
    value: Money | None


class Cash(msgspec.Struct):
    """A pot's cash in the scheme's currency, with 2 decimals."""

    settled: Money
    reserved: Money
    in_flight: Money
    total: Money


class Pot(msgspec.Struct):
    """A pot as published.

    Positions, prices and values are those of the close `as_of`; profile and status are as the run
    of `published_date` left them. `value` is None where an asset has no accepted price yet.
    """

    published_date: date
    published_at: datetime
    as_of: date
    pot_id: str
    book: Book
    status: str
    risk_profile_id: str
    currency: str
    positions: list[Position]
    cash: Cash
    value: Money | None


async def pot(request: Request) -> Response:
    """Answer with a pot that the caller's source is granted; compliance may read any."""
    gateway: Gateway = request.app.state.gateway
    caller = request.state.call.authorised(gateway, "read", "compliance")
    pot_id: str = request.path_params["pot_id"]
    if len(pot_id) > order_bodies.TEXT_LENGTH_MAX or not order_bodies.is_text(pot_id):
        raise _unknown()
    if "compliance" not in caller.scopes and not await _granted(gateway, caller.source, pot_id):
        raise _unknown()
    snapshot = await gateway.published.snapshot()
    if snapshot is None:
        raise _unknown()
    found = await gateway.published.read(lambda: pot_of(snapshot, pot_id, gateway.currency))
    if found is None:
        raise _unknown()
    tag = etag(snapshot.identity, "pot", pot_id)
    body = msgspec.json.encode(found)
    return not_modified(request, tag) or Response(
        body, headers=headers(tag), media_type="application/json"
    )


async def _granted(gateway: Gateway, source: str, pot_id: str) -> bool:
    async with gateway.reading() as connection:
        cursor = await connection.execute(_GRANTED, {"source": source, "pot": pot_id})
        row = await cursor.fetchone()
    return row is not None and bool(row[0])


def _unknown() -> ProblemError:
    return ProblemError("not_found", "no pot of yours has this id in what is published")


def pot_of(snapshot: Snapshot, pot_id: str, currency: str) -> Pot | None:
    """Return a pot of a snapshot, None where it has none of that id."""
    rows = snapshot.pots.where("pot_id", pot_id).to_dicts()
    if not rows:
        return None
    (row,) = rows
    held: dict[str, dict[str, Decimal]] = {}
    balances = snapshot.balances.where("account", f"pot/{pot_id}").filter(
        pl.col("book") == row["book"]
    )
    for asset, state, quantity in balances.select("asset_id", "state", "quantity").iter_rows():
        held.setdefault(asset, {})[state] = quantity
    cash = _states(held.pop(currency, {}), PENNY)
    positions = [_position(asset, held[asset], snapshot) for asset in sorted(held)]
    values = [p.value for p in positions]
    worth = None
    if None not in values:
        worth = sum((Decimal(v) for v in values if v is not None), Decimal(cash["total"]))
    return Pot(
        published_date=snapshot.run_date,
        published_at=snapshot.published_at,
        as_of=snapshot.as_of,
        pot_id=pot_id,
        book=row["book"],
        status=row["status"],
        risk_profile_id=row["risk_profile_id"],
        currency=currency,
        positions=positions,
        cash=Cash(**cash),
        value=None if worth is None else f"{worth:.2f}",
    )


def _position(asset: str, states: dict[str, Decimal], snapshot: Snapshot) -> Position:
    units = _states(states, Decimal("0.000001"))
    price, price_date = snapshot.prices.get(asset, (None, None))
    value = None
    if price is not None:
        pence = q.consideration(
            int(Decimal(units["total"]) * q.UNIT_SCALE), int(price * q.PRICE_SCALE)
        )
        value = f"{Decimal(pence).scaleb(-2):.2f}"
    return Position(
        asset_id=asset,
        **units,
        price=None if price is None else f"{price:.6f}",
        price_date=price_date,
        value=value,
    )


def _states(states: dict[str, Decimal], unit: Decimal) -> dict[str, str]:
    """Return the quantity of each state and their total as exact text; a finer one is an error."""
    zero = Decimal(0)
    found = {name: states.get(name, zero) for name in ("settled", "reserved", "in_flight")}
    found["total"] = sum(found.values(), zero)
    texts = {}
    for name, quantity in found.items():
        exact = quantity.quantize(unit)
        if exact != quantity:
            raise ArithmeticError(f"{name} {quantity} is finer than {unit}")
        texts[name] = f"{exact:f}"
    return texts


ROUTES: Final = [Route("/v1/pots/{pot_id:path}", pot, methods=["GET"])]
