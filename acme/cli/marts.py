"""Verbs for finance's marts: build, test, docs, page, url."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from acme.cli import show
from acme.cli.errors import CommandError
from acme.cli.opening import open_platform
from acme.lakehouse.roles import role_url
from acme.operations.dbt import TARGETS
from acme.operations.marts import build as building
from acme.operations.marts import page as pages


@click.group()
def marts() -> None:
    """Finance's marts: ACME_HOME/marts.duckdb for DuckDB, schema marts for Postgres."""


@marts.command()
@click.option("--date", "run_date", type=show.DATE, help="One published date, built anew.")
@click.option("--all", "all_", is_flag=True, help="Every published date, and the file anew.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def build(run_date: date | None, all_: bool, json_: bool) -> None:
    """Build the marts of the published dates that lack them, and serve them.

    Both engines build them; where they differ, nothing is served and the exit code is 1. Building a
    date again gives the same rows.
    """
    if run_date is not None and all_:
        raise click.UsageError("--date and --all exclude each other")
    platform = open_platform()
    if all_:
        built = building.rebuild(platform)
    else:
        built = building.build(platform, None if run_date is None else [run_date])
    rows = {comparison.mart: comparison.rows for comparison in built.comparisons}
    if json_:
        show.as_json({"dates": built.dates, "rows": rows, "file": platform.home.marts})
        return
    if not built.dates:
        click.echo("every published date has its marts")
        return
    dates = f"{len(built.dates)} dates, {built.dates[0]} to {built.dates[-1]}"
    show.table(f"Equal on DuckDB and Postgres: {dates}", ["mart", "rows"], list(rows.items()))


@marts.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def test(json_: bool) -> None:
    """Run dbt's unit tests, models and data tests on both engines, on the newest published date.

    Nothing is served.
    """
    passed = building.prove(open_platform())
    if json_:
        show.as_json(passed)
        return
    for target, names in passed.items():
        click.echo(f"{target}: {len(names)} models and tests passed")


@marts.command()
@click.option(
    "--target", type=click.Choice(["lake", "warehouse"]), default="lake", show_default=True
)
def docs(target: str) -> None:
    """Write dbt's documentation as one page, which needs no server."""
    platform = open_platform()
    for known in TARGETS:
        if known == target:
            folder = platform.home.reports / "dbt" / target
            click.echo(building.document(platform, known, folder))


@marts.command()
@click.option("--date", "run_date", type=show.DATE, help="A published date; the newest else.")
@click.option(
    "--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="Another file."
)
def page(run_date: date | None, target: Path | None) -> None:
    """Draw the page of a published date: holdings, dealing, breaks, checks; no server needed."""
    home = open_platform().home
    day = run_date or pages.newest(home.marts)
    if day is None:
        raise CommandError("no marts are built yet: run `acme marts build`")
    click.echo(pages.write(home.marts, day, target or pages.place(home, day)))


@marts.command()
def url() -> None:
    """Print the connection string of the role finance, which may read the marts and nothing else.

    It holds the role's password.
    """
    click.echo(role_url(open_platform().home, "finance"))


COMMANDS = [marts]
