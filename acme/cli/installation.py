"""Verbs about the installation itself: init, up, down, status, doctor."""

from __future__ import annotations

import json
import os
import signal
import sys
import time as clock_time
from contextlib import suppress
from dataclasses import replace
from datetime import time
from importlib import metadata
from pathlib import Path

import click

from acme.cli import serving, show
from acme.cli.errors import CommandError
from acme.cli.opening import initialise, open_platform
from acme.evidence.damage import damages
from acme.gateway.waiting import waiting_orders
from acme.lakehouse import postgres, roles
from acme.lakehouse.control import Control
from acme.lakehouse.home import Home
from acme.lakehouse.platform import Platform
from acme.operations import enquiries
from acme.operations.breaks import LIVE

ROOT = Path(__file__).resolve().parents[2]


@click.command()
@click.option("--currency", required=True, help="The scheme's one currency, as USD.")
@click.option("--cutoff", default="12:00", show_default=True, help="Local time of the cut-off.")
@click.option("--timezone", default="Europe/London", show_default=True, help="Its time zone.")
def init(currency: str, cutoff: str, timezone: str) -> None:
    """Make an empty installation in ACME_HOME; once more with the same values changes nothing."""
    try:
        at = time.fromisoformat(cutoff)
    except ValueError as error:
        raise CommandError(f"--cutoff: expected a time as HH:MM, got {cutoff!r}") from error
    platform = initialise(Home.from_env(), currency, at, timezone)
    click.echo(f"initialised {platform.home.root}: {currency}, cut-off {cutoff} {timezone}")


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
@click.option("--gateway-host", default="127.0.0.1", show_default=True, help="Its address.")
@click.option("--gateway-port", default=8000, show_default=True, help="Port of the gateway.")
@click.option(
    "--gateway-workers", type=click.IntRange(1), default=1, show_default=True, help="Processes."
)
def up(port: int, gateway_host: str, gateway_port: int, gateway_workers: int) -> None:
    """Serve the gateway on its address, the Dagster UI and daemon on loopback, until stopped.

    An embedded Postgres that ends meanwhile is started again.

    The gateway speaks TLS where ACME_GATEWAY_TLS_CERTIFICATE and ACME_GATEWAY_TLS_KEY name PEM
    files.
    """
    from acme.gateway import serve
    from orchestration import calendar_file
    from orchestration.runner import dagster_environment, instance

    platform = open_platform()
    calendar_file.refresh(platform.home, platform.control)
    instance(platform).dispose()
    workspace = str(ROOT / "workspace.yaml")
    binaries = Path(sys.executable).parent
    gateway = serve.arguments(gateway_host, gateway_port, gateway_workers)
    dagster = {
        "dagster-webserver": [
            str(binaries / "dagster-webserver"),
            *("-w", workspace, "-h", "127.0.0.1", "-p", str(port)),
        ],
        "dagster-daemon": [str(binaries / "dagster-daemon"), "run", "-w", workspace],
    }
    served = serving.Serving(
        platform.home,
        platform.url,
        {"the gateway": [sys.executable, "-m", "acme.gateway.serve", *gateway]} | dagster,
        lambda url: os.environ | dagster_environment(replace(platform, url=url)),
        told_url=list(dagster),
        folder=ROOT,
    )
    try:
        served.start()
        click.echo(f"Gateway: {serve.url(gateway_host, gateway_port)}", err=True)
        click.echo(f"Dagster UI: http://127.0.0.1:{port}   (ctrl-c stops all)", err=True)
        served.wait()
    finally:
        served.stop()


@click.command()
def down() -> None:
    """Stop what `up` serves, and the embedded Postgres."""
    home = Home.from_env()
    record = serving.record(home)
    if record.exists():
        with suppress(ProcessLookupError):
            os.kill(json.loads(record.read_text("utf-8"))[0], signal.SIGTERM)
        for _ in range(serving.STOP_SECONDS_MAX * 2):
            if not record.exists():
                break
            clock_time.sleep(0.5)
        record.unlink(missing_ok=True)
    stopped = postgres.stop(home)
    click.echo("stopped" if stopped else "nothing was running")


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def status(json_: bool) -> None:
    """Show what is published, what waits, and what is open."""
    platform = open_platform()
    shown = _status(platform)
    if json_:
        show.as_json(shown)
        return
    show.table("Status", ["", ""], [(name, _said(value)) for name, value in shown.items()])


def _said(value: object) -> object:
    """Return what a list or a mapping of the status is in words."""
    match value:
        case dict():
            return ", ".join(f"{k}: {v}" for k, v in value.items())
        case list():
            return "; ".join(
                " ".join(map(str, item.values())) if isinstance(item, dict) else str(item)
                for item in value
            )
        case _:
            return value


