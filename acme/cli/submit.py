"""Verb that sends a file of orders to a gateway: submit. It knows nothing but HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from acme.cli import show
from acme.cli.errors import CommandError
from acme.lakehouse.files import sha256_file

MEDIA: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
SUFFIXES: Final = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
PART_BYTES: Final = 256 * 1024
TIMEOUT: Final = httpx.Timeout(60, connect=5, read=600)
# Nothing was accepted, and the same request may succeed later.
AGAIN: Final = (429, 502, 503, 504)
PAUSE_SECONDS_MAX: Final = 10.0
CREATED: Final = 201
NAME_LENGTH_MAX: Final = 200
# Of a file, to tell what it is.
BEGIN_BYTES: Final = 80


@dataclass(frozen=True)
class Sending:
    """A file and where it goes; sent twice under the same key it has the effect of once."""

    file: Path
    url: str
    key: str
    idempotency_key: str
    media: str
    wait: float

    def send(self, progress: Progress | None) -> httpx.Response:
        """Send until an answer comes, for `wait` seconds after the first failure."""
        deadline: float | None = None
        pause = 0.5
        while True:
            try:
                answer = self._once(progress)
                if answer.status_code not in AGAIN:
                    return answer
                failure = f"{answer.status_code}: {_problem(answer).get('detail', '')}"
                asked = answer.headers.get("retry-after", "")
                pause = max(pause, float(asked)) if asked.isdecimal() else pause
            except httpx.TransportError as error:
                failure = f"{self.url} cannot be reached: {error}"
            now = time.monotonic()
            deadline = now + self.wait if deadline is None else deadline
            if now + pause > deadline:
                raise CommandError(f"{failure}; sending {self.file} again is safe")
            if progress is not None:
                progress.console.print(f"{failure}; again in {pause:g} s", highlight=False)
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    def _once(self, progress: Progress | None) -> httpx.Response:
        size = self.file.stat().st_size
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Idempotency-Key": self.idempotency_key,
            "Content-Type": self.media,
            "Content-Length": str(size),
        }
        task = None if progress is None else progress.add_task(self.file.name, total=size)
        try:
            return httpx.post(
                f"{self.url}/v1/orders/bulk",
                content=self._parts(progress, task),
                headers=headers,
                timeout=TIMEOUT,
            )
        finally:
            if progress is not None and task is not None:
                progress.remove_task(task)

    def _parts(self, progress: Progress | None, task: Any) -> Iterator[bytes]:
        with self.file.open("rb") as stream:
            while part := stream.read(PART_BYTES):
                yield part
                if progress is not None:
                    progress.advance(task, len(part))
        if progress is not None:
            progress.update(task, description="sent, waiting for the commit")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The gateway.")
@click.option("--key", envvar="ACME_API_KEY", help="API key; default: ACME_API_KEY.")
@click.option("--idempotency-key", help="Default: made of the file's SHA-256.")
@click.option("--format", "form", type=click.Choice(list(MEDIA)), help="Default: by the suffix.")
@click.option("--wait", default=60.0, show_default=True, type=click.FloatRange(0, 86_400))
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def submit(
    file: Path,
    url: str,
    key: str | None,
    idempotency_key: str | None,
    form: str | None,
    wait: float,
    json_: bool,
) -> None:
    """Send the orders of FILE, CSV or NDJSON, all or nothing; again has no effect.

    A gateway that is away or busy is asked again for --wait seconds. Exit code 0: every order is
    durable. 1: none is, or no answer came. 2: the command is used wrongly.
    """
    form = form or SUFFIXES.get(file.suffix.lower())
    if form is None:
        raise click.UsageError(f"--format: expected {' or '.join(MEDIA)} for {file.name}")
    sent_key, gateway = _key(key), _gateway(url)
    name = f"file-{sha256_file(file)}" if idempotency_key is None else _name(idempotency_key)
    _require_form(file, form)
    sending = Sending(file, gateway, sent_key, name, MEDIA[form], wait)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = nullcontext() if json_ else Progress(*columns, console=Console(stderr=True))
    with bar as progress:
        answer = sending.send(progress)
    told = _problem(answer)
    if json_:
        show.as_json(told)
    elif answer.status_code == CREATED:
        replayed = "idempotent-replayed" in answer.headers
        show.table("Sent before, no effect" if replayed else "Accepted", ["", ""], _flat(told))
    else:
        _refused(file, told, answer.status_code)
    if answer.status_code != CREATED:
        raise click.exceptions.Exit(1)


def _key(given: str | None) -> str:
    """Return the API key without the blanks and line ends that copying adds; never shows it."""
    key = (given or "").strip()
    if not key:
        raise click.UsageError("--key or ACME_API_KEY: expected an API key, got none")
    if not _is_printable_ascii(key) or " " in key:
        raise click.UsageError("--key or ACME_API_KEY: expected printable ASCII without a space")
    return key


def _name(given: str) -> str:
    """Return the idempotency key, which a header can carry as it is."""
    name = given.strip()
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not _is_printable_ascii(name):
        raise click.UsageError(
            f"--idempotency-key: expected 1 to {NAME_LENGTH_MAX} characters of printable ASCII,"
            f" got {given!r}"
        )
    return name


def _gateway(url: str) -> str:
    """Return the gateway's URL, which is one: what cannot be connected to is not tried."""
    expected = "--url: expected http://HOST[:PORT] or https://HOST[:PORT]"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise click.UsageError(f"{expected}, got {url!r}: {error}") from error
    if parts.username is not None or parts.password is not None:
        # It would be sent in place of the API key.
        raise click.UsageError(f"{expected}, got a user name or password in it")
    fits = parts.scheme in {"http", "https"} and host and not (parts.query or parts.fragment)
    if not fits or port == 0 or " " in url or not url.isprintable():
        raise click.UsageError(f"{expected}, got {url!r}")
    return url.rstrip("/")


def _require_form(file: Path, form: str) -> None:
    """Refuse a file that is plainly of the other form.

    Under a key that stands for its bytes already, the gateway would not look at them again.
    """
    with file.open("rb") as stream:
        begin = stream.read(BEGIN_BYTES).lstrip()
    is_object = begin.startswith(b"{")
    if begin and is_object != (form == "ndjson"):
        expected = "a JSON object" if form == "ndjson" else "the names of the columns"
        got = begin.splitlines()[0].decode(errors="replace")
        raise click.UsageError(
            f"{file}: line 1: expected {expected}, since --format is {form}, got {got!r}"
        )


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _problem(answer: httpx.Response) -> dict[str, Any]:
    """Return what an answer says, also where it is none of the gateway's."""
    try:
        told = answer.json()
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {"status": answer.status_code, "detail": answer.text}


def _flat(told: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in told.items():
        if isinstance(value, dict):
            yield from ((f"{name}: {inner}", v) for inner, v in value.items())
        else:
            yield name, value


def _refused(file: Path, told: dict[str, Any], status: int) -> None:
    said = f"{told.get('title', '')}: {told.get('detail', '')}"
    click.echo(f"{file}: refused, {status}: {said}", err=True)
    errors = told.get("errors") or []
    if errors:
        columns = ["line", "field", "expected", "got"]
        rows = [[error.get(c) for c in columns] for error in errors]
        show.table(
            f"Errors of {file.name} ({told.get('errors_in_all', len(errors))})", columns, rows
        )


COMMANDS = [submit]
