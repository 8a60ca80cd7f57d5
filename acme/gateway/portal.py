"""`/portal`: published dates, batches, checks and breaks as plain pages, for compliance. Read only.

A browser sends no Bearer token by itself, so the same API key is taken as the password of HTTP
Basic here, and nowhere else. The pages need no script and may run none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import UTC, date, datetime
from html import escape
from typing import Any, Final

import polars as pl
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from acme.evidence.pack import STYLE, html_page, html_table
from acme.gateway.batches import DealtDates, date_of
from acme.gateway.evidence_packs import download
from acme.gateway.problems import ProblemError
from acme.gateway.state import Gateway
from acme.lakehouse.platform import Platform

ROWS_SHOWN_MAX: Final = 500
CHALLENGE: Final = 'Basic realm="ACME portal", charset="UTF-8"'
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Vary": "Authorization",
    "X-Content-Type-Options": "nosniff",
}
_CHECKS: Final = ("check_name", "passed", "blocking", "failures", "detail")
_BREAKS: Final = (
    *("break_id", "book", "custodian_id", "asset_id", "class", "reference"),
    *("difference", "first_seen", "age", "state", "owner"),
)


def admit(request: Request) -> None:
    """Let compliance in; `unauthorised` asks the browser for the key, as a password."""
    gateway: Gateway = request.app.state.gateway
    call = request.state.call
    try:
        call.caller = gateway.keys.caller(_bearer(request), datetime.now(UTC))
    except ProblemError as problem:
        raise ProblemError(
            problem.kind,
            "expected an API key as the password of HTTP Basic, whatever the user name",
            headers={"WWW-Authenticate": CHALLENGE},
        ) from problem
    if "compliance" not in call.caller.scopes:
        raise ProblemError("forbidden", "this API key lacks the scope 'compliance'")


def _bearer(request: Request) -> str | None:
    """Return the header Authorization with a Basic password as a Bearer token."""
    header: str | None = request.state.call.authorization()
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return header
    try:
        user_and_password = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return f"Bearer {user_and_password.partition(':')[2]}"


async def dates(request: Request) -> Response:
    """List the published dates, newest first."""
    admit(request)
    published = request.app.state.gateway.published
    found = await published.read(lambda: published.platform.control.published_dates()[::-1])
    items = "\n".join(f'<li><a href="/portal/{day}">{day}</a></li>' for day in found)
    body = f"<h1>Published dates</h1>\n<ul>\n{items}\n</ul>" if found else "<h1>Nothing yet</h1>"
    return HTMLResponse(html_page("Published dates", body), headers=HEADERS)


async def one_date(request: Request) -> Response:
    """Show one published date."""
    admit(request)
    day = date_of(request.path_params["date"])
    published = request.app.state.gateway.published
    dealt: DealtDates = request.app.state.dealt
    page = await published.read(lambda: _page(published.platform, dealt, day))
    if page is None:
        raise ProblemError("not_found", f"{day} is not published")
    return HTMLResponse(page, headers=HEADERS)


async def evidence(request: Request) -> Response:
    """Hand out the evidence of a date."""
    admit(request)
    return await download(request, date_of(request.path_params["date"]))


def _page(platform: Platform, dealt: DealtDates, day: date) -> str | None:
    found = dealt.of(platform, day)
    if found is None:
        return None
    frames = platform.lake.read(day, ["core.check_results", "core.reconciliation_breaks"])
    checks = frames["core.check_results"].sort("passed", "check_name").select(_CHECKS)
    breaks = frames["core.reconciliation_breaks"].sort("first_seen", "break_id").select(_BREAKS)
    lines: list[tuple[Any, ...]] = [
        (
            batch.batch_id,
            line.custodian_id,
            line.asset_id,
            line.quantity_type,
            line.gross_buys,
            line.gross_sells,
            line.crossed,
            f"{line.net} {line.side}",
            line.order_count,
        )
        for batch in found.answer.batches
        for line in batch.lines
    ]
    body = [
        f"<h1>{day}</h1>",
        (
            f"<p>Published at <time>{found.answer.published_at.isoformat()}</time>."
            f' <a href="/portal/{day}/evidence.zip">Download the evidence (zip)</a>.'
            ' <a href="/portal">All dates</a>.</p>'
        ),
        html_table(
            "Batches",
            ("batch", "book", "orders", "lines", "seal", "seal before", "Merkle root"),
            [
                (
                    b.batch_id,
                    b.book,
                    b.order_count,
                    len(b.lines),
                    b.seal,
                    b.previous_seal,
                    b.merkle_root,
                )
                for b in found.answer.batches
            ],
        ),
        html_table(
            "Lines",
            (
                *("batch", "custodian", "asset", "type", "buys", "sells", "crossed", "net"),
                "orders",
            ),
            lines[:ROWS_SHOWN_MAX],
        ),
        _shown("Checks", checks),
        _shown("Breaks", breaks),
    ]
    return html_page(f"Published {day}", "\n".join(body))


def _shown(caption: str, frame: pl.DataFrame) -> str:
    shown = frame.head(ROWS_SHOWN_MAX)
    more = frame.height - shown.height
    note = f"<p>{more} more {escape(caption.lower())} are in the evidence.</p>" if more else ""
    return html_table(caption, shown.columns, shown.rows()) + note


ROUTES: Final = [
    Route("/portal", dates, methods=["GET"]),
    Route("/portal/{date}", one_date, methods=["GET"]),
    Route("/portal/{date}/evidence.zip", evidence, methods=["GET"]),
]
