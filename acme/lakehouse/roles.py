"""Who may do what in Postgres: four roles, each with the least it needs. Applied by `migrate`.

The privileges are stated here whole and given anew after every migration, so that a table or
function made by a later step is closed to everybody until it is named. Of an embedded server the
roles log in by passwords kept in ACME_HOME; of any other they are groups without login, for its
administrator to grant.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import Final, Literal

import psycopg
from psycopg import Connection, Cursor, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from acme.lakehouse import postgres
from acme.lakehouse.files import write_atomic
from acme.lakehouse.home import Home

Role = Literal["gateway", "pipeline", "finance", "compliance"]
ROLES: Final[tuple[Role, ...]] = ("gateway", "pipeline", "finance", "compliance")
READ_ONLY: Final[tuple[Role, ...]] = ("finance", "compliance")
SCHEMAS: Final = ("control", "intake", "served", "marts")
# Tables the role reads; a schema alone means all of its tables.
READS: Final[dict[Role, tuple[str, ...]]] = {
    "gateway": (
        "served",
        "control.scheme",
        "control.publications",
        "control.partitions",
        "control.dispatches",
        "control.reference_keys",
        "control.run_outcomes",
        "intake.sources",
        "intake.source_pots",
        "intake.api_keys",
        "intake.orders",
        "intake.requests",
        "intake.bulks",
        "intake.cancellations",
        "intake.outbox",
        "intake.drains",
        "intake.received",
    ),
    "pipeline": (),
    "finance": ("marts",),
    "compliance": (
        "control.publications",
        "control.run_outcomes",
        "control.runs",
        "control.landed_files",
        "control.partitions",
        "control.dispatches",
        "intake.audit",
    ),
}
# The gateway writes single orders and cancellations through these alone: they run as their owner.
DEFINER_FUNCTIONS: Final = ("accept", "cancel")
GATEWAY_FUNCTIONS: Final = (*DEFINER_FUNCTIONS, "enter", "received_at")
# What it writes itself: bulks, by COPY, and the record of calls. It adds rows and changes none;
# an order of a bulk has no hash of its own, which the table allows where it names its bulk.
GATEWAY_INSERTS: Final = (
    "intake.audit",
    "intake.bulks",
    (
        "intake.orders (order_id, source, source_ref, pot_id, kind, asset_id, to_asset_id, units, "
        "amount, risk_profile_id, stated_at, bulk_line, bulk_id)"
    ),
    "intake.requests (source, idempotency_key, body_sha256, bulk_id)",
    "intake.outbox (kind, bulk_id)",
)
# What was answered and who called: a run adds to it and takes nothing away.
RECORDS: Final = (
    "intake.orders",
    "intake.bulks",
    "intake.requests",
    "intake.audit",
    "control.publications",
)
# A definer's function must not find an operator or a table that its caller has planted.
_SEARCH_PATH: Final = "pg_catalog, pg_temp"


class RoleError(Exception):
    """A role is missing or has no password; the text says what to do."""


def name_of(role: Role) -> str:
    """Return the role's name in Postgres."""
    return f"acme_{role}"


def apply(connection: Connection[TupleRow]) -> None:
    """Make the roles that are missing and give exactly the privileges stated here.

    A user who may make no roles leaves those missing that are; `missing` names them.
    """
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS marts")
        _make_roles(cursor)
        _close_functions(cursor)
        for role in set(ROLES) - set(missing(connection)):
            _give(cursor, role)


def missing(connection: Connection[TupleRow]) -> list[Role]:
    """Return the roles that the server does not have."""
    found = {
        name
        for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^acme_'")
    }
    return [role for role in ROLES if name_of(role) not in found]


def _make_roles(cursor: Cursor[TupleRow]) -> None:
    cursor.execute(
        "SELECT rolsuper, rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    superuser, may_create = cursor.fetchone() or (False, False)
    if not may_create:
        return
    for role in missing(cursor.connection):
        # Roles belong to the whole server: another database may be making them at this moment.
        cursor.execute("SAVEPOINT role")
        try:
            cursor.execute(
                sql.SQL("CREATE ROLE {} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE").format(
                    sql.Identifier(name_of(role))
                )
            )
            if role in READ_ONLY:
                cursor.execute(
                    sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(
                        sql.Identifier(name_of(role))
                    )
                )
            if not superuser:
                cursor.execute(
                    sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE").format(
                        sql.Identifier(name_of(role))
                    )
                )
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            cursor.execute("ROLLBACK TO SAVEPOINT role")
        cursor.execute("RELEASE SAVEPOINT role")


def _close_functions(cursor: Cursor[TupleRow]) -> None:
    """Take every function of the inbox from the public; those that write run as their owner."""
    cursor.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA intake FROM PUBLIC")
    for signature in _functions(cursor, DEFINER_FUNCTIONS):
        cursor.execute(
            f"ALTER FUNCTION {signature} SECURITY DEFINER SET search_path = {_SEARCH_PATH}".encode()
        )


