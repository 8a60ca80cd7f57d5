"""The lakehouse: writes and reads one run date's partition of a table; knows no rule.

Parquet files are named by their own SHA-256, so a file once written never changes. A write stores
the files, registers them in DuckLake in one commit, and then moves the manifest in Postgres to
them in one transaction: a crash in between leaves the old manifest, whose files are still there.
A reader takes the manifest, reads the file once, and trusts it only when its bytes have the hash
it is named by.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Protocol

import duckdb
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import Cursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from acme.lakehouse import contracts
from acme.lakehouse.connections import Connections
from acme.lakehouse.contracts import Contract
from acme.lakehouse.failpoints import reach
from acme.lakehouse.files import make_folder, naming, write_atomic
from acme.lakehouse.home import Home
from acme.lakehouse.sessions import session_name

CATALOG_SCHEMA: Final = "ducklake"
EXTENSIONS: Final = ("ducklake", "postgres_scanner")
# Large enough that a member-level table of a day is a few row groups, small enough to prune.
ROWS_PER_GROUP: Final = 500_000


class LakeError(Exception):
    """The lakehouse refuses a step."""


class PartitionMissingError(LakeError):
    """No run has written this partition."""


class PartitionDamagedError(LakeError):
    """A partition's file is absent, or its bytes are not those that were written."""


class PublishedPartitionError(LakeError):
    """A published partition would change; what was published stays (`rules §6`)."""


@dataclass(frozen=True)
class Partition:
    """One written partition: rows and the SHA-256 that names its file (no file for 0 rows)."""

    rows: int
    sha256: str


def dataset_contract(dataset: str) -> Contract:
    """Return the contract of a dataset named as `core.orders`."""
    schema, _, name = dataset.partition(".")
    return contracts.table(schema, name)


def encode(contract: Contract, frame: pl.DataFrame) -> bytes:
    """Return the Parquet bytes of a frame that keeps its contract; same rows, same bytes."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(contract.arrow_schema)
    buffer = io.BytesIO()
    pq.write_table(
        table.combine_chunks(),
        buffer,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
        write_page_checksum=True,
        store_schema=False,
    )
    return buffer.getvalue()


class Fence(Protocol):
    """What stands between a run that was overtaken and a commit; `control.RunLock` is one."""

    def check(self) -> None:
        """Raise unless the run may go on."""

    def check_in(self, cursor: Cursor[TupleRow]) -> None:
        """Raise unless the run may go on up to the end of the cursor's transaction."""


