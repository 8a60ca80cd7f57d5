"""The log: one JSON object a line, for starts, stops and problems of status 500 and above.

Nothing of a request but its id and route stands in it; of an exception its type and where it was
raised, not its text, which may quote a row.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from acme.gateway.problems import ProblemError

LOG: Final = logging.getLogger("acme.gateway")
# A problem of one kind is logged once in so many seconds, with how many others there were.
REPEAT_SECONDS: Final = 1.0
_FIELDS: Final = "fields"
_STACK_MAX: Final = 12


class JsonLines(logging.Formatter):
    """Renders a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an exception is named by its type and places."""
        shown: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        shown |= getattr(record, _FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            shown |= failure(record.exc_info[1])
        return json.dumps(shown, default=str)


def failure(error: BaseException) -> dict[str, object]:
    """Return an exception's type and places."""
    frames = traceback.extract_tb(error.__traceback__)[-_STACK_MAX:]
    return {
        "error": type(error).__qualname__,
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def event(message: str, /, level: int = logging.INFO, **fields: object) -> None:
    """Log one thing that happened."""
    LOG.log(level, message, extra={_FIELDS: fields})


class _Repeats:
    """How often each kind of problem came since it was last logged."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, int]] = {}

    def others(self, kind: str) -> int | None:
        """Return how many went unlogged, or None where this one does too."""
        at, left_out = self._since.get(kind, (float("-inf"), 0))
        now = time.monotonic()
        if now - at < REPEAT_SECONDS:
            self._since[kind] = (at, left_out + 1)
            return None
        self._since[kind] = (now, 0)
        return left_out


_REPEATS: Final = _Repeats()


def problem(
    request_id: str, route: str, of: ProblemError, because: BaseException | None = None
) -> None:
    """Log a problem of status 500 or above; every failure, and of overload one a second."""
    others = 0 if because is not None else _REPEATS.others(of.kind)
    if others is None:
        return
    fields: Mapping[str, object] = {
        "request_id": request_id,
        "route": route,
        "status": of.status,
        "kind": of.kind,
        "detail": of.detail,
        "others_since": others,
    }
    fields = {**fields, **(failure(because) if because is not None else {})}
    event("problem", logging.ERROR if because is not None else logging.WARNING, **fields)


def configuration() -> dict[str, Any]:
    """Return the configuration of `logging`: everything as JSON lines on standard error."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "acme.gateway.logs.JsonLines"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "acme.gateway": {"level": "INFO"},
            "_granian": {"level": "INFO", "handlers": [], "propagate": True},
            "granian.access": {"level": "WARNING", "handlers": [], "propagate": False},
        },
    }
