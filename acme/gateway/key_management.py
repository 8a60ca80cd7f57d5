"""Sources, the pots they may act on, and their keys: made, shown, exchanged, revoked.

Every change is one transaction. A gateway learns of it within a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from psycopg import Cursor
from psycopg.rows import TupleRow

from acme.gateway.api_keys import SCOPES, create_key
from acme.gateway.order_bodies import TEXT, TEXT_LENGTH_MAX, source_problem
from acme.gateway.problems import shown

UNKNOWN_SHOWN_MAX = 5


class KeyManagementError(Exception):
    """A source, pot or key is not what was expected; nothing was changed."""


@dataclass(frozen=True)
class KeyShown:
    """A key as it may be shown: without its secret. `state`: valid, expired or revoked."""

    key_id: str
    source: str
    scopes: list[str]
    label: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def as_json(self) -> dict[str, object]:
        """Return the members; instants as RFC 3339."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Granted:
    """How many pots are new to the source, and which of those given no file has landed yet.

    `unknown` has the first UNKNOWN_SHOWN_MAX of these, `unknown_count` is their number.
    """

    new: int
    unknown: list[str]
    unknown_count: int


def add_source(cursor: Cursor[TupleRow], name: str, *, all_pots: bool) -> bool:
    """Make a source; False where it is there already, as it is to be."""
    if problem := source_problem(name):
        raise KeyManagementError(f"source: {problem}")
    found = cursor.execute(
        "SELECT all_pots FROM intake.sources WHERE source = %s", [name]
    ).fetchone()
    if found is not None:
        if found[0] != all_pots:
            raise KeyManagementError(
                f"source {name!r} is there already, with"
                f" {'all pots' if found[0] else 'the pots it is granted'}"
            )
        return False
    cursor.execute(
        "INSERT INTO intake.sources (source, all_pots) VALUES (%s, %s)", [name, all_pots]
    )
    return True


def grant(cursor: Cursor[TupleRow], source: str, pots: Iterable[str]) -> Granted:
    """Let a source act on pots, also on those that come later. All, or none of them."""
    _require_source(cursor, source)
    cursor.execute('CREATE TEMPORARY TABLE granted (pot_id text COLLATE "C") ON COMMIT DROP')
    with cursor.copy("COPY granted FROM STDIN") as copy:
        for number, pot in enumerate(pots, 1):
            if len(pot) > TEXT_LENGTH_MAX or TEXT.fullmatch(pot) is None:
                raise KeyManagementError(
                    f"pot {number}: expected 1 to {TEXT_LENGTH_MAX} characters, none of them a"
                    f" control character, got {shown(pot)!r}"
                )
            copy.write_row([pot])
    cursor.execute(
        "INSERT INTO intake.source_pots (source, pot_id)"
        " SELECT %s, pot_id FROM (SELECT DISTINCT pot_id FROM granted) AS g ORDER BY pot_id"
        " ON CONFLICT DO NOTHING",
        [source],
    )
    new = cursor.rowcount
    unknown = cursor.execute(
        "SELECT pot_id, count(*) OVER () FROM (SELECT DISTINCT pot_id FROM granted) AS g"
        " WHERE NOT EXISTS (SELECT FROM control.reference_keys WHERE kind = 'pot' AND key = pot_id)"
        " ORDER BY pot_id LIMIT %s",
        [UNKNOWN_SHOWN_MAX],
    ).fetchall()
    return Granted(new, [pot for pot, _ in unknown], unknown[0][1] if unknown else 0)


def pots_of(file: Path) -> Iterator[str]:
    """Yield the pots of a file, one on each line; empty lines are none."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if text := line.rstrip("\r\n"):
                yield text


def create(
    cursor: Cursor[TupleRow],
    source: str,
    scopes: tuple[str, ...],
    *,
    label: str = "",
    days: int | None = None,
) -> str:
    """Return a new key of a source; `days` is how long it is valid, None means until revoked."""
    _require_source(cursor, source)
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong or not scopes:
        raise KeyManagementError(
            f"scope: expected some of {', '.join(SCOPES)}, got {wrong or 'none'}"
        )
    expires = None if days is None else _now(cursor) + timedelta(days=days)
    chosen = tuple(scope for scope in SCOPES if scope in scopes)
    return create_key(cursor, source, chosen, label=label, expires_at=expires)


def keys(cursor: Cursor[TupleRow], source: str | None = None) -> list[KeyShown]:
    """Return the keys of a source, or of all, in the order they were made."""
    rows = cursor.execute(
        "SELECT key_id, source, scopes, label, CASE WHEN revoked_at IS NOT NULL THEN 'revoked'"
        " WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'valid' END,"
        " created_at, expires_at, revoked_at FROM intake.api_keys"
        " WHERE coalesce(source = %s::text, true) ORDER BY created_at, key_id",
        [source],
    ).fetchall()
    return [KeyShown(*row) for row in rows]


def rotate(cursor: Cursor[TupleRow], key_id: str, overlap: timedelta) -> str:
    """Return a new key in place of a valid one, which expires after `overlap`, or earlier if due.

    The new key has the old one's source, scopes and label, and no end.
    """
    row = _key(cursor, key_id)
    if row[3] != "valid":
        raise KeyManagementError(f"key {key_id} is {row[3]}: make a new one by `acme keys create`")
    cursor.execute(
        "UPDATE intake.api_keys SET expires_at = least(expires_at, clock_timestamp() + %s)"
        " WHERE key_id = %s",
        [overlap, key_id],
    )
    return create_key(cursor, row[0], tuple(row[1]), label=row[2])


def revoke(cursor: Cursor[TupleRow], key_id: str) -> bool:
    """End a key now and for ever; False where it was revoked already."""
    if _key(cursor, key_id)[3] == "revoked":
        return False
    cursor.execute(
        "UPDATE intake.api_keys SET revoked_at = clock_timestamp() WHERE key_id = %s", [key_id]
    )
    return True


def key_id_of(key: str) -> str:
    """Return the id in a key."""
    return key.split("_", 2)[1]


def _key(cursor: Cursor[TupleRow], key_id: str) -> TupleRow:
    row = cursor.execute(
        "SELECT source, scopes, label, CASE WHEN revoked_at IS NOT NULL THEN 'revoked'"
        " WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'valid' END"
        " FROM intake.api_keys WHERE key_id = %s FOR UPDATE",
        [key_id],
    ).fetchone()
    if row is None:
        # Whoever pastes a whole key here must not find it in an error.
        raise KeyManagementError("expected the id of a key, as `acme keys list` shows it")
    return row


def _require_source(cursor: Cursor[TupleRow], source: str) -> None:
    if not cursor.execute("SELECT 1 FROM intake.sources WHERE source = %s", [source]).fetchone():
        raise KeyManagementError(f"there is no source {source!r}: `acme keys source add` makes one")


def _now(cursor: Cursor[TupleRow]) -> datetime:
    row = cursor.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise LookupError("Postgres returned no row where one was certain")
    now: datetime = row[0]
    return now
