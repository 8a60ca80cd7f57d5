"""Serves the gateway on a port: `python -m acme.gateway.serve`. Granian speaks HTTP and TLS."""

from __future__ import annotations

import argparse
from pathlib import Path

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from acme.gateway.app import Door, application
from acme.lakehouse import postgres
from acme.lakehouse.home import Home

HEADER_BYTES_MAX = 32 * 1024


def create() -> Door:
    """Return the application of ACME_HOME: what each worker process loads."""
    home = Home.from_env()
    return application(home, postgres.url(home))


def main(arguments: list[str] | None = None) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m acme.gateway.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    options = parser.parse_args(arguments)
    postgres.start(Home.from_env())
    Granian(
        "acme.gateway.serve:create",
        factory=True,
        address=options.host,
        port=options.port,
        interface=Interfaces.ASGI,
        workers=options.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=HEADER_BYTES_MAX),
        websockets=False,
        log_access=False,
        ssl_cert=options.tls_certificate,
        ssl_key=options.tls_key,
        respawn_failed_workers=True,
    ).serve()


if __name__ == "__main__":
    main()
