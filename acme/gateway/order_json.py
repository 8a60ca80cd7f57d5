"""JSON as an order's body: one quick reading, and a slow one of what the quick one does not take.

msgspec keeps the last of the members of one name and names one fault alone. What it refuses is
read again, member by member; of what it takes, members are counted by their quotes, and where the
count is not plainly right the slow reading decides.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import msgspec
from msgspec import UNSET

from acme.gateway.order_bodies import NUMBERS, NewOrder, OrderBody, assembled, checked
from acme.gateway.problems import FieldError, ProblemError, shown

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
DECODER: Final = msgspec.json.Decoder(OrderBody)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)


class UnreadableError(Exception):
    """Bytes that are no JSON in UTF-8; the text says why."""


class NoOrderError(Exception):
    """JSON whose members cannot be judged one by one: no object, or one that repeats a field."""

    def __init__(self, errors: list[FieldError]) -> None:
        """Keep the errors."""
        super().__init__(errors[0].expected)
        self.errors = errors


def parse(body: bytes, source: str, *, event_clock: bool) -> NewOrder:
    """Return the order of a body sent with the API key of `source`.

    Raises `ProblemError`: `malformed` for what is no JSON, else as `order_bodies.checked`.
    """
    try:
        decoded, faults = read(body, "body")
    except UnreadableError as error:
        raise ProblemError("malformed", f"the body is no JSON: {error}") from error
    except NoOrderError as error:
        first = error.errors[0]
        detail = f"{first.field}: expected {first.expected}, got {first.got}"
        raise ProblemError("invalid", detail, error.errors) from error
    return checked(decoded, source, event_clock=event_clock, faults=faults)


def read(data: bytes, whole: str) -> tuple[OrderBody, Sequence[FieldError]]:
    """Return the body that is there, and the faults of members that are not in it.

    `whole` is what an error calls the data. Raises `UnreadableError`, `NoOrderError`.
    """
    try:
        body = DECODER.decode(data)
    except msgspec.ValidationError:
        return assembled(_members(data, whole))
    except UNREADABLE as error:
        raise UnreadableError(unreadable(data) or shown(error)) from error
    if not _plainly_once(body, data):
        _refuse_repeated(data)
    return body, ()


def unreadable(data: bytes) -> str | None:
    """Say what keeps bytes from being plain UTF-8, if anything."""
    if data.startswith(BYTE_ORDER_MARK):
        return "it begins with a byte order mark"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start}"
    return None


def _plainly_once(body: OrderBody, data: bytes) -> bool:
    """Say whether no member of a decoded object can have been sent twice.

    Without escapes, every name and every string has two quotes; whatever is overwritten has more.
    """
    if b"\\" in data:
        return False
    names = strings = 0
    for value in msgspec.structs.astuple(body):
        if isinstance(value, msgspec.Raw):
            raw = bytes(value)
            names += bool(raw)
            strings += raw.startswith(b'"')
        elif value is not UNSET:
            names += 1
            strings += value is not None
    return data.count(b'"') == 2 * (names + strings)


def _members(data: bytes, whole: str) -> dict[str, object]:
    """Return the members of an object as `assembled` takes them."""
    _refuse_repeated(data)
    try:
        members: dict[str, Any] = _MEMBERS.decode(data)
        for name, raw in members.items():
            if name not in NUMBERS:
                members[name] = _value(raw)
    except msgspec.ValidationError as error:
        raise NoOrderError([FieldError(whole, "a JSON object", shown(data))]) from error
    except UNREADABLE as error:
        raise UnreadableError(shown(error)) from error
    return members


def _value(raw: msgspec.Raw) -> object:
    text = bytes(raw)
    if text == b"null":
        return None
    return _TEXT.decode(text) if text.startswith(b'"') else raw


def _refuse_repeated(data: bytes) -> None:
    """Raise unless the data is JSON in UTF-8 in which no object has two members of one name."""
    if (why := unreadable(data)) is not None:
        raise UnreadableError(why)
    try:
        # Numbers stay text: they need not be computed, however long they are.
        json.loads(
            data,
            object_pairs_hook=_once,
            parse_int=str,
            parse_float=str,
            parse_constant=_no_constant,
        )
    except RecursionError as error:
        raise UnreadableError("it is nested too deeply") from error
    except ValueError as error:
        raise UnreadableError(shown(error)) from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise NoOrderError(
            [
                FieldError(shown(name), "a field once", f"it {count} times")
                for name, count in times.items()
                if count > 1
            ]
        )
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
