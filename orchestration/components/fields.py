"""Types of single fields of a `defs.yaml`."""

from typing import Literal

import dagster as dg

Stage = Literal["land", "post", "reconcile", "decide", "deal", "publish"]
Automation = Literal["on_publication", "month_start", "month_end", "manual"]


class Check(dg.Model, dg.Resolvable):
    """A check: a function of the same name in the process's `checks.py`, or dbt's second engine."""

    name: str
    on_dataset: str
    description: str
    reads: list[str]
    reads_previous: list[str] = []
    blocking: bool = True
    engine: Literal["polars", "dbt"] = "polars"
