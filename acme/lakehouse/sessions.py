"""Names of this process's sessions in Postgres, and the end of those of a process overtaken.

A frozen process holds its sessions open, and on waking would go on where it stopped: in the middle
of a transaction, after its last look at the fence. So a run that takes over a date ends every
session of the one before; the server then rolls back what they had begun.
"""

from __future__ import annotations

import os
import secrets
import socket
from typing import Final

from psycopg import Connection
from psycopg.rows import TupleRow

# A name in Postgres has 63 bytes.
NAME_LENGTH_MAX: Final = 63
_HOST_LENGTH_MAX: Final = 18
_WAIT_MILLISECONDS: Final = 30_000

# Process ids come again, and a fork inherits the token: one for each process id seen here.
_tokens: dict[int, str] = {}


def holder() -> str:
    """Return the name of this process: its id, its host, and a number no other one has."""
    process = os.getpid()
    token = _tokens.setdefault(process, secrets.token_hex(4))
    return f"{process}@{socket.gethostname()[:_HOST_LENGTH_MAX]}#{token}"


def session_name(role: str) -> str:
    """Return the `application_name` of a session of this process: `acme ROLE HOLDER`."""
    room = NAME_LENGTH_MAX - len(holder()) - 1
    return f"{f'acme {role}'[:room]} {holder()}"


def end_sessions(connection: Connection[TupleRow], of: str) -> int:
    """End every session of the process `of` in this database, and wait until they are gone."""
    if of == holder():
        return 0
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND right(application_name, length(%s) + 1) = ' ' || %s",
        [_WAIT_MILLISECONDS, of, of],
    ).fetchall()
    return len(ended)
