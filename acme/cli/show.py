"""How the command shows things: tables, JSON, dates given as arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date

import click
from rich.console import Console
from rich.table import Table

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


DATE = BusinessDate()


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
