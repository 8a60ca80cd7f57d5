"""How fast a key may call, and how often a peer may fail to name one: token buckets.

The limits hold for each worker process. They are generous: a burst is absorbed, by the inbox.
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from acme.gateway.problems import ProblemError

RATE_DEFAULT, BURST_DEFAULT = 20_000.0, 40_000.0
TOTAL_RATE_DEFAULT, TOTAL_BURST_DEFAULT = 50_000.0, 100_000.0
FAILED_RATE_DEFAULT, FAILED_BURST_DEFAULT = 5.0, 50.0
# Keys and peers remembered; the one not seen for longest is forgotten, which favours it.
REMEMBERED_MAX: Final = 10_000


class LimitError(ValueError):
    """A variable that gives a limit holds no positive number."""


class Buckets:
    """A bucket for each name: `burst` tokens at most, `rate` new ones each second."""

    def __init__(
        self, rate: float, burst: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with every bucket full."""
        self.rate, self.burst, self._now = rate, burst, now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str) -> float:
        """Take one token and return 0, or return the seconds until there is one."""
        now = self._now()
        left, since = self._left.get(name, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        seconds = 0.0 if left >= 1 else (1 - left) / self.rate
        self._left[name] = (left - 1 if left >= 1 else left, now)
        self._left.move_to_end(name)
        if len(self._left) > REMEMBERED_MAX:
            self._left.popitem(last=False)
        return seconds


class Limits:
    """The limits of one process, as the environment gives them."""

    def __init__(self) -> None:
        """Read ACME_GATEWAY_RATE, _BURST, _TOTAL_… and _FAILED_…; raises `LimitError`."""
        self._keys = Buckets(
            _number("ACME_GATEWAY_RATE", RATE_DEFAULT), _number("ACME_GATEWAY_BURST", BURST_DEFAULT)
        )
        self._all = Buckets(
            _number("ACME_GATEWAY_TOTAL_RATE", TOTAL_RATE_DEFAULT),
            _number("ACME_GATEWAY_TOTAL_BURST", TOTAL_BURST_DEFAULT),
        )
        self._failed = Buckets(
            _number("ACME_GATEWAY_FAILED_RATE", FAILED_RATE_DEFAULT),
            _number("ACME_GATEWAY_FAILED_BURST", FAILED_BURST_DEFAULT),
        )

    def admit(self, key_id: str) -> None:
        """Count a call of a key; `too_many_requests` if it, or all keys together, are too fast."""
        seconds = self._keys.wait(key_id) or self._all.wait("")
        if seconds:
            raise too_many(f"at most {self._keys.rate:g} calls each second", seconds)

    def failed(self, peer: str) -> None:
        """Count a failed authentication; `too_many_requests` once a peer has too many.

        A valid key is served whatever its neighbours at the same address do.
        """
        seconds = self._failed.wait(peer)
        if seconds:
            raise too_many("too many calls from this address without a valid API key", seconds)


def too_many(detail: str, seconds: float) -> ProblemError:
    """Return the problem of a caller who is to wait."""
    return ProblemError(
        "too_many_requests", detail, headers={"Retry-After": str(max(1, math.ceil(seconds)))}
    )


def _number(name: str, default: float) -> float:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value >= 1):
        raise LimitError(f"{name}: expected a number of at least 1, got {text!r}")
    return value
