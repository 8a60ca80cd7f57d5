"""Each role of Postgres × what it may and may not do."""

from __future__ import annotations

import json
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from acme.lakehouse import postgres, roles
from acme.lakehouse.home import Home
from acme.lakehouse.migrate import migrate

ORDER_ID = "0" * 32
BATCH = json.dumps(
    [
        {
            "n": 0,
            "s": "EMP",
            "k": "k",
            "h": "00" * 32,
            "o": ORDER_ID,
            "r": "r",
            "p": "P",
            "kind": "contribution",
            "amount": "1",
        }
    ]
)
# A statement, and the roles that may run it. Each runs in a transaction that is rolled back.
STATEMENTS: dict[str, set[str]] = {
    f"SELECT * FROM intake.accept('{BATCH}'::json, 0)": {"gateway", "pipeline"},
    f"SELECT intake.cancel('{ORDER_ID}', '2024-01-02')": {"gateway", "pipeline"},
    f"SELECT intake.received_at('{ORDER_ID}')": {"gateway", "pipeline"},
    "SELECT intake.enter()": {"gateway", "pipeline"},
    "SELECT * FROM intake.orders": {"gateway", "pipeline"},
    "INSERT INTO intake.outbox (kind, order_id) VALUES ('order', 'x')": {"pipeline"},
    "UPDATE intake.orders SET amount = 2": set(),
    "DELETE FROM intake.orders": set(),
    "TRUNCATE intake.orders CASCADE": set(),
    "INSERT INTO intake.outbox (kind, bulk_id) VALUES ('bulk', 1)": {"gateway", "pipeline"},
    "INSERT INTO intake.orders (order_id, source, source_ref, pot_id, kind, bulk_id, bulk_line)"
    f" VALUES ('{'1' * 32}', 'EMP', 's', 'P', 'sell', 1, 1)": {"gateway", "pipeline"},
    "INSERT INTO intake.orders (order_id, source, source_ref, pot_id, kind, body_sha256,"
    f" calendar_sequence) VALUES ('{'2' * 32}', 'EMP', 't', 'P', 'sell', '', 0)": {"pipeline"},
    "INSERT INTO intake.requests (source, idempotency_key, body_sha256, bulk_id)"
    " VALUES ('EMP', 'l', '', 1)": {"gateway", "pipeline"},
    "INSERT INTO intake.requests (source, idempotency_key, body_sha256, order_id)"
    f" VALUES ('EMP', 'l', '', '{ORDER_ID}')": {"pipeline"},
    "UPDATE intake.bulks SET created = 0": set(),
    "DELETE FROM intake.bulks": set(),
    # The shape of a table, not a row of it, for whoever sees the schema.
    "CREATE TEMPORARY TABLE given AS SELECT * FROM intake.orders WITH NO DATA": {
        "gateway",
        "pipeline",
        "compliance",
    },
    "UPDATE intake.requests SET body_sha256 = ''": set(),
    "DELETE FROM intake.requests": set(),
    "DELETE FROM intake.outbox": {"pipeline"},
    "INSERT INTO intake.drains (run_date, last_sequence) VALUES ('2024-01-02', 0)": {"pipeline"},
    "SELECT secret_sha256 FROM intake.api_keys": {"gateway", "pipeline"},
    "UPDATE intake.api_keys SET revoked_at = NULL": {"pipeline"},
    "INSERT INTO intake.source_pots (source, pot_id) VALUES ('EMP', 'Q')": {"pipeline"},
    "INSERT INTO intake.audit (request_id, method, route, status, duration_us)"
    " VALUES ('r', 'GET', '/', 200, 1)": {"gateway", "pipeline"},
    "SELECT * FROM intake.audit": {"pipeline", "compliance"},
    "DELETE FROM intake.audit": set(),
    "UPDATE intake.audit SET status = 200": set(),
    "SELECT * FROM served.order_states": {"gateway", "pipeline"},
    "DELETE FROM served.order_states": {"pipeline"},
    "SELECT * FROM control.scheme": {"gateway", "pipeline"},
    "UPDATE control.scheme SET currency = 'EUR'": {"pipeline"},
    "SELECT * FROM control.publications": {"gateway", "pipeline", "compliance"},
    "DELETE FROM control.publications": set(),
    "SELECT * FROM control.run_outcomes": {"gateway", "pipeline", "compliance"},
    "SELECT * FROM control.landed_files": {"pipeline", "compliance"},
    "SELECT * FROM control.dispatches": {"gateway", "pipeline", "compliance"},
    "SELECT * FROM control.partitions": {"gateway", "pipeline", "compliance"},
    "SELECT * FROM control.accepted_keys": {"pipeline"},
    "SELECT * FROM marts.positions": {"finance", "pipeline"},
    "DELETE FROM marts.positions": {"pipeline"},
    "CREATE TABLE marts.other (n int)": {"pipeline"},
    "CREATE TABLE public.other (n int)": set(),
    "CREATE SCHEMA other": set(),
    "CREATE ROLE other": set(),
    "ALTER SYSTEM SET fsync = off": set(),
    "ALTER FUNCTION intake.cancel(text, date) SECURITY INVOKER": set(),
    "DROP TABLE intake.orders CASCADE": set(),
    "COPY intake.audit TO '/tmp/audit'": set(),
    "SELECT pg_read_file('/etc/hostname')": set(),
}
DENIED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@pytest.fixture
def filled(database: str) -> str:
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO intake.sources VALUES ('EMP', true)")
        connection.execute("SELECT * FROM intake.accept(%s::json, 0)", [BATCH])
        connection.execute(
            "INSERT INTO intake.bulks (bulk_id, lines, created, first_order_id, last_order_id,"
            " calendar_sequence) VALUES (1, 1, 1, 'a', 'a', 0)"
        )
        # As dbt makes it: after the roles, by who owns the schema.
        connection.execute("CREATE TABLE marts.positions (n int)")
        connection.execute(
            "GRANT ALL ON marts.positions TO acme_pipeline"  # what a run makes itself is its own
        )
    return database


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_may_do_what_it_is_given_and_nothing_else(filled: str, role: roles.Role) -> None:
    allowed = set()
    with psycopg.connect(filled, options=f"-c role={roles.name_of(role)}") as connection:
        for statement in STATEMENTS:
            if statement.startswith("ALTER SYSTEM"):
                continue
            try:
                connection.execute(statement.encode())
                allowed.add(statement)
            except DENIED:
                pass
            finally:
                connection.rollback()
        connection.autocommit = True
        with pytest.raises(DENIED):
            connection.execute("ALTER SYSTEM SET fsync = off")
    assert allowed == {s for s, who in STATEMENTS.items() if role in who}


