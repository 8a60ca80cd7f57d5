"""Folders of made-up teams: `defs.yaml`, `process.py` and contracts, below any root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RUN_DATE = {
    "name": "run_date", "logicalType": "date", "physicalType": "DATE", "required": True,
    "primaryKey": True, "primaryKeyPosition": 1, "description": "Business date.",
}  # fmt: skip
LOGICAL = {"VARCHAR": "string", "DATE": "date", "BIGINT": "integer", "TIMESTAMPTZ": "timestamp"}


@dataclass(frozen=True)
class Folders:
    """Where assets and contracts of made-up teams are written."""

    assets: Path
    contracts: Path

    def process(
        self,
        folder: str,
        archetype: str,
        code: str = "",
        *,
        checks_code: str = "",
        models: dict[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        """Write a process's folder."""
        path = self.assets / folder
        path.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        (path / "__init__.py").touch()
        document = {
            "type": f"orchestration.components.{archetype}",
            "attributes": {"description": "Made up.", **attributes},
        }
        (path / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
        if code:
            (path / "process.py").write_text(code, "utf-8")
        if checks_code:
            (path / "checks.py").write_text(checks_code, "utf-8")
        for name, text in (models or {}).items():
            (path / "models").mkdir(exist_ok=True)
            (path / "models" / f"{name}.sql").write_text(text, "utf-8")

    def contract(
        self, dataset: str, key: dict[str, str], columns: dict[str, str], team: str | None = None
    ) -> None:
        """Write a contract; columns map a name to its type, one that ends in `?` may be empty."""
        schema, name = dataset.split(".")
        properties = [] if schema == "feed" else [RUN_DATE]
        for column, given in (key | columns).items():
            sql_type = given.removesuffix("?")
            entry: dict[str, Any] = {
                "name": column,
                "logicalType": LOGICAL.get(sql_type, "number"),
                "physicalType": sql_type,
                "required": not given.endswith("?"),
                "description": "Made up.",
            }
            if column in key:
                entry |= {"primaryKey": True, "primaryKeyPosition": len(properties) + 1}
            properties.append(entry)
        document = {
            "apiVersion": "v3.1.0", "kind": "DataContract", "id": dataset, "name": name,
            "version": "1.0.0", "status": "active",
            "description": {"purpose": "Made up.", "usage": "None.", "limitations": "None."},
            "team": {"name": team or schema},
            "slaProperties": [{"property": "retention", "value": 7, "unit": "y"}],
            "schema": [{
                "name": name, "dataGranularityDescription": "One row.", "properties": properties,
            }],
        }  # fmt: skip
        path = self.contracts / ("feeds" if schema == "feed" else schema) / f"{name}.odcs.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
