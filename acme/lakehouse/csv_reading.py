"""Feed files as typed columns: header, quoting, strict text forms; no reference data is known.

A file is one header line and one record per line. Every value is read as text first, tested
against the one form its type allows, and only then made a decimal, a date or an instant: no
reader's own idea of a number is ever asked, and no float occurs.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from acme.lakehouse.contracts import Column, Contract, value_breaches
from acme.lakehouse.findings import Finding, Findings, shown

ROW: Final = "row"

# Above the longest line that the raw pass lets through.
_BLOCK_BYTES: Final = 16 << 20
_SHOWN_MAX: Final = 100
_FIRST_DATA_ROW: Final = 2

# Possessive throughout: a line is read once from left to right, whatever it holds.
_FIELD: Final = rb'(?:"(?:[^"]|"")*+"|[^",]*+)'
_RECORD: Final = re.compile(_FIELD + rb"(?:," + _FIELD + rb")*+")

_NUMBER: Final = r"^-?[0-9]+(\.[0-9]+)?$"
_INTEGER: Final = r"^-?[0-9]+$"
_DATE: Final = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$"
_INSTANT: Final = (
    r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6}0*)?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)


@dataclass(frozen=True)
class TextCheck:
    """A test of a column's text; `mask` is true where it fails. Null text fails none."""

    rule: str
    column: str
    expected: str
    mask: pl.Expr


def header_findings(contract: Contract, first_line: bytes) -> list[Finding]:
    """Errors of the header line (without its line end), in UTF-8; empty when it is right."""
    expected = ",".join(contract.column_names)
    try:
        (found,) = csv.reader([first_line.decode()], strict=True)
    except (csv.Error, ValueError) as error:
        return [Finding("error", "header", 1, None, expected, f"unreadable: {error}")]
    if tuple(found) == contract.column_names:
        return []
    findings = [
        Finding("error", "missing_column", 1, name, "this column in the header", "none")
        for name in contract.column_names
        if name not in found
    ]
    findings += [
        Finding("error", "unknown_column", 1, None, expected, shown(name))
        for name in dict.fromkeys(found)
        if name not in contract.column_names
    ]
    got = shown(",".join(found))
    return [Finding("error", "header", 1, None, expected, got), *findings]


def quoting_findings(stream: BinaryIO) -> list[Finding]:
    """Errors of quoting: a record must end on its line, and its quotes must be closed.

    Reads line by line; call it only for files whose lines are known to be short.
    """
    findings = []
    for row, line in enumerate(stream, start=1):
        if b'"' not in line:
            continue
        record = line.removesuffix(b"\n").removesuffix(b"\r")
        if _RECORD.fullmatch(record) is None:
            is_open = record.count(b'"') % 2 == 1
            rule = "line_feed" if is_open else "quoting"
            expected = (
                "no line feed inside a field, and every quote closed"
                if is_open
                else "fields quoted whole, with quotes inside doubled"
            )
            got = shown(record.decode(errors="replace"))
            findings.append(Finding("error", rule, row, None, expected, got))
            if len(findings) == _SHOWN_MAX:
                break
    return findings


def text_batches(
    contract: Contract, source: Path | pa.Buffer, *, has_quote: bool, findings: Findings
) -> Iterator[pl.DataFrame]:
    """The records as frames of text columns in contract order, plus `row` BIGINT (header = 1).

    Empty fields are null. Rows with another number of fields are left out and reported as
    `ragged_row`. Memory is bounded by the block. The header must have been checked.
    """
    ragged: list[int] = []

    def take_ragged(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row.number)
        expected, got = f"{row.expected_columns} fields", f"{row.actual_columns} fields"
        findings.add(Finding("error", "ragged_row", row.number, None, expected, got))
        return "skip"

    reader = arrow_csv.open_csv(
        source if isinstance(source, Path) else pa.BufferReader(source),
        read_options=arrow_csv.ReadOptions(
            # One thread: only then are the numbers of ragged rows known.
            use_threads=False,
            block_size=_BLOCK_BYTES,
            column_names=list(contract.column_names),
            skip_rows=1,
        ),
        parse_options=arrow_csv.ParseOptions(
            quote_char='"' if has_quote else False,
            double_quote=True,
            newlines_in_values=False,
            ignore_empty_lines=False,
            invalid_row_handler=take_ragged,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in contract.column_names},
            strings_can_be_null=False,
            null_values=[],
        ),
    )
    row = _FIRST_DATA_ROW
    for batch in reader:
        if batch.num_rows == 0:
            continue
        frame = pl.DataFrame(pl.from_arrow(batch))
        rows = _row_numbers(row, frame.height, ragged)
        row = rows[-1] + 1
        yield frame.select(pl.when(pl.all() != "").then(pl.all())).with_columns(rows.alias(ROW))


