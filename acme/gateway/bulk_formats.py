"""The two forms of a bulk, NDJSON and CSV: blocks of lines as columns of text, or line by line.

`table` is the fast way for lines as they usually are; it returns None where it is not certain to
read every line as `one` does. Numbers stay the text they were sent as.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, Protocol

import msgspec
import polars as pl
from msgspec import UNSET

from acme.gateway import order_json
from acme.gateway.bulk_lines import Block
from acme.gateway.order_bodies import NUMBERS, OrderBody, assembled, orders_contract
from acme.gateway.problems import FieldError, shown

COLUMNS: Final = OrderBody.__struct_fields__
# What neither a line of CSV without quotes nor a text in it may hold.
_CONTROL: Final = bytes(c for c in range(32) if c != ord("\n")) + b"\x7f"
# U+0085, U+2028 and U+2029; and the byte order mark, which a reader of CSV may leave out.
_HIDDEN: Final = (
    *(b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9"),
    order_json.BYTE_ORDER_MARK,
)


class LineRefusedError(Exception):
    """A line that is no order at all; the errors are all there is to say of it."""

    def __init__(self, *errors: FieldError) -> None:
        """Keep the errors."""
        super().__init__(errors[0].expected)
        self.errors = errors


class Format(Protocol):
    """How a bulk is written."""

    MEDIA: str
    header_lines: int

    def header(self, line: bytes) -> FieldError | None:
        """Return what is wrong with the first line, where that is a header."""

    def table(self, block: Block) -> pl.DataFrame | None:
        """Return COLUMNS as text, null where there is none; None if `one` has to be asked."""

    def one(self, line: bytes) -> tuple[OrderBody, Sequence[FieldError]]:
        """Return the body of a line and its faults; `LineRefusedError` if it is none."""


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
            bodies = order_json.DECODER.decode_lines(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        if len(bodies) != block.count:
            return None
        read = [_column(name, bodies, data) for name in COLUMNS]
        # As in `order_json`: a member that was overwritten has quotes which none of these has.
        if data.count(b'"') != 2 * sum(names_and_strings for _, names_and_strings in read):
            return None
        return pl.DataFrame([column for column, _ in read])

    def one(self, line: bytes) -> tuple[OrderBody, Sequence[FieldError]]:
        """Return the body of a JSON object."""
        try:
            return order_json.read(line, "line")
        except order_json.NoOrderError as error:
            raise LineRefusedError(*error.errors) from error
        except order_json.UnreadableError as error:
            found = FieldError("line", "a JSON object", f"{error}: {shown(line)}")
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
        if line.startswith(order_json.BYTE_ORDER_MARK):
            return FieldError(
                "header", expected, f"a byte order mark before {shown(line[3:], 400)}"
            )
        try:
            found = _record(line)
        except LineRefusedError as refused:
            return FieldError("header", expected, refused.errors[0].got)
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

    def one(self, line: bytes) -> tuple[OrderBody, Sequence[FieldError]]:
        """Return the body of a record, which ends on its line."""
        fields = _record(line)
        if len(fields) != len(self.columns):
            expected = f"{len(self.columns)} fields"
            raise LineRefusedError(FieldError("line", expected, f"{len(fields)}: {shown(line)}"))
        given: dict[str, object] = {
            name: msgspec.Raw(msgspec.json.encode(text)) if name in NUMBERS else text
            for name, text in zip(self.columns, fields, strict=True)
            if text
        }
        return assembled(given)


def _plain(data: bytes, *, json: bool) -> bool:
    """Say whether no text in `data` can hold an escape, a backslash or a control character."""
    if b"\\" in data or any(hidden in data for hidden in _HIDDEN):
        return False
    # JSON itself refuses the others.
    return b"\x7f" not in data if json else len(data.translate(None, _CONTROL)) == len(data)


def _column(name: str, bodies: list[OrderBody], data: bytes) -> tuple[pl.Series, int]:
    """Return a column of text, and how many names and strings its lines were sent with.

    Numbers that were sent as strings are without their quotes.
    """
    # Nothing is escaped, so a name that is used stands there as it is.
    if f'"{name}"'.encode() not in data:
        return pl.Series(name, dtype=pl.String).extend_constant(None, len(bodies)), 0
    values = list(map(attrgetter(name), bodies))
    if name not in NUMBERS:
        sent = sum(value is not UNSET for value in values)
        if sent < len(values):
            values = [None if value is UNSET else value for value in values]
        column = pl.Series(name, values, dtype=pl.String)
        return column, sent + len(column) - column.null_count()
    column = pl.Series(name, [str(raw, "utf-8") for raw in values], dtype=pl.String)
    sent = int((column != "").sum()) + int(column.str.starts_with('"').sum())
    return column.set((column == "") | (column == "null"), None).str.strip_chars('"'), sent


def _record(line: bytes) -> list[str]:
    try:
        records = list(csv.reader([line.decode()], strict=True))
    except (csv.Error, UnicodeError) as error:
        why = order_json.unreadable(line) or shown(error)
        found = FieldError("line", "one record of CSV in UTF-8", f"{why}: {shown(line)}")
        raise LineRefusedError(found) from error
    return records[0] if records else []
