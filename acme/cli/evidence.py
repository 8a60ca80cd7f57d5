"""Verb that hands out the evidence of a published date: evidence."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date
from pathlib import Path

import click

from acme.cli import show
from acme.cli.opening import open_platform
from acme.evidence import pack
from acme.lakehouse.files import naming, unnamed


@click.command()
@click.argument("run_date", metavar="DATE", type=show.DATE)
@click.option(
    "--out",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The zip to write.",
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def evidence(run_date: date, target: Path, json_: bool) -> None:
    """Write the evidence of the published DATE as a zip: the same bytes whenever it is made.

    What was published with its hashes, seals and signatures, checks, breaks and what was done about
    them, landed files, run inputs, versions, hashes of what was sent. index.html is read first.
    """
    collected = pack.collect(open_platform(), run_date)
    partial = target.with_name(f".{target.name}.part")
    try:
        with naming(target), unnamed():
            with partial.open("w+b") as file:
                pack.write(collected, file)
                size = file.tell()
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            partial.replace(target)
    finally:
        # Whatever cannot be removed either, the first error has said.
        with suppress(OSError):
            partial.unlink()
    if json_:
        show.as_json({"file": str(target), "sha256": digest, "bytes": size})
    else:
        click.echo(f"{digest}  {target}")


COMMANDS = [evidence]
