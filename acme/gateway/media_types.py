"""What a body says it is: its media type, in UTF-8 and without a coding."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from acme.gateway.problems import ProblemError, shown

CHARSET: Final = "utf-8"


def media_type(content_type: str, content_encoding: str, taken: Collection[str]) -> str:
    """Return the media type, one of `taken`; `unsupported_media_type` for all that is not read.

    A header that came twice is a list, hence none of these values.
    """
    coding = content_encoding.strip().lower()
    if coding != "identity":
        raise _unsupported("Content-Encoding", "identity", coding)
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if media not in taken:
        raise _unsupported("Content-Type", " or ".join(taken), media)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') != CHARSET:
            raise _unsupported("Content-Type", f"charset={CHARSET}", parameter)
    return media


def _unsupported(header: str, expected: str, got: str) -> ProblemError:
    detail = f"{header}: expected {expected}, got {shown(got) or 'nothing'}"
    return ProblemError("unsupported_media_type", detail)
