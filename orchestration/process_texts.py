"""The files of a new process, as text: contract, problem, declaration, code, a failing scenario."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Any

import polars as pl
import yaml

from acme.domain.two_sides import DIFFERS, MATCHED, MISSING_LEFT, MISSING_RIGHT
from acme.lakehouse import contracts
from acme.lakehouse.contracts import Contract, ContractViolation
from orchestration.process_request import AskedColumn, Request

# A scenario names its date; this one is a business date and the last of its month.
EXAMPLE_DATE = date(2024, 3, 29)
WIDTH = 100
SCENARIO = "an_example"
_LOGICAL = {
    "VARCHAR": "string",
    "DATE": "date",
    "TIMESTAMPTZ": "timestamp",
    "BOOLEAN": "boolean",
    "INTEGER": "integer",
    "BIGINT": "integer",
}
_POLARS = {
    "VARCHAR": "pl.String()",
    "DATE": "pl.Date()",
    "TIMESTAMPTZ": 'pl.Datetime("us", "UTC")',
    "BOOLEAN": "pl.Boolean()",
    "INTEGER": "pl.Int32()",
    "BIGINT": "pl.Int64()",
}
_EXAMPLES: Mapping[str, Any] = {
    "VARCHAR": "A",
    "DATE": date(2024, 3, 28),
    "TIMESTAMPTZ": "2024-03-29T09:00:00Z",
    "BOOLEAN": True,
    "INTEGER": 1,
    "BIGINT": 1,
}
_STARTS = {
    "on_publication": "on every published date",
    "month_end": "on the last business date of a month",
    "month_start": "on the first business date of a month",
    "manual": "when somebody asks for it",
}


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as the contracts written by hand do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)


def contract_files(asked: Request) -> dict[PurePosixPath, str]:
    """Return the contracts of the table and of new feeds, by path below data_contracts/."""
    table = PurePosixPath(asked.team, f"{asked.table}.odcs.yaml")
    feeds = {
        PurePosixPath("feeds", f"{feed}.odcs.yaml"): _dumped(_feed_contract(asked, feed))
        for feed in asked.new_feeds
    }
    return {table: _dumped(_table_contract(asked)), **feeds}


def process_files(asked: Request) -> dict[PurePosixPath, str]:
    """Return the files of the process's folder, by path below it."""
    code = (
        {PurePosixPath("models", f"{asked.table}.sql"): _model(asked)}
        if asked.archetype == "DbtModels"
        else {PurePosixPath("process.py"): _code(asked)}
    )
    return {
        PurePosixPath("README.md"): _readme(asked),
        PurePosixPath("__init__.py"): "",
        PurePosixPath("defs.yaml"): _declaration(asked),
        PurePosixPath("scenarios", f"{SCENARIO}.yaml"): _scenario(asked),
        **code,
    }


# ---- contracts ----------------------------------------------------------------------------------


def _table_contract(asked: Request) -> dict[str, Any]:
    purpose = _first_sentence(asked.problem)
    run_date = {
        "name": "run_date",
        "logicalType": "date",
        "physicalType": "DATE",
        "required": True,
        "primaryKey": True,
        "primaryKeyPosition": 1,
        "partitioned": True,
        "partitionKeyPosition": 1,
        "description": "Business date of the run that wrote the row.",
    }
    properties = [run_date, *_properties(_written(asked), first_key=2)]
    return _contract(
        asked,
        asked.dataset,
        {
            "purpose": purpose,
            "usage": "Read the newest version of a run date; join on run_date.",
            "limitations": "Made from published dates alone.",
        },
        {
            "name": asked.table,
            "physicalName": asked.dataset,
            "physicalType": "table",
            "logicalType": "object",
            "description": purpose,
            "dataGranularityDescription": _grain(asked),
            "properties": properties,
        },
    )


