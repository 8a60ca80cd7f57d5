"""Writes docs/reference/marts.md from the models; `--check` only compares it.

`python -m acme.operations.marts.reference` rewrites the page; with `--check` it exits 1 if the page
is not what `dbt_project/models/marts/marts.yml` says.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from acme.operations.dbt import PROJECT
from acme.operations.marts.models import Mart, marts

FILE: Final = PROJECT.parent / "docs" / "reference" / "marts.md"
_HEADER: Final = """\
# Marts

What finance reads, with the client it likes: `$ACME_HOME/marts.duckdb` in any DuckDB of version 1.5
or later, and schema `marts` of Postgres as the role `finance`. Both hold the same rows, compared to
the last digit before either serves them. To begin with: [the cookbook](../finance-cookbook.md).

Every row says which publication it is part of:

- `run_date` names the published date, T. Everything of one `run_date` is consistent, and was served
  in one moment.
- `as_of` is the business date whose close the books of that publication show: the one before T.
  What was dealt on T is in the rows of T; it shows in the balances of the next date.
- `published_at` is the instant of publication.

Rows of a published date never change, so a mart *as published on an earlier date* is its rows with
that `run_date`: [four times](four-times.md#the-marts). Figures are exact decimals; money is rounded
half-even to the penny, each row for itself. A sum over rows is the sum of rounded rows.

This page is generated from the models by `python -m acme.operations.marts.reference`, so change
`dbt_project/models/marts/marts.yml`, not the page. Types are those of both engines. A column is
never empty unless it says so.
"""


def render() -> str:
    """The whole page in Markdown, ending in a line feed."""
    return _HEADER + "".join(_section(mart) for mart in marts())


def _section(mart: Mart) -> str:
    lines = [
        "",
        f"## {mart.name}",
        "",
        mart.description,
        "",
        f"One row for each {', '.join(f'`{name}`' for name in mart.key)}.",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{c.name}` | {c.sql_type.upper()} | {c.description} |" for c in mart.columns]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None, file: Path = FILE) -> int:
    """Write the page, or compare it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference/marts.md from the models.")
    parser.add_argument("--check", action="store_true", help="exit 1 if the page is out of date")
    options = parser.parse_args(arguments)
    text = render()
    if options.check:
        if file.is_file() and file.read_text("utf-8") == text:
            return 0
        sys.stderr.write(
            f"{file.name}: differs from the models; run python -m acme.operations.marts.reference\n"
        )
        return 1
    file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
