"""Data contracts: reads `data_contracts/`, gives schemas and enforces them; reads no data.

Every dataset has one ODCS 3.1 file: `data_contracts/<table>.odcs.yaml` for schema `core`,
`data_contracts/stage/<table>.odcs.yaml` for schema `stage`, `data_contracts/<team>/…` for the
schema of another team, and `data_contracts/feeds/<feed>.odcs.yaml` for the files third parties
send. The files are the single source of columns, types, keys, checks, owners and retention.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa
import yaml

from acme.lakehouse.teams import DAY_SCHEMAS, may_own_a_schema

FOLDER: Final = Path(__file__).resolve().parents[2] / "data_contracts"

# `core`, `stage`, `feed`, or the name of another team.
SchemaName = str
# A team's schema lies in the folder of its name.
_FOLDERS: Final[Mapping[SchemaName, str]] = MappingProxyType({"core": ".", "feed": "feeds"})

# The order in which the waiting files of the day are landed: what others refer to comes first.
FEED_ORDER: Final = (
    "holidays",
    "assets",
    "risk_profiles",
    "risk_profile_parameters",
    "pots",
    "opening_positions",
    "journal_sources",
    "closing_prices",
    "statements",
    "confirmations",
    "orders",
    "cancellations",
    "journals",
    "break_actions",
)

# libyaml's where it is there: hundreds of contracts are read whenever a location loads.
LOADER: Final[type[yaml.SafeLoader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_PLAIN_TYPES: Final[Mapping[str, tuple[pl.DataType, pa.DataType]]] = MappingProxyType(
    {
        "VARCHAR": (pl.String(), pa.string()),
        "DATE": (pl.Date(), pa.date32()),
        "TIMESTAMPTZ": (pl.Datetime("us", "UTC"), pa.timestamp("us", "UTC")),
        "BOOLEAN": (pl.Boolean(), pa.bool_()),
        "INTEGER": (pl.Int32(), pa.int32()),
        "BIGINT": (pl.Int64(), pa.int64()),
    }
)


class ContractError(ValueError):
    """A contract file that cannot be used: names the file and what is wrong in it."""


class ContractViolation(ValueError):  # noqa: N818  a finding about rows, not a fault
    """Rows that break their contract.

    `dataset` is the contract's full name, `rule` the check, `column` the column (None for a
    check of the whole row), `expected` and `got` say what differs, `key` holds the key of the
    first offending row in key order (None where no row is to blame).
    """

    def __init__(
        self,
        dataset: str,
        rule: str,
        *,
        column: str | None,
        expected: str,
        got: str,
        key: Mapping[str, object] | None = None,
    ) -> None:
        """Keep the parts and compose the message for people from them."""
        self.dataset = dataset
        self.rule = rule
        self.column = column
        self.expected = expected
        self.got = got
        self.key = key
        where = dataset if column is None else f"{dataset}.{column}"
        at = ""
        if key:
            at = " at " + ", ".join(f"{name}={value}" for name, value in key.items())
        super().__init__(f"{where}: {rule}: expected {expected}, got {got}{at}")


@dataclass(frozen=True)
class Rule:
    """A check named by the contract and run by the platform; `arguments` as in the YAML."""

    name: str
    severity: Literal["error", "warning"]
    description: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Bounds:
    """Limits of a number; None where there is none."""

    minimum: Decimal | None = None
    exclusive_minimum: Decimal | None = None
    maximum: Decimal | None = None
    exclusive_maximum: Decimal | None = None

    def __bool__(self) -> bool:
        """Whether any limit is set."""
        return any(limit is not None for limit in self._limits().values())

    def __str__(self) -> str:
        """The limits for people, as in `> 0, <= 1`."""
        return ", ".join(
            f"{sign} {limit}" for sign, limit in self._limits().items() if limit is not None
        )

    def _limits(self) -> dict[str, Decimal | None]:
        return {
            ">=": self.minimum,
            ">": self.exclusive_minimum,
            "<=": self.maximum,
            "<": self.exclusive_maximum,
        }

    def broken(self, value: pl.Expr) -> pl.Expr:
        """True where `value` lies outside the limits; null where it is null."""
        breaches = []
        for sign, limit in self._limits().items():
            if limit is None:
                continue
            bound = pl.lit(limit)
            match sign:
                case ">=":
                    breaches.append(value < bound)
                case ">":
                    breaches.append(value <= bound)
                case "<=":
                    breaches.append(value > bound)
                case _:
                    breaches.append(value >= bound)
        return pl.any_horizontal(breaches)


@dataclass(frozen=True)
class Column:
    """One column of a contract; `unit` is what a number counts, None where it counts nothing."""

    name: str
    sql_type: str
    dtype: pl.DataType
    arrow_type: pa.DataType
    nullable: bool
    hashed: bool
    description: str
    unit: str | None
    classification: str | None
    enum: tuple[str, ...] | None
    pattern: str | None
    max_length: int | None
    bounds: Bounds
    rules: tuple[Rule, ...]

    @property
    def is_decimal(self) -> bool:
        """Whether the column holds exact decimals."""
        return isinstance(self.dtype, pl.Decimal)

    @property
    def scale(self) -> int:
        """Decimals of a DECIMAL column; 0 for every other."""
        return self.dtype.scale if isinstance(self.dtype, pl.Decimal) else 0

    @property
    def precision(self) -> int:
        """Digits of a DECIMAL column; 0 for every other."""
        if isinstance(self.dtype, pl.Decimal):
            return self.dtype.precision or 38
        return 0


@dataclass(frozen=True)
class Contract:
    """The contract of one dataset: `schema_name` is core, stage, feed or a team; `key` in order.

    `accepted_by`: the columns of a feed that name what a run accepts once, its key unless said.
    """

    schema_name: SchemaName
    name: str
    version: str
    owner: str
    purpose: str
    usage: str
    limitations: str
    grain: str
    retention_years: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    accepted_by: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def dataset(self) -> str:
        """Full name, as in `core.orders`."""
        return f"{self.schema_name}.{self.name}"

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns in contract order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def hashed_columns(self) -> tuple[Column, ...]:
        """Columns that count in the content hash, in contract order."""
        return tuple(column for column in self.columns if column.hashed)

    @cached_property
    def polars_schema(self) -> pl.Schema:
        """Exact Polars dtypes in contract order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Exact Arrow types in contract order; a required column is a non-nullable field."""
        return pa.schema(
            [
                pa.field(column.name, column.arrow_type, nullable=column.nullable)
                for column in self.columns
            ]
        )

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if the contract has none."""
        for column in self.columns:
            if column.name == name:
                return column
        message = f"{self.dataset} has no column {name!r}"
        raise KeyError(message)

    def create_table_sql(self, catalog: str = "lake") -> str:
        """DuckDB statement that makes the table in `catalog` if it is not there."""
        lines = [
            f'  "{column.name}" {column.sql_type}{"" if column.nullable else " NOT NULL"}'
            for column in self.columns
        ]
        target = f'"{catalog}"."{self.schema_name}"."{self.name}"'
        return f"CREATE TABLE IF NOT EXISTS {target} (\n" + ",\n".join(lines) + "\n)"

    def empty(self) -> pl.DataFrame:
        """A frame without rows, with the contract's columns and dtypes."""
        return pl.DataFrame(schema=self.polars_schema)

    def enforce(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with columns in contract order and rows in key order (strings by their bytes).

        Raises ContractViolation for a missing or unknown column, another dtype, a null in a
        required column, a value outside its enum, pattern, length or bounds, or a repeated key.
        """
        self._require_columns(frame)
        frame = frame.select(self.column_names)
        self._require_dtypes(frame)
        self._require_values(frame)
        return self._in_key_order(frame)

    def _require_columns(self, frame: pl.DataFrame) -> None:
        found = set(frame.columns)
        for name in self.column_names:
            if name not in found:
                raise self._violation(
                    "missing_column", name, f"columns {', '.join(self.column_names)}", "none"
                )
        for name in frame.columns:
            if name not in self.column_names:
                raise self._violation("unknown_column", name, "no such column", name)

    def _require_dtypes(self, frame: pl.DataFrame) -> None:
        for column in self.columns:
            got = frame.schema[column.name]
            if got != column.dtype:
                raise self._violation("type", column.name, str(column.dtype), str(got))

    @cached_property
    def _breaches(self) -> "tuple[Breach, ...]":
        """Return every way in which a value can break its column."""
        return tuple(breach for column in self.columns for breach in value_breaches(column))

    def _require_values(self, frame: pl.DataFrame) -> None:
        breaches = self._breaches
        if not breaches or frame.is_empty():
            return
        broken = frame.select(
            breach.mask.any().alias(str(position)) for position, breach in enumerate(breaches)
        ).row(0)
        for breach, is_broken in zip(breaches, broken, strict=True):
            if is_broken:
                rows = frame.filter(breach.mask)
                first = rows.sort(self.key).head(1) if self.key else rows.head(1)
                got = first.get_column(breach.column)[0]
                raise self._violation(
                    breach.rule, breach.column, breach.expected, repr(got), self._key_of(first)
                )

    def _in_key_order(self, frame: pl.DataFrame) -> pl.DataFrame:
        if not self.key or frame.height <= 1:
            return frame
        if not _strictly_ascending(frame, self.key):
            # Keys hold no null, and Polars orders strings by their UTF-8 bytes.
            frame = frame.sort(self.key)
            repeated = pl.all_horizontal(
                pl.col(name) == pl.col(name).shift(1) for name in self.key
            ).fill_null(value=False)
            duplicates = frame.filter(repeated)
            if not duplicates.is_empty():
                first = duplicates.head(1)
                raise self._violation(
                    "duplicate_key",
                    None,
                    f"one row per {', '.join(self.key)}",
                    f"{duplicates.height} more rows on keys already there",
                    self._key_of(first),
                )
        return frame

    def _key_of(self, first: pl.DataFrame) -> Mapping[str, object] | None:
        return first.select(self.key).row(0, named=True) if self.key else None

    def _violation(
        self,
        rule: str,
        column: str | None,
        expected: str,
        got: str,
        key: Mapping[str, object] | None = None,
    ) -> ContractViolation:
        return ContractViolation(
            self.dataset, rule, column=column, expected=expected, got=got, key=key
        )


@dataclass(frozen=True)
class Breach:
    """One way a value can break its column: `mask` is true on the rows that do."""

    rule: str
    column: str
    expected: str
    mask: pl.Expr


def value_breaches(column: Column) -> Iterator[Breach]:
    """The checks of one typed column: required, enum, pattern, length, bounds.

    The masks are false or null on good values, and null values break `required` alone.
    """
    value = pl.col(column.name)
    if not column.nullable:
        yield Breach("required", column.name, "a value", value.is_null())
    if column.enum is not None:
        expected = "one of " + ", ".join(repr(item) for item in column.enum)
        yield Breach("enum", column.name, expected, ~value.is_in(list(column.enum)))
    if column.pattern is not None:
        expected = f"text that matches {column.pattern}"
        yield Breach("pattern", column.name, expected, ~value.str.contains(column.pattern))
    if column.max_length is not None:
        expected = f"at most {column.max_length} characters"
        mask = value.str.len_chars() > column.max_length
        yield Breach("max_length", column.name, expected, mask)
    if column.bounds:
        yield Breach("bounds", column.name, str(column.bounds), column.bounds.broken(value))


def _strictly_ascending(frame: pl.DataFrame, key: tuple[str, ...]) -> bool:
    """Whether every row's key is greater than the one before; cheaper than a sort."""
    current = [pl.col(name).slice(1) for name in key]
    previous = [pl.col(name).slice(0, pl.len() - 1) for name in key]
    ascending = previous[-1] < current[-1]
    for before, after in zip(reversed(previous[:-1]), reversed(current[:-1]), strict=True):
        ascending = (before < after) | ((before == after) & ascending)
    return bool(frame.select(ascending.all()).item())


def table(schema_name: str, name: str) -> Contract:
    """The contract of a lake table, as in `table("core", "orders")`; ContractError if none."""
    if schema_name not in (*DAY_SCHEMAS, *team_schemas()):
        message = f"no schema {schema_name!r}: expected core, stage or that of a team"
        raise ContractError(message)
    return _load(schema_name, name)


def feed(name: str) -> Contract:
    """The contract of the files of a feed; ContractError if there is no such feed."""
    return _load("feed", name)


def of(dataset: str) -> Contract:
    """The contract of a table or feed by its full name, `feed.orders`; ContractError if none."""
    schema_name, _, name = dataset.partition(".")
    return feed(name) if schema_name == "feed" else table(schema_name, name)


def datasets() -> tuple[str, ...]:
    """Return the full name of every contract, feeds first; no file is read."""
    schemas = (*DAY_SCHEMAS, *team_schemas())
    tables = (f"{schema}.{name}" for schema in schemas for name in _names(schema))
    return (*(f"feed.{name}" for name in feed_names()), *tables)


def everything() -> tuple[Contract, ...]:
    """Contracts of every feed, of every table of the business day, of every other team's."""
    of_teams = (contract for team in team_schemas() for contract in team_tables(team))
    return (*all_feeds(), *all_tables(), *of_teams)


@cache
def all_tables() -> tuple[Contract, ...]:
    """Contracts of every table of the business day: core, then stage, each by name."""
    return tuple(_load(schema, name) for schema in DAY_SCHEMAS for name in _names(schema))


def team_schemas() -> tuple[str, ...]:
    """Return the schemas of other teams: every folder of contracts that may be one, by name."""
    folders = (path.name for path in FOLDER.iterdir() if path.is_dir())
    return tuple(sorted(name for name in folders if may_own_a_schema(name)))


def team_tables(schema_name: str) -> tuple[Contract, ...]:
    """Contracts of every table of another team, by name."""
    return tuple(table(schema_name, name) for name in _names(schema_name))


def feed_names() -> tuple[str, ...]:
    """Return every feed in the order in which waiting files are landed: other teams' come last."""
    names = _names("feed")
    return (*FEED_ORDER, *(name for name in names if name not in FEED_ORDER))


@cache
def all_feeds() -> tuple[Contract, ...]:
    """Contracts of every feed, in the order in which waiting files are landed."""
    return tuple(_load("feed", name) for name in feed_names())


def contract_path(schema_name: SchemaName, name: str) -> Path:
    """Where the contract's file lies."""
    return FOLDER / _FOLDERS.get(schema_name, schema_name) / f"{name}.odcs.yaml"


def _names(schema_name: SchemaName) -> tuple[str, ...]:
    suffix = ".odcs.yaml"
    folder = FOLDER / _FOLDERS.get(schema_name, schema_name)
    return tuple(sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}")))


@cache
def _load(schema_name: SchemaName, name: str) -> Contract:
    if name not in _names(schema_name):
        message = f"no contract for {schema_name}.{name}: expected one of {_names(schema_name)}"
        raise ContractError(message)
    path = contract_path(schema_name, name)
    try:
        document = yaml.load(path.read_text("utf-8"), LOADER)  # noqa: S506  a safe one
        return parse(document, schema_name, name)
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        where = f"{FOLDER.name}/{path.relative_to(FOLDER).as_posix()}"
        raise ContractError(f"{where}: {_told(error)}") from error


def _told(error: Exception) -> str:
    """Return in one line what is wrong in a file."""
    match error:
        case ContractError():
            return str(error)
        case yaml.YAMLError():
            return f"expected YAML: {' '.join(str(error).split())}"
        case KeyError():
            return f"expected {error.args[0]}, got none"
        case AttributeError() | TypeError():
            return "expected an ODCS contract, got lists, mappings or text in another's place"
        case _:
            return f"expected an ODCS contract: {' '.join(str(error).split())}"


def parse(document: Mapping[str, Any], schema_name: SchemaName, name: str) -> Contract:
    """The contract that an ODCS document describes; `schema_name` and `name` must be its own."""
    (table_object,) = document["schema"]
    if document["name"] != name or table_object["name"] != name:
        message = f"name is {document['name']!r}, expected {name!r} as the file is called"
        raise ContractError(message)
    columns = tuple(_named_column(item) for item in table_object["properties"])
    keyed = sorted(
        (item["primaryKeyPosition"], item["name"])
        for item in table_object["properties"]
        if item.get("primaryKey")
    )
    if [position for position, _ in keyed] != list(range(1, len(keyed) + 1)):
        message = f"primaryKeyPosition must count from 1, got {keyed}"
        raise ContractError(message)
    key = tuple(item for _, item in keyed)
    nullable_key = [column.name for column in columns if column.name in key and column.nullable]
    if nullable_key:
        message = f"key columns {nullable_key} must be required"
        raise ContractError(message)
    description = document["description"]
    return Contract(
        schema_name=schema_name,
        name=name,
        version=document["version"],
        owner=document["team"]["name"],
        purpose=description["purpose"],
        usage=description["usage"],
        limitations=description["limitations"],
        grain=table_object["dataGranularityDescription"],
        retention_years=_retention(document["slaProperties"]),
        columns=columns,
        key=key,
        accepted_by=_accepted_by(table_object, key),
        rules=_rules(table_object),
    )


def _accepted_by(table_object: Mapping[str, Any], key: tuple[str, ...]) -> tuple[str, ...]:
    custom = {item["property"]: item["value"] for item in table_object.get("customProperties", [])}
    found = tuple(custom.get("acceptedBy", key))
    if not set(found) <= set(key):
        message = f"acceptedBy must name columns of the key, got {list(found)}"
        raise ContractError(message)
    return found


def _retention(properties: list[Mapping[str, Any]]) -> int:
    years = [
        item["value"]
        for item in properties
        if item["property"] == "retention" and item.get("unit") == "y"
    ]
    if len(years) != 1 or not isinstance(years[0], int):
        message = f"expected one retention in whole years, got {years}"
        raise ContractError(message)
    return years[0]


def _named_column(item: Mapping[str, Any]) -> Column:
    """Return a column; an error of it begins with its name."""
    try:
        return _column(item)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if not isinstance(item, dict):
            raise
        raise ContractError(f"column {item.get('name')}: {_told(error)}") from error


def _column(item: Mapping[str, Any]) -> Column:
    dtype, arrow_type = _types(item["physicalType"])
    options = item.get("logicalTypeOptions", {})
    custom = {entry["property"]: entry["value"] for entry in item.get("customProperties", [])}
    return Column(
        name=item["name"],
        sql_type=item["physicalType"],
        dtype=dtype,
        arrow_type=arrow_type,
        nullable=not item["required"],
        hashed=bool(custom.get("hashed", True)),
        description=item["description"],
        unit=custom.get("unit"),
        classification=item.get("classification"),
        enum=_enum(item),
        pattern=options.get("pattern"),
        max_length=options.get("maxLength"),
        bounds=Bounds(
            minimum=_limit(options, "minimum"),
            exclusive_minimum=_limit(options, "exclusiveMinimum"),
            maximum=_limit(options, "maximum"),
            exclusive_maximum=_limit(options, "exclusiveMaximum"),
        ),
        rules=_rules(item),
    )


def _types(sql_type: str) -> tuple[pl.DataType, pa.DataType]:
    decimal = _DECIMAL.fullmatch(sql_type)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2])
        return pl.Decimal(precision, scale), pa.decimal128(precision, scale)
    if sql_type not in _PLAIN_TYPES:
        types = ", ".join((*_PLAIN_TYPES, "DECIMAL(p,s)"))
        raise ContractError(f"physicalType: expected one of {types}, got {sql_type}")
    return _PLAIN_TYPES[sql_type]


