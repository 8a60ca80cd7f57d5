"""API keys: who calls, for which source, and what for. Secrets are stored as hashes alone.

A key is `acme_KEYID_SECRET`; the secret has 256 random bits, so one SHA-256 hides it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from psycopg import AsyncConnection, Cursor
from psycopg.rows import TupleRow

from acme.gateway.problems import ProblemError

Scope = Literal["submit", "read", "compliance"]
SCOPES: Final[tuple[Scope, ...]] = ("submit", "read", "compliance")
_KEY: Final = re.compile(r"acme_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODY: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True)
class Caller:
    """The holder of a valid key."""

    key_id: str
    source: str
    scopes: frozenset[str]


@dataclass(frozen=True)
class _Stored:
    caller: Caller
    secret_sha256: bytes
    expires_at: datetime | None


class KeyRing:
    """The keys that are valid, as last loaded."""

    def __init__(self) -> None:
        """Know no key."""
        self._keys: Mapping[str, _Stored] = {}

    async def load(self, connection: AsyncConnection[TupleRow]) -> None:
        """Take the keys that are neither revoked nor expired."""
        cursor = await connection.execute(
            "SELECT key_id, source, scopes, secret_sha256, expires_at FROM intake.api_keys"
            " WHERE revoked_at IS NULL AND coalesce(expires_at > clock_timestamp(), true)"
        )
        self._keys = {
            key: _Stored(Caller(key, source, frozenset(scopes)), bytes(digest), expires)
            for key, source, scopes, digest, expires in await cursor.fetchall()
        }

    def caller(self, authorization: str | None, now: datetime) -> Caller:
        """Return who calls; `ProblemError` `unauthorised` unless the key is valid.

        A known and an unknown key id take the same comparison, in constant time.
        """
        scheme, _, text = (authorization or "").partition(" ")
        found = _KEY.fullmatch(text.strip()) if scheme.lower() == "bearer" else None
        stored = self._keys.get(found[1]) if found is not None else None
        digest = hashlib.sha256(found[2].encode() if found is not None else b"-").digest()
        same = hmac.compare_digest(digest, _NOBODY if stored is None else stored.secret_sha256)
        if stored is None or not same or (stored.expires_at and stored.expires_at <= now):
            raise ProblemError(
                "unauthorised",
                "expected one header Authorization: Bearer acme_…, with a key that is valid",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return stored.caller


def create_key(
    cursor: Cursor[TupleRow],
    source: str,
    scopes: tuple[str, ...],
    *,
    label: str = "",
    expires_at: datetime | None = None,
) -> str:
    """Store a new key of a source that is there, and return it: it is shown this once."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    cursor.execute(
        "INSERT INTO intake.api_keys (key_id, source, scopes, secret_sha256, label, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [key_id, source, list(scopes), hashlib.sha256(secret.encode()).digest(), label, expires_at],
    )
    return f"acme_{key_id}_{secret}"
