"""What must hold between the inbox and the lake."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from acme.domain import inbox
from acme.domain.day import Day
from acme.domain.process import Frames

FAILURE = {
    "feed": pl.String,
    "what": pl.String,
    "inbox": pl.String,
    "lake": pl.String,
}
Failure = tuple[str, str, str, str]


def inbox_equals_lake(day: Day, inputs: Frames) -> pl.DataFrame:
    """Return where the orders that left the inbox for T are not those in the lake.

    Each stands once: among the orders of T, among those that wait, or among the exceptions, whose
    reason must show elsewhere. The same holds for cancellations.
    """
    del day
    control = inputs["stage.inbox_control"]
    places = ["core.orders", "stage.pending_orders"]
    standing = [inputs[d].select("order_id", *inbox.ORDER, "file_sha256", "row") for d in places]
    exceptions = inputs["stage.inbox_exceptions"]
    orders = pl.concat([*standing, exceptions.select(standing[0].columns)])
    cancellations = inputs["stage.cancellations"]
    found: list[Failure] = [
        *_compared(control, "orders", orders, inbox.ORDER),
        *_compared(control, "cancellations", cancellations, inbox.CANCELLATION),
        *_unexplained(inputs, exceptions),
        *_not_cancelled(inputs, cancellations),
    ]
    return pl.DataFrame(found, schema=FAILURE, orient="row")


def _compared(
    control: pl.DataFrame, feed: str, rows: pl.DataFrame, columns: tuple[str, ...]
) -> Iterator[Failure]:
    """Hold count and hash of the inbox against the rows that came by its file."""
    for sha, count, content in (
        control.filter(pl.col("feed") == feed)
        .select("file_sha256", "rows", "content_sha256")
        .iter_rows()
    ):
        mine = rows.filter(pl.col("file_sha256") == sha)
        if mine.height != count:
            yield feed, "number of rows", str(count), str(mine.height)
        in_lake = inbox.content_sha256(mine, columns)
        if in_lake != content:
            yield feed, "SHA-256", content, in_lake


def _unexplained(inputs: Frames, exceptions: pl.DataFrame) -> Iterator[Failure]:
    """Exceptions of which the reason does not show."""
    named = pl.concat(
        [inputs[d].select("order_id") for d in ("core.orders", "stage.pending_orders")]
    )
    shown = {
        "quarantined": (inputs["stage.order_quarantine"], ["file_sha256", "row"]),
        "held": (inputs["stage.order_holds"], ["key"]),
        "other_row": (named, ["order_id"]),
    }
    for outcome, (where, key) in shown.items():
        mine = exceptions.filter(pl.col("outcome") == outcome)
        for order in mine.join(where, on=key, how="anti")["order_id"]:
            yield "orders", f"order {order}", outcome, "no such row"


def _not_cancelled(inputs: Frames, cancellations: pl.DataFrame) -> Iterator[Failure]:
    """Cancellations that are said to have an effect, and have none; or to be refused."""
    stopped = pl.concat(
        [
            inputs[d].filter(pl.col("cancelled_at").is_not_null()).select("order_id")
            for d in ("core.orders", "stage.pending_orders")
        ]
    )
    shown = {
        "cancelled": (stopped, ["order_id"]),
        "refused": (inputs["stage.order_quarantine"], ["file_sha256", "row"]),
    }
    for outcome, (where, key) in shown.items():
        mine = cancellations.filter(pl.col("outcome") == outcome)
        for order in mine.join(where, on=key, how="anti")["order_id"]:
            yield "cancellations", f"order {order}", outcome, "no such row"
