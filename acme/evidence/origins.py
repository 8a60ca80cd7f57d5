"""The landed file and row behind a figure; every file is verified against its SHA-256."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import polars as pl

from acme.lakehouse import contracts
from acme.lakehouse.files import sha256_file
from acme.lakehouse.landing import LandedFileDamaged, read_landed
from acme.lakehouse.platform import Platform
from acme.lakehouse.raw_files import stored_path

Rows = Callable[[str, Sequence[object]], list[dict[str, Any]]]


class Origins:
    """Finds files and rows, and remembers what it has verified."""

    def __init__(self, platform: Platform, rows: Rows) -> None:
        """Keep how to ask the lake."""
        self._home = platform.home
        self._rows = rows
        self._files: dict[str, dict[str, object]] = {}
        self._frames: dict[tuple[str, str], pl.DataFrame | None] = {}

    def row(self, file_sha256: str, row: int | None) -> dict[str, object]:
        """Return a file's name, feed, SHA-256, what became of its bytes, and the row."""
        return {**self._file(file_sha256), "row": row}

    def keyed(self, feed: str, file_sha256: str, key: Mapping[str, str]) -> dict[str, object]:
        """Return the file and the first row in it that has a key's values."""
        frame = self._frame(feed, file_sha256)
        if frame is None:
            return self.row(file_sha256, None)
        found = frame.filter(*[pl.col(n).cast(pl.String) == v for n, v in key.items()])
        return self.row(file_sha256, found["row"][0] if found.height else None)

    def opening(self, as_of: str, pot: str, asset: str) -> dict[str, object]:
        """Return the file and row of an opening position."""
        found = self._rows(
            "SELECT file_sha256 FROM lake.stage.opening_positions WHERE pot_id = ?"
            " AND asset_id = ? AND as_of = CAST(? AS DATE)",
            [pot, asset, as_of],
        )
        if not found:
            facts = {"name": "none", "feed": "opening_positions", "file_sha256": ""}
            return {**facts, "proven": False, "bytes": "missing"}
        key = {"as_of": as_of, "pot_id": pot, "asset_id": asset}
        return self.keyed("opening_positions", found[0]["file_sha256"], key)

    def _file(self, file_sha256: str) -> dict[str, object]:
        if file_sha256 not in self._files:
            found = self._rows(
                "SELECT name, feed, size, received_at, run_date FROM lake.core.landed_files"
                " WHERE file_sha256 = ? AND verdict = 'accepted' ORDER BY run_date LIMIT 1",
                [file_sha256],
            )
            facts = {k: str(v) for k, v in found[0].items()} if found else {"name": "", "feed": ""}
            kept = self._kept(file_sha256)
            self._files[file_sha256] = {
                **facts,
                "file_sha256": file_sha256,
                "proven": kept == "verified",
                "bytes": kept,
            }
        return self._files[file_sha256]

    def _kept(self, file_sha256: str) -> Literal["verified", "missing", "changed"]:
        try:
            digest = sha256_file(stored_path(self._home.landed, file_sha256))
        except FileNotFoundError:
            return "missing"
        except OSError:
            return "changed"
        return "verified" if digest == file_sha256 else "changed"

    def _frame(self, feed: str, file_sha256: str) -> pl.DataFrame | None:
        key = (feed, file_sha256)
        if key not in self._frames:
            try:
                self._frames[key] = read_landed(self._home, contracts.feed(feed), file_sha256)
            except LandedFileDamaged:
                self._frames[key] = None
        return self._frames[key]
