"""Serves ACME_HOME on a port for tests, on a server that is not one to entrust orders to."""

import sys

from granian import Granian
from granian.constants import Interfaces

from acme.gateway import connections
from acme.gateway.app import Door
from acme.gateway.serve import create as create_door


def create() -> Door:
    connections.DEMANDED.clear()
    return create_door()


if __name__ == "__main__":
    Granian(
        "tests.gateway.published.serve:create",
        factory=True,
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
    ).serve()
