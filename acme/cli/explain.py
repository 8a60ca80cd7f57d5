"""Verbs that say where a figure comes from: explain balance, order, break, batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import click

from acme.cli import show
from acme.cli.errors import CommandError
from acme.cli.opening import open_platform
from acme.domain.orders import order_id
from acme.evidence import explain as explaining
from acme.evidence import times
from acme.lakehouse.published_dates import span

# What a person reads; --json has all of it.
CHILDREN_SHOWN_MAX = 60

_date = click.option("--date", "run_date", type=show.DATE, help="A run date; else the last.")
_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


@click.group("explain")
def explain() -> None:
    """Say where a figure comes from, down to the file, its row and its SHA-256.

    Reads published dates alone. The exit code is 1 where something does not add up.
    """


@explain.command()
@click.argument("account")
@click.option("--asset", help="One asset; the currency for cash.")
@click.option("--book", type=click.Choice(["live", "canary"]), help="One book.")
@_date
@_json
def balance(
    account: str, asset: str | None, book: str | None, run_date: date | None, json_: bool
) -> None:
    """Explain what ACCOUNT holds (pot/ID, custodian/ID, suspense/REASON) at the close before a run.

    Lists every posting since the opening with the run that wrote it; their sum is checked against
    the published figure, to the last digit.
    """
    with opened(run_date) as books:
        _print([explaining.explain_balance(books, account, asset, book)], json_)


@explain.command()
@click.argument("reference", nargs=-1, required=True, metavar="ORDER_ID | SOURCE REF")
@_date
@_json
def order(reference: Sequence[str], run_date: date | None, json_: bool) -> None:
    """Explain an order: its file, its states, its leaf in the sealed batch, every posting."""
    match tuple(reference):
        case (wanted,):
            pass
        case (source, ref):
            wanted = order_id(source, ref)
        case _:
            raise click.UsageError("give an ORDER_ID, or SOURCE and REF")
    with opened(run_date) as books:
        _print([explaining.explain_order(books, wanted)], json_)


@explain.command("break")
@click.argument("break_id")
@_date
@_json
def break_(break_id: str, run_date: date | None, json_: bool) -> None:
    """Explain a reconciliation break: every run in which it changed, both sides, their files."""
    with opened(run_date) as books:
        _print([explaining.explain_break(books, break_id)], json_)


@explain.command()
@click.argument("dealing_date", metavar="DATE", type=show.DATE)
@_json
def batch(dealing_date: date, json_: bool) -> None:
    """Explain the batches dealt on DATE: seal and signature checked, lines, leaves, sent files."""
    with opened(None) as books:
        _print(explaining.explain_batch(books, dealing_date), json_)


@contextmanager
def opened(run_date: date | None) -> Iterator[explaining.Books]:
    """Open the books as they were known when a date was published."""
    platform = open_platform()
    runs = times.known_runs(platform)
    chosen = [r for r in runs if run_date in (None, r.run_date)]
    if not chosen:
        dates = [r.run_date for r in runs]
        asked = "" if run_date is None else f"{run_date} is not published: "
        raise CommandError(asked + span(dates))
    with times.session(platform, chosen[-1].known_from) as connection:
        try:
            yield explaining.Books(platform, connection, chosen[-1])
        except explaining.NothingToExplainError as error:
            raise CommandError(str(error)) from error


def _print(nodes: Sequence[explaining.Node], json_: bool) -> None:
    if json_:
        show.as_json([n.as_json() for n in nodes])
    else:
        for node in nodes:
            click.echo(node.title)
            for line in _branches(node, ""):
                click.echo(line)
    if not all(n.holds() for n in nodes):
        raise CommandError("not everything adds up: look for NOT and NO above")


def _branches(node: explaining.Node, indent: str) -> Iterator[str]:
    """Yield the tree below a node; lines are as long as they are, so that hashes stay whole."""
    titles = [(child.title, child) for child in node.because[:CHILDREN_SHOWN_MAX]]
    hidden = len(node.because) - CHILDREN_SHOWN_MAX
    more = [f"… {hidden} more, counted above; --json lists all"] if hidden > 0 else []
    last = len(titles) + len(more) - 1
    for at, (title, child) in enumerate(titles):
        yield f"{indent}{'└── ' if at == last else '├── '}{title}"
        yield from _branches(child, indent + ("    " if at == last else "│   "))
    yield from (f"{indent}└── {text}" for text in more)


COMMANDS = [explain]