@pytest.mark.parametrize("role", roles.READ_ONLY)
def test_readers_begin_read_only(filled: str, role: roles.Role) -> None:
    with psycopg.connect(filled) as connection:
        found = connection.execute(
            "SELECT setconfig FROM pg_db_role_setting WHERE setrole = %s::regrole",
            [roles.name_of(role)],
        ).fetchone()
    assert found == (["default_transaction_read_only=on"],)


def test_a_table_made_later_is_closed_until_it_is_named(filled: str) -> None:
    with psycopg.connect(filled) as connection:
        connection.execute("CREATE TABLE intake.later (n int)")
        connection.execute("GRANT SELECT ON intake.later TO acme_finance")
        connection.execute("GRANT UPDATE ON intake.orders TO acme_gateway")
    migrate(filled)
    with psycopg.connect(filled) as connection:
        for role, table, what in (
            ("gateway", "intake.later", "SELECT"),
            ("finance", "intake.later", "SELECT"),
            ("gateway", "intake.orders", "UPDATE"),
        ):
            found = connection.execute(
                "SELECT has_table_privilege(%s, %s, %s)", [roles.name_of(role), table, what]
            ).fetchone()
            assert found == (False,)


def test_functions_of_the_inbox_are_nobodys_by_default(filled: str) -> None:
    with psycopg.connect(filled) as connection:
        public = connection.execute(
            "SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))"
            " AS a WHERE pronamespace = 'intake'::regnamespace AND a.grantee = 0"
        ).fetchall()
        definers = connection.execute(
            "SELECT proname, proconfig FROM pg_proc"
            " WHERE pronamespace = 'intake'::regnamespace AND prosecdef ORDER BY 1"
        ).fetchall()
    assert public == []
    assert {name for name, _ in definers} == set(roles.DEFINER_FUNCTIONS)
    assert all(config == ["search_path=pg_catalog, pg_temp"] for _, config in definers)


# ---- logging in ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(remove_server: Callable[[Home], None]) -> Iterator[Home]:
    """Return a home with a server of its own, migrated, with its logins."""
    folder = Path(tempfile.mkdtemp(prefix="acme-roles-"))
    folder.chmod(0o755)
    home = Home(folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ACME_POSTGRES_URL", raising=False)
        url = postgres.start(home)
        migrate(url)
        roles.give_logins(home, url)
        roles.give_logins(home, url)
        yield home
        remove_server(home)


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_of_the_embedded_server_logs_in_by_its_password(
    embedded: Home, role: roles.Role
) -> None:
    url = roles.role_url(embedded, role)
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT current_user, current_setting('is_superuser'),"
            " current_setting('default_transaction_read_only')"
        ).fetchone()
    read_only = "on" if role in roles.READ_ONLY else "off"
    assert found == (roles.name_of(role), "off", read_only)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(url, password="no")


def test_passwords_are_closed_to_others_and_in_no_log(embedded: Home) -> None:
    assert stat.S_IMODE(embedded.postgres_roles.stat().st_mode) == 0o600
    passwords = json.loads(embedded.postgres_roles.read_bytes())
    folder = postgres.status(embedded).folder
    assert folder is not None
    log = (folder / "postgres.log").read_text()
    assert len(set(passwords.values())) == len(roles.ROLES)
    assert not any(password in log for password in passwords.values())


def test_before_init_there_is_no_password(
    tmp_path: Path, embedded: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "url", lambda home: "postgresql://acme@127.0.0.1:1/acme")
    with pytest.raises(roles.RoleError, match="run `acme init`"):
        roles.role_url(Home(tmp_path), "gateway")


def test_of_an_external_server_the_role_is_taken_on_or_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: str
) -> None:
    monkeypatch.setenv("ACME_POSTGRES_URL", filled)
    taken = roles.role_url(Home(tmp_path), "finance")
    with psycopg.connect(taken) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("acme_finance",)
    monkeypatch.setenv("ACME_FINANCE_POSTGRES_URL", "postgresql://reader@db/acme")
    given = conninfo_to_dict(roles.role_url(Home(tmp_path), "finance"))
    assert (given["user"], given["host"]) == ("reader", "db")
