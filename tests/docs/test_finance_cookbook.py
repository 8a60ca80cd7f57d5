"""docs/finance-cookbook.md is true: psql as finance and a plain DuckDB give its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from documents import blocks, section
from test_interfaces import Reader, reader

from acme.lakehouse import postgres

__all__ = ["reader"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/finance-cookbook.md").read_text("utf-8")
WORLD = "acme demo --pots 40 --to 2020-06-11"
DEMO_SECONDS_MAX = 3_600
DUCKDB = """
import csv, sys, duckdb
file, nowhere = sys.argv[1:]
connection = duckdb.connect(file, read_only=True, config={
    "extension_directory": nowhere, "autoinstall_known_extensions": False,
    "autoload_known_extensions": False})
result = connection.execute(sys.stdin.read())
writer = csv.writer(sys.stdout, lineterminator="\\n")
writer.writerow([column[0] for column in result.description])
for row in result.fetchall():
    writer.writerow(["tf"[not v] if isinstance(v, bool) else v for v in row])
"""


def questions() -> list[tuple[str, str]]:
    """Return each query of the page with the answer below it."""
    found = blocks(section(PAGE, "The questions"))
    assert {(q.kind, a.kind) for q, a in zip(found[::2], found[1::2], strict=True)} == {
        ("sql", "csv")
    }
    return [(q.text, a.text) for q, a in zip(found[::2], found[1::2], strict=True)]


def psql(reader: Reader, query: str) -> subprocess.CompletedProcess[str]:
    """Ask Postgres as the role finance, by its own client."""
    url = reader.shell(0, "acme marts url").decode().strip()
    return subprocess.run(
        [str(postgres.tool("psql")), url, "--csv", "--no-psqlrc", "-v", "ON_ERROR_STOP=1"],
        input=query,
        capture_output=True,
        text=True,
        check=False,
    )


def plain_duckdb(reader: Reader, query: str) -> subprocess.CompletedProcess[str]:
    """Ask DuckDB in a process that has nothing of ours and no extension."""
    return subprocess.run(
        [sys.executable, "-I", "-c", DUCKDB, reader.home.marts, reader.work],
        input=query,
        env={"PATH": "/usr/bin:/bin", "HOME": str(reader.work)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_there_are_ten_questions_on_one_world() -> None:
    assert len(questions()) == 10
    assert f"`{WORLD}`" in PAGE


@pytest.mark.slow
def test_both_clients_give_every_figure_and_may_not_write(reader: Reader) -> None:
    subprocess.run(
        ["bash", "-c", WORLD],
        cwd=reader.work,
        env=reader.environment,
        capture_output=True,
        timeout=DEMO_SECONDS_MAX,
        check=True,
    )
    for query, answer in questions():
        for ask in (psql, plain_duckdb):
            told = ask(reader, query)
            assert (told.stdout, told.returncode) == (answer, 0), (query, told.stderr)
    for ask in (psql, plain_duckdb):
        told = ask(reader, "delete from marts.trades")
        assert told.returncode != 0
        assert "permission denied" in told.stderr or "read-only" in told.stderr
    # Every date once more, from nothing, on both engines: equal, and the same.
    rebuilt = json.loads(reader.shell(0, "acme marts build --all --json"))
    assert len(rebuilt["dates"]) == 9
    query, answer = questions()[2]
    assert plain_duckdb(reader, query).stdout == answer
    page = reader.shell(0, "acme marts page --date 2020-06-05").decode().strip()
    assert Path(page) == reader.home.reports / "2020-06-05" / "marts.html"
