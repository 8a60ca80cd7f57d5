"""The archetypes of processes as Dagster components: a folder with a `defs.yaml` becomes assets."""

from orchestration.components.archetypes import (
    Calculation,
    DbtModels,
    Instruction,
    LandedFeed,
    Reconciliation,
    Report,
)
from orchestration.components.day import LandFiles, LookBack, PublishDate, SealBatches
from orchestration.components.process import Process

__all__ = [
    "Calculation",
    "DbtModels",
    "Instruction",
    "LandFiles",
    "LandedFeed",
    "LookBack",
    "Process",
    "PublishDate",
    "Reconciliation",
    "Report",
    "SealBatches",
]
