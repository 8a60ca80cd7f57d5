"""`GET /v1/batches/{date}`: what was dealt on a published date, sealed. No order, no member."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, datetime
from threading import Lock
from typing import Final, Literal

import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acme.evidence.keys import public_key
from acme.gateway.answer_types import Book, PublicKey, Sha256, Signature, Units
from acme.gateway.conditional import etag, headers, not_modified
from acme.gateway.problems import ProblemError
from acme.gateway.published import BATCHES, identity
from acme.gateway.state import Gateway
from acme.lakehouse.platform import Platform

LINES: Final = "core.batch_lines"
DATES_KEPT_MAX: Final = 32
# The book whose batches every reader may see.
PUBLIC_BOOK: Final = "live"


class Line(msgspec.Struct):
    """One line: units, or money where `quantity_type` is A, with 6 decimals."""

    line_id: str
    custodian_id: str
    asset_id: str
    quantity_type: Literal["U", "A"]
    gross_buys: Units
    gross_sells: Units
    crossed: Units
    net: Units
    side: Literal["B", "S", ""]
    instruction_id: str | None
    settlement_date: date
    order_count: int


class Batch(msgspec.Struct):
    """One sealed batch; hashes, signature in hexadecimal."""

    batch_id: str
    book: Book
    dealing_date: date
    order_count: int
    lines: list[Line]
    price_date: date
    price_version: str
    rules_version: str
    code_version: str
    previous_seal: Sha256
    merkle_root: Sha256
    seal: Sha256
    signature: Signature


class Batches(msgspec.Struct):
    """The batches of a published date; `public_key` verifies their signatures (Ed25519)."""

    published_date: date
    published_at: datetime
    public_key: PublicKey
    batches: list[Batch]


@dataclass(frozen=True)
class Dealt:
    """What a published date dealt, in all books, and the hash of all the date consists of."""

    identity: str
    answer: Batches


class DealtDates:
    """Published dates that were asked for lately: they never change."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: OrderedDict[date, Dealt] = OrderedDict()
        self._lock = Lock()

    def of(self, platform: Platform, day: date) -> Dealt | None:
        """Return what a date dealt, None unless it is published."""
        with self._lock:
            if day in self._kept:
                self._kept.move_to_end(day)
                return self._kept[day]
        found = dealt(platform, day)
        if found is not None:
            with self._lock:
                self._kept[day] = found
                while len(self._kept) > DATES_KEPT_MAX:
                    self._kept.popitem(last=False)
        return found


def dealt(platform: Platform, day: date) -> Dealt | None:
    """Read the batches of a date from verified partitions, None unless it is published."""
    publication = platform.control.publication(day)
    if publication is None:
        return None
    frames = platform.lake.read(day, [BATCHES, LINES])
    batches = [
        Batch(
            lines=_lines(frames[LINES].filter(pl.col("batch_id") == row["batch_id"])),
            **{name: row[name] for name in Batch.__struct_fields__ if name != "lines"},
        )
        for row in frames[BATCHES].sort("batch_id").iter_rows(named=True)
    ]
    answer = Batches(day, publication.published_at, public_key(platform.home), batches)
    return Dealt(identity(publication, platform.lake.manifest(day)), answer)


def _lines(frame: pl.DataFrame) -> list[Line]:
    names = Line.__struct_fields__
    exact = frame.sort("line_id").with_columns(
        pl.col("gross_buys", "gross_sells", "crossed", "net").cast(pl.String)
    )
    return [Line(*row) for row in exact.select(names).iter_rows()]


def date_of(text: str) -> date:
    """Return a date of a path; `not_found` for what can be none."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:
        raise ProblemError("not_found", "expected a date as 2024-03-04")
    return found


async def batches(request: Request) -> Response:
    """Answer with the batches of a published date: of the live book; to compliance, of all."""
    gateway: Gateway = request.app.state.gateway
    caller = request.state.call.authorised(gateway, "read", "compliance")
    day = date_of(request.path_params["date"])
    dealt_dates: DealtDates = request.app.state.dealt
    found = await gateway.published.read(lambda: dealt_dates.of(gateway.published.platform, day))
    if found is None:
        raise ProblemError("not_found", f"{day} is not published")
    answer, view = found.answer, "all"
    if "compliance" not in caller.scopes:
        view = PUBLIC_BOOK
        seen = [batch for batch in answer.batches if batch.book == PUBLIC_BOOK]
        answer = msgspec.structs.replace(answer, batches=seen)
    tag = etag(found.identity, "batches", view)
    return not_modified(request, tag) or Response(
        msgspec.json.encode(answer), headers=headers(tag), media_type="application/json"
    )


ROUTES: Final = [Route("/v1/batches/{date}", batches, methods=["GET"])]
