"""Lines of COPY on disk as sorted runs, given back in the order of their ids: memory is bounded.

In that order every transaction inserts orders, so that none waits for another in a circle; and
their index grows page by page.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Self

import polars as pl

from acme.gateway.bulk_checks import READY

# Ids begin with two hexadecimal digits at random: about as many lines begin with each.
_BOUNDS: Final = pl.Series([f"{first:02x}" for first in range(4, 256, 4)])
# A range of ids that is larger, as only chosen ids can make it, is sorted in parts.
_SORTED_BYTES_MAX: Final = 32 * 1024 * 1024


class Runs:
    """The lines of one bulk in a file without a name, which no crash leaves behind."""

    def __init__(self, folder: Path, source: str, bulk_id: int) -> None:
        """Open the file; `source` and `bulk_id` are those of every line."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._source, self._bulk_id = source, bulk_id
        # For each run, where each of its ranges begins, and where it ends.
        self._offsets: list[list[int]] = []
        self._size = 0

    def __enter__(self) -> Self:
        """Close with the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the space back."""
        self._file.close()

    def add(self, ready: pl.DataFrame) -> None:
        """Append lines as one run; `OSError` where there is no space."""
        if ready.is_empty():
            return
        ordered = ready.sort("order_id")
        ids = ordered["order_id"]
        text = BytesIO()
        ordered.select(self._columns(ordered)).write_csv(
            text, include_header=False, separator="\t", quote_style="never", null_value="\\N"
        )
        data = text.getvalue()
        offsets, at = [self._size], 0
        for place in ids.search_sorted(_BOUNDS):
            if place == len(ids):
                at = len(data)
            elif place:
                at = data.index(b"\n" + ids[place].encode(), max(at - 1, 0)) + 1
            offsets.append(self._size + at)
        self._size += len(data)
        self._offsets.append([*offsets, self._size])
        self._file.write(data)

    def sorted(self) -> Iterator[bytes]:
        """Yield all lines in the order of their ids."""
        self._file.flush()
        for place in range(len(_BOUNDS) + 1):
            lines: list[bytes] = []
            size = 0
            for offsets in self._offsets:
                length = offsets[place + 1] - offsets[place]
                if not length:
                    continue
                self._file.seek(offsets[place])
                lines += self._file.read(length).splitlines(keepends=True)
                size += length
                if size > _SORTED_BYTES_MAX:
                    yield b"".join(sorted(lines))
                    lines, size = [], 0
            if lines:
                yield b"".join(sorted(lines))

    def _columns(self, ready: pl.DataFrame) -> list[pl.Expr]:
        """Return the columns of COPIED in COPY's text format, where a backslash is two."""
        texts = {name: pl.col(name) for name in READY.names()}
        for name in ("source_ref", "pot_id", "asset_id", "to_asset_id", "risk_profile_id"):
            if ready[name].str.contains("\\", literal=True).any():
                texts[name] = texts[name].str.replace_all("\\", "\\\\", literal=True)
        source = pl.lit(self._source.replace("\\", "\\\\")).alias("source")
        bulk_id = pl.lit(self._bulk_id).alias("bulk_id")
        return [texts.pop("order_id"), source, *texts.values(), bulk_id]


COPIED: Final = (
    "order_id, source, source_ref, pot_id, kind, asset_id, to_asset_id, units, amount,"
    " risk_profile_id, stated_at, bulk_line, bulk_id"
)
