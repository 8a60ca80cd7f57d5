"""Verb that computes published dates again and proves that they are the same: replay."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING

import click

from acme.cli import show
from acme.cli.errors import CommandError
from acme.cli.opening import open_platform
from acme.lakehouse.platform import Platform
from acme.lakehouse.published_dates import require_published, span

if TYPE_CHECKING:
    from orchestration.replay import Replayed

DIFFERENCES_SHOWN_MAX = 10


@click.command()
@click.argument("run_date", metavar="[DATE]", type=show.DATE, required=False)
@click.option("--from", "first", type=show.DATE, help="First date of a span.")
@click.option("--to", "last", type=show.DATE, help="Last date of a span.")
@click.option("--sample", type=click.IntRange(min=1), help="So many dates of the span, at random.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which random dates.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def replay(
    run_date: date | None,
    first: date | None,
    last: date | None,
    sample: int | None,
    seed: int,
    json_: bool,
) -> None:
    """Compute DATE, or the published dates of a span, again from what they landed.

    Works in memory and changes nothing. Every table, seal and sent file must come out the same;
    else the first differing table, row and column is named and the exit code is 1. Sent files are
    compared with the record of what was sent; what others did to the outbox is not looked at.
    """
    platform = open_platform()
    dates = wanted_dates(platform, run_date, first, last)
    if sample is not None and sample < len(dates):
        dates = sorted(random.Random(seed).sample(dates, sample))  # noqa: S311  not a secret
    found = replay_all(platform, dates, quiet=json_)
    if json_:
        show.as_json([r.as_json() for r in found])
    else:
        _show(found)
    differing = [r for r in found if not r.equal]
    if differing:
        raise CommandError(
            f"{len(differing)} of {len(found)} dates differ; first"
            f" {differing[0].run_date}: {differing[0].differences[0].text()}"
        )


def wanted_dates(
    platform: Platform, run_date: date | None, first: date | None, last: date | None
) -> list[date]:
    """Return the published dates that are meant; raises `CommandError` where there is none."""
    if (run_date is None) == (first is None and last is None):
        raise click.UsageError("give a DATE, or a span by --from and --to")
    published = platform.control.published_dates()
    if run_date is not None:
        require_published(platform.control, run_date)
        return [run_date]
    if first is not None and last is not None and last < first:
        raise click.UsageError(f"--from {first} is after --to {last}")
    dates = [d for d in published if (first or d) <= d <= (last or d)]
    if not dates:
        raise CommandError(
            f"no date from {first or 'the first'} to {last or 'the last'} is published:"
            f" {span(published)}"
        )
    return dates


def replay_all(platform: Platform, dates: Sequence[date], *, quiet: bool) -> list[Replayed]:
    """Replay dates one after the other, with a progress bar on standard error."""
    from orchestration.replay import replay as replay_date

    found = []
    with show.progress(hidden=quiet) as progress:
        task = progress.add_task("replaying", total=len(dates))
        for day in dates:
            progress.update(task, description=f"{day}")
            found.append(replay_date(platform, day))
            progress.advance(task)
    return found


def _show(found: Iterable[Replayed]) -> None:
    replayed = list(found)
    show.table(
        "Computed again",
        ["date", "files", "tables", "rows", "checks", "sent (record)", "seconds", "outcome"],
        [
            (
                r.run_date,
                r.files,
                f"{r.same_bytes} of {r.tables}",
                f"{r.rows:,}",
                r.checks,
                r.sent_files,
                f"{r.seconds:.2f}",
                _outcome(r),
            )
            for r in replayed
        ],
    )
    for r in replayed:
        for difference in r.differences[:DIFFERENCES_SHOWN_MAX]:
            click.echo(f"{r.run_date}: {difference.text()}")
        if len(r.differences) > DIFFERENCES_SHOWN_MAX:
            more = len(r.differences) - DIFFERENCES_SHOWN_MAX
            click.echo(f"{r.run_date}: and {more} more; --json lists them")


def _outcome(replayed: Replayed) -> str:
    if not replayed.equal:
        return f"{len(replayed.differences)} differences"
    return "equal" if replayed.same_code else "equal, by other code"


COMMANDS = [replay]
