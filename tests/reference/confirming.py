"""Custodian events: which of them count, and which of those stand (rules §2, §7, ADR 15)."""

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.reference.batching import Line
from tests.reference.contracts import Row

if TYPE_CHECKING:
    from tests.reference.world import World


class Events:
    """The confirmations that count so far: landed, not on hold, event_date ≤ P."""

    def __init__(self) -> None:
        self.counted: dict[str, Row] = {}
        self.ever: dict[str, Row] = {}  # what each said when it last counted
        self.amenders: dict[str, set[str]] = defaultdict(set)
        self.waiting: set[str] = set()  # dated after P: parked
        self.strays: dict[str, set[str]] = {}  # by an instruction nobody sent

    def take(self, world: "World") -> None:
        """Count what landed since the last run, and what waited for its date."""
        landing = world.landing
        due = set(landing.changed_confirmations) | self.waiting
        landing.changed_confirmations.clear()
        self.waiting.clear()
        for name in sorted(due):
            row = landing.values["confirmations"].get((name,))
            held = (name,) in landing.held["confirmations"]
            self._renew(world, name, None if held else row)

    def _renew(self, world: "World", name: str, row: Row | None) -> None:
        """A row stated anew takes the place of the earlier one at once (ADR 15)."""
        before = self.counted.get(name)
        if before is not None and before == row:
            return
        if before is not None:
            self._forget(world, name, before)
        said = self.ever.get(name)
        anew = said is not None and row is not None and said != row
        if anew:
            world.today.restated.add(name)
            self._amend(world, said)
        if row is None:
            return
        if row["event_date"] > world.close:
            self.waiting.add(name)
            return
        self._count(world, name, row)

    def _count(self, world: "World", name: str, row: Row) -> None:
        again = self.ever.get(name) == row  # released from a hold as it was
        self.counted[name] = self.ever[name] = row
        line = world.lines.get(row["instruction_id"])
        if line is None:
            self.strays.setdefault(row["instruction_id"], set()).add(name)
        else:
            line.events.add(name)
            world.today.touched.add(line)
        if row["amends"] is not None:
            self.amenders[row["amends"]].add(name)
            amended = self.counted.get(row["amends"]) or self.ever.get(row["amends"])
            if amended is not None and row["amends"] != name and not again:
                self._amend(world, amended)

    def _forget(self, world: "World", name: str, row: Row) -> None:
        del self.counted[name]
        if row["amends"] is not None:
            self.amenders[row["amends"]].discard(name)
            amended = self.counted.get(row["amends"])
            if amended is not None:
                self._touch(world, amended)
        strays = self.strays.get(row["instruction_id"])
        if strays is not None:
            strays.discard(name)
            if not strays:
                del self.strays[row["instruction_id"]]
        line = world.lines.get(row["instruction_id"])
        if line is not None:
            line.events.discard(name)
            self._touch(world, row)

    def _touch(self, world: "World", row: Row) -> Line | None:
        line = world.lines.get(row["instruction_id"])
        if line is not None:
            world.today.touched.add(line)
        return line

    def _amend(self, world: "World", row: Row) -> None:
        """Bring up the line whose event was amended or stated anew (rules §7, ADR 12)."""
        line = self._touch(world, row)
        if line is None:
            return
        if row["event"] == "settled" and line.settled:
            line.settled_amended = True

    def disputed(self, world: "World", line: Line) -> bool:
        """Whether a confirmation a booked line was booked with is on hold (ADR 15, 17)."""
        landing = world.landing
        rows = [landing.values["confirmations"].get(key) for key in landing.held["confirmations"]]
        return line.booked is not None and any(
            row["instruction_id"] == line.instruction_id and row["event_date"] <= world.close
            for row in rows
            if row is not None
        )

    def amended(self, world: "World", name: str) -> bool:
        """Whether a confirmation is amended by another one, or stated anew in this run."""
        return bool(self.amenders.get(name, set()) - {name}) or name in world.today.restated

    def adopt(self, line: Line) -> None:
        """Events that named an instruction before it was sent belong to it from now on."""
        line.events |= self.strays.pop(line.instruction_id, set())

    def standing(self, line: Line) -> list[Row]:
        """What no other confirmation amends stands (rules §7)."""
        return [
            self.counted[name]
            for name in sorted(line.events)
            if not (self.amenders.get(name, set()) - {name})
        ]
