"""Verbs about breaks: list, show, export; explain, correct, close, assign, comment."""

from __future__ import annotations

import getpass
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from acme.cli import show
from acme.cli.errors import CommandError
from acme.cli.opening import open_platform
from acme.domain.break_workflow import Action
from acme.lakehouse.csv_writing import RFC_3339
from acme.lakehouse.files import write_atomic
from acme.lakehouse.landing import render
from acme.operations.breaks import (
    LIVE,
    Desk,
    Filter,
    NothingPublishedError,
    Planned,
    classes,
    for_spreadsheets,
)

STATES = ["open", "explained", "corrected", "closed"]
CLASSES = classes()
LISTED = [
    "break_id",
    "custodian_id",
    "asset_id",
    "class",
    "difference",
    "first_seen",
    "age",
    "owner",
    "state",
]
Command = Callable[..., None]
# The states that --all-matching acts on where --state does not say.
MATCHED: dict[Action, tuple[str, ...]] = {
    "explain": ("open",),
    "correct": LIVE,
    "close": ("corrected",),
    "assign": (*LIVE, "corrected"),
    "comment": (*LIVE, "corrected"),
}


def _filters(command: Command) -> Command:
    for option in (
        click.option("--book", type=click.Choice(["live", "canary"]), help="Of one book."),
        click.option("--custodian", help="Of one custodian."),
        click.option("--asset", help="On one asset."),
        click.option("--owner", help="Of one owner."),
        click.option("--class", "class_", type=click.Choice(CLASSES), help="Of one class."),
        click.option("--state", type=click.Choice(STATES), multiple=True, help="In this state."),
    ):
        command = option(command)
    return command


_date = click.option("--date", "run_date", type=show.DATE, help="A run date; else the last.")
_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


def _filter(chosen: dict[str, Any], states: tuple[str, ...] | None) -> Filter:
    return Filter(
        states=chosen["state"] or states,
        class_=chosen["class_"],
        owner=chosen["owner"],
        asset_id=chosen["asset"],
        custodian_id=chosen["custodian"],
        book=chosen["book"],
    )


@click.group("breaks", invoke_without_command=True)
@_date
@click.option("--all", "all_", is_flag=True, help="Corrected and closed ones too.")
@_json
@click.pass_context
def breaks(context: click.Context, run_date: date | None, all_: bool, json_: bool) -> None:
    """List reconciliation breaks and work on them; without a verb: list.

    What is done lands as a file and takes effect in the next run: what is published never changes.
    """
    if context.invoked_subcommand is None:
        _list(run_date, Filter(states=None if all_ else LIVE), json_)


@breaks.command("list")
@_filters
@click.option("--all", "all_", is_flag=True, help="Corrected and closed ones too.")
@_date
@_json
def list_(run_date: date | None, all_: bool, json_: bool, **chosen: Any) -> None:
    """List breaks, oldest first."""
    _list(run_date, _filter(chosen, None if all_ else LIVE), json_)


def _list(run_date: date | None, wanted: Filter, json_: bool) -> None:
    platform = open_platform()
    try:
        desk = Desk(platform, run_date)
    except NothingPublishedError:
        rows, when = [], None
    else:
        rows, when = _rows(desk, wanted), desk.run_date
    if json_:
        show.as_json(rows)
        return
    show.table(
        f"Breaks as of {when}",
        [*LISTED, "asset suspended", "waiting"],
        [
            [*[r[c] for c in LISTED], "yes" if r["suspended"] else "", ", ".join(r["waiting"])]
            for r in rows
        ],
    )


def _rows(desk: Desk, wanted: Filter) -> list[dict[str, Any]]:
    wrong = desk.unknown(wanted)
    if wrong is not None:
        raise CommandError(wrong)
    return desk.rows(wanted)


