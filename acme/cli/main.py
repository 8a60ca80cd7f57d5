"""The `acme` command: puts its groups of verbs together and turns known errors into messages."""

from __future__ import annotations

import sys

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


def main() -> None:
    """Run the command; what the user can mend is a message and exit code 1, never a traceback."""
    from acme.cli.errors import KNOWN_ERRORS

    try:
        # A command that ends by `Exit` hands its code back; any other result is a success.
        code = acme(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except KNOWN_ERRORS as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
