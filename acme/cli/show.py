"""How the command shows things: tables, JSON, dates given as arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime

import click
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from acme.evidence import times

out = Console(soft_wrap=False)
# Wider than any table of text: what a table would take if nothing bound it.
WIDTH_MAX = 1_000_000


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
    """Print a table; nothing in it is ever cut.

    In a terminal that is too narrow what has blanks is folded at them; an id or a hash stays whole,
    and where that needs a wider table, its lines run over. Elsewhere a row is one line.
    """
    texts = [["" if v is None else str(v) for v in row] for row in rows]
    shown = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        whole = not any(" " in row[at] for row in texts)
        shown.add_column(Text(column), no_wrap=whole, overflow="fold")
    for row in texts:
        # As text: in a plain string Rich would take what stands in brackets for markup.
        shown.add_row(*map(Text, row))
    needed = Measurement.get(out, out.options.update(max_width=WIDTH_MAX), shown)
    width = max(out.width, needed.minimum) if out.is_terminal else needed.maximum
    Console(width=width, soft_wrap=False).print(shown, crop=False)


def progress(*, hidden: bool) -> Progress:
    """Return a progress bar on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=hidden,
    )
