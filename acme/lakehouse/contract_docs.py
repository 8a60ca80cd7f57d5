"""Writes docs/reference/datasets.md from the contracts; run as a module, `--check` only compares.

`python -m acme.lakehouse.contract_docs` rewrites the page; with `--check` it exits 1 if the page
is not what the contracts say.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from acme.lakehouse import contracts
from acme.lakehouse.contracts import Column, Contract, Rule

PAGE: Final = contracts.FOLDER.parent / "docs" / "reference" / "datasets.md"

_INTRODUCTION: Final = """\
# Datasets

One section per data contract of `data_contracts/`; this page is generated from them by
`python -m acme.lakehouse.contract_docs`, so change the contract, not the page.

Types are DuckDB's. `DECIMAL(18,6)` is exact: 18 digits, 6 of them after the point. A column is
required unless it is marked *may be empty*. Every table of the lake is partitioned by `run_date`.
Columns marked *not hashed* stay outside `acme hash`.
"""

_GROUPS: Final = (
    ("Files in", "feed", "What third parties send, dropped into `inbox/<feed>/`."),
    ("Tables of the lake", "core", "Published with the run date; the interface of the platform."),
    ("State between steps", "stage", "Handed from step to step and from run to run; internal."),
)
_OF_A_TEAM: Final = "Made from published dates alone, in the team's own code location."


def render() -> str:
    """The whole page in Markdown, ending in a line feed."""
    teams = contracts.team_schemas()
    everything = contracts.everything()
    of_teams = [(f"Tables of team {team}", team, _OF_A_TEAM) for team in teams]
    parts = [_INTRODUCTION]
    for title, schema_name, text in (*_GROUPS, *of_teams):
        group = [contract for contract in everything if contract.schema_name == schema_name]
        parts.append(f"## {title}\n\n{text}\n")
        parts.extend("\n".join(_section(contract)) for contract in group)
    return "\n".join(parts)


def _section(contract: Contract) -> Iterator[str]:
    yield f"### {contract.dataset}"
    yield ""
    yield f"{contract.purpose} {contract.grain}"
    yield ""
    yield f"- Owner: team {contract.owner}. Version {contract.version}."
    yield f"- Kept for {contract.retention_years} years."
    yield f"- Key: {', '.join(f'`{name}`' for name in contract.key) or 'none'}."
    yield f"- Usage: {contract.usage}"
    yield f"- Limits: {contract.limitations}"
    yield ""
    yield "| column | type | meaning | rules |"
    yield "|---|---|---|---|"
    for column in contract.columns:
        cells = (f"`{column.name}`", column.sql_type, column.description, _constraints(column))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    if contract.rules:
        yield ""
        yield "Rules of the whole file:"
        yield ""
        yield from (f"- {_rule(rule)}" for rule in contract.rules)
    yield ""


def _constraints(column: Column) -> str:
    parts = []
    if column.nullable:
        parts.append("may be empty")
    if column.enum is not None:
        parts.append(
            "one of " + ", ".join(f"`{item}`" if item else "empty" for item in column.enum)
        )
    if column.pattern is not None:
        parts.append(f"matches `{column.pattern}`")
    if column.max_length is not None:
        parts.append(f"at most {column.max_length} characters")
    if column.bounds:
        parts.append(str(column.bounds))
    if not column.hashed:
        parts.append("not hashed")
    if column.classification is not None:
        parts.append(f"{column.classification} data")
    parts.extend(_rule(rule) for rule in column.rules)
    return "; ".join(parts)


def _rule(rule: Rule) -> str:
    return f"`{rule.name}` ({rule.severity}): {rule.description}"


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write the page, or compare it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference/datasets.md from contracts.")
    parser.add_argument("--check", action="store_true", help="exit 1 if the page is out of date")
    options = parser.parse_args(arguments)
    text = render()
    if options.check:
        if page.is_file() and page.read_text("utf-8") == text:
            return 0
        sys.stderr.write(
            f"{page.name}: differs from the contracts; run python -m acme.lakehouse.contract_docs\n"
        )
        return 1
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
