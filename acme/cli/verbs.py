"""The `acme` command: its groups of verbs put together."""

from __future__ import annotations

import click

from acme.cli import (
    books,
    breaks,
    day,
    demo,
    evidence,
    explain,
    installation,
    intake,
    keys,
    marts,
    new_process,
    process,
    replay,
    submit,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def acme() -> None:
    """ACME's investment platform: land files, run business days, look at the books."""


GROUPS = (
    installation,
    intake,
    day,
    process,
    new_process,
    books,
    breaks,
    explain,
    evidence,
    replay,
    keys,
    marts,
    demo,
    submit,
)

for group in GROUPS:
    for command in group.COMMANDS:
        acme.add_command(command)
