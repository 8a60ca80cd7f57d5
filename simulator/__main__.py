"""The command line of the simulator."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import click

from simulator.files import OutboxError
from simulator.gateway import GatewayError, OrderGateway
from simulator.world import World


class _Date(click.ParamType[date]):
    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"expected a date like 2020-06-01, got {value!r}", param, ctx)


DATE = _Date()


@click.group()
@click.option("--home", type=click.Path(path_type=Path), required=True, help="ACME_HOME.")
@click.option("--pots", type=int, default=1_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--from", "first", type=DATE, default="2020-06-01", show_default=True)
@click.option("--to", "last", type=DATE, default="2020-06-30", show_default=True)
@click.option("--shuffle", type=int, help="Permute the rows of every file by this number.")
@click.option("--others", is_flag=True, help="Also what processes beside the day live from.")
@click.option("--gateway", metavar="URL", help="Send orders there instead of dropping files.")
@click.option(
    "--key", "keys", multiple=True, metavar="SOURCE=KEY", help="API key of a source; repeatable."
)
@click.pass_context
def main(
    context: click.Context,
    *,
    home: Path,
    pots: int,
    seed: int,
    first: date,
    last: date,
    shuffle: int | None,
    others: bool,
    gateway: str | None,
    keys: tuple[str, ...],
) -> None:
    """Plays members, employers, the price vendor and two custodians around one platform."""
    pairs = [key.partition("=")[::2] for key in keys]
    if gateway is not None and not all(key for _, key in pairs):
        raise click.UsageError("--key: expected SOURCE=KEY")
    sender = None if gateway is None else OrderGateway(gateway, dict(pairs))
    try:
        context.obj = World(
            home, seed, pots, first, last, shuffle=shuffle, gateway=sender, others=others
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.pass_obj
def reference(world: World) -> None:
    """Drops calendars, assets, profiles, pots and opening positions."""
    _tell(world.reference())


@main.command()
@click.argument("run_date", metavar="DATE", type=DATE)
@click.pass_obj
def before(world: World, run_date: date) -> None:
    """Drops everything that arrives before the run of DATE."""
    try:
        _tell(world.before(run_date))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except (OutboxError, GatewayError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.pass_obj
def dates(world: World) -> None:
    """Lists the run dates."""
    for day in world.business_dates():
        click.echo(day.isoformat())


def _tell(paths: list[Path]) -> None:
    for path in paths:
        click.echo(path)


if __name__ == "__main__":
    main(prog_name="python -m simulator")
