"""Verbs about the processes of other teams: process list, run, run-due."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

import click

from acme.cli import show
from acme.cli.errors import CommandError
from acme.cli.opening import open_platform
from acme.lakehouse.platform import NotInitialisedError

if TYPE_CHECKING:
    from orchestration.processes_run import Report


@click.group()
def process() -> None:
    """List and run the processes of teams outside the business day."""


@process.command("list")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def list_(json_: bool) -> None:
    """List every process: what starts it, by when, what it writes, how it fared when last due.

    Before `acme init` there is no state to tell.
    """
    from orchestration import due
    from orchestration.last_states import LastState, last_states

    known = due.everything()
    states: dict[str, LastState] = {}
    with suppress(NotInitialisedError):
        states = last_states(open_platform(), known.processes.values())
    unknown = LastState(None, "not installed")
    rows = [
        {
            "process": spec.folder,
            "archetype": spec.archetype,
            "automation": spec.automation,
            "deadline": spec.deadline,
            "owner": spec.owner or f"team {spec.team}",
            "writes": ", ".join(spec.writes),
            "due": states.get(spec.folder, unknown).run_date,
            "state": states.get(spec.folder, unknown).state,
            "at": states.get(spec.folder, unknown).at,
        }
        for spec in known.processes.values()
    ]
    if json_:
        show.as_json({"processes": rows, "broken": known.broken})
    else:
        columns = ["process", "archetype", "automation", "deadline", "due", "state", "writes"]
        show.table("Processes", columns, [[r[c] for c in columns] for r in rows])
    _tell(known.broken)


@process.command()
@click.argument("name", metavar="TEAM/PROCESS")
@click.option("--date", "run_date", type=show.DATE, required=True, help="A published date.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def run(name: str, run_date: date, json_: bool) -> None:
    """Run one process for a published date; again, it finds everything done."""
    from orchestration import processes_run
    from orchestration.location_process import Locations

    open_platform()
    try:
        spec = processes_run.find(name)
    except processes_run.ProcessUnknownError as error:
        raise CommandError(str(error)) from error
    with Locations() as locations:
        report = processes_run.run([spec], run_date, locations)
    _show(report, json_=json_)


@process.command("run-due")
@click.option("--date", "run_date", type=show.DATE, required=True, help="A published date.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def run_due(run_date: date, json_: bool) -> None:
    """Run every process that is due on a published date, in the order of what they read.

    One that fails, or whose location cannot be loaded, is told and stops no other; the exit code
    is then 1.
    """
    from orchestration import processes_run
    from orchestration.location_process import Locations

    platform = open_platform()
    if not platform.control.is_published(run_date):
        raise CommandError(f"{run_date} is not published: no process of another team is due")
    with Locations() as locations:
        report = processes_run.run_due(platform, run_date, locations)
    _show(report, json_=json_)


def _show(report: Report, *, json_: bool) -> None:
    if json_:
        show.as_json({"run_date": report.run_date, "done": report.done, "failed": report.failed})
    else:
        for folder in report.done:
            click.echo(f"{report.run_date} {folder}: done")
        if not report.done and not report.failed:
            click.echo(f"{report.run_date}: nothing is due")
    _tell(report.failed)


def _tell(failed: dict[str, str]) -> None:
    for name, why in failed.items():
        click.echo(f"error: {name}: {why}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


COMMANDS = [process]
