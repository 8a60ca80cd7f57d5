"""Small charts as SVG text: lines, pairs of bars, rows of bars. Coordinates are whole pixels.

Values are exact; only where a line or bar ends is rounded, to a pixel, and in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Final

WIDTH: Final = 860
HEIGHT: Final = 300
# Room for the axes' labels.
LEFT, RIGHT, TOP, BOTTOM = 110, 20, 20, 50
ROW: Final = 26
COLOURS: Final = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6a4c93", "#8d6e63", "#00798c")
LABELS_MAX: Final = 8


def lines(title: str, labels: Sequence[str], series: Mapping[str, Sequence[Decimal | None]]) -> str:
    """Draw one line for each of `series` over `labels`, from zero up; a gap where a value is None.

    Every series has as many values as there are labels, none below zero.
    """
    largest = max((v for values in series.values() for v in values if v is not None), default=None)
    scale = _Scale(len(labels), largest or Decimal(0))
    parts = [*_axes(scale, labels)]
    for index, values in enumerate(series.values()):
        colour = COLOURS[index % len(COLOURS)]
        for run in _runs(values):
            points = " ".join(f"{scale.x(at)},{scale.y(value)}" for at, value in run)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
            if len(run) == 1:
                at, value = run[0]
                parts.append(
                    f'<circle cx="{scale.x(at)}" cy="{scale.y(value)}" r="3" fill="{colour}"/>'
                )
    return _figure(title, HEIGHT, parts) + _legend(list(series))


def pairs(title: str, labels: Sequence[str], series: Mapping[str, Sequence[Decimal]]) -> str:
    """Draw a bar for each of `series` side by side at every label, from zero up."""
    largest = max((v for values in series.values() for v in values), default=Decimal(0))
    scale = _Scale(len(labels), largest)
    parts = [*_axes(scale, labels)]
    width = max(1, scale.step * 4 // 5 // max(1, len(series)))
    for index, values in enumerate(series.values()):
        colour = COLOURS[index % len(COLOURS)]
        for at, value in enumerate(values):
            x = scale.x(at) - scale.step * 2 // 5 + index * width
            y = scale.y(value)
            parts.append(
                f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT - BOTTOM - y}"'
                f' fill="{colour}"/>'
            )
    return _figure(title, HEIGHT, parts) + _legend(list(series))


def rows(title: str, values: Sequence[tuple[str, int]]) -> str:
    """Draw a bar to the right for each (label, count), the count beside it."""
    largest = max((count for _, count in values), default=0) or 1
    parts = []
    for index, (label, count) in enumerate(values):
        y = TOP + index * ROW
        width = count * (WIDTH - LEFT * 2 - RIGHT) // largest
        parts.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{width}" height="{ROW - 8}" fill="{COLOURS[0]}"/>'
        )
        parts.append(f'<text x="{LEFT + width + 6}" y="{y + 15}">{count:,}</text>')
    return _figure(title, TOP * 2 + len(values) * ROW, parts)


class _Scale:
    """Where a label and a value stand on the drawing."""

    def __init__(self, labels: int, largest: Decimal) -> None:
        self.largest = largest
        self.step = (WIDTH - LEFT - RIGHT) // max(1, labels)

    def x(self, at: int) -> int:
        """Return the middle of the label's place."""
        return LEFT + at * self.step + self.step // 2

    def y(self, value: Decimal) -> int:
        """Return the height of a value; zero is at the bottom."""
        room = HEIGHT - TOP - BOTTOM
        up = int(value * room // self.largest) if self.largest else 0
        return HEIGHT - BOTTOM - up


def _axes(scale: _Scale, labels: Sequence[str]) -> list[str]:
    parts = []
    for quarters in range(5):
        value = scale.largest * quarters / 4
        y = scale.y(value)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:,.0f}</text>')
        if not scale.largest:
            break
    every = -(-len(labels) // LABELS_MAX) or 1
    for at, label in enumerate(labels):
        if at % every == 0:
            parts.append(
                f'<text x="{scale.x(at)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
                f"{escape(label)}</text>"
            )
    return parts


def _runs(values: Sequence[Decimal | None]) -> list[list[tuple[int, Decimal]]]:
    """Return the stretches without a gap, each as (position, value)."""
    found: list[list[tuple[int, Decimal]]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            found[-1].append((at, value))
    return [run for run in found if run]


def _figure(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _legend(names: Sequence[str]) -> str:
    marks = "".join(
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{marks}</p>'
