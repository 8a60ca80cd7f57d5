"""Serves the gateway on a port: `python -m acme.gateway.serve`. Granian speaks HTTP and TLS."""

from __future__ import annotations

import argparse
import asyncio
import logging.config
import os
import socket
import sys
from pathlib import Path

import psycopg
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.errors import ConfigurationError
from granian.http import HTTP1Settings

from acme.gateway import connections, logs
from acme.gateway.app import Door, application
from acme.gateway.limits import LimitError, Limits
from acme.lakehouse import postgres
from acme.lakehouse.home import Home
from acme.lakehouse.platform import NotInitialisedError, open_platform
from acme.lakehouse.roles import RoleError, role_url

HEADER_BYTES_MAX = 32 * 1024
HEADER_MILLISECONDS_MAX = 10_000
# Connections that wait in the kernel, and those of one worker; more wait, then are refused.
BACKLOG = 2048
CONNECTIONS_MAX = 1024
STOP_SECONDS_MAX = 15
TLS_CERTIFICATE, TLS_KEY = "ACME_GATEWAY_TLS_CERTIFICATE", "ACME_GATEWAY_TLS_KEY"


class ServeError(Exception):
    """The gateway cannot be served as it is configured; the text says why."""


def create() -> Door:
    """Return the application of ACME_HOME: what each worker process loads."""
    home = Home.from_env()
    return application(home, lambda: role_url(home, "gateway"))


def arguments(host: str, port: int, workers: int) -> list[str]:
    """Return the arguments by which `main` serves there."""
    return ["--host", host, "--port", str(port), "--workers", str(workers)]


def url(host: str, port: int, certificate: Path | None = None) -> str:
    """Return where the gateway is found, as it is configured."""
    scheme = "http" if (certificate or _path(TLS_CERTIFICATE)) is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def main(given: list[str] | None = None) -> None:
    """Serve until stopped; exit code 1, and why, where that cannot be done safely."""
    parser = argparse.ArgumentParser(prog="python -m acme.gateway.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tls-certificate", type=Path, help=f"PEM; else {TLS_CERTIFICATE}")
    parser.add_argument("--tls-key", type=Path, help=f"PEM; else {TLS_KEY}")
    options = parser.parse_args(given)
    certificate = options.tls_certificate or _path(TLS_CERTIFICATE)
    key = options.tls_key or _path(TLS_KEY)
    logging.config.dictConfig(logs.configuration())
    try:
        _examine(certificate, key)
        _refuse_taken(options.host, options.port)
        server = Granian(
            "acme.gateway.serve:create",
            factory=True,
            address=options.host,
            port=options.port,
            interface=Interfaces.ASGI,
            workers=options.workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_MILLISECONDS_MAX, max_buffer_size=HEADER_BYTES_MAX
            ),
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS_MAX,
            log_access=False,
            log_dictconfig=logs.configuration(),
            ssl_cert=certificate,
            ssl_key=key,
            ssl_protocol_min=SSLProtocols.tls12,
            respawn_failed_workers=True,
            workers_kill_timeout=STOP_SECONDS_MAX,
        )
    except (
        ConfigurationError,
        LimitError,
        NotInitialisedError,
        OSError,
        RoleError,
        ServeError,
        connections.UnsafeServerError,
        postgres.PostgresError,
        psycopg.Error,
    ) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    logs.event("start", url=url(options.host, options.port, certificate), workers=options.workers)
    server.serve()
    logs.event("stop")


def _examine(certificate: Path | None, key: Path | None) -> None:
    """Refuse here, once, what every worker would refuse again and again."""
    if (certificate is None) != (key is None):
        # Granian would serve without TLS.
        raise ServeError("TLS: expected a certificate and its key, got one of them")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise ServeError(f"TLS: {path} is no file")
    Limits()
    platform = open_platform()
    asyncio.run(connections.examine(role_url(platform.home, "gateway")))


def _refuse_taken(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServeError(f"{host}:{port} cannot be served: {error.strerror}") from error


def _path(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text) if text else None


if __name__ == "__main__":
    main()