@breaks.command("show")
@click.argument("break_id")
@_date
@_json
def show_(break_id: str, run_date: date | None, json_: bool) -> None:
    """Show a break: figures, evidence, its days, what was done about it and what waits."""
    desk = Desk(open_platform(), run_date)
    life, actions = desk.life(break_id), desk.actions(break_id)
    if not life:
        raise CommandError(f"no break {break_id!r} up to {desk.run_date}: see `acme breaks list`")
    waiting = [row for row in desk.waiting if row["break_id"] == break_id]
    if json_:
        show.as_json({"break": life[-1], "days": life, "actions": actions, "waiting": waiting})
        return
    show.table(f"Break {break_id}", ["", ""], life[-1].items())
    days = ["run_date", "ours", "theirs", "difference", "age", "owner", "state"]
    show.table("Its days", days, [[row[c] for c in days] for row in life])
    click.echo("What was done" if actions else "Nothing was done yet")
    for row in actions:
        became = row["to_state"] if row["reason"] is None else f"refused, {row['reason']}"
        click.echo(f"  {_deed(row)} [{became}, run of {row['run_date']}]")
    for row in waiting:
        click.echo(f"  {_deed(row)} [waits for the next run]")


def _deed(row: dict[str, Any]) -> str:
    to = f" to {row['assignee']}" if row["assignee"] else ""
    said = f": {row['comment']}" if row["comment"] else ""
    return f"{row['acted_at']:%Y-%m-%d %H:%M:%S} UTC  {row['actor']}  {row['action']}{to}{said}"


@breaks.command()
@click.option("--format", "format_", type=click.Choice(["csv", "parquet"]), default="csv")
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="A file.")
@_date
def export(format_: str, target: Path | None, run_date: date | None) -> None:
    """Write every break there ever was, with what people did about it, one row per action.

    In CSV, what somebody wrote and a spreadsheet would compute has an apostrophe in front.
    """
    frame = Desk(open_platform(), run_date).export()
    buffer = io.BytesIO()
    if format_ == "csv":
        for_spreadsheets(frame).write_csv(buffer, datetime_format=RFC_3339)
    else:
        frame.write_parquet(buffer)
    if target is None:
        sys.stdout.buffer.write(buffer.getvalue())
    else:
        write_atomic(target, buffer.getvalue())


# ---- acting -------------------------------------------------------------------------------------


def _acting(*, comment: bool, assignee: bool = False) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        options = [
            click.argument("ids", nargs=-1, metavar="[BREAK_ID]…"),
            click.option("--all-matching", is_flag=True, help="All that the filters leave."),
            click.option("--yes", is_flag=True, help="Do not ask before acting on many."),
            click.option("--skip-refused", is_flag=True, help="Do what can be done of it."),
            click.option("--by", help="Who does it. Default: ACME_USER, or the user's name."),
            click.option("--at", type=show.INSTANT, help="When it was done, if not now."),
            click.option("--comment", required=comment, help="What there is to say."),
            _json,
        ]
        if assignee:
            options.append(click.option("--to", required=True, help="team:NAME, or a person."))
        for option in options:
            command = option(command)
        return _filters(command)

    return decorate


@breaks.command()
@_acting(comment=True)
def explain(ids: Sequence[str], **chosen: Any) -> None:
    """Say why a break is there. It stays a break, and its asset suspended."""
    _act("explain", ids, chosen)


@breaks.command()
@_acting(comment=True)
def correct(ids: Sequence[str], **chosen: Any) -> None:
    """Say what put a break right. The next run refuses where its evidence still shows it.

    A break of a statement is corrected by a whole statement that agrees, and by no one.
    """
    _act("correct", ids, chosen)


@breaks.command()
@_acting(comment=False)
def close(ids: Sequence[str], **chosen: Any) -> None:
    """Close a corrected break; not the one who explained or corrected it."""
    _act("close", ids, chosen)


@breaks.command()
@_acting(comment=False, assignee=True)
def assign(ids: Sequence[str], to: str, **chosen: Any) -> None:
    """Give a break to a team or a person."""
    _act("assign", ids, chosen, to)


@breaks.command()
@_acting(comment=True)
def comment(ids: Sequence[str], **chosen: Any) -> None:
    """Add a remark to a break."""
    _act("comment", ids, chosen)


