"""The rules that feed contracts name: checks of typed rows against each other and what is known.

The contract says which rule a column or a file obeys and with which arguments; here is what each
rule means. A rule of severity `error` quarantines the file, one of severity `warning` remarks on
a row that will have no effect. Nothing is read, stored or registered here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, Protocol

import polars as pl

from acme.lakehouse.contracts import Column, Contract, Rule
from acme.lakehouse.csv_reading import ROW, report
from acme.lakehouse.findings import Finding, Findings, shown

Detail = Mapping[str, Any]

MONEY_DECIMALS: Final = 2
_SATURDAY: Final = 6
_CANARY: Final = "CANARY"
_INSTRUCTION: Final = re.compile(
    r"B-(?P<date>\d{4}-\d{2}-\d{2})-(?P<book>live|canary)-(?P<pair>.+)-[BS]-[UA]"
)

# Rules that need every row of the file at once; `repeats` decides them.
REPEAT_RULES: Final = frozenset({"duplicate_row", "conflicting_rows"})


class Known(Protocol):
    """Looks up what accepted files made known."""

    def __call__(self, kind: str, keys: Iterable[str]) -> Mapping[str, Detail]:
        """Details of those of `keys` that are known; `kind` as in `Control.known`."""


@dataclass
class Context:
    """What rules may know: the scheme's currency, and reference keys, each looked up once."""

    currency: str
    lookup: Known
    _seen: dict[str, dict[str, Detail | None]] = field(default_factory=dict)

    def known(self, kind: str, keys: Iterable[str]) -> dict[str, Detail]:
        """Details of those of `keys` that are known."""
        seen = self._seen.setdefault(kind, {})
        wanted = list(keys)
        missing = [key for key in wanted if key not in seen]
        if missing:
            found = self.lookup(kind, missing)
            seen.update({key: found.get(key) for key in missing})
        return {key: detail for key in wanted if (detail := seen[key]) is not None}


@dataclass(frozen=True)
class Hit:
    """Rows that break a rule: `rows` has `row` and the column named `field`."""

    field: str
    expected: str
    rows: pl.DataFrame


@dataclass(frozen=True)
class _Call:
    """One rule, the column it stands at (None: the whole file), and what it may know."""

    rule: Rule
    column: Column | None
    context: Context

    @property
    def name(self) -> str:
        if self.column is None:
            message = f"rule {self.rule.name} stands at a column"
            raise TypeError(message)
        return self.column.name

    def hits(self, frame: pl.DataFrame, expected: str, mask: pl.Expr) -> Iterator[Hit]:
        rows = frame.filter(mask)
        if not rows.is_empty():
            yield Hit(self.name, expected, rows)

    def among(self, frame: pl.DataFrame, expected: str, bad: list[Any]) -> Iterator[Hit]:
        if bad:
            yield from self.hits(frame, expected, pl.col(self.name).is_in(bad))

    def values(self, frame: pl.DataFrame) -> list[Any]:
        return frame.get_column(self.name).drop_nulls().unique().to_list()


class Rules:
    """All rules of one feed contract, applied to a file batch by batch."""

    def __init__(self, contract: Contract, context: Context) -> None:
        """Bind the contract's rules; KeyError names a rule that does not exist."""
        self._calls: list[_Call] = [
            _Call(rule, column, context) for column in contract.columns for rule in column.rules
        ]
        self._calls += [
            _Call(rule, None, context)
            for rule in contract.rules
            if rule.name not in REPEAT_RULES and rule.name != _WeightSum.rule_name
        ]
        for call in self._calls:
            _CHECKS[call.rule.name]
        self._weights = [
            _WeightSum(rule) for rule in contract.rules if rule.name == _WeightSum.rule_name
        ]

    def check(self, frame: pl.DataFrame, findings: Findings) -> None:
        """Check one batch of typed rows with their `row`; null cells break no rule here.

        Of several warnings a row meets only the first counts: an order is rejected for the first
        reason that applies (rules §4).
        """
        warned: list[pl.Series] = []
        for call in self._calls:
            is_error = call.rule.severity == "error"
            for hit in _CHECKS[call.rule.name](call, frame):
                rows = hit.rows
                if not is_error:
                    for earlier in warned:
                        rows = rows.filter(~pl.col(ROW).is_in(earlier.implode()))
                    warned.append(rows.get_column(ROW))
                report(
                    findings,
                    call.rule.severity,
                    call.rule.name,
                    hit.field,
                    expected=hit.expected,
                    hits=rows,
                )
        for weights in self._weights:
            weights.take(frame)

    def finish(self, findings: Findings) -> None:
        """Check what needed the whole file."""
        for weights in self._weights:
            weights.finish(findings)


