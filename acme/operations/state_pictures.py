"""Draws the state machines of orders, batches and breaks from the data that enforces them.

`python -m acme.operations.state_pictures` writes docs/images/*_states.svg; with `--check` it
compares. Only where a state stands on the picture is said here: a state without a place, or a
place without a state, is an error.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Final

from acme.domain import batch_life, break_workflow, orders

IMAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 190, 105, 124, 40, 50
TOP: Final = 70
Pair = tuple[str, str]
Place = tuple[float, float]


@dataclass(frozen=True)
class Machine:
    """A state machine: its moves, those drawn dashed, where its states stand."""

    name: str
    title: str
    source: str
    moves: Mapping[Pair, str]
    corrections: Mapping[Pair, str]
    places: Mapping[str, Place]
    # How far a move's line bends, in pixels to the right of its direction; default straight.
    bends: Mapping[Pair, int]
    dashed: str = "only a correction of what was booked"
    # Where a move is drawn both ways, the bend of its dashed line.
    dashed_bends: Mapping[Pair, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError unless every state has a place of its own."""
        states = {state for pair in (*self.moves, *self.corrections) for state in pair}
        if states != set(self.places):
            raise ValueError(f"{self.name}: {sorted(states ^ set(self.places))} lack one or other")
        if len(set(self.places.values())) != len(self.places):
            raise ValueError(f"{self.name}: two states stand on one place")

    def ends(self) -> set[str]:
        """Return the states that nothing but a correction leaves."""
        return set(self.places) - {before for before, _ in self.moves}


def machines() -> tuple[Machine, ...]:
    """Return every machine that is drawn."""
    return (
        Machine(
            "order",
            "The states of an order",
            "acme/domain/orders.py",
            dict.fromkeys(orders.TRANSITIONS, ""),
            dict.fromkeys(orders.CORRECTIONS, ""),
            {
                "received": (0, 1),
                "accepted": (1, 1),
                "batched": (2, 1),
                "placed": (3, 1),
                "executed": (4.2, 1),
                "settled": (5.9, 1),
                "cancelled": (0.5, 0),
                "unknown": (3, 2),
                "part_executed": (5.05, 2.1),
                "rejected": (3.2, 3.4),
            },
            {
                ("accepted", "settled"): -120,
                ("received", "rejected"): 60,
                ("accepted", "rejected"): 40,
                ("placed", "rejected"): 95,
                ("executed", "part_executed"): -9,
                ("part_executed", "executed"): -9,
                ("executed", "rejected"): -9,
                ("rejected", "executed"): -9,
                ("part_executed", "rejected"): -9,
                ("rejected", "part_executed"): -9,
                ("settled", "executed"): 26,
                ("settled", "part_executed"): -9,
                ("part_executed", "settled"): -9,
                ("settled", "rejected"): -110,
                ("placed", "part_executed"): 12,
            },
        ),
        Machine(
            "batch",
            "The states of a batch",
            "acme/domain/batch_life.py",
            dict.fromkeys(batch_life.TRANSITIONS, ""),
            dict.fromkeys(batch_life.CORRECTIONS, ""),
            {"sealed": (0, 1), "placed": (1.3, 1), "executed": (2.6, 1), "settled": (3.9, 1)},
            {
                ("sealed", "executed"): -60,
                ("sealed", "settled"): -150,
                ("placed", "settled"): -60,
                ("settled", "executed"): -50,
            },
        ),
        Machine(
            "break",
            "The states of a break",
            "acme/domain/break_workflow.py",
            {
                pair: name
                for name, moves in break_workflow.PEOPLE.items()
                for pair in (moves or {}).items()
            },
            dict.fromkeys(break_workflow.EVIDENCE, ""),
            {"open": (0, 1), "explained": (1.6, 1), "corrected": (3.2, 1), "closed": (4.8, 1)},
            {
                ("open", "corrected"): -50,
            },
            "the evidence of a run: gone, or shown again",
            {
                ("open", "corrected"): -90,
                ("explained", "corrected"): -24,
                ("corrected", "open"): -32,
            },
        ),
    )


