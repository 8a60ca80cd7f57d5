"""Errors as RFC 9457 problem details: what was expected, where, and what came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MEDIA_TYPE: Final = "application/problem+json"

# Every type of problem there is: its status and title. The URI is `/problems/NAME`.
TYPES: Final[dict[str, tuple[int, str]]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthorised": (401, "No valid API key"),
    "forbidden": (403, "The API key does not allow this"),
    "not_found": (404, "There is no such thing, or it is not yours"),
    "method_not_allowed": (405, "The method is not allowed here"),
    "too_slow": (408, "The request's body did not arrive in time"),
    "key_conflict": (409, "The Idempotency-Key was used for another body"),
    "reference_conflict": (409, "The source_ref names an order with other values"),
    "too_late": (409, "The run of the order's dealing date has taken it"),
    "not_batched": (409, "The order is in no batch, and will be in none"),
    "too_large": (413, "The request is too large"),
    "unsupported_media_type": (415, "The media type is not one that is taken here"),
    "invalid": (422, "A field breaks the contract of orders"),
    "too_many_requests": (429, "The API key sends faster than it may"),
    "internal": (500, "The gateway failed; nothing was accepted"),
    "unavailable": (503, "Nothing can be made durable now; try again"),
}


@dataclass(frozen=True)
class FieldError:
    """One field that breaks the contract; `line` counts from 1 in a stream, None elsewhere."""

    field: str
    expected: str
    got: str
    line: int | None = None

    def as_json(self) -> dict[str, object]:
        """Return the error as a member of `errors`."""
        shown: dict[str, object] = {
            "field": self.field,
            "expected": self.expected,
            "got": self.got,
        }
        return shown if self.line is None else {"line": self.line} | shown


@dataclass
class ProblemError(Exception):
    """Ends a request with a problem; `kind` is a name of TYPES, `more` further members."""

    kind: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a kind that is not listed."""
        TYPES[self.kind]

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return TYPES[self.kind][0]

    def body(self, request_id: str) -> bytes:
        """Return the document; `instance` names the request, as the log does."""
        status, title = TYPES[self.kind]
        document: dict[str, object] = {
            "type": f"/problems/{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "instance": f"urn:acme:request:{request_id}",
        }
        if self.errors:
            document["errors"] = [error.as_json() for error in self.errors]
        document |= self.more
        return json.dumps(document).encode()


def shown(value: object, longest: int = 80) -> str:
    """Return a value as an error may show it: short, and on one line."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
