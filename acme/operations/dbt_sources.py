"""Writes dbt_project/models/sources.yml from the contracts; `--check` only compares it.

`python -m acme.operations.dbt_sources` rewrites the file; with `--check` it exits 1 if the file
is not what the contracts say.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from acme.lakehouse import contracts
from acme.lakehouse.contracts import Column, Contract

FILE: Final = contracts.FOLDER.parent / "dbt_project" / "models" / "sources.yml"

_HEADER: Final = """\
# Generated from data_contracts/ by `python -m acme.operations.dbt_sources`: change the contract.
"""
_SCHEMAS: Final = (
    ("core", "Tables of the lake: published with the run date; the interface of the platform."),
    ("stage", "State handed from step to step and from run to run; internal."),
)


def render() -> str:
    """The whole file in YAML, ending in a line feed: every lake table, its columns and types.

    Postgres cannot read the lake: there the rows of the dates that are built are loaded beside.
    """
    document = {
        "version": 2,
        "sources": [
            {
                "name": schema_name,
                "description": description,
                "database": "{{ 'lake' if target.name == 'lake' else target.dbname }}",
                "schema": (
                    f"{{{{ '{schema_name}' if target.name == 'lake'"
                    f" else 'marts_input_{schema_name}' }}}}"
                ),
                "tables": [
                    _table(contract)
                    for contract in contracts.all_tables()
                    if contract.schema_name == schema_name
                ],
            }
            for schema_name, description in _SCHEMAS
        ],
    }
    return _HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _table(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "description": f"{contract.purpose} {contract.grain}",
        "columns": [_column(column) for column in contract.columns],
    }


def _column(column: Column) -> dict[str, str]:
    return {
        "name": column.name,
        "description": column.description,
        "data_type": column.sql_type,
    }


def main(arguments: Sequence[str] | None = None, file: Path = FILE) -> int:
    """Write the file, or compare it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write dbt's sources.yml from the contracts.")
    parser.add_argument("--check", action="store_true", help="exit 1 if the file is out of date")
    options = parser.parse_args(arguments)
    text = render()
    if options.check:
        if file.is_file() and file.read_text("utf-8") == text:
            return 0
        sys.stderr.write(
            f"{file.name}: differs from the contracts; run python -m acme.operations.dbt_sources\n"
        )
        return 1
    file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
