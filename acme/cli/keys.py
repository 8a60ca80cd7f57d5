"""Verbs about who may send orders: sources, the pots they act on, their API keys."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click

from acme.cli import show
from acme.cli.opening import open_platform
from acme.gateway import key_management
from acme.gateway.api_keys import SCOPES
from acme.gateway.problems import shown

_SPAN = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Span(click.ParamType):  # type: ignore[type-arg]
    """A length of time, as 7d, 12h, 30m or 0s."""

    name = "span"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the length, or say what was expected."""
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"expected a length as 7d, 12h, 30m or 0s, got {value!r}", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group()
def keys() -> None:
    """Say who may call the gateway: sources, their pots, their API keys."""


@keys.group()
def source() -> None:
    """Work on sources: whoever sends orders under a name."""


@source.command("add")
@click.argument("name")
@click.option("--all-pots", is_flag=True, help="It may act on every pot; else on those granted.")
def source_add(name: str, all_pots: bool) -> None:
    """Make the source NAME; once more with the same values changes nothing."""
    with open_platform().control.transaction() as cursor:
        made = key_management.add_source(cursor, name, all_pots=all_pots)
    click.echo(f"source {name}: {'made' if made else 'there already'}")


@keys.command()
@click.argument("source_name", metavar="SOURCE")
@click.argument("pots", metavar="POT…", nargs=-1)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with one pot on each line.",
)
def grant(source_name: str, pots: tuple[str, ...], file: Path | None) -> None:
    """Let SOURCE act on pots, given one by one or as a file; all of them or none."""
    if bool(pots) == (file is not None):
        raise click.UsageError("expected either pots or --file")
    with open_platform().control.transaction() as cursor:
        granted = key_management.grant(
            cursor, source_name, pots if file is None else key_management.pots_of(file)
        )
    click.echo(f"source {source_name}: {granted.new} pots more")
    if granted.unknown_count:
        names = ", ".join(shown(pot) for pot in granted.unknown)
        more = ", …" if granted.unknown_count > len(granted.unknown) else ""
        click.echo(
            f"granted, but landed by no file yet: {granted.unknown_count} pots ({names}{more})",
            err=True,
        )


@keys.command()
@click.argument("source_name", metavar="SOURCE")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES))
@click.option("--label", default="", help="A note for people, such as who keeps the key.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it expires; default never.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def create(
    source_name: str, scopes: tuple[str, ...], label: str, days: int | None, json_: bool
) -> None:
    """Make a key of SOURCE and print it: it is shown this once."""
    with open_platform().control.transaction() as cursor:
        key = key_management.create(cursor, source_name, scopes, label=label, days=days)
    _show_key(key, json_)


@keys.command("list")
@click.option("--source", "source_name", help="Of this source alone.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def list_(source_name: str | None, json_: bool) -> None:
    """List the keys, without their secrets."""
    with open_platform().control.transaction() as cursor:
        found = key_management.keys(cursor, source_name)
    if json_:
        show.as_json([key.as_json() for key in found])
        return
    columns = ["key_id", "source", "scopes", "label", "state", "expires_at"]
    rows = [
        [k.key_id, k.source, " ".join(k.scopes), k.label, k.state, str(k.expires_at or "")[:16]]
        for k in found
    ]
    show.table("API keys", columns, rows)


@keys.command()
@click.argument("key_id")
@click.option("--overlap", type=Span(), default="7d", show_default=True, help="The old one's rest.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def rotate(key_id: str, overlap: timedelta, json_: bool) -> None:
    """Make a key in place of KEY_ID and print it; the old one expires after the overlap."""
    with open_platform().control.transaction() as cursor:
        key = key_management.rotate(cursor, key_id, overlap)
    _show_key(key, json_)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End the key KEY_ID, within a second and for ever."""
    with open_platform().control.transaction() as cursor:
        ended = key_management.revoke(cursor, key_id)
    click.echo(f"key {key_id}: {'revoked' if ended else 'was revoked already'}")


def _show_key(key: str, json_: bool) -> None:
    if json_:
        show.as_json({"key_id": key_management.key_id_of(key), "key": key})
        return
    click.echo(key)
    click.echo("keep it now: it is stored as a hash and cannot be shown again", err=True)


COMMANDS = [keys]
