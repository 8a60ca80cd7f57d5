"""Bytes for Arrow to read, in memory that its own threads may free."""

from __future__ import annotations

import pyarrow as pa


def arrow_owned(content: bytes | bytearray) -> pa.Buffer:
    """Return a copy of `content` in Arrow's memory.

    Arrow's threads may hold what they read for a moment after the read has returned. If that is an
    object of Python and the process ends then, they must ask an interpreter that is no more to free
    it, and the process dies by SIGABRT after its work was done.
    """
    stream = pa.BufferOutputStream()
    stream.write(content)
    return stream.getvalue()
