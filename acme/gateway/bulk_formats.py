"""The two forms of a bulk, NDJSON and CSV: blocks of lines as columns of text, or line by line.

`table` is the fast way for lines as they usually are; it returns None where it is not certain to
read every line as `one` does. Numbers stay the text they were sent as.
"""

from __future__ import annotations

import csv
import re
from operator import attrgetter
from typing import Final, Protocol, get_args

import msgspec
import polars as pl

from acme.gateway.bulk_lines import Block
from acme.gateway.order_bodies import Kind, OrderBody, orders_contract
from acme.gateway.problems import FieldError, shown

NUMBERS: Final = ("units", "amount")
COLUMNS: Final = OrderBody.__struct_fields__
_KINDS: Final = frozenset(get_args(Kind))
_DECODER: Final = msgspec.json.Decoder(OrderBody)
_PATH: Final = re.compile(r"^(.*) - at `\$\.(\w+)`$")
_FIELD_NAMED: Final = re.compile(r"field `([^`]{1,80})")
# What neither a line of CSV without quotes nor a text in it may hold.
_CONTROL: Final = bytes(c for c in range(32) if c != ord("\n")) + b"\x7f"
# Beginnings of U+0085, U+2028 and U+2029.
_SEPARATORS: Final = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")


class LineRefusedError(Exception):
    """A line that is no order at all; the error is all there is to say of it."""

    def __init__(self, error: FieldError) -> None:
        """Keep the error."""
        super().__init__(error.expected)
        self.error = error


class Format(Protocol):
    """How a bulk is written."""

    MEDIA: str
    header_lines: int

    def header(self, line: bytes) -> FieldError | None:
        """Return what is wrong with the first line, where that is a header."""

    def table(self, block: Block) -> pl.DataFrame | None:
        """Return COLUMNS as text, null where there is none; None if `one` has to be asked."""

    def one(self, line: bytes) -> OrderBody:
        """Return the order of a line; `LineRefusedError` if it is none."""


class NdJson:
    """One JSON object a line, as the body of a single order."""

    MEDIA = "application/x-ndjson"
    header_lines = 0

    def header(self, line: bytes) -> FieldError | None:
        """Return None: there is no header."""
        del line
        return None

    def table(self, block: Block) -> pl.DataFrame | None:
        """Return the lines as columns if each begins with `{`, hence holds one object alone."""
        data = block.data
        begun = data.count(b"\n{") + data.startswith(b"{")
        if begun != block.count or not _plain(data, json=True):
            return None
        try:
            bodies = _DECODER.decode_lines(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        if len(bodies) != block.count:
            return None
        return pl.DataFrame([_column(name, bodies, data) for name in COLUMNS])

    def one(self, line: bytes) -> OrderBody:
        """Return the order of a JSON object."""
        try:
            return _DECODER.decode(line)
        except msgspec.ValidationError as error:
            raise LineRefusedError(_json_error(str(error), line)) from error
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            found = FieldError("line", f"a JSON object: {shown(error)}", shown(line))
            raise LineRefusedError(found) from error


class Csv:
    """The columns of feed `orders`, with their header; a field left empty is absent."""

    MEDIA = "text/csv"
    header_lines = 1

    def __init__(self) -> None:
        """Take the columns from the contract."""
        self.columns = tuple(orders_contract().column_names)

    def header(self, line: bytes) -> FieldError | None:
        """Return what is wrong with the header."""
        expected = ",".join(self.columns)
        try:
            found = _record(line)
        except LineRefusedError as refused:
            return FieldError("header", expected, refused.error.got)
        if tuple(found) != self.columns:
            return FieldError("header", expected, shown(line, 400))
        return None

    def table(self, block: Block) -> pl.DataFrame | None:
        """Return the lines as columns if no line has a quote, hence commas part all fields."""
        data = block.data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        commas = (len(self.columns) - 1) * block.count
        if b'"' in data or data.count(b",") != commas or not _plain(data, json=False):
            return None
        try:
            # A line of too many fields is refused; so with this many commas none has too few.
            found = pl.read_csv(
                data,
                has_header=False,
                quote_char=None,
                schema=dict.fromkeys(self.columns, pl.String()),
            )
        except pl.exceptions.PolarsError:
            return None
        return found.select(COLUMNS) if found.height == block.count else None

    def one(self, line: bytes) -> OrderBody:
        """Return the order of a record, which ends on its line."""
        fields = _record(line)
        if len(fields) != len(self.columns):
            expected = f"{len(self.columns)} fields"
            raise LineRefusedError(FieldError("line", expected, f"{len(fields)}: {shown(line)}"))
        given = {name: text for name, text in zip(self.columns, fields, strict=True) if text}
        for name in ("source_ref", "pot_id", "kind"):
            if name not in given:
                raise LineRefusedError(FieldError(name, "a value: every order has one", "nothing"))
        if given["kind"] not in _KINDS:
            expected = f"one of {', '.join(sorted(_KINDS))}"
            raise LineRefusedError(FieldError("kind", expected, shown(given["kind"])))
        numbers = {name: msgspec.Raw(_quoted(given[name])) for name in NUMBERS if name in given}
        return OrderBody(**(given | numbers))  # type: ignore[arg-type]


def _plain(data: bytes, *, json: bool) -> bool:
    """Say whether no text in `data` can hold an escape, a backslash or a control character."""
    if b"\\" in data or any(separator in data for separator in _SEPARATORS):
        return False
    # JSON itself refuses the others.
    return b"\x7f" not in data if json else len(data.translate(None, _CONTROL)) == len(data)


def _column(name: str, bodies: list[OrderBody], data: bytes) -> pl.Series:
    """Return a column of text; numbers that were sent as strings are without their quotes."""
    # Nothing is escaped, so a name that is used stands there as it is.
    if f'"{name}"'.encode() not in data:
        return pl.Series(name, dtype=pl.String).extend_constant(None, len(bodies))
    values = list(map(attrgetter(name), bodies))
    if name not in NUMBERS:
        return pl.Series(name, values, dtype=pl.String)
    texts = [str(raw, "utf-8") for raw in values]
    return pl.Series(name, texts, dtype=pl.String).str.strip_chars('"').replace("null", None)


def _quoted(text: str) -> bytes:
    return msgspec.json.encode(text)


def _record(line: bytes) -> list[str]:
    try:
        records = list(csv.reader([line.decode()], strict=True))
    except (csv.Error, UnicodeError) as error:
        found = FieldError("line", "one record of CSV in UTF-8", f"{shown(error)}: {shown(line)}")
        raise LineRefusedError(found) from error
    return records[0] if records else []


def _json_error(message: str, line: bytes) -> FieldError:
    """Return what msgspec says as an error of the field it speaks of."""
    found = _PATH.match(message)
    if found is not None:
        return FieldError(found[2], found[1], shown(line))
    named = _FIELD_NAMED.search(message)
    return FieldError(named[1] if named else "line", message, shown(line))
