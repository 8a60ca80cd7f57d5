"""Verb that runs simulated months on real closing prices: demo."""

from __future__ import annotations

import os
from datetime import date, time

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from acme.cli import show
from acme.cli.day import build_outstanding, run
from acme.cli.opening import initialise
from acme.lakehouse.home import Home
from acme.lakehouse.landing import sweep_inbox
from acme.lakehouse.platform import Platform
from acme.operations.summary import Summary

CURRENCY, CUT_OFF, TIMEZONE = "USD", time(12), "Europe/London"


@click.command()
@click.option("--from", "first", type=show.DATE, default="2020-06-01", show_default=True)
@click.option("--to", "last", type=show.DATE, default="2020-06-30", show_default=True)
@click.option("--pots", default=1_000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=1, show_default=True, help="Same seed, same figures.")
@click.option("--shuffle", type=int, help="Permute the rows of every file; nothing else changes.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def demo(first: date, last: date, pots: int, seed: int, shuffle: int | None, json_: bool) -> None:
    """Run business days on real closing prices with simulated members and custodians."""
    from orchestration.location_process import Locations
    from orchestration.processes_run import find, run_due
    from simulator.world import World

    os.environ["ACME_CLOCK"] = "event"
    platform = initialise(Home.from_env(), CURRENCY, CUT_OFF, TIMEZONE)
    world = World(platform.home.root, seed, pots, first, last, shuffle=shuffle, others=True)
    dates = world.business_dates()
    summary = Summary(first, last, CURRENCY)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    told = Console(stderr=True)
    with Progress(*columns, disable=json_) as progress, Locations() as locations:
        task = progress.add_task("getting ready", total=len(dates))
        world.reference()
        for run_date in dates:
            progress.update(task, description=f"{run_date}")
            _one_day(platform, world, run_date)
            # Whatever becomes of other teams' processes, the next day comes.
            others = run_due(platform, run_date, locations)
            for name, why in others.failed.items():
                told.print(f"{run_date} {name}: {why}", highlight=False)
                summary.add_failure(name)
            for name in others.done:
                summary.add_process(platform.lake, run_date, name, find(name).writes)
            as_of = platform.lake.read(run_date, ["core.dealing_batches"])
            price_date = as_of["core.dealing_batches"]["price_date"][0]
            summary.add(platform.lake, run_date, price_date)
            progress.advance(task)
        # Once for all dates: dbt takes longer to begin than to build a month.
        progress.update(task, description="marts")
        build_outstanding(platform)
    if json_:
        show.as_json(summary.as_json())
        return
    _show(summary)


def _one_day(platform: Platform, world: object, run_date: date) -> None:
    if not platform.control.is_published(run_date):
        world.before(run_date)  # type: ignore[attr-defined]
        sweep_inbox(platform.home, platform.control)
    run(platform, run_date)


def _show(summary: Summary) -> None:
    money = f"{{:,.2f}} {summary.currency}"
    rows = [
        ("Dates published", f"{summary.dates_published}  ({summary.first} to {summary.last})"),
        ("Orders from third parties", f"{summary.orders:,}"),
        ("Re-balancing trades", f"{summary.rebalancing_trades:,}"),
        ("Gross traded", money.format(summary.gross_traded)),
        ("Net traded", money.format(summary.net_traded)),
        ("Crossed internally", f"{summary.crossed_share} % of the gross"),
        ("Breaks found / open", f"{summary.breaks_found} / {summary.breaks_open}"),
        ("Checks passed", f"{summary.checks_passed} of {summary.checks}"),
        (
            "Journals booked / rejected",
            f"{summary.journals_booked:,} / {summary.journals_rejected:,}",
        ),
        ("Value at start", money.format(summary.value_at_start)),
        ("Value at end", money.format(summary.value_at_end)),
    ]
    show.table("The business days", ["", ""], rows)
    show.table(
        "Processes beside the business day",
        ["process", "dates", "failed", "rows"],
        [
            (name, str(done.dates), str(done.failed), f"{done.rows:,}")
            for name, done in sorted(summary.processes.items())
        ],
    )
    show.out.print(
        "Where to look next\n"
        "  acme up                          the Dagster UI: http://127.0.0.1:3000\n"
        "  acme breaks --all                what reconciliation found\n"
        '  acme sql "from dealing_batches"  one sealed batch per date\n'
        f"  acme hash ledger_balances {summary.last}   the same figure on every machine",
        highlight=False,
    )


COMMANDS = [demo]