def svg(machine: Machine) -> str:
    """Return the picture of a machine."""
    machine.check()
    width = 2 * MARGIN + WIDTH + round(max(x for x, _ in machine.places.values()) * COLUMN)
    height = TOP + MARGIN + HEIGHT + round(max(y for _, y in machine.places.values()) * ROW) + 30
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            ' font-family="Helvetica,Arial,sans-serif" font-size="14">'
        ),
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        (
            '<defs><marker id="a" markerWidth="9" markerHeight="9" refX="8" refY="4.5"'
            ' orient="auto">'
            '<path d="M0,0 L9,4.5 L0,9 z" fill="#44546a"/></marker>'
            '<marker id="c" markerWidth="9" markerHeight="9" refX="8" refY="4.5" orient="auto">'
            '<path d="M0,0 L9,4.5 L0,9 z" fill="#b4560f"/></marker></defs>'
        ),
        (
            f'<text x="20" y="32" font-size="18" font-weight="bold" fill="#1f2d3d">'
            f"{escape(machine.title)}</text>"
        ),
    ]
    for pair, label in sorted(machine.corrections.items()):
        parts += _move(machine, pair, label, 'stroke="#b4560f" stroke-dasharray="6 4"', "c")
    for pair, label in sorted(machine.moves.items()):
        parts += _move(machine, pair, label, 'stroke="#44546a"', "a")
    ends = machine.ends()
    for state, place in sorted(machine.places.items()):
        x, y = _centre(place)
        fill = "#2d7a48" if state in ends else "#3b5b92"
        parts.append(
            f'<rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}" height="{HEIGHT}"'
            f' rx="8" fill="{fill}"/><text x="{x:g}" y="{y + 5:g}" text-anchor="middle"'
            f' font-weight="bold" fill="#fff">{escape(state)}</text>'
        )
    dashed = f"; dashed: {machine.dashed}" if machine.corrections else ""
    parts.append(
        f'<text x="20" y="{height - 18}" font-size="12" fill="#44546a">Drawn from'
        f" {escape(machine.source)}; green: an end{dashed}.</text></svg>"
    )
    return "\n".join(parts) + "\n"


def _centre(place: Place) -> tuple[float, float]:
    return MARGIN + WIDTH / 2 + place[0] * COLUMN, TOP + HEIGHT / 2 + place[1] * ROW


def _move(machine: Machine, pair: Pair, label: str, stroke: str, marker: str) -> Iterator[str]:
    (x1, y1), (x2, y2) = (_centre(machine.places[state]) for state in pair)
    bend = machine.bends.get(pair, 0)
    if marker == "c":
        bend = machine.dashed_bends.get(pair, bend)
    length = math.hypot(x2 - x1, y2 - y1)
    # To the right of the direction, where y grows downwards.
    across = (-(y2 - y1) / length, (x2 - x1) / length)
    # A quadratic curve passes half-way to its control point.
    middle = ((x1 + x2) / 2 + 2 * bend * across[0], (y1 + y2) / 2 + 2 * bend * across[1])
    start, end = _border((x1, y1), middle), _border((x2, y2), middle)
    yield (
        f'<path d="M{start[0]:.1f},{start[1]:.1f} Q{middle[0]:.1f},{middle[1]:.1f}'
        f' {end[0]:.1f},{end[1]:.1f}" fill="none" stroke-width="1.6" {stroke}'
        f' marker-end="url(#{marker})"/>'
    )
    if label:
        x = (start[0] + end[0]) / 4 + middle[0] / 2
        y = (start[1] + end[1]) / 4 + middle[1] / 2
        yield (
            f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle" font-size="12"'
            f' fill="#1f2d3d" stroke="#fff" stroke-width="4" paint-order="stroke">'
            f"{escape(label)}</text>"
        )


def _border(centre: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Return where the line from a state's centre leaves its box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = min(
        (WIDTH / 2 + 2) / abs(dx) if dx else math.inf,
        (HEIGHT / 2 + 2) / abs(dy) if dy else math.inf,
    )
    return centre[0] + dx * scale, centre[1] + dy * scale


def main(arguments: Sequence[str] | None = None, images: Path = IMAGES) -> int:
    """Write the pictures, or compare them; returns the exit code."""
    parser = argparse.ArgumentParser(description="Draw the state machines into docs/images.")
    parser.add_argument("--check", action="store_true", help="exit 1 if one is out of date")
    options = parser.parse_args(arguments)
    code = 0
    for machine in machines():
        path = images / f"{machine.name}_states.svg"
        text = svg(machine)
        if not options.check:
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            sys.stderr.write(
                f"{path.name}: differs from the transitions in {machine.source};"
                " run python -m acme.operations.state_pictures\n"
            )
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
