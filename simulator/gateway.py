"""Orders over HTTP: what a source would drop as a file goes to the gateway as a bulk."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Iterable, Mapping
from itertools import chain, islice

import httpx

from simulator.files import COLUMNS
from simulator.scheme import Row

_LINES_MAX = 500_000
_ATTEMPTS_MAX = 10
_BUSY = 503
_CREATED = 201
_TIMEOUT = httpx.Timeout(60, read=600)


class GatewayError(Exception):
    """The gateway refused orders, or gave no answer; the message says which and why."""


class OrderGateway:
    """Sends orders of several sources, each with its own API key.

    The Idempotency-Key follows from the content: sending again has no effect.
    """

    def __init__(self, url: str, keys: Mapping[str, str]) -> None:
        self._url = f"{url.rstrip('/')}/v1/orders/bulk"
        self._keys = keys

    def send(self, source: str, name: str, rows: Iterable[Row]) -> None:
        """Sends ``rows`` as ``source``; nothing where there is no row.

        Raises ``GatewayError`` where they are not accepted.
        """
        if source not in self._keys:
            msg = f"{name}: expected an API key of {source}, got those of {sorted(self._keys)}"
            raise GatewayError(msg)
        iterator = iter(rows)
        while lines := list(islice(iterator, _LINES_MAX)):
            text = io.StringIO()
            header = COLUMNS["orders"].split(",")
            csv.writer(text, lineterminator="\n").writerows(chain((header,), lines))
            self._post(name, self._keys[source], text.getvalue().encode())

    def _post(self, name: str, key: str, body: bytes) -> None:
        headers = {
            "Authorization": f"Bearer {key}",
            "Idempotency-Key": hashlib.sha256(body).hexdigest(),
            "Content-Type": "text/csv",
        }
        failure = ""
        for attempt in range(_ATTEMPTS_MAX):
            try:
                answer = httpx.post(self._url, content=body, headers=headers, timeout=_TIMEOUT)
            except httpx.TransportError as error:
                failure = f"{self._url}: {error}"
            else:
                if answer.status_code == _CREATED:
                    return
                failure = f"{answer.status_code} {answer.text[:2000]}"
                if answer.status_code != _BUSY:
                    break
            time.sleep(min(0.2 * 2**attempt, 5))
        msg = f"{name}: the gateway did not accept it: {failure}"
        raise GatewayError(msg)
