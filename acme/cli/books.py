"""Verbs that read the books: sql, export, hash."""

from __future__ import annotations

import io
import math
import sys
from datetime import date, datetime
from pathlib import Path

import click
import polars as pl

from acme.cli import show
from acme.cli.errors import CommandError
from acme.evidence import queries
from acme.lakehouse import contracts
from acme.lakehouse.contracts import Contract
from acme.lakehouse.files import write_atomic
from acme.lakehouse.hashing import content_hash
from acme.lakehouse.platform import Platform, open_platform

ROWS_SHOWN_MAX = 200


@click.command()
@click.argument("query")
@click.option(
    "--as-known-at", "known_at", type=show.INSTANT, help="See what was published by an instant."
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def sql(query: str, known_at: datetime | None, json_: bool) -> None:
    """Run QUERY over what is published, read-only, as "from core.ledger_balances limit 5".

    The functions balances, positions, prices, breaks and batches take as_of := DATE '…' and
    known_at := TIMESTAMPTZ '…'; runs() lists the published dates.
    """
    names, rows = queries.query(open_platform(), query, known_at)
    if json_:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CommandError(f"--json needs columns of different names, got twice: {twice}")
        show.as_json([dict(zip(names, map(_finite, row), strict=True)) for row in rows])
        return
    show.table("", names, rows[:ROWS_SHOWN_MAX])
    if len(rows) > ROWS_SHOWN_MAX:
        click.echo(f"… {len(rows) - ROWS_SHOWN_MAX} more rows; --json prints all", err=True)


def _finite(value: object) -> object:
    """Return the value; JSON has no number for what is not finite, so that becomes text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def find_table(name: str) -> Contract:
    """Return the contract of `core.orders`, or of `orders` in schema core."""
    schema, _, table = name.rpartition(".")
    try:
        return contracts.table(schema or "core", table)
    except contracts.ContractError as error:
        raise CommandError(f"no table {name!r}: expected one of {_known()}") from error


def _known() -> str:
    return ", ".join(c.dataset for c in contracts.all_tables() if c.schema_name == "core")


@click.command()
@click.argument("table")
@click.option("--date", "run_date", type=show.DATE, help="One run date; all published ones else.")
@click.option("--format", "format_", type=click.Choice(["csv", "parquet"]), default="csv")
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="A file.")
def export(table: str, run_date: date | None, format_: str, target: Path | None) -> None:
    """Write TABLE, verified and in key order, to standard output or a file."""
    platform = open_platform()
    contract = find_table(table)
    dates = [run_date] if run_date is not None else platform.control.published_dates()
    frames = [platform.lake.read(d, [contract.dataset])[contract.dataset] for d in dates]
    frame = pl.concat([contract.empty(), *frames])
    buffer = io.BytesIO()
    if format_ == "csv":
        frame.write_csv(buffer, datetime_format=show.RFC_3339)
    else:
        frame.write_parquet(buffer)
    if target is None:
        sys.stdout.buffer.write(buffer.getvalue())
    else:
        write_atomic(target, buffer.getvalue())


@click.command("hash")
@click.argument("table")
@click.argument("run_date", metavar="DATE", type=show.DATE)
def hash_(table: str, run_date: date) -> None:
    """Print the SHA-256 over TABLE's rows of DATE, in key order and canonical text."""
    click.echo(table_hash(open_platform(), table, run_date))


def table_hash(platform: Platform, table: str, run_date: date) -> str:
    """Return the content hash of a table's partition."""
    contract = find_table(table)
    frame = platform.lake.read(run_date, [contract.dataset])[contract.dataset]
    return content_hash(contract, frame)


COMMANDS = [sql, export, hash_]
