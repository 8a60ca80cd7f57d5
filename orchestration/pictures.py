"""Small pictures and tables for the metadata that a person looks at in the Dagster UI."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import polars as pl

PREVIEW_ROWS = 5
BAR_PIXELS, ROW_PIXELS, LABEL_PIXELS = 360, 22, 150


def preview(frame: pl.DataFrame) -> str:
    """Return the first rows of a frame as a Markdown table."""
    head = frame.head(PREVIEW_ROWS)
    lines = [" | ".join(head.columns), " | ".join("---" for _ in head.columns)]
    lines += [
        " | ".join("" if v is None else str(v).replace("|", "\\|") for v in row)
        for row in head.iter_rows()
    ]
    return "\n".join(f"| {line} |" for line in lines)


def totals(frame: pl.DataFrame) -> dict[str, str]:
    """Return the exact sum of every decimal column, as text."""
    return {
        f"total_{name}": str(frame[name].sum())
        for name, dtype in frame.schema.items()
        if dtype.is_decimal()
    }


def bars(title: str, values: Sequence[tuple[str, int]]) -> str:
    """Return a bar chart as a Markdown image (SVG); lengths are whole pixels."""
    largest = max((abs(v) for _, v in values), default=0) or 1
    rows = [f'<text x="4" y="16" font-weight="bold">{escape(title)}</text>']
    for index, (label, value) in enumerate(values, start=1):
        y = index * ROW_PIXELS
        width = abs(value) * BAR_PIXELS // largest
        rows.append(f'<text x="4" y="{y + 16}">{escape(label)}</text>')
        rows.append(
            f'<rect x="{LABEL_PIXELS}" y="{y + 4}" width="{width}" height="14" fill="#4f6bed"/>'
        )
        rows.append(f'<text x="{LABEL_PIXELS + width + 6}" y="{y + 16}">{value:,}</text>')
    height = (len(values) + 1) * ROW_PIXELS + 6
    width = LABEL_PIXELS + BAR_PIXELS + 120
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' font-family="sans-serif" font-size="12">{"".join(rows)}</svg>'
    )
    encoded = base64.b64encode(svg.encode()).decode()
    return f"![{title}](data:image/svg+xml;base64,{encoded})"


def counts(frame: pl.DataFrame, column: str) -> list[tuple[str, int]]:
    """Return how often each value of a column occurs, most often first."""
    found = frame.group_by(column).agg(pl.len()).sort(["len", column], descending=[True, False])
    return [(str(value or "-"), int(count)) for value, count in found.iter_rows()]