def _row_numbers(first: int, count: int, ragged: Sequence[int]) -> pl.Series:
    """The next `count` line numbers from `first` on that are not ragged rows."""
    skipped = [number for number in ragged if number >= first]
    numbers = pl.int_range(first, first + count + len(skipped), dtype=pl.Int64, eager=True)
    if skipped:
        numbers = numbers.filter(~numbers.is_in(skipped))
    return numbers.head(count)


def typed_batches(
    contract: Contract, source: Path | pa.Buffer, *, has_quote: bool, findings: Findings
) -> Iterator[pl.DataFrame]:
    """As `text_batches`, with the contract's dtypes; a value that breaks its column is null.

    Reports what breaks a type, a scale, a range, `required`, an enum, a pattern or a bound.
    """
    texts = [check for column in contract.columns for check in _text_checks(column)]
    values = [breach for column in contract.columns for breach in value_breaches(column)]
    parsed = [_parsed(column) for column in contract.columns]
    for text in text_batches(contract, source, has_quote=has_quote, findings=findings):
        bad = _report_text(text, texts, findings)
        frame = text.select(*(_unless(bad, expression) for expression in parsed), ROW)
        broken = frame.select(
            breach.mask.any().alias(str(position)) for position, breach in enumerate(values)
        ).row(0)
        for breach, is_broken in zip(values, broken, strict=True):
            if is_broken:
                hits = text.filter(frame.select(breach.mask.fill_null(value=False)).to_series())
                if breach.rule == "required":
                    # A text that was no number is reported as such, and is not missing as well.
                    hits = hits.filter(pl.col(breach.column).is_null())
                report(
                    findings,
                    "error",
                    breach.rule,
                    breach.column,
                    expected=breach.expected,
                    hits=hits,
                )
        yield frame


def report(
    findings: Findings,
    severity: str,
    rule: str,
    column: str,
    *,
    expected: str,
    hits: pl.DataFrame,
) -> None:
    """Add one finding for each row of `hits`, which has `row` and `column` (any type)."""
    if hits.is_empty():
        return
    first = hits.select(ROW, pl.col(column).cast(pl.String)).head(_SHOWN_MAX)
    findings.add_all(
        (
            Finding(
                "error" if severity == "error" else "remark",
                rule,
                row,
                column,
                expected,
                shown(value),
            )
            for row, value in first.iter_rows()
        ),
        hits.height,
    )


def _report_text(text: pl.DataFrame, checks: list[TextCheck], findings: Findings) -> set[str]:
    """Report failed text checks; returns the columns that have any."""
    if not checks:
        return set()
    failed = text.select(
        check.mask.any().alias(str(position)) for position, check in enumerate(checks)
    ).row(0)
    bad = set()
    for check, is_failed in zip(checks, failed, strict=True):
        if is_failed:
            bad.add(check.column)
            hits = text.filter(check.mask)
            report(findings, "error", check.rule, check.column, expected=check.expected, hits=hits)
    return bad


def _unless(bad: set[str], parsed: "_Parsed") -> pl.Expr:
    """The column's value; where the batch holds bad texts, null in their place."""
    if parsed.column not in bad:
        return parsed.value
    failed = pl.any_horizontal(check.mask for check in parsed.checks)
    return pl.when(~failed).then(parsed.value).alias(parsed.column)


