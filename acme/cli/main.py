"""Entry of the `acme` command: turns known errors into messages; loads nothing before it may stop.

The verbs take seconds to load on a busy machine, so they are loaded inside: who stops the command
meanwhile is told so, as later.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

STOPPED = 130


def main() -> None:
    """Run the command; what the user can mend is a message and exit code 1, never a traceback."""
    _require_text(sys.argv[1:])
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    import click

    from acme.cli.errors import KNOWN_ERRORS
    from acme.cli.verbs import acme

    signal.signal(signal.SIGINT, before)
    try:
        # A command that ends by `Exit` hands its code back; any other result is a success.
        code = acme(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(STOPPED)
    except KNOWN_ERRORS as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is open yet, and a half-loaded library need not make sense of it."""
    del number, frame
    os.write(2, b"stopped\n")
    os._exit(STOPPED)


def _require_text(arguments: list[str]) -> None:
    """Refuse bytes that are no UTF-8: no file, table or answer could say them."""
    for number, argument in enumerate(arguments, start=1):
        if any("\ud800" <= character <= "\udfff" for character in argument):
            # An API key is shown by no message, be it a wrong one.
            secret = argument.startswith("--key=") or arguments[number - 2 : number - 1] == [
                "--key"
            ]
            got = "other bytes" if secret else ascii(argument)
            sys.stderr.write(f"error: argument {number}: expected UTF-8, got {got}\n")
            sys.exit(2)


if __name__ == "__main__":
    main()
