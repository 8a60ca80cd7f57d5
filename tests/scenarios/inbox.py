"""The inbox as the gateway fills it: by `intake.accept` and `intake.cancel`."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import psycopg

from acme.domain.orders import order_id

SOURCE = "EMP"


class Inbox:
    """A session of one source that may act on every pot."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(
            "INSERT INTO intake.sources VALUES (%s, true) ON CONFLICT DO NOTHING", [SOURCE]
        )

    def close(self) -> None:
        self.connection.close()

    def accept(self, *orders: dict[str, Any]) -> list[str]:
        """Insert orders in one transaction; their outcomes."""
        batch = [order | {"n": n} for n, order in enumerate(orders)]
        found = self.connection.execute(
            "SELECT * FROM intake.accept(%s::json, 0)", [json.dumps(batch)]
        ).fetchall()
        return [outcome for _, outcome in sorted(found)]

    def order(self, ref: str, pot: str, kind: str, **fields: str) -> str:
        """Insert one order; its order_id."""
        assert self.accept(order(ref, pot, kind, **fields)) == ["created"]
        return order_id(SOURCE, ref)

    def cancel(self, ref: str, dealing_date: date) -> str:
        """Ask for a cancellation: `cancelled` or `too_late`."""
        asked = [order_id(SOURCE, ref), dealing_date]
        row = self.connection.execute("SELECT intake.cancel(%s, %s)", asked).fetchone()
        assert row is not None
        return str(row[0])

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()


def order(ref: str, pot: str, kind: str, **fields: str) -> dict[str, Any]:
    """Return an order as `intake.accept` takes it; `received_at` is that of the event clock."""
    body = {"r": ref, "p": pot, "kind": kind} | fields
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return body | {"s": SOURCE, "k": f"key-{ref}", "h": digest, "o": order_id(SOURCE, ref)}
