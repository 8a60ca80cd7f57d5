"""A question in SQL over what is published: one that reads, of the lake alone, of proven bytes.

The session is that of `acme.evidence.times`. A question may do nothing but read; DuckDB's own
access to files is narrowed to the lake, and every partition of the tables it scans is held
against its SHA-256 before it is answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final

import duckdb

from acme.evidence.times import session
from acme.lakehouse.lake import Partition
from acme.lakehouse.platform import Platform

READING: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_SCAN: Final = "DUCKLAKE_SCAN"


class QueryError(Exception):
    """A question that is none, or that would do more than read."""


def query(
    platform: Platform, text: str, known_at: datetime | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Answer one question; column names and rows.

    Raises QueryError for what is not one statement that reads, `PartitionDamagedError` where a
    partition of a table it scans is not what was written, `duckdb.Error` for what DuckDB refuses.
    """
    statement = _one_that_reads(text)
    with session(platform, known_at) as connection:
        _lake_alone(platform, connection)
        try:
            if statement.type == duckdb.StatementType.SELECT:
                _prove(platform, _scanned(connection, text))
            result = connection.execute(text)
            return [column[0] for column in result.description or []], result.fetchall()
        except RuntimeError as error:
            if "interrupted" in str(error).lower():
                raise KeyboardInterrupt from error
            raise


def _one_that_reads(text: str) -> duckdb.Statement:
    statements = duckdb.extract_statements(text)
    if len(statements) != 1:
        raise QueryError(f"expected one statement, got {len(statements) or 'none'}")
    if statements[0].type not in READING:
        kind = statements[0].type.name
        raise QueryError(f"expected a statement that reads, got {kind}: this is read-only")
    return statements[0]


def _lake_alone(platform: Platform, connection: duckdb.DuckDBPyConnection) -> None:
    folder = str(platform.home.lake).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{folder}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _scanned(connection: duckdb.DuckDBPyConnection, text: str) -> set[str]:
    """Return the names, without schema, of the tables of the lake that a question scans."""
    plan = connection.execute(f"EXPLAIN (FORMAT json) {text}").fetchall()
    return {name for node in _nodes(json.loads(plan[0][1])) if (name := _table(node))}


def _nodes(plan: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in plan:
        yield node
        yield from _nodes(node.get("children", []))


def _table(node: dict[str, Any]) -> str:
    if str(node.get("name", "")).strip() != _SCAN:
        return ""
    return str(node["extra_info"]["Table"]).rpartition(".")[2]


def _prove(platform: Platform, tables: set[str]) -> None:
    """Hold every published partition of the tables against its SHA-256."""
    for run_date, dataset, partition in _partitions(platform, tables):
        platform.lake.verified_file(run_date, dataset, partition)


def _partitions(platform: Platform, tables: set[str]) -> list[tuple[date, str, Partition]]:
    with platform.control.transaction() as cursor:
        rows = cursor.execute(
            "SELECT p.run_date, p.dataset, p.rows, p.file_sha256 FROM control.partitions AS p"
            " JOIN control.publications AS done USING (run_date)"
            " WHERE split_part(p.dataset, '.', 2) = ANY(%s) ORDER BY p.run_date, p.dataset",
            [sorted(tables)],
        ).fetchall()
    return [(day, dataset, Partition(count, sha256)) for day, dataset, count, sha256 in rows]
