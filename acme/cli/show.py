"""How the command shows things: tables, JSON, dates given as arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime

import click
from rich.console import Console
from rich.table import Table

from acme.evidence import times

out = Console(soft_wrap=False)


class BusinessDate(click.ParamType):  # type: ignore[type-arg]
    """A date given as YYYY-MM-DD."""

    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """Return the date, or say what was expected."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"expected a date as YYYY-MM-DD, got {value!r}", param, ctx)


class Instant(click.ParamType):  # type: ignore[type-arg]
    """An instant as RFC 3339 gives it, or a date, which stands for its last instant in UTC."""

    name = "instant"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the instant, or say what was expected."""
        if isinstance(value, datetime):
            return value
        try:
            return times.instant(str(value))
        except ValueError:
            self.fail(f"expected an instant as 2024-03-04T12:00:00Z, got {value!r}", param, ctx)


DATE = BusinessDate()
INSTANT = Instant()


def as_json(value: object) -> None:
    """Print a value as JSON on standard output."""
    click.echo(json.dumps(value, indent=1, default=str, sort_keys=True))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    shown = Table(title=title, title_justify="left")
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*["" if v is None else str(v) for v in row])
    out.print(shown)