def _feed_contract(asked: Request, feed: str) -> dict[str, Any]:
    purpose = f"What {asked.folder} is sent."
    rule = {"type": "custom", "engine": "acme", "severity": "warning"}
    quality = [
        {
            "name": "duplicate_row",
            **rule,
            "implementation": "duplicate_row",
            "description": "Rows repeated with equal values are dropped; the first counts.",
        },
        {
            "name": "conflicting_rows",
            **rule,
            "implementation": "conflicting_rows",
            "description": "Rows that disagree on a key put the key on hold until a later file"
            " decides.",
        },
    ]
    form = {"format": "csv", "encoding": "utf-8", "maxLineBytes": 1048576}
    return _contract(
        asked,
        f"feed.{feed}",
        {
            "purpose": purpose,
            "usage": f"Drop by rename into inbox/{feed}/ or give to acme land; UTF-8 CSV, one"
            " header line, one record per line, a sibling NAME.sha256 is verified.",
            "limitations": "A file that breaks a rule of severity error is quarantined whole;"
            " nothing of it is used, nothing of it is lost.",
        },
        {
            "name": feed,
            "physicalName": f"inbox/{feed}",
            "physicalType": "file",
            "logicalType": "object",
            "description": purpose,
            "dataGranularityDescription": _grain(asked),
            "properties": list(_properties(asked.columns, first_key=1)),
            "quality": quality,
            "customProperties": [{"property": n, "value": v} for n, v in form.items()],
        },
    )


def _contract(
    asked: Request, dataset: str, description: dict[str, str], table: dict[str, Any]
) -> dict[str, Any]:
    retention = {
        "property": "retention",
        "value": 7,
        "unit": "y",
        "driver": "regulatory",
        "description": "Kept for at least seven years after the run date; never less than six.",
    }
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": dataset,
        "name": dataset.split(".")[1],
        "version": "1.0.0",
        "status": "active",
        "domain": asked.team,
        "dataProduct": asked.name.replace("_", "-"),
        "description": description,
        "team": {
            "name": asked.team,
            "description": f"Team {asked.team} owns this dataset and answers for its content.",
        },
        "slaProperties": [retention],
        "schema": [table],
    }


def _properties(columns: Iterable[AskedColumn], first_key: int) -> Iterable[dict[str, Any]]:
    position = first_key
    for column in columns:
        entry: dict[str, Any] = {
            "name": column.name,
            "logicalType": _LOGICAL.get(column.sql_type, "number"),
            "physicalType": column.sql_type,
            "required": not column.nullable,
        }
        if column.key:
            entry |= {"primaryKey": True, "primaryKeyPosition": position}
            position += 1
        entry["description"] = f"{column.meaning}."
        if column.digits:
            entry["description"] = f"{column.meaning}; {column.digits[1]} decimals."
            entry["customProperties"] = [{"property": "unit", "value": column.unit}]
        if column is _CLASS:
            values = [MATCHED, MISSING_LEFT, MISSING_RIGHT, DIFFERS]
            entry["quality"] = [
                {
                    "type": "library",
                    "metric": "invalidValues",
                    "arguments": {"validValues": values},
                    "mustBe": 0,
                }
            ]
        yield entry


_CLASS = AskedColumn(
    "class", "VARCHAR", nullable=False, key=False, unit=None, meaning="How the two sides compare"
)


def _written(asked: Request) -> list[AskedColumn]:
    """Return the columns of the table: of a reconciliation keys, class and both sides."""
    if asked.archetype != "Reconciliation":
        return list(asked.columns)
    sides = [
        AskedColumn(
            name=f"{side}_{column.name}",
            sql_type=column.sql_type,
            nullable=True,
            key=False,
            unit=column.unit,
            meaning=f"{column.meaning}, on the {side}",
        )
        for column in asked.others
        for side in ("left", "right")
    ]
    return [*asked.keys, _CLASS, *sides]


def _grain(asked: Request) -> str:
    return f"One row per {', '.join(column.name for column in asked.keys)}."


# ---- what the folder says -----------------------------------------------------------------------


def _declaration(asked: Request) -> str:
    attributes: dict[str, Any] = {
        "description": _first_sentence(asked.problem),
        "owner": asked.owner,
        "reads": list(asked.reads),
        "reads_previous": list(asked.reads_previous),
        "feeds": list(asked.feeds),
        "writes": [asked.dataset],
    }
    if asked.archetype == "Reconciliation":
        attributes |= {
            "keys": [column.name for column in asked.keys],
            "compares": [column.name for column in asked.others],
        }
    attributes |= {
        "lands": asked.lands,
        "recipient": asked.recipient,
        "automation": asked.automation,
        "deadline": asked.deadline,
    }
    document = {
        "type": f"orchestration.components.{asked.archetype}",
        "attributes": {name: value for name, value in attributes.items() if value},
    }
    return _dumped(document)