class Lake:
    """The tables of one installation. `fence` is asked before every commit and may raise."""

    def __init__(self, home: Home, url: str, fence: Fence | None = None) -> None:
        """Keep where the data and the catalog are; nothing is opened yet."""
        self.home = home
        self.url = url
        self.fence = fence
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._postgres = Connections(lambda: _connect(url))

    def close(self) -> None:
        """Let go of the catalog."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._postgres.close()

    # ---- set-up ---------------------------------------------------------------------------------

    def create(self) -> None:
        """Make every table that has a contract; those that exist stay as they are."""
        connection = self.connect()
        connection.execute("BEGIN")
        for schema in ("core", "stage"):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS lake.{schema}")
        existing = set(
            connection.execute(
                "SELECT table_schema || '.' || table_name FROM information_schema.tables"
                " WHERE table_catalog = 'lake'"
            ).fetchall()
        )
        for contract in contracts.all_tables():
            if (contract.dataset,) in existing:
                continue
            connection.execute(contract.create_table_sql())
            connection.execute(f"ALTER TABLE lake.{contract.dataset} SET PARTITIONED BY (run_date)")
        connection.execute("COMMIT")

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return the connection with the lake attached as `lake`, opening it on first use."""
        if self._connection is None:
            self._connection = open_catalog(self.home, self.url)
        return self._connection

    # ---- writing --------------------------------------------------------------------------------

    def write(
        self,
        run_date: date,
        process: str,
        tables: Mapping[str, pl.DataFrame],
        *,
        published: Mapping[str, str] | None = None,
    ) -> dict[str, Partition]:
        """Write the partition `run_date` of every dataset in `tables`, all in one commit.

        Frames come without `run_date`; their contract is enforced. A partition whose bytes are
        already there is left alone, so running again changes nothing. `published` maps datasets
        to the file hashes that were published: one that would change raises
        PublishedPartitionError and nothing is written.
        """
        written: dict[str, Partition] = {}
        contents: dict[str, bytes] = {}
        for dataset, frame in tables.items():
            contract = dataset_contract(dataset)
            dated = frame.with_columns(pl.lit(run_date, dtype=pl.Date).alias("run_date"))
            kept = contract.enforce(dated)
            contents[dataset] = encode(contract, kept)
            digest = hashlib.sha256(contents[dataset]).hexdigest()
            written[dataset] = Partition(kept.height, digest)
        _refuse_changes(run_date, process, written, published or {})
        current = self.manifest(run_date)
        changed = {d: p for d, p in written.items() if current.get(d) != p}
        if changed:
            with naming(self.home.lake):
                reach("lake.files:before")
                for dataset in changed:
                    self._store(run_date, dataset, written[dataset], contents[dataset])
                reach("lake.files:after")
            self._commit(run_date, process, changed)
            reach("lake.manifest:after")
        return written

    def _store(self, run_date: date, dataset: str, partition: Partition, content: bytes) -> None:
        path = self.path(run_date, dataset, partition)
        if partition.rows == 0 or path.exists():
            return
        make_folder(path.parent)
        write_atomic(path, content)

    def _commit(self, run_date: date, process: str, changed: Mapping[str, Partition]) -> None:
        manifest = {d: {"rows": p.rows, "sha256": p.sha256} for d, p in sorted(changed.items())}
        connection = self.connect()
        self._check()
        connection.execute("BEGIN")
        try:
            for dataset, partition in changed.items():
                schema, name = dataset.split(".")
                connection.execute(f"DELETE FROM lake.{dataset} WHERE run_date = ?", [run_date])
                if partition.rows:
                    connection.execute(
                        f"CALL ducklake_add_data_files('lake', '{name}', ?, schema => '{schema}')",
                        [str(self.path(run_date, dataset, partition))],
                    )
            connection.execute(
                "CALL lake.set_commit_message(?, ?, extra_info => ?)",
                ["acme", f"{run_date} {process}", json.dumps({"manifest": manifest})],
            )
            self._check()
            reach("lake.catalog:before")
            connection.execute("COMMIT")
            reach("lake.catalog:after")
        except BaseException as error:
            # The cause is what matters; a catalog that is gone cannot be rolled back either.
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            self.close()
            if isinstance(error, duckdb.Error):
                # A run that was overtaken has lost its session: the fence says so in plain words.
                self._check()
            raise
        self._record(run_date, process, changed)

    def _check(self) -> None:
        if self.fence is not None:
            self.fence.check()

    def _record(self, run_date: date, process: str, changed: Mapping[str, Partition]) -> None:
        with self._postgres.transaction() as cursor:
            if self.fence is not None:
                self.fence.check_in(cursor)
            cursor.executemany(
                "INSERT INTO control.partitions (run_date, dataset, process, rows, file_sha256)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (run_date, dataset) DO UPDATE"
                " SET process = excluded.process, rows = excluded.rows,"
                " file_sha256 = excluded.file_sha256, written_at = clock_timestamp()",
                [(run_date, d, process, p.rows, p.sha256) for d, p in sorted(changed.items())],
            )

    # ---- reading --------------------------------------------------------------------------------

    def path(self, run_date: date, dataset: str, partition: Partition) -> Path:
        """Return where a partition's file is."""
        schema, name = dataset.split(".")
        folder = self.home.lake / schema / name / f"run_date={run_date}"
        return folder / f"{partition.sha256}.parquet"

    def manifest(self, run_date: date) -> dict[str, Partition]:
        """Return every written partition of a run date, by dataset."""
        with self._postgres.transaction() as cursor:
            rows = cursor.execute(
                "SELECT dataset, rows, file_sha256 FROM control.partitions WHERE run_date = %s",
                [run_date],
            ).fetchall()
        return {dataset: Partition(rows, sha256) for dataset, rows, sha256 in rows}

    def snapshot(self) -> int:
        """Return the newest snapshot of the lake."""
        with self._postgres.transaction() as cursor:
            row = cursor.execute(
                f"SELECT max(snapshot_id) FROM {CATALOG_SCHEMA}.ducklake_snapshot"
            ).fetchone()
        return int(row[0]) if row else 0

    def read(self, run_date: date, datasets: Iterable[str]) -> dict[str, pl.DataFrame]:
        """Read whole partitions, verified: `run_date` first, contract columns, key order.

        Raises PartitionMissingError or PartitionDamagedError, naming the dataset and date.
        """
        manifest = self.manifest(run_date)
        return {d: self._read(run_date, d, manifest) for d in datasets}

    def _read(
        self, run_date: date, dataset: str, manifest: Mapping[str, Partition]
    ) -> pl.DataFrame:
        contract = dataset_contract(dataset)
        partition = manifest.get(dataset)
        if partition is None:
            raise PartitionMissingError(f"{dataset} has no partition {run_date}")
        if partition.rows == 0:
            return contract.empty()
        content = self._verified(run_date, dataset, partition)
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        frame = pl.from_arrow(table)
        if not isinstance(frame, pl.DataFrame) or frame.schema != contract.polars_schema:
            raise PartitionDamagedError(
                f"{dataset} of {run_date}: expected columns {dict(contract.polars_schema)},"
                f" got {dict(getattr(frame, 'schema', {}))}"
            )
        if frame.height != partition.rows:
            raise PartitionDamagedError(
                f"{dataset} of {run_date}: expected {partition.rows} rows, got {frame.height}"
            )
        return frame

    def _verified(self, run_date: date, dataset: str, partition: Partition) -> bytes:
        path = self.path(run_date, dataset, partition)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise PartitionDamagedError(f"{dataset} of {run_date}: no file {path.name}") from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != partition.sha256:
            raise PartitionDamagedError(
                f"{dataset} of {run_date}: expected SHA-256 {partition.sha256}, got {digest}"
            )
        return content

    def verify(self, run_date: date, datasets: Iterable[str]) -> None:
        """Check the files of partitions that another engine is about to read."""
        manifest = self.manifest(run_date)
        for dataset in datasets:
            partition = manifest.get(dataset)
            if partition is not None and partition.rows:
                self._verified(run_date, dataset, partition)

    def verified_file(self, run_date: date, dataset: str, partition: Partition) -> Path | None:
        """Return a partition's file once its bytes have their hash, in bounded memory.

        None for a partition of no row. Raises PartitionDamagedError.
        """
        if partition.rows == 0:
            return None
        path = self.path(run_date, dataset, partition)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError as error:
            raise PartitionDamagedError(f"{dataset} of {run_date}: no file {path.name}") from error
        if digest != partition.sha256:
            raise PartitionDamagedError(
                f"{dataset} of {run_date}: expected SHA-256 {partition.sha256}, got {digest}"
            )
        return path


