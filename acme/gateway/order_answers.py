"""What the gateway says of one order: the same bytes whenever the same thing is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from acme.domain.calendars import CutOff
from acme.gateway.dealing_dates import DealingDate, dealing_date
from acme.gateway.inbox import Committed
from acme.gateway.order_bodies import NewOrder
from acme.gateway.problems import ProblemError
from acme.gateway.state import Calendars, Gateway

ORDER_ID: Final = re.compile("[0-9a-f]{32}")
_SELECT: Final = (
    "SELECT source, source_ref, stated_at, intake.received_at(order_id),"
    " coalesce(o.calendar_sequence, b.calendar_sequence),"
    " coalesce(o.drained_until, b.drained_until),"
    " pot_id, kind, asset_id, to_asset_id, units::text, amount::text,"
    " risk_profile_id, order_id IN (SELECT order_id FROM intake.cancellations)"
    " FROM intake.orders AS o LEFT JOIN intake.bulks AS b USING (bulk_id) WHERE order_id = %s"
)


@dataclass(frozen=True)
class StoredOrder:
    """An order of the inbox and when it deals."""

    order_id: str
    source: str
    source_ref: str
    received_at: datetime
    dealing: DealingDate
    fields: dict[str, str]
    cancelled: bool


class Answers:
    """Renders answers by the scheme's clock and calendars."""

    def __init__(self, cut_off: CutOff, calendars: Calendars, *, event_clock: bool) -> None:
        """Keep how dates are reckoned."""
        self._cut_off, self._calendars, self.event_clock = cut_off, calendars, event_clock

    def dealing(
        self, committed_at: datetime, stated_at: datetime | None, calendar: int, taken: Any
    ) -> tuple[datetime, DealingDate]:
        """Return an order's time and its dealing date."""
        moment = stated_at if self.event_clock and stated_at is not None else committed_at
        return moment, dealing_date(moment, self._cut_off, self._calendars.dealing(calendar), taken)

    def created(self, order: NewOrder, committed: Committed) -> bytes:
        """Return the answer to an order that has just become durable."""
        stated = order.row.get("received_at")
        moment, dealing = self.dealing(
            committed.received_at,
            None if stated is None else datetime.fromisoformat(stated),
            committed.calendar,
            committed.taken_until,
        )
        return receipt(order.order_id, order.row["s"], order.row["r"], moment, dealing)

    def stored(self, order_id: str, row: tuple[Any, ...]) -> StoredOrder:
        """Return an order as it lies in the inbox; `row` is that of `_SELECT`."""
        source, ref, stated, committed, calendar, taken, *rest = row
        names = ("pot_id", "kind", "asset_id", "to_asset_id", "units", "amount", "risk_profile_id")
        moment, dealing = self.dealing(committed, stated, calendar, taken)
        fields = {n: _plain(n, v) for n, v in zip(names, rest, strict=False) if v is not None}
        return StoredOrder(order_id, source, ref, moment, dealing, fields, bool(rest[-1]))


def receipt(
    order_id: str, source: str, source_ref: str, received_at: datetime, dealing: DealingDate
) -> bytes:
    """Return what the sender of an order is answered, now and whenever it asks again."""
    return msgspec.json.encode(
        {
            "order_id": order_id,
            "source": source,
            "source_ref": source_ref,
            "received_at": received_at.isoformat(timespec="microseconds"),
            "dealing_date": dealing.date.isoformat(),
            "dealing_date_reason": dealing.reason,
            "cut_off": dealing.cut_off.isoformat(),
        }
    )


def _plain(name: str, value: str) -> str:
    """Return a number of the database without the zeros of its scale."""
    if name in {"units", "amount"} and "." in value:
        return value.rstrip("0").rstrip(".")
    return value


async def stored_order(gateway: Gateway, answers: Answers, order_id: str) -> StoredOrder:
    """Return an order that the inbox certainly has."""
    found = await find_order(gateway, answers, order_id)
    if found is None:
        raise LookupError(f"order {order_id} was answered for and is not there")
    return found


async def find_order(gateway: Gateway, answers: Answers, order_id: str) -> StoredOrder | None:
    """Return an order of the inbox, or None."""
    async with gateway.reading() as connection:
        cursor = await connection.execute(_SELECT, [order_id])
        row = await cursor.fetchone()
    return None if row is None else answers.stored(order_id, row)


def valid_id(text: str) -> str:
    """Return an order id; `not_found` for what can be none."""
    if ORDER_ID.fullmatch(text) is None:
        raise ProblemError("not_found", "expected an order id, 32 hexadecimal digits")
    return text