def _readme(asked: Request) -> str:
    read = [
        *(f"`{dataset}`" for dataset in asked.reads),
        *(f"`{dataset}` of the date before" for dataset in asked.reads_previous),
        *(f"feed `{feed}`" for feed in asked.feeds),
    ]
    leaves = ""
    if asked.lands:
        leaves = f" Its rows are landed as feed `{asked.lands}`."
    elif asked.recipient:
        leaves = f" A file goes to `{asked.recipient}`."
    starts = _STARTS[asked.automation]
    by = f" By {asked.deadline}." if asked.deadline else ""
    grain = _grain(asked)
    out = f"`{asked.dataset}`, {grain[0].lower()}{grain[1:]}{leaves} It runs {starts}.{by}"
    paragraphs = (
        f"**Problem.** {' '.join(asked.problem.split())}",
        f"**Asked for by.** {asked.owner}, of team {asked.team}.",
        f"**In.** {', '.join(read) or 'Nothing'}. **Out.** {out}",
    )
    title = asked.name.replace("_", " ").capitalize()
    body = "\n\n".join(
        textwrap.fill(p, WIDTH, break_long_words=False, break_on_hyphens=False) for p in paragraphs
    )
    return f"""\
# {title}

{body}

## When it fails

- *… is not published*: the day has not been run; see
  [the day](../../../docs/runbooks/daily_operations.md).
- `keeps_its_contract` fails: the code is wrong. Nothing was written; the rows are in the check's
  metadata.
- Again, once mended: `acme process run {asked.folder} --date DATE`.
"""


def _code(asked: Request) -> str:
    heading = f"""\
\"\"\"Makes {asked.dataset}; the problem is in README.md.\"\"\"

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from acme.domain.day import Day

"""
    schema = "".join(f'    "{c.name}": {_dtype(c)},\n' for c in asked.columns)
    names = f'DATASET = "{asked.dataset}"\nSCHEMA = {{\n{schema}}}\n'
    if asked.archetype == "Reconciliation":
        names = f"SCHEMA = {{\n{schema}}}\n"
        return heading + names + _function("left", "one side") + _function("right", "the other")
    leaves = _leaving(asked)
    landed = ""
    if asked.lands:
        fields = "".join(
            f'    "{c.name}": {_polars_of(c.sql_type)},\n'
            for c in contracts.feed(asked.lands).columns
        )
        landed = f"LANDED = {{\n{fields}}}\n"
    result = "{DATASET: pl.DataFrame(schema=SCHEMA)}"
    if leaves:
        schema_name = "LANDED" if asked.lands else "SCHEMA"
        result = f"""{{
        DATASET: pl.DataFrame(schema=SCHEMA),
        "{leaves}": pl.DataFrame(schema={schema_name}),
    }}"""
    return f"""{heading}{names}{landed}

def run(day: Day, inputs: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    \"\"\"Return no row yet: the scenario says what to return.\"\"\"
    del day, inputs
    return {result}
"""


def _function(name: str, what: str) -> str:
    return f"""

def {name}(day: Day, inputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    \"\"\"Return no row of {what} yet: the scenario says what to return.\"\"\"
    del day, inputs
    return pl.DataFrame(schema=SCHEMA)
"""


def _model(asked: Request) -> str:
    columns = ",\n".join(f"    cast(null as {c.sql_type}) as {c.name}" for c in asked.columns)
    return f"""\
-- No row yet: the scenario says what to select.
-- An input is source('core', 'pots'), source('previous_core', 'pots'), source('feed', 'name').
select
{columns}
where false
"""


def _dtype(column: AskedColumn) -> str:
    return _polars_of(column.sql_type)