@dataclass(frozen=True)
class _Parsed:
    column: str
    value: pl.Expr
    checks: tuple[TextCheck, ...]


def _parsed(column: Column) -> _Parsed:
    return _Parsed(column.name, _value(column), tuple(_text_checks(column)))


def _text_checks(column: Column) -> Iterator[TextCheck]:
    """The checks of the text, in an order such that each presumes the ones before."""
    text = pl.col(column.name)
    match column.dtype:
        case pl.String():
            return
        case pl.Date():
            expected = "a date YYYY-MM-DD"
            mask = ~text.str.contains(_DATE) | _value(column).is_null() & text.is_not_null()
            yield TextCheck("type", column.name, expected, mask)
        case pl.Datetime():
            expected = "an instant, RFC 3339 with offset, at most microseconds"
            mask = ~text.str.contains(_INSTANT) | _value(column).is_null() & text.is_not_null()
            yield TextCheck("type", column.name, expected, mask)
        case pl.Decimal():
            yield from _decimal_checks(column)
        case _:
            yield from _integer_checks(column)


def _decimal_checks(column: Column) -> Iterator[TextCheck]:
    text = pl.col(column.name)
    is_number = text.str.contains(_NUMBER)
    expected = "a number: digits, at most one point, no exponent, no separators, no spaces"
    yield TextCheck("type", column.name, expected, ~is_number)
    # Zeros beyond the scale change nothing and are let through.
    finer = text.str.contains(rf"\.[0-9]{{{column.scale}}}[0-9]*[1-9]")
    expected = f"at most {column.scale} decimals"
    yield TextCheck("too_many_decimals", column.name, expected, is_number & finer)
    digits = column.precision - column.scale
    wider = text.str.contains(rf"^-?0*[1-9][0-9]{{{digits}}}")
    expected = f"at most {digits} digits before the point"
    yield TextCheck("too_large", column.name, expected, is_number & wider)


def _integer_checks(column: Column) -> Iterator[TextCheck]:
    text = pl.col(column.name)
    is_integer = text.str.contains(_INTEGER)
    yield TextCheck("type", column.name, "a whole number in digits", ~is_integer)
    fits = text.cast(column.dtype, strict=False).is_not_null()
    expected = f"a number that fits {column.sql_type}"
    yield TextCheck("too_large", column.name, expected, is_integer & ~fits)


def _value(column: Column) -> pl.Expr:
    """The typed value of a text that passed its checks; null for null."""
    text = pl.col(column.name)
    match column.dtype:
        case pl.String():
            return text
        case pl.Date():
            return text.str.to_date("%Y-%m-%d", strict=False)
        case pl.Datetime():
            return _instant(text).alias(column.name)
        case pl.Decimal():
            # Without leading zeros and zeros beyond the scale, so that no length can matter.
            cut = rf"^(-?)0*([0-9]+(?:\.[0-9]{{1,{column.scale}}})?).*$"
            return text.str.replace(cut, "${1}${2}").cast(column.dtype, strict=False)
        case _:
            return text.cast(column.dtype, strict=False)


def _instant(text: pl.Expr) -> pl.Expr:
    """RFC 3339 text as an instant in UTC."""
    local = (
        text.str.slice(0, 19)
        .str.to_uppercase()
        .str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")
    )
    fraction = text.str.extract(r"\.([0-9]{1,6})").str.pad_end(6, "0").cast(pl.Int64)
    offset = text.str.slice(-6)
    minutes = offset.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + offset.str.slice(
        4, 2
    ).cast(pl.Int64, strict=False)
    ahead = pl.when(offset.str.starts_with("-")).then(-minutes).otherwise(minutes)
    is_utc = text.str.contains("[Zz]$")
    shift = pl.when(is_utc).then(0).otherwise(ahead)
    instant = local + pl.duration(
        microseconds=fraction.fill_null(0) - shift * 60_000_000, time_unit="us"
    )
    return instant.dt.replace_time_zone("UTC")
