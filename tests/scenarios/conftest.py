"""Installations for scenarios: one of its own for a test, or one for a module's whole history."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.scenarios.driver import History, Scenario

VARIABLES = ("ACME_HOME", "ACME_CLOCK", "ACME_POSTGRES_URL", "ACME_RUN_WAIT_SECONDS")


@pytest.fixture
def scenario(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """Return an empty installation on a database of its own."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    opened = Scenario(tmp_path / "home", database)
    yield opened
    opened.close()


@pytest.fixture
def whole(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """Return an empty installation with DuckLake and the second engine."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    opened = Scenario(tmp_path / "home", database, catalog=True)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    template_database: str,
) -> Iterator[Scenario]:
    """Return the installation in which the module's `history` has been played."""
    history: History = request.module.history
    with pytest.MonkeyPatch.context() as patch, copy_of(postgres_url, template_database) as url:
        for name in VARIABLES:
            patch.setenv(name, "")
        opened = Scenario(tmp_path_factory.mktemp("history") / "home", url)
        yield history.play(opened)
        opened.close()


@contextmanager
def copy_of(server: str, template: str) -> Iterator[str]:
    """Yield the URL of a copy of a database."""
    name = f"history_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))
