"""Verbs that run a business day: day, simulate."""

from __future__ import annotations

from datetime import date

import click

from acme.cli import show
from acme.cli.errors import CommandError
from acme.cli.opening import open_platform
from acme.lakehouse.landing import render, sweep_inbox
from acme.lakehouse.platform import Platform


@click.command()
@click.argument("run_date", metavar="DATE", type=show.DATE)
@click.option(
    "--part",
    type=click.Choice(["business_day", "morning", "dealing"]),
    default="business_day",
    show_default=True,
    help="All of the day, or one of its two moments.",
)
@click.option("--marts/--no-marts", default=True, help="Build finance's marts afterwards.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def day(run_date: date, part: str, marts: bool, json_: bool) -> None:
    """Run the business day DATE with whatever lies in the inbox, and publish it.

    Running a date again changes nothing. A date is refused while the one before it is unpublished.
    Once it is published its marts are built, and those of earlier dates that lack them.
    """
    platform = open_platform()
    sweep(platform)
    run(platform, run_date, part)
    published = platform.control.publication(run_date)
    if marts and published is not None:
        build_outstanding(platform)
    manifest = platform.lake.manifest(run_date)
    if json_:
        show.as_json(
            {
                "run_date": run_date,
                "published": published is not None,
                "seals": {} if published is None else dict(published.seals),
                "rows": {d: p.rows for d, p in manifest.items() if d.startswith("core.")},
            }
        )
        return
    said = "published" if published is not None else f"{part} done"
    click.echo(f"{run_date}: {said}")


def sweep(platform: Platform) -> None:
    """Land what lies in the inbox, and say what was not simply accepted."""
    for report in sweep_inbox(platform.home, platform.control):
        if report.exit_code == 1:
            click.echo(render(report), err=True, nl=False)


def run(platform: Platform, run_date: date, part: str = "business_day") -> None:
    """Run a job of the day; raises `CommandError` with what failed."""
    from orchestration.runner import DayFailedError, run_job

    try:
        run_job(platform, run_date, part)
    except DayFailedError as error:
        raise CommandError(str(error)) from error


def build_outstanding(platform: Platform) -> None:
    """Build the marts of every published date that has none; what fails leaves the date published.

    Raises `CommandError`.
    """
    from acme.operations.marts.build import outstanding
    from orchestration.runner import DayFailedError, run_marts

    waiting = outstanding(platform)
    if not waiting:
        return
    try:
        run_marts(platform, waiting[0], waiting[-1])
    except DayFailedError as error:
        raise CommandError(
            f"{waiting[-1]} is published, but finance's marts are not built: {error};"
            " run `acme marts build`"
        ) from error


COMMANDS = [day]
