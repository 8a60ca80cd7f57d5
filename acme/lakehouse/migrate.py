"""Brings a database to the newest step, with its roles, and derives driver URLs."""

from pathlib import Path
from typing import Literal

import psycopg
from alembic import command
from alembic.config import Config
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from acme.lakehouse import roles

Driver = Literal["psycopg", "psycopg2"]

# Serialises migrations of one database; the number is arbitrary, and ours alone.
_MIGRATION_LOCK = 4_113_501


def migrate(url: str) -> None:
    """Run the missing steps on the database of libpq URL `url`, in one transaction.

    No effect on an up-to-date database; of several at once, one works and the others wait.
    """
    config = Config()
    # Alembic reads `%` in an option as a reference to another option.
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    # libpq itself reads the URL: every form it knows works, and no password is quoted twice.
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool
    )
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS control"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError(f"expected a connection of psycopg, got {type(driver)}")
        roles.apply(driver)


def sqlalchemy_url(url: str, driver: Driver) -> str:
    """The SQLAlchemy URL of a libpq URL or connection string, with `driver` named and all quoted.

    `psycopg2` is what Dagster's storage and Great Expectations use. Raises psycopg.Error if
    `url` is not a libpq URL, ValueError if it names several hosts.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    host = parts.pop("host", None)
    port = parts.pop("port", None)
    if "," in f"{host}{port}":
        raise ValueError("ACME_POSTGRES_URL: expected one host, got several")
    if host is not None and host.startswith("/"):
        # A socket folder is no host name in a URL.
        parts["host"] = host
        host = None
        if port is not None:
            parts["port"] = port
            port = None
    derived = URL.create(
        f"postgresql+{driver}",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        host=host,
        port=None if port is None else int(port),
        database=parts.pop("dbname", None),
        query=parts,
    )
    return derived.render_as_string(hide_password=False)