def _limit(options: Mapping[str, Any], name: str) -> Decimal | None:
    limit = options.get(name)
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        # YAML reads 0.1 as a binary float, which no decimal column may be compared with.
        message = f"{name} must be a whole number, got {limit!r}"
        raise ContractError(message)
    return Decimal(limit)


def _enum(item: Mapping[str, Any]) -> tuple[str, ...] | None:
    for check in item.get("quality", []):
        if check.get("metric") == "invalidValues":
            return tuple(check["arguments"]["validValues"])
    return None


def _rules(item: Mapping[str, Any]) -> tuple[Rule, ...]:
    return tuple(
        _rule(check)
        for check in item.get("quality", [])
        if check.get("type") == "custom" and check["engine"] == "acme"
    )


def _rule(check: Mapping[str, Any]) -> Rule:
    implementation = check["implementation"]
    arguments = {} if isinstance(implementation, str) else dict(implementation)
    name = implementation if isinstance(implementation, str) else arguments.pop("rule")
    if check["severity"] not in ("error", "warning"):
        message = f"rule {name}: severity must be error or warning, got {check['severity']!r}"
        raise ContractError(message)
    return Rule(name, check["severity"], check["description"], MappingProxyType(arguments))


def canonical_value(value: object) -> str:
    """One typed value as contracts, findings and hold keys write it; null is the empty text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)
