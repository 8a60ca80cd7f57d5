"""Makes a differing case smaller: fewer dates, worlds, pots, rows, as long as it differs alike."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from tests.histories.case import Case
from tests.histories.compare import Difference, Reference, replay
from tests.histories.world import Row

TAG = re.compile(r"W\d\d+(?=[A-Z-])")
Part = TypeVar("Part", bound=Hashable)


def tags(row: Row) -> set[str]:
    """Return the worlds that a row names."""
    return {tag for value in row.values() for tag in TAG.findall(value)}


def _only_rows(
    disposable: frozenset[int],
) -> Callable[[frozenset[int]], Callable[[Row], bool]]:
    """Return what keeps, of disposable rows, those with the identities asked for."""
    return lambda kept: lambda row: id(row) not in disposable or id(row) in kept


class Shrinker:
    """Drops parts of a case while it differs in a table of `aim` (see `Difference.kinds`)."""

    def __init__(
        self,
        make: Callable[[Case], Reference | None],
        *,
        aim: set[str],
        seconds_max: float = math.inf,
        tries_max: float = math.inf,
    ) -> None:
        self._make = make
        self._until = time.monotonic() + seconds_max
        self._tries_max = tries_max
        self._aim = aim
        self.tried = 0

    def shrink(self, case: Case, difference: Difference) -> tuple[Case, Difference]:
        """Return the smallest case found, and its difference."""
        self.best = (case.until(difference.run_date), difference)
        worlds = sorted({tag for row in case.rows() for tag in tags(row)})
        self._reduce(worlds, lambda kept: lambda row: not tags(row) or bool(tags(row) & kept))
        pots = sorted({row["pot_id"] for row in self.best[0].rows() if "pot_id" in row})
        self._reduce(pots, lambda kept: lambda row: row.get("pot_id", next(iter(kept), "")) in kept)
        for needed in ("orders", "confirmations", "statements", "closing_prices", ""):
            numbered = [
                id(row)
                for _, files in self.best[0].days
                for feed, rows in files
                if needed in feed
                for row in rows
            ]
            self._reduce(numbered, _only_rows(frozenset(numbered)))
        return self.best

    def _may_try(self) -> bool:
        return self.tried < self._tries_max and time.monotonic() < self._until

    def _differs(self, case: Case) -> bool:
        self.tried += 1
        found = replay(case, self._make)
        if found is None or not found.kinds() & self._aim:
            return False
        self.best = (case.until(found.run_date), found)
        return True

    def _reduce(
        self,
        parts: Sequence[Part],
        keeping: Callable[[frozenset[Part]], Callable[[Row], bool]],
    ) -> None:
        """Drop ever smaller runs of parts, as long as time lasts."""
        kept = list(parts)
        size = len(kept)
        while size and kept:
            start = 0
            while start < len(kept) and self._may_try():
                fewer = kept[:start] + kept[start + size :]
                if self._differs(self.best[0].filtered(keeping(frozenset(fewer)))):
                    kept = fewer
                else:
                    start += size
            size //= 2