def _polars_of(sql_type: str) -> str:
    if sql_type in _POLARS:
        return _POLARS[sql_type]
    precision, scale = sql_type.removeprefix("DECIMAL(").removesuffix(")").split(",")
    return f"pl.Decimal({precision}, {scale})"


def _leaving(asked: Request) -> str | None:
    if asked.lands:
        return f"feed.{asked.lands}"
    return "file" if asked.recipient else None


# ---- a scenario that fails ----------------------------------------------------------------------


def _scenario(asked: Request) -> str:
    given: dict[str, list[dict[str, Any]]] = {}
    for dataset in asked.reads:
        given[dataset] = _example_of(dataset)
    for dataset in asked.reads_previous:
        given[f"previous.{dataset}"] = [] if dataset == asked.dataset else _example_of(dataset)
    for feed in asked.feeds:
        own = feed in asked.new_feeds
        given[f"feed.{feed}"] = [_example(asked.columns)] if own else _example_of(f"feed.{feed}")
    expected = [_example(_written(asked))]
    if asked.archetype == "Reconciliation":
        expected[0]["class"] = MATCHED
    expect: dict[str, Any] = {asked.dataset: expected}
    if leaving := _leaving(asked):
        expect[leaving] = []
    return "\n".join(
        [
            "scenario: An example to agree on with whoever asked",
            f"date: {EXAMPLE_DATE}",
            f"given:{'' if given else ' {}'}",
            *_tables(given),
            "expect:",
            *_tables(expect),
            "",
        ]
    )


def _tables(tables: Mapping[str, list[dict[str, Any]]]) -> Iterable[str]:
    for name, rows in tables.items():
        yield f"  {name}:{'' if rows else ' []'}"
        for row in rows:
            cells = ", ".join(f"{column}: {_cell(value)}" for column, value in row.items())
            yield f"    - {{{cells}}}"


def _cell(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case date() | int():
            return str(value)
        case None:
            return "null"
        case _:
            # A text that is none without quotes, as 1.00 or a date, is quoted by this alone.
            return f'"{value}"' if not str(value).isalpha() else _plain(str(value))


def _plain(text: str) -> str:
    return text if yaml.safe_load(text) == text else f'"{text}"'


def _example(columns: Iterable[AskedColumn]) -> dict[str, Any]:
    return {c.name: "1" if c.digits else _EXAMPLES[c.sql_type] for c in columns}


def _example_of(dataset: str) -> list[dict[str, Any]]:
    """Return one row that keeps the contract of an input; none where no plain one does."""
    schema, _, name = dataset.partition(".")
    contract = contracts.feed(name) if schema == "feed" else contracts.table(schema, name)
    row = {
        column.name: column.enum[0]
        if column.enum
        else "1"
        if column.is_decimal
        else _EXAMPLES[column.sql_type]
        for column in contract.columns
        if not column.nullable and column.name != "run_date"
    }
    return [row] if _keeps(contract, row) else []


def _keeps(contract: Contract, row: Mapping[str, Any]) -> bool:
    values = {c.name: [row.get(c.name)] for c in contract.columns}
    if "run_date" in values:
        values["run_date"] = [EXAMPLE_DATE]
    texts = pl.DataFrame(
        {n: [None if v[0] is None else str(v[0])] for n, v in values.items()},
        schema=dict.fromkeys(values, pl.String),
    )
    typed = texts.with_columns(_typed(column.name, column.dtype) for column in contract.columns)
    try:
        contract.enforce(typed)
    except ContractViolation as error:
        # In an example a text need not have the form that real ones have.
        return error.rule in ("pattern", "max_length")
    return True


def _typed(name: str, dtype: pl.DataType) -> pl.Expr:
    text = pl.col(name)
    match dtype:
        case pl.Date():
            return text.str.to_date("%Y-%m-%d")
        case pl.Datetime():
            return text.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
        case pl.Boolean():
            return text == "True"
        case _:
            return text.cast(dtype)


def _first_sentence(problem: str) -> str:
    text = " ".join(problem.split())
    head, stop, _ = text.partition(". ")
    return f"{head}." if stop else f"{text.rstrip('.')}."


def _dumped(document: Mapping[str, Any]) -> str:
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH
    )
    return text
