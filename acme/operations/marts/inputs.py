"""What the marts of published dates are built from, given to both engines from verified files.

DuckDB reads the lake itself; here its files are verified, and the catalog is held against the
manifest. Postgres cannot read the lake: there the same partitions are loaded by COPY, for the
dates that are built and no longer than until the next ones are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import polars as pl
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from acme.lakehouse.contracts import Contract
from acme.lakehouse.lake import Partition, dataset_contract
from acme.lakehouse.platform import Platform

SCHEMA_PREFIX: Final = "marts_input_"
# Never leaves the lake: no mart needs to know who a member is.
PERSONAL: Final = "personal"
# CSV as COPY reads it: an instant with its offset, null unquoted, an empty text quoted.
_INSTANT: Final = "%Y-%m-%dT%H:%M:%S%.6f%:z"
_PUBLICATIONS: Final = pl.Schema(
    {"run_date": pl.Date(), "published_at": pl.Datetime("us"), "known_at": pl.Datetime("us")}
)
_PARTITIONS: Final = pl.Schema(
    {
        "run_date": pl.Date(),
        "dataset": pl.String(),
        "process": pl.String(),
        "row_count": pl.Int64(),
        "size_bytes": pl.Int64(),
        "written_at": pl.Datetime("us"),
    }
)
_PLATFORM_TYPES: Final = {
    pl.Date(): "date",
    pl.Datetime("us"): "timestamp",
    pl.String(): "text",
    pl.Int64(): "bigint",
}


class MartsError(Exception):
    """Marts cannot be built or served; the text says of which dates, and what to do."""


@dataclass(frozen=True)
class Facts:
    """What the platform knows of the dates besides their tables: `platform` in dbt's sources."""

    publications: pl.DataFrame
    partitions: pl.DataFrame

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the frames by the names of their tables."""
        return {"publications": self.publications, "partitions": self.partitions}


def facts(platform: Platform, dates: Sequence[date]) -> Facts:
    """Return what the control schema says of published dates, and the sizes of their files."""
    with platform.control.transaction() as cursor:
        published = cursor.execute(
            "SELECT run_date, published_at AT TIME ZONE 'UTC', known_at AT TIME ZONE 'UTC'"
            " FROM control.publications JOIN control.runs USING (run_date)"
            " WHERE run_date = ANY (%s) ORDER BY run_date",
            [list(dates)],
        ).fetchall()
        written = cursor.execute(
            "SELECT run_date, dataset, process, rows, file_sha256, written_at AT TIME ZONE 'UTC'"
            " FROM control.partitions WHERE run_date = ANY (%s) ORDER BY run_date, dataset",
            [list(dates)],
        ).fetchall()
    if missing := set(dates) - {row[0] for row in published}:
        raise MartsError(f"{min(missing)} is not published: marts show published dates alone")
    partitions = [
        (day, dataset, process, rows, _size(platform, day, dataset, Partition(rows, sha)), at)
        for day, dataset, process, rows, sha, at in written
    ]
    return Facts(
        pl.DataFrame(published, schema=_PUBLICATIONS, orient="row"),
        pl.DataFrame(partitions, schema=_PARTITIONS, orient="row"),
    )


def _size(platform: Platform, day: date, dataset: str, partition: Partition) -> int:
    return platform.lake.path(day, dataset, partition).stat().st_size if partition.rows else 0


# ---- DuckDB -------------------------------------------------------------------------------------


def give_lake(
    platform: Platform, cursor: Any, dates: Sequence[date], datasets: Sequence[str], known: Facts
) -> None:
    """Verify the files that DuckDB is about to read, and hand it the facts as `platform`.

    `cursor` is on dbt's database, with the lake attached. Raises `PartitionDamagedError`, or
    `MartsError` where the catalog names other files than the manifest.
    """
    for day in dates:
        platform.lake.verify(day, datasets)
    # Nothing of an earlier build is left: dbt makes every table new.
    cursor.execute("DETACH marts_next")
    cursor.execute("ATTACH ':memory:' AS marts_next")
    _require_same_files(platform, cursor, dates, datasets)
    cursor.execute("CREATE SCHEMA marts_next.platform")
    for name, frame in known.tables().items():
        cursor.register("arriving_facts", frame.to_arrow())
        cursor.execute(f"CREATE TABLE marts_next.platform.{name} AS FROM arriving_facts")
        cursor.unregister("arriving_facts")


def _require_same_files(
    platform: Platform, cursor: Any, dates: Sequence[date], datasets: Sequence[str]
) -> None:
    manifests = {day: platform.lake.manifest(day) for day in dates}
    folders = {f"run_date={day}" for day in dates}
    for dataset in datasets:
        schema, name = dataset.split(".")
        cursor.execute(
            "SELECT data_file FROM ducklake_list_files('lake', ?, schema => ?)", [name, schema]
        )
        listed = {file for (file,) in cursor.fetchall() if file.split("/")[-2] in folders}
        expected = set()
        for day in dates:
            partition = manifests[day].get(dataset)
            if partition is None:
                raise MartsError(f"{dataset} of {day} was never written: run the date again")
            if partition.rows:
                expected.add(str(platform.lake.path(day, dataset, partition)))
        if listed != expected:
            odd = sorted(file.split("/")[-2] for file in listed ^ expected)
            raise MartsError(
                f"{dataset}: the lake's catalog names other files than the manifest: {odd[0]};"
                " run the date again"
            )


# ---- Postgres -----------------------------------------------------------------------------------


def give_warehouse(
    platform: Platform,
    connection: Connection[TupleRow],
    dates: Sequence[date],
    datasets: Sequence[str],
    known: Facts,
) -> None:
    """Load the verified partitions and the facts into Postgres, in one transaction.

    They replace what an earlier build had loaded, and nothing of what it made is left. Raises
    `PartitionDamagedError`.
    """
    with connection.transaction():
        connection.execute("DROP SCHEMA IF EXISTS marts_next CASCADE")
        for dataset in datasets:
            contract = dataset_contract(dataset)
            columns = {c.name: _postgres_type(c.sql_type) for c in _columns(contract)}
            table = _fresh_table(connection, contract.schema_name, contract.name, columns)
            for day in dates:
                frame = platform.lake.read(day, [dataset])[dataset].select(list(columns))
                _copy(connection, table, frame)
            # Without its statistics the planner takes a full table for an empty one.
            connection.execute(sql.SQL("ANALYZE {}").format(table))
        for name, frame in known.tables().items():
            columns = {c: _PLATFORM_TYPES[dtype] for c, dtype in frame.schema.items()}
            table = _fresh_table(connection, "platform", name, columns)
            _copy(connection, table, frame)
            connection.execute(sql.SQL("ANALYZE {}").format(table))


def _columns(contract: Contract) -> list[Any]:
    return [c for c in contract.columns if c.classification != PERSONAL]


def _postgres_type(sql_type: str) -> str:
    # Text is compared by its bytes, as in DuckDB.
    return 'text COLLATE "C"' if sql_type == "VARCHAR" else sql_type


def _fresh_table(
    connection: Connection[TupleRow], schema: str, name: str, columns: dict[str, str]
) -> sql.Identifier:
    """Return an empty table of these columns; views on one that is there keep standing."""
    schema = f"{SCHEMA_PREFIX}{schema}"
    table = sql.Identifier(schema, name)
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, name],
    ).fetchall()
    if [column for (column,) in found] == list(columns):
        connection.execute(sql.SQL("TRUNCATE {}").format(table))
        return table
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(table))
    lines = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))
        for column, kind in columns.items()
    ]
    # Not logged: whatever a crash takes is loaded again by the next build.
    connection.execute(
        sql.SQL("CREATE UNLOGGED TABLE {} ({})").format(table, sql.SQL(", ").join(lines))
    )
    return table


def _copy(connection: Connection[TupleRow], table: sql.Identifier, frame: pl.DataFrame) -> None:
    if frame.is_empty():
        return
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for rows in frame.iter_slices(100_000):
            copy.write(_csv(rows))


def _csv(frame: pl.DataFrame) -> bytes:
    """Return rows as CSV; null is nothing, and an empty text is a pair of quotes."""
    zoned = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone]
    plain = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and not t.time_zone]
    return (
        frame.with_columns(
            [pl.col(n).dt.to_string(_INSTANT) for n in zoned]
            + [pl.col(n).dt.to_string("%Y-%m-%dT%H:%M:%S%.6f") for n in plain]
        )
        .write_csv(include_header=False)
        .encode()
    )
