"""Lines judged by columns and lines judged one by one: the same orders, the same errors."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acme.domain.orders import order_id
from acme.gateway import order_json
from acme.gateway.bulk_checks import READY, Checker
from acme.gateway.bulk_formats import Csv, Format, NdJson
from acme.gateway.bulk_lines import Block
from acme.gateway.bulk_runs import Runs
from acme.gateway.problems import ProblemError

NUMBERS = st.sampled_from(
    ["1", "0", "0.000000", "007.50", "1.2345678", "1.2300000", "999999999999.999999",
     "1000000000000", "1e5", "-1", "+1", ".5", "5.", "", "null", "1 ", "٣", '"1"']
)  # fmt: skip
NUMBER = "a plain decimal above 0 with at most 12 digits and 6 decimals"
TEXTS = st.sampled_from(
    ["a", "ä€😀", "back\\slash", "\\N", "\\.", 'qu"ote', "com,ma", " sp ace ", "tab\t", "line\n",
     "\x7f", "\x85", "\u2028", "x" * 200, "x" * 201, "x" * 401, "", "-", "\\", "NULL",
     "a\u202eb", "a\u200b", "\u00a0a", "a ", "a\U000e0041b", "a\ufeffb", "ni\u00f1o e\u0301"]
)  # fmt: skip
INSTANTS = st.sampled_from(
    ["2026-01-05T10:00:00Z", "2026-01-05t10:00:00z", "2026-01-05T10:00:00.1234567+01:00",
     "2026-01-05T10:00:00.1230000000-23:59", "2026-02-29T10:00:00Z", "2028-02-29T23:59:59.999999Z",
     "2026-01-05T24:00:00Z", "2026-01-05T10:00:60Z", "2026-01-05T10:00:00", "2026-01-05",
     "1000-01-01T00:00:00+23:59", "2026-01-05T10:00:00.+01:00", "2026-13-05T10:00:00Z", ""]
)  # fmt: skip
KINDS = st.sampled_from(
    ["contribution", "withdrawal", "buy", "sell", "switch", "profile_change", "gift", ""]
)
ORDERS = st.fixed_dictionaries(
    {"source_ref": TEXTS, "pot_id": TEXTS, "kind": KINDS},
    optional={
        "source": st.sampled_from(["EMP", "OTHER", ""]),
        "received_at": INSTANTS,
        "asset_id": TEXTS,
        "to_asset_id": TEXTS,
        "units": NUMBERS,
        "amount": NUMBERS,
        "risk_profile_id": TEXTS,
    },
)


class OneByOne:
    """A format that never gives a table."""

    def __init__(self, form: Format) -> None:
        self.header_lines = form.header_lines
        self.header, self.one = form.header, form.one

    def table(self, block: Block) -> pl.DataFrame | None:
        return None


def judged(form: Format, data: bytes, *, event: bool) -> tuple[list, list, dict]:
    checker = Checker(form, "EMP", event_clock=event, granted=None)
    ready = checker.ready(Block(1, data, data.count(b"\n"))).sort("line")
    # Numbers may differ in zeros that count for nothing.
    exact = ready.with_columns(pl.col("units", "amount").cast(pl.Decimal(24, 6)))
    return exact.rows(), checker.refusals.first, checker.refusals.counts


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ORDERS, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_json_by_columns_is_json_line_by_line(orders: list, event: bool, ascii_: bool) -> None:
    lines = [json.dumps(order, ensure_ascii=ascii_).encode() for order in orders]
    data = b"".join(line + b"\n" for line in lines)
    fast = judged(NdJson(), data, event=event)
    assert fast == judged(OneByOne(NdJson()), data, event=event)
    for line in lines:
        one = judged(NdJson(), line + b"\n", event=event)
        order = single(line, event=event)
        if isinstance(order, str):
            assert (one[0][0][0], one[1]) == (order, [])
        else:
            assert not one[0]
            if order:
                assert order == [(e.field, e.expected, e.got) for e in one[1]]


def single(line: bytes, *, event: bool) -> str | list[tuple[str, str, str]]:
    """What the body of one order is: its id, or its errors."""
    try:
        return order_json.parse(line, "EMP", event_clock=event).order_id
    except ProblemError as problem:
        return [(e.field, e.expected, e.got) for e in problem.errors]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ORDERS, min_size=1, max_size=6), st.booleans())
def test_csv_by_columns_is_csv_line_by_line(orders: list, event: bool) -> None:
    text = io.StringIO()
    rows = [[order.get(name, "") for name in Csv().columns] for order in orders]
    csv.writer(text, lineterminator="\n").writerows(rows)
    data = text.getvalue().encode()
    assert judged(Csv(), data, event=event) == judged(OneByOne(Csv()), data, event=event)


@pytest.mark.parametrize(
    "line",
    [
        b"EMP,r,,P,contribution,,,,1",
        b"EMP,r,,P,contribution,,,,1,,",
        b'EMP,"r,,P,contribution,,,,1,',
        b"EMP,r,,P,contribution,,,,1,\x00",
        b"EMP,\xff,,P,contribution,,,,1,",
        b"EMP,r\r,,P,contribution,,,,1,",
        b"",
    ],
)
def test_bad_records_are_refused_on_their_line(line: bytes) -> None:
    good = b"EMP,r%d,,P,contribution,,,,1.50,\n"
    data = good % 1 + line + b"\n" + good % 3
    rows, errors, _ = judged(Csv(), data, event=False)
    assert [row[-1] for row in rows] == [1, 3]
    assert {e.line for e in errors} == {2}


RECORDS: tuple[tuple[bytes, list[tuple[str, str, str]]], ...] = (
    (
        b"EMP, r,soon,,steal,,,1e5,-1,",
        [
            ("kind", "one of buy, contribution, profile_change, sell, switch, withdrawal", "steal"),
            ("pot_id", "a value: every order has one", "nothing"),
            ("source_ref", "text that shows, without space at either end", " r"),
            ("units", NUMBER, '"1e5"'),
            ("amount", NUMBER, '"-1"'),
            ("received_at", "an RFC 3339 instant with offset, to the microsecond", "soon"),
        ],
    ),
    (
        b"EMP,r,,P,contribution,,,\xe9,1,",
        [
            (
                "line",
                "one record of CSV in UTF-8",
                "not UTF-8 at byte 24: EMP,r,,P,contribution,,,\N{REPLACEMENT CHARACTER},1,",
            )
        ],
    ),
)


@pytest.mark.parametrize(("line", "expected"), RECORDS)
def test_every_fault_of_a_record_is_named(
    line: bytes, expected: list[tuple[str, str, str]]
) -> None:
    _, errors, _ = judged(Csv(), line + b"\n", event=False)
    assert [(e.field, e.expected, e.got) for e in errors] == expected


def test_a_byte_order_mark_is_named() -> None:
    header = ",".join(Csv().columns).encode()
    assert Csv().header(header) is None
    wrong = Csv().header(b"\xef\xbb\xbf" + header)
    assert wrong is not None
    assert wrong.got.startswith("a byte order mark before ")
    # One that begins a block is not taken off.
    marked = b"\xef\xbb\xbfEMP,r,,P,contribution,,,,1,\n"
    rows, errors, _ = judged(Csv(), marked, event=False)
    assert (rows, [e.field for e in errors]) == ([], ["source"])


@pytest.mark.parametrize(
    "line",
    [
        b'{"source_ref":"a","pot_id":"P","kind":"contribution","amount":1}' * 2,
        b'{"source_ref":"a","pot_id":"P","kind":"contribution","amount":',
        b'{"source_ref":"a","pot_id":"P","kind":"contribution","amount":1,"more":2}',
        b'{"source_ref":"a","pot_id":"P","kind":"contribution","amount":{"a":1}}',
        b'{"source_ref":1,"pot_id":"P","kind":"contribution","amount":1}',
        b"[]",
        b"",
        b"\xff",
    ],
)
def test_bad_objects_are_refused_on_their_line(line: bytes) -> None:
    good = b'{"source_ref":"r%d","pot_id":"P","kind":"contribution","amount":1.50}\n'
    data = good % 1 + line + b"\n" + good % 3
    rows, errors, _ = judged(NdJson(), data, event=False)
    assert [row[-1] for row in rows] == [1, 3]
    assert {e.line for e in errors} == {2}


def test_an_object_over_two_lines_is_refused() -> None:
    data = b'{"source_ref":"r","pot_id":"P",\n"kind":"contribution","amount":1}\n'
    rows, errors, _ = judged(NdJson(), data, event=False)
    assert not rows
    assert {e.line for e in errors} == {1, 2}


def test_runs_come_back_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Runs(tmp_path / "spool", "E\\P", 7) as runs:
        refs = [f"r{n}" for n in range(3000)]
        for first in range(0, 3000, 500):
            rows = [
                (order_id("E\\P", ref), ref, "P\\", "contribution", *[None] * 5, None, n)
                for n, ref in enumerate(refs[first : first + 500], first)
            ]
            runs.add(pl.DataFrame(rows, READY, orient="row"))
        lines = b"".join(runs.sorted()).splitlines()
        assert not list((tmp_path / "spool").iterdir())
    assert len(lines) == 3000
    assert lines == sorted(lines)
    assert {line.split(b"\t")[1] for line in lines} == {b"E\\\\P"}
    assert {line.split(b"\t")[2].decode() for line in lines} == set(refs)
    assert {line.split(b"\t")[3] for line in lines} == {b"P\\\\"}
