"""Blocks of a bulk checked by the contract of orders, column by column; what is odd, line by line.

The columns are passed only where the text is of the plainest form; every other line is judged by
`order_bodies.checked`, as a single order is, and so are the words of its errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from acme.gateway import order_bodies
from acme.gateway.bulk_formats import Format, LineRefusedError
from acme.gateway.bulk_lines import LINE_BYTES_MAX, Block
from acme.gateway.order_bodies import (
    NUMBERS,
    PRECISION,
    SCALE,
    SHOWN_IN_POLARS,
    TEXT_LENGTH_MAX,
    fields_by_kind,
)
from acme.gateway.problems import FieldError, ProblemError, shown

ERRORS_SHOWN_MAX: Final = 100
_TEXTS: Final = {
    "source_ref": 2 * TEXT_LENGTH_MAX,
    "pot_id": TEXT_LENGTH_MAX,
    "asset_id": TEXT_LENGTH_MAX,
    "to_asset_id": TEXT_LENGTH_MAX,
    "risk_profile_id": TEXT_LENGTH_MAX,
}
_SIZED: Final = ("asset_id", "to_asset_id", "units", "amount", "risk_profile_id")
_BITS: Final = {name: 1 << n for n, name in enumerate(_SIZED)}
_NUMBER: Final = rf"^[0-9]{{1,{PRECISION - SCALE}}}(?:\.[0-9]{{1,{SCALE}}})?$"
_INSTANT: Final = (
    r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
_INSTANT_READ: Final = "%Y-%m-%dT%H:%M:%S%.f%:z"
_INSTANT_WRITTEN: Final = "%Y-%m-%dT%H:%M:%S%.6f+00:00"

# The columns of a line that is ready: those of COPY but for the ones that all lines share.
READY: Final = pl.Schema(
    dict.fromkeys(("order_id", "source_ref", "pot_id", "kind", *_SIZED, "received_at"), pl.String())
    | {"line": pl.Int32()}
)


@dataclass
class Refusals:
    """The first errors of a bulk, how many there are, and by which status it is refused."""

    first: list[FieldError] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of errors in all."""
        return sum(self.counts.values())

    def add(self, kind: str, errors: Iterable[FieldError]) -> None:
        """Take errors of one kind of problem, in the order of their lines."""
        for error in errors:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if len(self.first) < ERRORS_SHOWN_MAX:
                self.first.append(error)

    def problem(self) -> ProblemError:
        """Return the problem: `invalid` if any line is, else `forbidden`."""
        kind = "invalid" if "invalid" in self.counts else "forbidden"
        shown_of = f"; the first {len(self.first)} are shown" if len(self) > len(self.first) else ""
        return ProblemError(
            kind,
            f"nothing is stored: {len(self)} errors{shown_of}",
            self.first,
            more={"errors_in_all": len(self)},
        )


