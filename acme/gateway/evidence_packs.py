"""`GET /v1/evidence/{date}.zip`: the evidence of a published date, for compliance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from tempfile import TemporaryFile
from typing import IO, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from acme.evidence import pack
from acme.gateway.batches import DealtDates, date_of
from acme.gateway.conditional import etag, headers, not_modified
from acme.gateway.problems import ProblemError
from acme.gateway.published import Published
from acme.gateway.state import Gateway
from acme.lakehouse.platform import Platform

MEDIA_TYPE: Final = "application/zip"
_BLOCK_BYTES: Final = 1 << 18


async def evidence(request: Request) -> Response:
    """Answer with the pack, streamed from a file that nobody else sees."""
    gateway: Gateway = request.app.state.gateway
    request.state.call.authorised(gateway, "compliance")
    return await download(request, date_of(request.path_params["date"]))


async def download(request: Request, day: date) -> Response:
    """Return the pack of a date to a caller who may have it."""
    published: Published = request.app.state.gateway.published
    dealt: DealtDates = request.app.state.dealt
    found = await published.read(lambda: dealt.of(published.platform, day))
    if found is None:
        raise ProblemError("not_found", f"{day} is not published")
    tag = etag(found.identity, "evidence")
    if (unchanged := not_modified(request, tag)) is not None:
        return unchanged
    file, size = await published.work(lambda: _make(published.platform, day))
    told = headers(tag) | {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="evidence-{day}.zip"',
    }
    return StreamingResponse(_blocks(published, file), headers=told, media_type=MEDIA_TYPE)


def _make(platform: Platform, day: date) -> tuple[IO[bytes], int]:
    file = TemporaryFile()  # noqa: SIM115  closed once it is sent
    try:
        pack.write(pack.collect(platform, day), file)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, size


async def _blocks(published: Published, file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while block := await published.read(lambda: file.read(_BLOCK_BYTES)):
            yield block


ROUTES: Final = [Route("/v1/evidence/{date}.zip", evidence, methods=["GET"])]
