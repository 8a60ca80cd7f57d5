"""The six archetypes: what each adds to a process. Everything else is in `process`."""

from orchestration.components.process import Process
from orchestration.fields import FeedFields, InstructionFields, ReconciliationFields


class LandedFeed(Process, FeedFields):
    """Takes rows of landed files, `feed.<name>`, each with its file, row and time of receipt."""


class Calculation(Process):
    """A pure function over frames: `run(day, inputs)` in `process.py`."""


class DbtModels(Process):
    """dbt models in `models/<table>.sql` of the process's folder, one for each table it writes."""

    def kinds(self) -> set[str]:
        """Return what the process is made with, for its picture."""
        return {"dbt", "duckdb", "parquet"}

    def pool_name(self) -> str | None:
        """Return one pool for all of dbt: it is the memory of a machine that they share."""
        return self.pool or "dbt"


class Reconciliation(Process, ReconciliationFields):
    """Holds `left(day, inputs)` and `right(day, inputs)` against each other, key by key.

    The outcome is one dataset: `keys`, `class`, and left_ and right_ of each column it `compares`.
    Without them `process.py` has a `run` of its own.
    """


class Instruction(Process, InstructionFields):
    """Makes rows that leave: `feed.<lands>` for the next run of the day, or `file` for `recipient`.

    What was instructed for a date never changes.
    """


class Report(Process):
    """Writes its datasets also as files, for people and systems that read no lake."""
