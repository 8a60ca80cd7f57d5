"""Verbs about files that arrive: land, holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from acme.cli import show
from acme.cli.opening import open_platform
from acme.lakehouse import contracts
from acme.lakehouse.landing import land_file, render


@click.command()
@click.argument("feed", type=click.Choice(contracts.feed_names()))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def land(feed: str, file: Path, json_: bool) -> None:
    """Land FILE for FEED: keep its bytes, check it against its contract.

    Exit code 0: accepted. 1: quarantined whole, with a report of rows and rules. 3: accepted, but
    some rows, or the whole file as a repeat, have no effect.
    """
    platform = open_platform()
    report = land_file(platform.home, platform.control, feed, file)
    if json_:
        show.as_json(report.as_json())
    else:
        click.echo(render(report), err=report.exit_code == 1, nl=False)
    raise click.exceptions.Exit(report.exit_code)


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def holds(json_: bool) -> None:
    """List the keys that wait for a single value, as of the last published date."""
    platform = open_platform()
    last = platform.control.last_published()
    rows: list[dict[str, object]] = []
    if last is not None:
        rows = platform.lake.read(last.run_date, ["core.holds"])["core.holds"].to_dicts()
    if json_:
        show.as_json([r | {"candidates": json.loads(str(r["candidates"]))} for r in rows])
        return
    columns = ["feed", "key", "reason", "first_run_date", "candidates"]
    show.table("Holds", columns, [[r[c] for c in columns] for r in rows])


COMMANDS = [land, holds]