# ---- rules of one column ------------------------------------------------------------------------


def _scheme_currency(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    expected = f"the scheme currency {call.context.currency}"
    yield from call.hits(frame, expected, pl.col(call.name) != call.context.currency)


def _not_the_currency(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    expected = f"an asset other than the scheme currency {call.context.currency}"
    yield from call.hits(frame, expected, pl.col(call.name) == call.context.currency)


def _known_asset(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    besides = call.rule.arguments.get("besides", ())
    expected = " or ".join(["an asset landed before", *besides])
    yield from _unknown(call, frame, "asset", expected, besides)


def _known_pot(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    yield from _unknown(call, frame, "pot", "a pot landed before")


def _known_risk_profile(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    yield from _unknown(call, frame, "risk_profile", "a risk profile landed before")


def _unknown_asset(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    currency = call.context.currency
    expected = f"an asset landed before, other than {currency} (else the order is rejected)"
    values = call.values(frame)
    known = call.context.known("asset", values).keys() - {currency}
    bad = [value for value in values if value not in known]
    yield from call.among(frame, expected, bad)


def _unknown_pot(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    expected = "a pot landed before (else the order is rejected)"
    yield from _unknown(call, frame, "pot", expected)


def _unknown_profile(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    expected = "a risk profile landed before (else the order is rejected)"
    yield from _unknown(call, frame, "risk_profile", expected)


def _unknown(
    call: _Call, frame: pl.DataFrame, kind: str, expected: str, besides: Iterable[str] = ()
) -> Iterator[Hit]:
    values = call.values(frame)
    known = call.context.known(kind, values).keys() | set(besides)
    bad = [value for value in values if value not in known]
    yield from call.among(frame, expected, bad)


def _business_date(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    calendar = call.rule.arguments["calendar"]
    dates = call.values(frame)
    keys = {holiday_key(calendar, day): day for day in dates}
    holidays = call.context.known("holiday", keys)
    closed = [keys[key] for key in holidays]
    closed += [day for day in dates if day.isoweekday() >= _SATURDAY]
    expected = f"a business date of {calendar}"
    yield from call.among(frame, expected, closed)


def _reserved_source(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    reserved = list(call.rule.arguments["sources"])
    expected = f"a source other than {', '.join(reserved)}"
    yield from call.among(frame, expected, reserved)


def _unit_decimals(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    if "instruction" in call.rule.arguments:
        allowed = _decimals_by_instruction(call, frame)
    else:
        allowed = _decimals_by_asset(call, frame)
    yield from _finer(call, frame, allowed)


def _too_many_decimals(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    decimals = call.rule.arguments.get("decimals")
    if decimals is None:
        yield from _finer(call, frame, _decimals_by_asset(call, frame))
    else:
        expected = f"at most {decimals} decimals (else the order is rejected)"
        yield from call.hits(frame, expected, decimals_used(pl.col(call.name)) > decimals)


def _finer(call: _Call, frame: pl.DataFrame, allowed: pl.DataFrame) -> Iterator[Hit]:
    """Rows finer than `allowed`: its `decimals` by its other columns; unknown ones pass."""
    on = [name for name in allowed.columns if name != "decimals"]
    limited = frame.join(allowed, on=on, how="left", maintain_order="left")
    finer = limited.filter(decimals_used(pl.col(call.name)) > pl.col("decimals"))
    for decimals in finer.get_column("decimals").unique().sort():
        expected = f"at most {decimals} decimals, as the asset's units have"
        yield from call.hits(finer, expected, pl.col("decimals") == decimals)


def _decimals_by_asset(call: _Call, frame: pl.DataFrame) -> pl.DataFrame:
    asset = call.rule.arguments["asset"]
    valid_on = call.rule.arguments.get("valid_on")
    on = [asset] if valid_on is None else [asset, valid_on]
    pairs = frame.select(on).drop_nulls().unique()
    details = call.context.known("asset", pairs.get_column(asset).unique().to_list())
    decimals = [
        _asset_decimals(call.context, row[0], details.get(row[0]), row[1] if valid_on else None)
        for row in pairs.iter_rows()
    ]
    return pairs.with_columns(pl.Series("decimals", decimals, pl.Int64))


def _decimals_by_instruction(call: _Call, frame: pl.DataFrame) -> pl.DataFrame:
    name = call.rule.arguments["instruction"]
    instructions = frame.select(name).drop_nulls().unique()
    splits = {text: instruction_splits(text) for text in instructions.to_series()}
    assets = {split.asset_id for found in splits.values() for split in found}
    details = call.context.known("asset", assets)
    decimals = []
    for text in instructions.to_series():
        matching = [
            limit
            for split in splits[text]
            if split.asset_id in details and split.is_held(details[split.asset_id])
            for limit in [
                _asset_decimals(
                    call.context, split.asset_id, details[split.asset_id], split.dealing_date
                )
            ]
            if limit is not None
        ]
        decimals.append(max(matching) if matching else None)
    return instructions.with_columns(pl.Series("decimals", decimals, pl.Int64))


def _asset_decimals(
    context: Context, asset_id: str, detail: Detail | None, day: date | None
) -> int | None:
    """Decimals of the asset's version valid on `day` (None: newest); None if it is unknown."""
    if asset_id == context.currency:
        return MONEY_DECIMALS
    if detail is None:
        return None
    versions = sorted(detail["versions"], key=lambda version: str(version["valid_from"]))
    valid = [
        version
        for version in versions
        if day is None or date.fromisoformat(version["valid_from"]) <= day
    ]
    return int((valid[-1] if valid else versions[0])["unit_decimals"])


@dataclass(frozen=True)
class InstructionSplit:
    """One way to read an instruction id; ids may hold hyphens, so there can be several."""

    dealing_date: date
    book: str
    custodian_id: str
    asset_id: str

    def is_held(self, detail: Detail) -> bool:
        """Whether the custodian holds the asset in this book (rules §3)."""
        if self.book == "canary":
            return self.custodian_id == _CANARY
        return any(version["custodian_id"] == self.custodian_id for version in detail["versions"])


def instruction_splits(instruction_id: str) -> list[InstructionSplit]:
    """All ways to read `B-{date}-{book}-{custodian}-{asset}-{side}-{quantity type}` (rules §6)."""
    match = _INSTRUCTION.fullmatch(instruction_id)
    if match is None:
        return []
    try:
        dealing_date = date.fromisoformat(match["date"])
    except ValueError:
        return []
    pair = match["pair"]
    return [
        InstructionSplit(dealing_date, match["book"], pair[:at], pair[at + 1 :])
        for at, character in enumerate(pair)
        if character == "-" and 0 < at < len(pair) - 1
    ]


def decimals_used(value: pl.Expr) -> pl.Expr:
    """How many decimals a DECIMAL value needs: 2 for 1.250000."""
    return value.cast(pl.String).str.extract(r"\.([0-9]*?)0*$", 1).str.len_bytes().cast(pl.Int64)


def holiday_key(calendar_id: str, day: date) -> str:
    """Key of a holiday among reference keys, as in `DEALING:2020-12-25`."""
    return f"{calendar_id}:{day.isoformat()}"


# ---- rules of one row ---------------------------------------------------------------------------


def _fields_by_kind(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    arguments = call.rule.arguments
    by = arguments["by"]
    for kind, required in arguments["required"].items():
        rows = frame.filter(pl.col(by) == kind)
        if rows.is_empty():
            continue
        optional = arguments.get("optional", {}).get(kind, [])
        for name in required:
            missing = rows.filter(pl.col(name).is_null())
            if not missing.is_empty():
                yield Hit(name, f"a value, as {by} is {kind}", missing)
        for name in arguments.get("among", []):
            if name in required or name in optional:
                continue
            filled = rows.filter(pl.col(name).is_not_null())
            if not filled.is_empty():
                yield Hit(name, f"nothing, as {by} is {kind}", filled)


def _empty_holding(call: _Call, frame: pl.DataFrame) -> Iterator[Hit]:
    asset, quantity = call.rule.arguments["asset"], call.rule.arguments["quantity"]
    no_asset = pl.col(asset).is_null()
    stray = frame.filter(no_asset & (pl.col(quantity) != pl.lit(Decimal(0))))
    if not stray.is_empty():
        yield Hit(quantity, "nothing or zero, as no asset is named", stray)
    missing = frame.filter(~no_asset & pl.col(quantity).is_null())
    if not missing.is_empty():
        yield Hit(quantity, "units, as an asset is named", missing)


_CHECKS: Final[Mapping[str, Callable[[_Call, pl.DataFrame], Iterator[Hit]]]] = {
    "business_date": _business_date,
    "empty_holding": _empty_holding,
    "fields_by_kind": _fields_by_kind,
    "known_asset": _known_asset,
    "known_pot": _known_pot,
    "known_risk_profile": _known_risk_profile,
    "not_the_currency": _not_the_currency,
    "reserved_source": _reserved_source,
    "scheme_currency": _scheme_currency,
    "too_many_decimals": _too_many_decimals,
    "unit_decimals": _unit_decimals,
    "unknown_asset": _unknown_asset,
    "unknown_pot": _unknown_pot,
    "unknown_profile": _unknown_profile,
}


# ---- rules of the whole file --------------------------------------------------------------------


class _WeightSum:
    """Weights of a set sum to exactly 1, equal rows counted once (rules §5).

    Rows that disagree on a key are all counted: a set that is not whole must not be used.
    """

    rule_name = "weights_sum_to_one"

    def __init__(self, rule: Rule) -> None:
        self._group = list(rule.arguments["group"])
        self._weights: list[pl.DataFrame] = []

    def take(self, frame: pl.DataFrame) -> None:
        self._weights.append(frame.select(*self._group, "asset_id", "weight", ROW))

    def finish(self, findings: Findings) -> None:
        if not self._weights:
            return
        rows = pl.concat(self._weights).drop_nulls()
        distinct = rows.unique([*self._group, "asset_id", "weight"], keep="first")
        sums = distinct.group_by(self._group).agg(pl.col("weight").sum(), pl.col(ROW).min())
        bad = sums.filter(pl.col("weight") != pl.lit(Decimal(1))).sort(ROW)
        for line in bad.iter_rows(named=True):
            of = ", ".join(f"{name} {line[name]}" for name in self._group)
            expected = f"weights of {of} that sum to 1"
            got = shown(format(line["weight"], "f"))
            findings.add(Finding("error", self.rule_name, line[ROW], "weight", expected, got))


@dataclass(frozen=True)
class Repeats:
    """The rows of one file by their keys (rules §10); all frames have the file's columns.

    `single`: rows that count, the first of equal ones. `dropped`: later equal rows.
    `conflicting`: rows, equal ones once, whose key has several values; the key is on hold.
    """

    single: pl.DataFrame
    dropped: pl.DataFrame
    conflicting: pl.DataFrame


def repeats(contract: Contract, frame: pl.DataFrame) -> Repeats:
    """Part the typed rows of one file by key; without a key, equal rows are dropped alone."""
    values = list(contract.column_names)
    first = frame.select(pl.struct(values).is_first_distinct()).to_series()
    distinct, dropped = frame.filter(first), frame.filter(~first)
    if not contract.key:
        return Repeats(distinct, dropped, distinct.clear())
    is_repeated = distinct.select(pl.struct(contract.key).is_duplicated()).to_series()
    return Repeats(distinct.filter(~is_repeated), dropped, distinct.filter(is_repeated))
