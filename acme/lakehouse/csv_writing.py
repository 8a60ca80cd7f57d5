"""Writes a frame as the CSV that our files have, in and out: exact, LF, a header, UTF-8."""

from __future__ import annotations

import polars as pl

# How instants stand in CSV files.
RFC_3339 = "%Y-%m-%dT%H:%M:%S%.6f%:z"


def csv_bytes(frame: pl.DataFrame) -> bytes:
    """Return the rows in their order; decimals with their full scale, a null as an empty field."""
    return frame.write_csv(datetime_format=RFC_3339).encode()
