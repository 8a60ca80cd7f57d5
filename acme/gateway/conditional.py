"""Answers with an ETag: told once, and 304 as long as they are the same (RFC 9110)."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

# Changes with the form of answers, so that no client keeps one of an older form.
FORM: Final = "1"
_TAGS: Final = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
CACHING: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


def etag(*parts: str) -> str:
    """Return the strong ETag of a resource: `parts` are what its bytes follow from."""
    text = "\n".join((FORM, *parts))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def headers(tag: str) -> dict[str, str]:
    """Return the headers of an answer with an ETag."""
    return CACHING | {"ETag": tag}


def not_modified(request: Request, tag: str) -> Response | None:
    """Return 304 where the client has this very answer; the resource is certain to be there."""
    wanted = request.headers.getlist("if-none-match")
    known = any(field.strip() == "*" or tag in _TAGS.findall(field) for field in wanted)
    return Response(status_code=304, headers=headers(tag)) if known else None
