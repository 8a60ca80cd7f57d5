"""Whether there is room to make anything durable: the watermark of the disks.

Below it nothing new is accepted, reads go on; with room again orders are taken again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from acme.lakehouse import postgres
from acme.lakehouse.home import Home

USED_PERCENT_DEFAULT: Final = 90
FREE_MIB_DEFAULT: Final = 1024
LOOK_SECONDS: Final = 1.0
_MIB: Final = 1024 * 1024


class WatermarkError(ValueError):
    """A variable that gives a watermark holds no number in its range."""


class DiskWatch:
    """The file systems of the database and of ACME_HOME, looked at once a second at most."""

    def __init__(self, folders: Sequence[Path], now: Callable[[], float] = time.monotonic) -> None:
        """Read ACME_GATEWAY_DISK_USED_MAX (per cent) and ACME_GATEWAY_DISK_FREE_MIN (MiB)."""
        self._folders = list(folders)
        self._now = now
        self._used_max = _whole("ACME_GATEWAY_DISK_USED_MAX", USED_PERCENT_DEFAULT, 100)
        self._free_min = _whole("ACME_GATEWAY_DISK_FREE_MIN", FREE_MIB_DEFAULT, 2**40)
        self._looked_at = float("-inf")
        self._reason: str | None = None

    def reason(self) -> str | None:
        """Say why nothing may be accepted, or return None. The paths stay in the house."""
        now = self._now()
        if now - self._looked_at >= LOOK_SECONDS:
            self._reason = next((r for f in self._folders if (r := self._full(f))), None)
            self._looked_at = now
        return self._reason

    def _full(self, folder: Path) -> str | None:
        try:
            disk = os.statvfs(folder)
        except OSError:
            return "a disk cannot be read"
        free = disk.f_bavail * disk.f_frsize // _MIB
        # As `df`: what is kept for root counts neither as used nor as free.
        usable = disk.f_blocks - disk.f_bfree + disk.f_bavail
        used = 0 if usable == 0 else -(-100 * (disk.f_blocks - disk.f_bfree) // usable)
        if used > self._used_max:
            return f"a disk is {used} % full, above its watermark of {self._used_max} %"
        if free < self._free_min:
            return f"a disk has {free} MiB left, below its watermark of {self._free_min} MiB"
        return None


def folders(home: Home) -> list[Path]:
    """Return the folders that orders need room in."""
    database = postgres.status(home).folder
    return [home.root] if database is None else [home.root, database]


def _whole(name: str, default: int, largest: int) -> int:
    text = os.environ.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and int(text) <= largest):
        raise WatermarkError(f"{name}: expected a whole number up to {largest}, got {text!r}")
    return int(text)