class Checker:
    """Judges the lines of one bulk of one source."""

    def __init__(
        self,
        form: Format,
        source: str,
        *,
        event_clock: bool,
        granted: Callable[[list[str]], set[str]] | None,
    ) -> None:
        """Keep the rules; `granted` returns those of some pots the source may act on, None all."""
        self._form, self._source, self._event = form, source, event_clock
        self._granted = granted
        self._prefix = f"{source}\n".encode()
        self.refusals = Refusals()

    def ready(self, block: Block) -> pl.DataFrame:
        """Return the lines of a block that keep the contract, as READY; the others are refused."""
        table = None if block.too_long else self._form.table(block)
        if table is None:
            rows, refused = self._by_line(block, range(block.count))
            frame = pl.DataFrame(rows, READY, orient="row")
        else:
            frame, odd = self._by_column(table, block.first)
            rows, refused = self._by_line(block, odd)
            if rows:
                frame = pl.concat([frame, pl.DataFrame(rows, READY, orient="row")])
        refused += self._not_granted(frame)
        refused.sort(key=lambda item: item[1].line or 0)
        for kind, error in refused:
            self.refusals.add(kind, [error])
        return frame

    def _by_column(self, table: pl.DataFrame, first: int) -> tuple[pl.DataFrame, list[int]]:
        """Return the lines that are plainly right, and the places of the others."""
        instant = pl.lit(None, pl.String())
        if table["received_at"].null_count() < table.height:
            instant = (
                pl.col("received_at")
                .str.replace("Z$", "+00:00")
                .str.to_datetime(_INSTANT_READ, strict=False, time_unit="us", time_zone="UTC")
                .dt.to_string(_INSTANT_WRITTEN)
            )
        marked = table.with_columns(
            _right(table, self._source, event_clock=self._event).alias("right"),
            instant.alias("instant"),
            line=pl.int_range(first, first + pl.len(), dtype=pl.Int32()),
        ).with_columns(
            pl.col("right")
            & (pl.col("received_at").is_null() | pl.col("instant").is_not_null()).alias("right")
        )
        right = marked["right"]
        odd: list[int] = []
        if not right.all():
            odd = (~right).arg_true().to_list()
            marked = marked.filter(right)
        ids = pl.Series("order_id", _ids(self._prefix, marked["source_ref"].to_list()))
        frame = marked.with_columns(ids, received_at=pl.col("instant"))
        return frame.select(READY.names()), odd

    def _by_line(
        self, block: Block, places: Iterable[int]
    ) -> tuple[list[tuple[object, ...]], list[tuple[str, FieldError]]]:
        rows: list[tuple[object, ...]] = []
        refused: list[tuple[str, FieldError]] = []
        lines: list[bytes] | None = None
        for place in places:
            lines = block.lines() if lines is None else lines
            number = block.first + place
            kind, found = self._one(lines[place])
            if isinstance(found, dict):
                rows.append((*(found.get(name) for name in READY.names()[:-1]), number))
            else:
                refused += [(kind, FieldError(e.field, e.expected, e.got, number)) for e in found]
        return rows, refused

    def _one(self, line: bytes) -> tuple[str, dict[str, str] | list[FieldError]]:
        """Return a line as READY, or its errors and their kind of problem."""
        if len(line) > LINE_BYTES_MAX:
            expected = f"at most {LINE_BYTES_MAX} bytes"
            return "invalid", [FieldError("line", expected, shown(line))]
        try:
            body, faults = self._form.one(line)
            order = order_bodies.checked(body, self._source, event_clock=self._event, faults=faults)
        except LineRefusedError as refused:
            return "invalid", list(refused.errors)
        except ProblemError as problem:
            if problem.kind == "forbidden":
                return "forbidden", [FieldError("source", repr(self._source), shown(body.source))]
            return problem.kind, list(problem.errors)
        row = dict(order.row)
        return "", row | {"order_id": row["o"], "source_ref": row["r"], "pot_id": row["p"]}

    def _not_granted(self, frame: pl.DataFrame) -> list[tuple[str, FieldError]]:
        if self._granted is None or frame.is_empty():
            return []
        granted = self._granted(frame["pot_id"].unique().to_list())
        expected = f"a pot that {self._source!r} may act on"
        return [
            ("forbidden", FieldError("pot_id", expected, shown(pot), line))
            for pot, line in frame.select("pot_id", "line").iter_rows()
            if pot not in granted
        ]


def _ids(prefix: bytes, source_refs: list[str]) -> list[str]:
    """Return `acme.domain.orders.order_id` of texts without line feeds, for the million."""
    sha256 = hashlib.sha256
    return [sha256(prefix + ref.encode()).hexdigest()[:32] for ref in source_refs]


def _right(table: pl.DataFrame, source: str, *, event_clock: bool) -> pl.Expr:
    """Return whether a line is plainly right; what is doubtful is not."""
    used = {column.name for column in table if column.null_count() < table.height}
    tests = [pl.col(name).is_not_null() for name in ("source_ref", "pot_id", "kind")]
    tests.append(_fields_right())
    if event_clock:
        tests.append(pl.col("received_at").is_not_null())
    forms = {"source": pl.col("source") == source}
    forms |= {
        name: pl.col(name).str.len_chars().is_between(1, longest)
        for name, longest in _TEXTS.items()
    }
    forms["source_ref"] &= pl.col("source_ref").str.contains(SHOWN_IN_POLARS)
    forms |= {
        name: pl.col(name).str.contains(_NUMBER) & pl.col(name).str.contains("[1-9]")
        for name in NUMBERS
    }
    forms["received_at"] = pl.col("received_at").str.contains(_INSTANT)
    tests += [pl.col(name).is_null() | forms[name] for name in sorted(used & forms.keys())]
    return pl.all_horizontal(tests).fill_null(value=False)


def _fields_right() -> pl.Expr:
    """Return whether a line has the fields of its kind and no other."""
    given = pl.sum_horizontal(
        pl.when(pl.col(name).is_not_null()).then(pl.lit(bit, pl.Int32())).otherwise(0)
        for name, bit in _BITS.items()
    )
    kinds = [
        (pl.col("kind") == kind)
        & ((given & _mask(fields.required)) == _mask(fields.required))
        & (
            (given | _mask(fields.required | fields.optional))
            == _mask(fields.required | fields.optional)
        )
        for kind, fields in fields_by_kind().items()
    ]
    return pl.any_horizontal(kinds)


def _mask(names: frozenset[str]) -> int:
    return sum(_BITS[name] for name in names)