def _functions(cursor: Cursor[TupleRow], names: tuple[str, ...]) -> list[str]:
    cursor.execute(
        "SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'intake'::regnamespace AND proname = ANY (%s) ORDER BY 1",
        [list(names)],
    )
    return [signature for (signature,) in cursor.fetchall()]


def _give(cursor: Cursor[TupleRow], role: Role) -> None:
    grantee = name_of(role)
    for schema in SCHEMAS:
        for kind in ("TABLES", "SEQUENCES", "FUNCTIONS"):
            _run(cursor, f"REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {grantee}")
        _run(cursor, f"REVOKE ALL ON SCHEMA {schema} FROM {grantee}")
    for what in READS[role]:
        schema, _, table = what.partition(".")
        _run(cursor, f"GRANT USAGE ON SCHEMA {schema} TO {grantee}")
        _run(
            cursor,
            f"GRANT SELECT ON {what if table else f'ALL TABLES IN SCHEMA {schema}'} TO {grantee}",
        )
    if role == "gateway":
        for insert in GATEWAY_INSERTS:
            table, _, columns = insert.partition(" ")
            _run(cursor, f"GRANT INSERT {columns} ON {table} TO {grantee}")
        for signature in _functions(cursor, GATEWAY_FUNCTIONS):
            _run(cursor, f"GRANT EXECUTE ON FUNCTION {signature} TO {grantee}")
    if role == "finance":
        # The marts are made anew by every date: what their maker makes there, finance may read.
        _run(
            cursor, f"ALTER DEFAULT PRIVILEGES IN SCHEMA marts GRANT SELECT ON TABLES TO {grantee}"
        )
    if role == "pipeline":
        _give_pipeline(cursor, grantee)


def _give_pipeline(cursor: Cursor[TupleRow], grantee: str) -> None:
    for schema in SCHEMAS:
        _run(cursor, f"GRANT USAGE ON SCHEMA {schema} TO {grantee}")
        _run(cursor, f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {grantee}")
        _run(cursor, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {grantee}")
    _run(cursor, f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA intake TO {grantee}")
    _run(cursor, f"GRANT CREATE ON SCHEMA marts TO {grantee}")
    for table in RECORDS:
        _run(cursor, f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {grantee}")


def _run(cursor: Cursor[TupleRow], statement: str) -> None:
    """Run a statement put together from the names above."""
    cursor.execute(statement.encode())


# ---- logging in ---------------------------------------------------------------------------------


def give_logins(home: Home, url: str) -> None:
    """Let the roles of an embedded server log in, by passwords that are kept in ACME_HOME.

    Passwords that are there stay. No effect on an external server.
    """
    if postgres.is_external():
        return
    passwords = _passwords(home) or {role: secrets.token_urlsafe(32) for role in ROLES}
    owner = home.root.stat() if os.geteuid() == 0 else None
    write_atomic(
        home.postgres_roles,
        json.dumps(passwords, indent=1).encode() + b"\n",
        mode=0o600,
        owner=None if owner is None else (owner.st_uid, owner.st_gid),
    )
    with psycopg.connect(url, connect_timeout=10) as connection:
        for role, password in passwords.items():
            name = name_of(role)
            # Sent as its SCRAM verifier: the password itself stands in no statement and no log.
            verifier = connection.pgconn.encrypt_password(
                password.encode(), name.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(name), sql.Literal(verifier.decode())
                )
            )


def role_url(home: Home, role: Role) -> str:
    """Return a libpq connection string by which a process works as a role.

    Of an embedded server: its login, with the port that the server has now. Of another one:
    ACME_<ROLE>_POSTGRES_URL where that is set, else ACME_POSTGRES_URL with `SET ROLE`. Raises
    `RoleError` where there is no password yet, `PostgresError` where no server runs.
    """
    url = postgres.url(home)
    if postgres.is_external():
        if own := os.environ.get(f"ACME_{role.upper()}_POSTGRES_URL"):
            return own
        options = f"{conninfo_to_dict(url).get('options') or ''} -c role={name_of(role)}"
        return make_conninfo(url, options=options.strip())
    password = (_passwords(home) or {}).get(role)
    if password is None:
        raise RoleError(
            f"{home.postgres_roles} has no password of {name_of(role)}: run `acme init` again,"
            " with the values it was given"
        )
    return make_conninfo(url, user=name_of(role), password=password)


def _passwords(home: Home) -> dict[Role, str] | None:
    try:
        found: dict[Role, str] = json.loads(home.postgres_roles.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RoleError(f"{home.postgres_roles}: cannot be read ({error})") from error
    return found
