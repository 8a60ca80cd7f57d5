"""`acme keys`: who may send orders, said on the shell."""

import hashlib
import json
from pathlib import Path

import psycopg
import pytest

from acme.lakehouse.home import Home
from tests.cli.told import Acme
from tests.gateway.conftest import install


@pytest.fixture
def installed(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ACME_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ACME_POSTGRES_URL", database)
    monkeypatch.delenv("ACME_CLOCK", raising=False)
    install(Home(tmp_path / "home"), database)
    return database


def test_a_key_is_made_shown_once_exchanged_and_revoked(acme: Acme, installed: str) -> None:
    assert acme("keys", "source", "add", "EMP").out == "source EMP: made\n"
    assert acme("keys", "source", "add", "EMP").out == "source EMP: there already\n"
    made = acme(
        *("keys", "create", "EMP", "--scope", "read", "--scope", "submit", "--label", "payroll"),
        *("--days", 30, "--json"),
    )
    assert made.code == 0
    key = json.loads(made.out)
    secret = key["key"].split("_", 2)[2]
    with psycopg.connect(installed) as connection:
        stored = connection.execute(
            "SELECT key_id, secret_sha256, scopes, label,"
            " round(extract(epoch FROM expires_at - created_at) / 86400) FROM intake.api_keys"
        ).fetchall()
    digest = hashlib.sha256(secret.encode()).digest()
    assert stored == [(key["key_id"], digest, ["submit", "read"], "payroll", 30)]
    listed = acme("keys", "list", "--json")
    assert secret not in listed.out
    assert [k["state"] for k in json.loads(listed.out)] == ["valid"]
    assert key["key_id"] in acme("keys", "list").out

    next_key = acme("keys", "rotate", key["key_id"], "--overlap", "12h", "--json")
    new_id = json.loads(next_key.out)["key_id"]
    states = {k["key_id"]: k for k in json.loads(acme("keys", "list", "--json").out)}
    assert {k["state"] for k in states.values()} == {"valid"}
    assert states[new_id]["scopes"] == ["submit", "read"]
    assert states[new_id]["expires_at"] is None
    with psycopg.connect(installed) as connection:
        left = connection.execute(
            "SELECT expires_at < now() + interval '13 hours' FROM intake.api_keys"
            " WHERE key_id = %s",
            [key["key_id"]],
        ).fetchone()
    assert left == (True,)
    assert acme("keys", "revoke", new_id).out == f"key {new_id}: revoked\n"
    assert acme("keys", "revoke", new_id).out == f"key {new_id}: was revoked already\n"
    gone = acme("keys", "rotate", new_id)
    assert (gone.code, "is revoked" in gone.err) == (1, True)


def test_pots_are_granted_all_or_none(acme: Acme, installed: str, tmp_path: Path) -> None:
    acme("keys", "source", "add", "EMP")
    assert acme("keys", "grant", "EMP", "P1", "P2", "P1").out == "source EMP: 2 pots more\n"
    file = tmp_path / "pots.txt"
    file.write_text("P2\r\nP3\n\nP4")
    assert acme("keys", "grant", "EMP", "--file", file).out == "source EMP: 2 pots more\n"
    file.write_text("P5\nbad\x01\n")
    told = acme("keys", "grant", "EMP", "--file", file)
    assert (told.code, "pot 2: expected 1 to 200 characters" in told.err) == (1, True)
    with psycopg.connect(installed) as connection:
        pots = connection.execute(
            "SELECT array_agg(pot_id ORDER BY pot_id) FROM intake.source_pots"
        ).fetchone()
    assert pots == (["P1", "P2", "P3", "P4"],)


def test_a_grant_of_pots_that_nobody_knows_says_so(acme: Acme, installed: str) -> None:
    acme("keys", "source", "add", "EMP")
    with psycopg.connect(installed) as connection:
        # Landed twice: it changed its risk profile. And what is no pot has the name of one.
        connection.execute(
            "INSERT INTO control.reference_keys (kind, key, sequence, detail) VALUES"
            " ('pot', 'P1', 1, '{}'), ('pot', 'P1', 2, '{}'), ('asset', 'P2', 3, '{}')"
        )
    known = acme("keys", "grant", "EMP", "P1")
    assert (known.out, known.err) == ("source EMP: 1 pots more\n", "")
    told = acme("keys", "grant", "EMP", "P1", "P2", "P3", "P3")
    assert (told.code, told.out) == (0, "source EMP: 2 pots more\n")
    assert told.err == "granted, but landed by no file yet: 2 pots (P2, P3)\n"
    many = acme("keys", "grant", "EMP", *[f"X{n}" for n in range(7)])
    assert many.err == "granted, but landed by no file yet: 7 pots (X0, X1, X2, X3, X4, …)\n"
    with psycopg.connect(installed) as connection:
        count = connection.execute("SELECT count(*) FROM intake.source_pots").fetchone()
    assert count == (10,)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("source", "add", ""), 1, "expected 1 to 200 characters"),
        (("source", "add", "a\nb"), 1, "none of them a control character"),
        (("source", "add", "rebalancing"), 1, "of the platform's own orders"),
        (("source", "add", "EMP", "--all-pots"), 1, "there already, with the pots it is granted"),
        (("grant", "EMP"), 2, "expected either pots or --file"),
        (("grant", "NOBODY", "P"), 1, "there is no source 'NOBODY'"),
        (("create", "NOBODY", "--scope", "read"), 1, "there is no source 'NOBODY'"),
        (("create", "EMP"), 2, "Missing option '--scope'"),
        (("create", "EMP", "--scope", "write"), 2, "'submit', 'read', 'compliance'"),
        (("create", "EMP", "--scope", "read", "--days", "0"), 2, "0 is not in the range"),
        (("rotate", "acme_0_secret"), 1, "expected the id of a key"),
        (("rotate", "x", "--overlap", "soon"), 2, "expected a length as 7d"),
        (("revoke", "x"), 1, "expected the id of a key"),
    ],
)
def test_errors_name_what_was_expected(
    acme: Acme, installed: str, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    acme("keys", "source", "add", "EMP")
    told = acme("keys", *arguments)
    assert told.code == code
    assert expected in told.err
    assert "secret" not in told.err
