"""What only the platform itself does: an archetype each, with an executor of its own."""

from orchestration.components.archetypes import Calculation, Instruction, LandedFeed
from orchestration.fields import LookBackFields


class LandFiles(LandedFeed):
    """Fixes the set of landed files that a run reads."""


class LookBack(Calculation, LookBackFields):
    """A pure process that also reads rows of its own choice from earlier runs.

    `wanted(day, inputs)` names what it looks for, its column `dealing_date` where to begin;
    `found` picks from the first table of `looks_back`; the others are read of the same runs.
    """


class SealBatches(Calculation):
    """Seals and signs the batches of a run."""


class PublishDate(Instruction):
    """Publishes a date whole, then sends its files."""
