"""Puts compared marts where finance reads them: schema `marts`, and the file `marts.duckdb`.

Rows of the dates that were built replace those that were there, all marts at once: in Postgres in
one transaction, in DuckDB by a new file that takes the old one's name. A reader sees all of it or
nothing; who has the old file open goes on reading it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final

import duckdb
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from acme.lakehouse.files import naming, replace_atomic
from acme.lakehouse.platform import Platform
from acme.operations.marts.inputs import MartsError
from acme.operations.marts.models import Mart

SCHEMA: Final = "marts"
NEXT: Final = "marts_next"
# Nobody writes to the file in place, not even we.
FILE_MODE: Final = 0o444


def served_by_postgres(connection: Connection[TupleRow]) -> set[date]:
    """Return the dates that schema `marts` holds."""
    found = connection.execute("SELECT to_regclass('marts.published')").fetchone()
    if found is None or found[0] is None:
        return set()
    return {day for (day,) in connection.execute("SELECT run_date FROM marts.published").fetchall()}


def served_by_duckdb(path: Path) -> set[date]:
    """Return the dates that the file of marts holds; `MartsError` where it cannot be read."""
    if not path.exists():
        return set()
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute("SELECT run_date FROM published").fetchall()
    except duckdb.Error as error:
        raise MartsError(
            f"{path}: cannot be read ({error}); `acme marts build --all` makes it anew"
        ) from error
    return {day for (day,) in rows}


# ---- Postgres -----------------------------------------------------------------------------------


def serve_postgres(
    connection: Connection[TupleRow], marts: Sequence[Mart], dates: Sequence[date]
) -> None:
    """Replace the rows of `dates` in every mart by those of `marts_next`, in one transaction.

    A mart whose columns have changed is made anew and holds `dates` alone.
    """
    with connection.transaction():
        for mart in marts:
            if not _same_columns(connection, mart.name):
                _make(connection, mart)
            served, built = sql.Identifier(SCHEMA, mart.name), sql.Identifier(NEXT, mart.name)
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE run_date = ANY (%s)").format(served), [list(dates)]
            )
            names = sql.SQL(", ").join(sql.Identifier(c.name) for c in mart.columns)
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(served, names, names, built)
            )


def _same_columns(connection: Connection[TupleRow], name: str) -> bool:
    rows = connection.execute(
        "SELECT attrelid::regclass::text LIKE %s, attname, format_type(atttypid, atttypmod),"
        " attnotnull FROM pg_attribute"
        " WHERE attrelid IN (to_regclass(%s), to_regclass(%s)) AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
        [f"{NEXT}.%", f"{SCHEMA}.{name}", f"{NEXT}.{name}"],
    ).fetchall()
    return [r[1:] for r in rows if r[0]] == [r[1:] for r in rows if not r[0]]


def _make(connection: Connection[TupleRow], mart: Mart) -> None:
    table = sql.Identifier(SCHEMA, mart.name)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    connection.execute(
        sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
            table, sql.Identifier(NEXT, mart.name)
        )
    )
    connection.execute(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(mart.description))
    )
    for column in mart.columns:
        connection.execute(
            sql.SQL("COMMENT ON COLUMN {} IS {}").format(
                sql.Identifier(SCHEMA, mart.name, column.name), sql.Literal(column.description)
            )
        )


# ---- DuckDB -------------------------------------------------------------------------------------


def serve_duckdb(
    platform: Platform, cursor: Any, marts: Sequence[Mart], dates: Sequence[date], *, anew: bool
) -> None:
    """Replace `marts.duckdb` by a file in which `dates` are those of `marts_next`.

    `cursor` is on dbt's database. `anew` leaves out what the old file holds. The new file needs no
    extension; a failure leaves the old one as it was.
    """
    path = platform.home.marts
    with naming(path), _copy(path, anew=anew) as copy:
        cursor.execute(f"ATTACH '{_quoted(copy)}' AS marts_file")
        try:
            cursor.execute("BEGIN")
            for mart in marts:
                _apply(cursor, mart, dates)
            cursor.execute("COMMIT")
            cursor.execute("CHECKPOINT marts_file")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                cursor.execute("ROLLBACK")
            raise
        finally:
            cursor.execute("DETACH marts_file")
        copy.chmod(FILE_MODE)
        # Left by a client that wrote to the old file; it must never be taken for the new one's.
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        replace_atomic(copy, path)


@contextmanager
def _copy(path: Path, *, anew: bool) -> Iterator[Path]:
    """Lend a writable copy of a file beside it, removed where it did not take its place."""
    copy = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if path.exists() and not anew:
            shutil.copyfile(path, copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)
        copy.with_name(f"{copy.name}.wal").unlink(missing_ok=True)


def _apply(cursor: Any, mart: Mart, dates: Sequence[date]) -> None:
    built, served = f"marts_next.main.{mart.name}", f"marts_file.main.{mart.name}"
    wanted = [(c.name, c.sql_type.upper(), c.nullable) for c in mart.columns]
    found = cursor.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns()"
        " WHERE database_name = 'marts_file' AND table_name = ? ORDER BY column_index",
        [mart.name],
    ).fetchall()
    if [tuple(row) for row in found] != [(n, t.replace(", ", ","), e) for n, t, e in wanted]:
        lines = [f"{n} {t}{'' if e else ' NOT NULL'}" for n, t, e in wanted]
        cursor.execute(f"CREATE OR REPLACE TABLE {served} ({', '.join(lines)})")
        cursor.execute(f"COMMENT ON TABLE {served} IS '{_quoted(mart.description)}'")
        for column in mart.columns:
            cursor.execute(
                f"COMMENT ON COLUMN {served}.{column.name} IS '{_quoted(column.description)}'"
            )
    else:
        listed = ", ".join(f"DATE '{day}'" for day in dates)
        cursor.execute(f"DELETE FROM {served} WHERE run_date IN ({listed})")
    names = ", ".join(column.name for column in mart.columns)
    # In key order, so that the same rows make the same blocks.
    cursor.execute(
        f"INSERT INTO {served} ({names}) SELECT {names} FROM {built} ORDER BY {', '.join(mart.key)}"
    )


def _quoted(text: object) -> str:
    return str(text).replace("'", "''")
