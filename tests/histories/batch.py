"""One batch of random day-histories: many worlds in one scheme, platform against reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, time

from tests.histories.case import Case, Generator
from tests.histories.compare import Difference, Player, Reference
from tests.histories.runner import MemoryPlatform
from tests.histories.world import CURRENCY, File


@dataclass
class Batch:
    """What a batch came to; `day_histories` = worlds × dates on which nothing differed."""

    seed: str
    day_histories: int = 0
    case: Case | None = None
    difference: Difference | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    checks: int = 0


class _DifferentError(Exception):
    pass


def reference_of(case: Case) -> Reference:
    """Return the reference for a case's scheme."""
    from tests.reference.model import Reference as Model  # noqa: PLC0415  it need not be there

    made: Reference = Model(CURRENCY, time.fromisoformat(case.cutoff), case.timezone)
    return made


def run_batch(
    seed: str,
    worlds: int,
    days: int,
    kinds: frozenset[str],
    make: Callable[[Case], Reference | None] = reference_of,
    on_day: Callable[[date], None] = lambda _: None,
) -> Batch:
    """Draw a batch and compare it day by day, up to its end or its first difference."""
    batch = Batch(seed)
    generator = Generator(seed, worlds, days, kinds, batch.kinds)
    player = Player(generator.case, make(generator.case), batch.outcomes)

    def land(run_date: date, files: list[File]) -> MemoryPlatform:
        difference = player.day(run_date, files)
        if difference is not None:
            batch.difference = difference
            raise _DifferentError
        batch.day_histories += worlds
        on_day(run_date)
        return player.platform

    try:
        generator.play(land)
    except _DifferentError:
        pass
    finally:
        player.close()
    batch.checks = player.platform.checks
    batch.case = generator.case
    return batch
