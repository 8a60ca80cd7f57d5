"""What dbt's project says of the marts: their columns, keys, and what they read. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import yaml

from acme.operations.dbt import PROJECT

FILE: Final = PROJECT / "models" / "marts" / "marts.yml"
SELECTION: Final = ("staging", "marts")


@dataclass(frozen=True)
class MartColumn:
    """A column of a mart; `sql_type` is one that both engines know."""

    name: str
    sql_type: str
    nullable: bool
    description: str


@dataclass(frozen=True)
class Mart:
    """A mart: one row for each `key`, which begins with `run_date`."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[MartColumn, ...]


@cache
def marts() -> tuple[Mart, ...]:
    """Return every mart, `published` first."""
    document = yaml.safe_load(FILE.read_text("utf-8"))
    return tuple(_mart(model) for model in document["models"])


def _mart(model: dict[str, Any]) -> Mart:
    (key,) = (c["columns"] for c in model["constraints"] if c["type"] == "primary_key")
    return Mart(
        name=model["name"],
        description=model["description"],
        key=tuple(key),
        columns=tuple(
            MartColumn(
                name=column["name"],
                sql_type=column["data_type"],
                nullable={"type": "not_null"} not in column.get("constraints", ()),
                description=column["description"],
            )
            for column in model["columns"]
        ),
    )


def datasets_read(manifest: Any) -> list[str]:
    """Return the tables of the lake that the marts and their staging read, as `core.pots`.

    `manifest` is the project as dbt has parsed it.
    """
    read = {
        unique_id
        for node in manifest.nodes.values()
        if node.resource_type == "model" and node.fqn[1] in SELECTION
        for unique_id in node.depends_on.nodes
        if unique_id.startswith("source.")
    }
    sources: Sequence[Any] = [manifest.sources[unique_id] for unique_id in read]
    return sorted(f"{s.source_name}.{s.name}" for s in sources if s.source_name != "platform")