def _status(platform: Platform) -> dict[str, object]:
    control: Control = platform.control
    scheme = control.scheme()
    last = control.last_published()
    shown: dict[str, object] = {
        "home": str(platform.home.root),
        "currency": scheme.currency,
        "cut_off": f"{scheme.cutoff:%H:%M} {scheme.timezone}",
        "last_published": None if last is None else last.run_date.isoformat(),
        "published_at": None if last is None else last.published_at.isoformat(),
        "files_waiting_for_the_next_run": control.waiting_count(),
        "files_not_sent": len(control.unsent_dispatches()),
    } | _gateway(control)
    if last is not None:
        frames = platform.lake.read(
            last.run_date, ["core.reconciliation_breaks", "core.suspended_assets", "core.holds"]
        )
        breaks = frames["core.reconciliation_breaks"]
        live = breaks.filter(breaks["state"].is_in(LIVE))
        ages = live.group_by("age_bucket").len().sort("age_bucket").iter_rows()
        suspended = frames["core.suspended_assets"].select("asset_id", "break_id", "since")
        shown |= {
            "open_breaks": live.height,
            "open_breaks_by_age_in_business_days": dict(ages),
            "breaks_to_close": breaks.filter(breaks["state"] == "corrected").height,
            "suspended_assets": suspended["asset_id"].to_list(),
            "suspended_by": [
                {"asset_id": asset, "since": since, "break_id": name}
                for asset, name, since in suspended.iter_rows()
            ],
            "holds": frames["core.holds"].height,
            "to_ask_custodians_about": enquiries.unanswered(platform.lake, last.run_date)
            .select("custodian_id", "instruction_id")
            .to_dicts(),
        }
    return shown


def _gateway(control: Control) -> dict[str, object]:
    """Return what waits in the gateway's outbox for the next run, and the newest drain."""
    with control.transaction() as cursor:
        waiting = waiting_orders(cursor)
    drained = waiting.drained_until
    return {
        "orders_and_cancellations_waiting": waiting.entries,
        "orders_drained_until": None if drained is None else drained.isoformat(),
        "orders_drained_at": None if drained is None else str(waiting.drained_at),
    }


@click.command()
@click.option("--last", type=click.IntRange(min=1), help="The last so many published dates alone.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def doctor(last: int | None, json_: bool) -> None:
    """Check that the installation can run: packages, Postgres, lake, every published file.

    Every file of every published date is read and must have the SHA-256 it was published with.
    """
    findings = _examine(last, quiet=json_)
    if json_:
        show.as_json([{"check": n, "ok": ok, "detail": d} for n, ok, d in findings])
    else:
        show.table(
            "Doctor",
            ["check", "", "detail"],
            [(n, "ok" if ok else "FAILED", d) for n, ok, d in findings],
        )
    if not all(ok for _, ok, _ in findings):
        raise click.exceptions.Exit(1)


def _examine(last: int | None, *, quiet: bool) -> list[tuple[str, bool, str]]:
    findings = [
        ("dagster", True, metadata.version("dagster")),
        ("polars", True, metadata.version("polars")),
    ]
    platform = open_platform()
    with platform.control.transaction() as cursor:
        settings = [
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("synchronous_commit", "on"),
            ("track_commit_timestamp", "on"),
        ]
        for name, wanted in settings:
            value = str(cursor.execute(f"SHOW {name}").fetchone()[0])  # type: ignore[index]
            findings.append((f"postgres {name}", value == wanted, value))
        gone = roles.missing(cursor.connection)
    findings += [
        (f"postgres role {roles.name_of(role)}", *_role(platform, role, gone))
        for role in roles.ROLES
    ]
    platform.lake.connect()
    findings.append(("lake", True, f"snapshot {platform.lake.snapshot()}"))
    return findings + _published_files(platform, last, quiet=quiet)


def _published_files(
    platform: Platform, last: int | None, *, quiet: bool
) -> list[tuple[str, bool, str]]:
    """Verify the files of the last published dates (None: of all), the oldest first."""
    dates = platform.control.published_dates()
    dates = dates[-last:] if last is not None else dates
    wrong: list[str] = []
    with show.progress(hidden=quiet) as progress:
        task = progress.add_task("verifying", total=len(dates))
        for day in dates:
            progress.update(task, description=f"{day}")
            publication = platform.control.publication(day)
            if publication is not None:
                wrong += damages(platform.lake, publication)
            progress.advance(task)
    if wrong:
        return [("published files", False, text) for text in wrong]
    if not dates:
        return [("published files", True, "none yet")]
    return [("published files", True, f"{dates[0]} to {dates[-1]}: every SHA-256 matches")]


def _role(platform: Platform, role: roles.Role, gone: list[roles.Role]) -> tuple[bool, str]:
    if role in gone:
        return False, "missing: have an administrator make it, then run `acme init` again"
    if postgres.is_external():
        return True, "a group without login: grant it to a login of your own"
    try:
        roles.role_url(platform.home, role)
    except roles.RoleError as error:
        return False, str(error)
    return True, f"logs in with its password in {platform.home.postgres_roles}"


COMMANDS = [init, up, down, status, doctor]
