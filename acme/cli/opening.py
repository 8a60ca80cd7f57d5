"""Opens the installation for one call of the command, and closes it when the call ends."""

from __future__ import annotations

from datetime import time

import click

from acme.lakehouse import platform as platforms
from acme.lakehouse.home import Home
from acme.lakehouse.platform import Platform


def open_platform() -> Platform:
    """Open the installation of ACME_HOME until the command ends, however it ends."""
    return _until_the_end(platforms.open_platform())


def initialise(home: Home, currency: str, cutoff: time, timezone: str) -> Platform:
    """Make an installation, or find it made, and keep it open until the command ends."""
    return _until_the_end(platforms.initialise(home, currency, cutoff, timezone))


def _until_the_end(platform: Platform) -> Platform:
    click.get_current_context().call_on_close(platform.close)
    return platform
