"""What the gateway says of a bulk: the same bytes whenever the same thing is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from acme.gateway.dealing_dates import DealingDate
from acme.gateway.order_answers import Answers
from acme.gateway.problems import ProblemError
from acme.gateway.state import Gateway

# A bulk's time is that of its commit; the server forgets it in the end, the drained orders do not.
_SELECT: Final = """
    SELECT q.body_sha256, q.bulk_id, b.lines, b.created, b.first_order_id, b.last_order_id,
        b.stated_from, b.stated_until, b.calendar_sequence, b.drained_until,
        coalesce(
            (
                SELECT r.received_at
                FROM intake.orders AS o JOIN intake.received AS r USING (order_id)
                WHERE o.bulk_id = b.bulk_id LIMIT 1
            ),
            pg_xact_commit_timestamp(b.xmin)
        )
    FROM intake.requests AS q LEFT JOIN intake.bulks AS b USING (bulk_id)
    WHERE q.source = %s AND q.idempotency_key = %s
"""


@dataclass(frozen=True)
class StoredBulk:
    """What stands under an idempotency key: a bulk, or a single order if `bulk_id` is None."""

    body_sha256: bytes
    bulk_id: int | None
    facts: tuple[Any, ...]


async def find_bulk(gateway: Gateway, source: str, key: str) -> StoredBulk | None:
    """Return what was answered under a key, or None."""
    async with gateway.reading() as connection:
        cursor = await connection.execute(_SELECT, [source, key])
        row = await cursor.fetchone()
    return None if row is None else StoredBulk(bytes(row[0]), row[1], row[2:])


def answer(answers: Answers, stored: StoredBulk, key: str, body_sha256: bytes) -> bytes:
    """Return the answer to the body of that hash; `key_conflict` if the key stands for another."""
    if stored.bulk_id is None or stored.body_sha256 != body_sha256:
        raise ProblemError("key_conflict", "nothing was changed; the first request stands")
    lines, created, first, last, earliest, latest, calendar, taken, committed_at = stored.facts
    document: dict[str, object] = {
        "idempotency_key": key,
        "body_sha256": body_sha256.hex(),
        "lines": lines,
        "created": created,
        "repeated": lines - created,
        "first_order_id": first,
        "last_order_id": last,
        "received_at": None,
    }
    if not created:
        # Every order keeps the time and the date that it was answered with.
        return msgspec.json.encode(document)
    document["received_at"] = committed_at.isoformat(timespec="microseconds")
    if answers.event_clock:
        for name, moment in (("earliest", earliest), ("latest", latest)):
            document[name] = _dealing(*answers.dealing(committed_at, moment, calendar, taken))
    else:
        _, dealing = answers.dealing(committed_at, None, calendar, taken)
        document |= _dated(dealing)
    return msgspec.json.encode(document)


def _dealing(moment: datetime, dealing: DealingDate) -> dict[str, object]:
    return {"received_at": moment.isoformat(timespec="microseconds")} | _dated(dealing)


def _dated(dealing: DealingDate) -> dict[str, object]:
    return {
        "dealing_date": dealing.date.isoformat(),
        "dealing_date_reason": dealing.reason,
        "cut_off": dealing.cut_off.isoformat(),
    }
