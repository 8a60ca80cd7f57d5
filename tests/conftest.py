"""Fixtures of all tests: one embedded Postgres per session (and worker), databases made from it."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from acme.lakehouse.migrate import migrate


@pytest.fixture(scope="session")
def remove_server() -> Callable[[Home], None]:
    """A function that stops the embedded server of a home and deletes its data, wherever it is."""
    return _remove_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The libpq URL of a server for the session; nothing in it survives a power cut."""
    if external := os.environ.get("ACME_POSTGRES_URL"):
        yield external
        return
    # Not pytest's own folder: that one is closed to the system user root needs for Postgres.
    folder = Path(tempfile.mkdtemp(prefix="acme-tests-"))
    folder.chmod(0o755)
    home = Home(folder / "home")
    try:
        url = postgres.start(home)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET synchronous_commit = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        _remove_server(home)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """The name of a migrated, empty database that others are copied from."""
    with _temporary_database(postgres_url, "template1") as url:
        migrate(url)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def database(postgres_url: str, template_database: str) -> Iterator[str]:
    """The libpq URL of a fresh migrated database, dropped after the test."""
    with _temporary_database(postgres_url, template_database) as url:
        yield url


@contextmanager
def _temporary_database(server_url: str, template: str) -> Iterator[str]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"test_{worker}_{secrets.token_hex(6)}"
    _execute(server_url, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        _execute(server_url, "DROP DATABASE {} WITH (FORCE)", name)


def _execute(server_url: str, statement: str, *names: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _remove_server(home: Home) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ACME_POSTGRES_URL", raising=False)
        postgres.stop(home)
        folder = postgres.status(home).folder
    if folder is not None:
        shutil.rmtree(folder)
