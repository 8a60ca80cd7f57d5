"""Bodies of orders as bytes: a repeated field is never missed, and every fault is named."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from acme.gateway import order_json
from acme.gateway.bulk_checks import Checker
from acme.gateway.bulk_formats import NdJson
from acme.gateway.bulk_lines import Block
from acme.gateway.order_bodies import SHOWN
from acme.gateway.problems import FieldError, ProblemError

GOOD = (("source_ref", '"r"'), ("pot_id", '"P"'), ("kind", '"sell"'), ("asset_id", '"F"'))
NAMES = st.sampled_from(
    ["units", "amount", "asset_id", "kind", "source_ref", "to_asset_id", "source", "received_at"]
)
VALUES = st.sampled_from(
    ['"1"', "2", "null", '"null"', '"units"', '"a\\"b"', '"\\u0031"', "{}", '{"a":"1"}', "[]",
     '["x"]', '"sell"', '"F"', "true", '"2026-01-05T10:00:00Z"', '""']
)  # fmt: skip
MEMBERS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=3)
LINES = st.lists(MEMBERS, min_size=1, max_size=4)


def escaped(name: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in name)


def written(more: list[tuple[str, str, bool]]) -> bytes:
    """A body that is good but for what is said twice, or is of the wrong form."""
    members = [f'"{name}":{value}' for name, value in GOOD]
    members += [f'"{escaped(n) if hidden else n}" : {value}' for n, value, hidden in more]
    return ("{" + ",".join(members) + "}").encode()


def repeated(body: bytes) -> set[str]:
    """What the slow way says: every name that comes twice in one object."""
    found: set[str] = set()

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        found.update(name for name in names if names.count(name) > 1)
        return dict(pairs)

    json.loads(body, object_pairs_hook=look)
    return found


def single(body: bytes) -> ProblemError | None:
    try:
        order_json.parse(body, "EMP", event_clock=False)
    except ProblemError as problem:
        return problem
    return None


def in_bulk(lines: list[bytes]) -> dict[int, list[FieldError]]:
    """The errors of lines that are judged together, by line."""
    checker = Checker(NdJson(), "EMP", event_clock=False, granted=None)
    data = b"".join(line + b"\n" for line in lines)
    ready = checker.ready(Block(1, data, len(lines)))
    told: dict[int, list[FieldError]] = {}
    for error in checker.refusals.first:
        told.setdefault(error.line or 0, []).append(error)
    assert not told.keys() & set(ready["line"].to_list())
    return told


def twice(errors: list[FieldError]) -> set[str]:
    return {e.field for e in errors if e.expected == "a field once"}


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LINES)
@example([[("units", '"1"', False), ("units", '"2"', False)], []])
@example([[("units", "1", False), ("units", "2", False)], [("to_asset_id", "null", False)]])
@example([[("units", "null", False), ("units", '"1"', False)], []])
@example([[("units", '"1"', False), ("units", '"2"', True)], []])
@example([[("source", "null", False), ("source", "null", False)], [("units", '"null"', False)]])
def test_a_repeated_field_is_never_missed(lines: list[Any]) -> None:
    bodies = [written(more) for more in lines]
    told = in_bulk(bodies)
    for number, body in enumerate(bodies, 1):
        expected = repeated(body)
        problem = single(body)
        assert twice(list(problem.errors) if problem else []) == expected
        assert twice(told.get(number, [])) == expected
        if expected:
            # Before anything else: whatever else is wrong is not told.
            assert problem is not None
            assert problem.kind == "invalid"
            assert {e.field for e in problem.errors} == expected
            assert {e.field for e in told[number]} == expected


def test_what_is_usual_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(order_json, "_refuse_repeated", slow)
    bodies = [
        written([]),
        written([("units", '"1"', False), ("source", "null", False)]),
        written([("units", "1.5", False), ("to_asset_id", "null", False)]),
    ]
    assert [single(body) for body in bodies] == [None] * 3
    assert in_bulk(bodies) == {}


KINDS = "one of buy, contribution, profile_change, sell, switch, withdrawal"
EVERY = "a value: every order has one"
NUMBER = "a plain decimal above 0 with at most 12 digits and 6 decimals"
FAULTS: tuple[tuple[bytes, set[tuple[str, str, str]]], ...] = (
    (
        b'{"source_ref":5,"kind":"steal","colour":"red","units":"1e5","received_at":"soon"}',
        {
            ("source_ref", "a string", "5"),
            ("pot_id", EVERY, "nothing"),
            ("kind", KINDS, "steal"),
            ("colour", "no such field", "red"),
            ("units", NUMBER, '"1e5"'),
            ("received_at", "an RFC 3339 instant with offset, to the microsecond", "soon"),
        },
    ),
    (
        b'{"source_ref":"r","pot_id":null,"kind":"sell","units":[1],"amount":true}',
        {
            ("pot_id", EVERY, "null"),
            ("units", NUMBER, "[1]"),
            ("amount", NUMBER, "true"),
            ("asset_id", "a value: a sell has one", "nothing"),
        },
    ),
    (
        b'{"source_ref":"r","pot_id":"P","kind":7,"asset_id":{"a":1},"source":false}',
        {
            ("kind", KINDS, "7"),
            ("asset_id", "a string", '{"a":1}'),
            ("source", "a string", "false"),
        },
    ),
)


@pytest.mark.parametrize(("body", "expected"), FAULTS)
def test_every_fault_of_a_body_is_named(body: bytes, expected: set[tuple[str, str, str]]) -> None:
    problem = single(body)
    assert problem is not None
    assert problem.kind == "invalid"
    assert {(e.field, e.expected, e.got) for e in problem.errors} == expected
    assert len(problem.errors) == len(expected)
    (told,) = in_bulk([body]).values()
    assert {(e.field, e.expected, e.got) for e in told} == expected


NO_JSON: tuple[tuple[bytes, str], ...] = (
    (b'\xef\xbb\xbf{"source_ref":"r"}', "a byte order mark"),
    (b'{"source_ref":"\xff"}', "not UTF-8 at byte 15"),
    (b'{"more":1,"source_ref":"\xff"}', "not UTF-8 at byte 24"),
    (b'{"more":1', "Expecting"),
    (b'{"more":NaN}', "NaN is no number"),
    (b'{"more":' + b"[" * 9_000 + b"]" * 9_000 + b"}", "nested too deeply"),
)


@pytest.mark.parametrize(("body", "why"), NO_JSON)
def test_what_is_no_json_is_told_why(body: bytes, why: str) -> None:
    problem = single(body)
    assert problem is not None
    assert problem.kind == "malformed"
    assert why in problem.detail
    if len(body) < 1000:
        (told,) = in_bulk([body]).values()
        assert [(e.field, e.expected) for e in told] == [("line", "a JSON object")]
        assert why in told[0].got


def test_what_is_no_object_is_told() -> None:
    for body in (b"[]", b"5", b'"x"', b"null"):
        problem = single(body)
        assert problem is not None
        assert [(e.field, e.expected, e.got) for e in problem.errors] == [
            ("body", "a JSON object", body.decode())
        ]


REFERENCES: dict[str, str | None] = {
    "r": None,
    "a b": None,
    "ré\u0301 💶": None,
    " r": "space at either end",
    "r ": "space at either end",
    " ": "space at either end",
    "\tr": "U+0009",
    "r\u00a0": "U+00A0",
    "a\u3000b": "U+3000",
    "a\x7fb": "U+007F",
    "a\u200bb": "U+200B",
    "a\u202eb": "U+202E",
    "a\u2066b": "U+2066",
    "\ufeffa": "U+FEFF",
    "a\U000e0041": "U+E0041",
}


@pytest.mark.parametrize("plain", [True, False])
def test_a_reference_is_text_that_shows(plain: bool) -> None:
    for reference, hidden in REFERENCES.items():
        members = dict(json.loads(written([]))) | {"source_ref": reference}
        body = json.dumps(members, ensure_ascii=not plain).encode()
        problem = single(body)
        told = in_bulk([body]).get(1, [])
        if hidden is None:
            assert (problem, told) == (None, [])
            continue
        assert problem is not None
        expected = [("source_ref", f"text that shows, without {hidden}")]
        assert [(e.field, e.expected) for e in problem.errors] == expected
        assert [(e.field, e.expected) for e in told] == expected


def test_what_does_not_show_is_what_unicode_says() -> None:
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))
        shows = category not in {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"} or point == 0x20
        # Of characters that are not assigned yet either may be said.
        if category != "Cn":
            assert (SHOWN.fullmatch(f"a{chr(point)}b") is not None) == shows, hex(point)
