"""Who reads while marts are served sees all of a publication or nothing of it, on both engines."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import duckdb
import psycopg
import pytest

from acme.lakehouse.home import Home
from acme.operations.marts import serving
from acme.operations.marts.models import marts

PUBLICATIONS, READS = 20, 1000
FIRST = date(2024, 1, 1)
# One read asks every mart for its newest date and its number of dates, in one statement.
READ = " UNION ALL ".join(
    f"SELECT '{mart.name}' AS mart, max(run_date), count(DISTINCT run_date) FROM {{0}}{mart.name}"
    for mart in marts()
)
DUCKDB_READER = """
import os, sys, duckdb
file, stop, query = sys.argv[1:]
while not os.path.exists(stop):
    with duckdb.connect(file, read_only=True, config={"threads": 1}) as connection:
        # A slow read would draw one among the answers.
        connection.execute("SET enable_progress_bar = false")
        rows = connection.execute(query).fetchall()
    print(len({row[1:] for row in rows}), rows[0][1], rows[0][2], flush=True)
"""
POSTGRES_READER = """
import os, sys, psycopg
url, stop, query = sys.argv[1:]
with psycopg.connect(url, autocommit=True) as connection:
    while not os.path.exists(stop):
        rows = connection.execute(query).fetchall()
        print(len({row[1:] for row in rows}), rows[0][1], rows[0][2], flush=True)
"""


def value_of(sql_type: str) -> str:
    """Return a literal of a type, as both engines know it."""
    if sql_type.startswith(("decimal", "bigint")):
        return "1"
    return {"date": "date '2024-01-01'", "boolean": "true"}.get(
        sql_type, "timestamp '2024-01-01 12:00:00'" if sql_type == "timestamp" else "'x'"
    )


def make_next(execute, database: str, day: date, rows: int) -> None:
    """Build marts of a date beside what is served, as dbt would; every mart has `rows` rows."""
    for mart in marts():
        table = f"{database}.{mart.name}"
        columns = ", ".join(
            f"{c.name} {c.sql_type}{'' if c.nullable else ' not null'}" for c in mart.columns
        )
        execute(f"DROP TABLE IF EXISTS {table}")
        execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({', '.join(mart.key)}))")
        last = mart.key[-1]
        numbered = next(c for c in mart.columns if c.name == last).sql_type == "varchar"
        for number in range(rows if numbered else 1):
            values = ", ".join(
                f"date '{day}'"
                if c.name == "run_date"
                else f"'x{number}'"
                if c.name == last
                else value_of(c.sql_type)
                for c in mart.columns
            )
            execute(f"INSERT INTO {table} VALUES ({values})")


def read_while_publishing(
    program: str, source: object, query: str, folder: Path, publish: Callable[[date], None]
) -> list[list[str]]:
    """Publish so many times while a process reads on and on; what every read saw.

    Some reads lie between two publications, so that each of them is seen.
    """
    stop = folder / "stop"
    command = [sys.executable, "-c", program, str(source), str(stop), query]
    seen: list[list[str]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout
        reader = threading.Thread(target=lambda: seen.extend(line.split() for line in lines))
        reader.start()
        for number in range(1, PUBLICATIONS + 1):
            await_reads(process, seen, len(seen) + READS // PUBLICATIONS)
            publish(FIRST + timedelta(days=number))
        await_reads(process, seen, max(READS, len(seen) + READS // PUBLICATIONS))
        stop.touch()
        reader.join()
    stop.unlink()
    assert process.returncode == 0
    return seen


def await_reads(process: subprocess.Popen[str], seen: list[list[str]], wanted: int) -> None:
    while len(seen) < wanted:
        assert process.poll() is None, "the reader has stopped"
        time.sleep(0.01)


def assert_all_or_nothing(seen: list[list[str]]) -> None:
    assert len(seen) >= READS
    assert {kinds for kinds, _, _ in seen} == {"1"}, "a read saw two publications mixed"
    newest = [day for _, day, _ in seen]
    assert newest == sorted(newest)
    # Each publication is there once: n dates after n of them.
    assert all(
        date.fromisoformat(day) == FIRST + timedelta(days=int(dates) - 1) for _, day, dates in seen
    )
    assert len(set(newest)) == PUBLICATIONS + 1


@pytest.mark.slow
def test_duckdb_is_replaced_under_its_readers(tmp_path: Path) -> None:
    platform = SimpleNamespace(home=Home(tmp_path))
    with duckdb.connect() as connection:

        def publish(day: date) -> None:
            connection.execute("ATTACH ':memory:' AS marts_next")
            make_next(connection.execute, "marts_next.main", day, 5)
            serving.serve_duckdb(platform, connection, marts(), [day], anew=False)  # type: ignore[arg-type]
            connection.execute("DETACH marts_next")

        publish(FIRST)
        file = platform.home.marts
        query = READ.format("")
        assert_all_or_nothing(read_while_publishing(DUCKDB_READER, file, query, tmp_path, publish))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["marts.duckdb"]


@pytest.mark.slow
def test_postgres_switches_in_one_transaction(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA marts_next")

        def publish(day: date) -> None:
            make_next(connection.execute, "marts_next", day, 5)
            serving.serve_postgres(connection, marts(), [day])

        publish(FIRST)
        query = READ.format("marts.")
        assert_all_or_nothing(
            read_while_publishing(POSTGRES_READER, database, query, tmp_path, publish)
        )


def test_a_read_that_sees_two_publications_is_noticed() -> None:
    every = [(FIRST + timedelta(days=n), str(n + 1)) for n in range(PUBLICATIONS + 1)]
    seen = [["1", str(day), dates] for day, dates in every for _ in range(READS)]
    assert_all_or_nothing(seen)
    with pytest.raises(AssertionError, match="mixed"):
        assert_all_or_nothing([*seen, ["2", *seen[-1][1:]]])
