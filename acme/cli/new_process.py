"""The verb new-process: asks what the problem is, and writes the folder of a process for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from acme.cli.errors import CommandError

if TYPE_CHECKING:
    from orchestration.new_process import Made


@click.command("new-process")
@click.argument("team")
@click.argument("name")
@click.option("--archetype", help="What kind of process it is, as Calculation.")
@click.option("--problem", help="Who needs what, by when, and what is wrong without it.")
@click.option("--owner", help="Mail address of the person who answers for it.")
@click.option("--reads", multiple=True, help="A table of T that it reads, as core.pots.")
@click.option("--reads-previous", multiple=True, help="A table of the date before that it reads.")
@click.option("--feed", "feeds", multiple=True, help="A feed; a new one for a LandedFeed.")
@click.option("--table", help="The table it writes, in the team's schema; default NAME.")
@click.option("--column", "columns", multiple=True, help="NAME TYPE[?] [key] [in UNIT]: MEANING")
@click.option("--automation", help="on_publication, month_start, month_end or manual.")
@click.option("--deadline", help="Local time by which it must be there, as 16:00, or none.")
@click.option("--lands", help="Of an Instruction: the feed that gets its rows.")
@click.option("--recipient", help="Of an Instruction: the folder of the outbox that gets them.")
def new_process(
    team: str,
    name: str,
    archetype: str | None,
    problem: str | None,
    owner: str | None,
    reads: tuple[str, ...],
    reads_previous: tuple[str, ...],
    feeds: tuple[str, ...],
    table: str | None,
    columns: tuple[str, ...],
    automation: str | None,
    deadline: str | None,
    lands: str | None,
    recipient: str | None,
) -> None:
    """Write the folder of a process TEAM/NAME: problem, contract, code, a scenario that fails.

    What no flag says is asked. All is written or nothing; the same once more changes nothing.
    """
    from acme.lakehouse.contracts import ContractError
    from orchestration import new_process as making
    from orchestration.fields import ARCHETYPES
    from orchestration.process_request import (
        AUTOMATIONS,
        COLUMN_FORM,
        Request,
        RequestError,
        column,
    )

    given = {
        "--archetype": archetype,
        "--problem": problem,
        "--owner": owner,
        "--reads": reads or reads_previous or feeds,
        "--column": columns,
        "--automation": automation,
        "--deadline": deadline,
    }
    missing = [flag for flag, value in given.items() if not value]

    def ask(flag: str, text: str, default: str | None = None) -> str:
        try:
            answer: str = click.prompt(text, default=default)
        except click.Abort:
            # All at once: who has no terminal would else learn of one flag at a time.
            flags = ", ".join(missing if flag in missing else [flag, *missing])
            raise CommandError(f"{flags}: expected flags or answers, got none") from None
        if flag in missing:
            missing.remove(flag)
        return answer

    archetype = archetype or ask("--archetype", f"Archetype ({', '.join(ARCHETYPES)})")
    if archetype not in ARCHETYPES:
        raise CommandError(
            f"--archetype: expected one of {', '.join(ARCHETYPES)}, got {archetype!r}"
        )
    problem = problem or ask("--problem", "Problem: who needs what, by when, and why")
    owner = owner or ask("--owner", "Owner's mail address")
    if not (reads or reads_previous or feeds):
        reads = tuple(ask("--reads", "Tables it reads, as core.pots core.orders", "").split())
    if table is None:
        # Who states the columns by flags states everything by flags.
        table = name if columns else ask("--table", f"Table it writes, in schema {team}", name)
    if not columns:
        asked_again = partial(ask, "--column", f"Column, {COLUMN_FORM}; empty to end", "")
        columns = tuple(iter(asked_again, ""))
    automation = automation or ask(
        "--automation", f"Starts ({', '.join(AUTOMATIONS)})", AUTOMATIONS[0]
    )
    deadline = deadline or ask("--deadline", "Deadline, as 16:00", "none")
    if archetype == "Instruction" and not (lands or recipient):
        lands = ask("--lands", "Feed that gets its rows; empty for a folder of the outbox", "")
        recipient = None if lands else ask("--recipient", "Folder of the outbox")
    try:
        asked = Request(
            team=team,
            name=name,
            archetype=archetype,
            problem=problem,
            owner=owner,
            table=table,
            columns=tuple(map(column, columns)),
            reads=reads,
            reads_previous=reads_previous,
            feeds=feeds,
            automation=automation,
            deadline=None if deadline == "none" else deadline,
            lands=lands or None,
            recipient=recipient,
        )
        made = making.make(asked)
    except (ContractError, RequestError) as error:
        raise CommandError(str(error)) from error
    _tell(asked.folder, made)


def _tell(folder: str, made: Made) -> None:
    if not made.written:
        click.echo(f"{folder}: there already")
    for path in (*made.written, *made.derived):
        click.echo(path)
    for line in made.left:
        click.echo(f"left as it is, until that is mended and `make docs` run: {line}", err=True)
    if made.written:
        click.echo(f"next: make test PROCESS={folder}   (its scenario fails until it is solved)")


COMMANDS = [new_process]