def _act(
    action: Action, ids: Sequence[str], chosen: dict[str, Any], assignee: str | None = None
) -> None:
    desk = Desk(open_platform())
    meant = _meant(desk, ids, _filter(chosen, MATCHED[action]), chosen)
    planned = desk.plan(
        meant,
        action,
        _actor(chosen["by"]),
        at=_not_ahead(chosen["at"]),
        comment=_one_line("--comment", chosen["comment"]),
        assignee=_assignee(assignee),
    )
    refused = [item for item in planned if item.refused is not None]
    doing = [item for item in planned if item.refused is None and not item.known]
    landed = None
    if doing and (chosen["skip_refused"] or not refused):
        report = desk.land(doing)
        if report.exit_code:
            raise CommandError(render(report).strip())
        landed = report.name
    if chosen["json_"]:
        show.as_json(_told(planned, landed))
    else:
        _say(planned, landed, len(doing))
    if refused or not planned:
        raise click.exceptions.Exit(1 if landed is None else 3)


def _meant(desk: Desk, ids: Sequence[str], wanted: Filter, chosen: dict[str, Any]) -> Iterable[str]:
    if bool(ids) == chosen["all_matching"]:
        raise click.UsageError("name breaks, or choose them by filters with --all-matching")
    if ids:
        return ids
    found = [row["break_id"] for row in _rows(desk, wanted)]
    if found and not chosen["yes"]:
        click.confirm(f"{len(found)} breaks match; act on all of them?", abort=True, err=True)
    return found


def _actor(by: str | None) -> str:
    """Return who acts: what `--by` says, be it nothing; else ACME_USER, else the user's name."""
    name, said = (os.environ.get("ACME_USER") or getpass.getuser(), "ACME_USER")
    if by is not None:
        name, said = by, "--by"
    kept = _one_line(said, name)
    if kept is None:
        raise CommandError(f"{said}: expected a name, got {name!r}")
    return kept


def _assignee(to: str | None) -> str | None:
    kept = _one_line("--to", to)
    if to is not None and (kept is None or not kept.removeprefix("team:").strip()):
        raise CommandError(f"--to: expected team:NAME or a person, got {to!r}")
    return kept


def _one_line(said: str, text: str | None) -> str | None:
    """Return the text without needless blanks; None for nothing.

    What does not show, as a mark that turns the direction of writing, has no place in a record.
    """
    if text is None:
        return None
    kept = " ".join(text.split())
    hidden = next((c for c in kept if not c.isprintable()), None)
    if hidden is not None:
        raise CommandError(f"{said}: expected text that shows, got U+{ord(hidden):04X} in it")
    return kept or None


def _not_ahead(at: datetime | None) -> datetime | None:
    """Return when it was done, which may be long ago, but not in time to come."""
    now = datetime.now(UTC)
    if at is not None and at > now:
        raise CommandError(
            f"--at: expected an instant not after now, {now:%Y-%m-%dT%H:%M:%SZ}, got"
            f" {at.isoformat()}"
        )
    return at


def _told(planned: Sequence[Planned], landed: str | None) -> dict[str, object]:
    return {
        "file": landed,
        "actions": [
            {k: v for k, v in item.row.items() if k != "file_sha256"}
            | {"refused": item.refused, "recorded_before": item.known}
            for item in planned
        ],
    }


def _since(item: Planned) -> str:
    """Say when it was recorded for, where another time was asked for now."""
    before = item.row["acted_at"]
    if item.asked_at is None or item.asked_at == before:
        return ""
    return f" as of {before:%Y-%m-%d %H:%M:%S} UTC; the time given now has no effect"


def _say(planned: Sequence[Planned], landed: str | None, doing: int) -> None:
    for item in planned:
        if item.refused is not None:
            text = f"{item.row['break_id']}: {item.row['action']} refused: {item.refused}"
            click.echo(text, err=True)
        elif item.known:
            click.echo(
                f"{item.row['break_id']}: {item.row['action']} is recorded already{_since(item)}"
            )
    if landed is not None:
        click.echo(f"{doing} recorded in {landed}; in effect from the next run on")
    elif not planned:
        click.echo("no break matches", err=True)
    elif doing:
        click.echo("nothing recorded; --skip-refused does the rest", err=True)


COMMANDS = [breaks]