def _refuse_changes(
    run_date: date, process: str, written: Mapping[str, Partition], published: Mapping[str, str]
) -> None:
    for dataset, partition in written.items():
        before = published.get(dataset)
        if before is not None and before != partition.sha256:
            raise PublishedPartitionError(
                f"{process} of {run_date} would change the published {dataset}: published file"
                f" {before[:12]}, now {partition.sha256[:12]}; nothing was written"
            )


def _connect(url: str) -> psycopg.Connection[TupleRow]:
    return psycopg.connect(url, application_name=session_name("lake"))


def open_catalog(
    home: Home, url: str, *, read_only: bool = False, snapshot: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Open DuckDB with the lake attached as `lake`; the extensions come from installed wheels.

    With `snapshot` the tables are those of that snapshot; nothing can be written to them.
    """
    connection = duckdb.connect(config={"extension_directory": str(home.duckdb_extensions)})
    for extension in EXTENSIONS:
        _load(connection, extension)
    conninfo = conninfo_to_dict(url)
    conninfo["application_name"] = session_name("lake")
    # What is attached can be listed by a query; a secret of DuckDB's shows no password.
    password = str(conninfo.pop("password", None) or "").replace("'", "''")
    if password:
        connection.execute(f"CREATE OR REPLACE SECRET (TYPE postgres, PASSWORD '{password}')")
    target = make_conninfo("", **conninfo).replace("'", "''")
    options = [
        f"DATA_PATH '{str(home.lake).replace(chr(39), chr(39) * 2)}/'",
        f"METADATA_SCHEMA '{CATALOG_SCHEMA}'",
        "DATA_INLINING_ROW_LIMIT 0",
        "OVERRIDE_DATA_PATH true",
    ]
    if read_only:
        options.append("READ_ONLY")
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {snapshot:d}")
    try:
        connection.execute(f"ATTACH 'ducklake:postgres:{target}' AS lake ({', '.join(options)})")
    except duckdb.Error as error:
        # DuckDB's own text holds the whole connection string, password included.
        masked = _masked(error, url)
    else:
        return connection
    raise LakeError(f"the lake's catalog in Postgres cannot be opened: {masked}")


def _masked(error: duckdb.Error, url: str) -> str:
    """Return the error's text without the password."""
    password = str(conninfo_to_dict(url).get("password") or "")
    return str(error).replace(password, "***") if password else str(error)


def _load(connection: duckdb.DuckDBPyConnection, extension: str) -> None:
    """Load an extension, installing it from its wheel the first time; never from a network."""
    try:
        connection.execute(f"LOAD {extension}")
    except duckdb.Error:
        connection.execute(f"INSTALL '{extension_file(extension)}'")
        connection.execute(f"LOAD {extension}")


def extension_file(extension: str) -> Path:
    """Return the extension's file in its wheel."""
    package = f"duckdb_extension_{extension}"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LakeError(f"the package {package} is not installed")
    version = f"v{duckdb.__version__}"
    file = Path(spec.origin).parent / "extensions" / version / f"{extension}.duckdb_extension"
    if not file.exists():
        raise LakeError(f"{package} has no extension for DuckDB {version}")
    return file
