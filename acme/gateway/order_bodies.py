"""The body of one order: its fields in, exact text out, one canonical form to hash.

The fields, their lengths, digits and which kind has which come from the contract of feed `orders`.
No number passes through a float: it is matched as the text it was sent as.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from acme.domain.orders import RESERVED_SOURCES, order_id
from acme.domain.proofs import canonical_json
from acme.gateway.problems import FieldError, ProblemError, shown
from acme.lakehouse import contracts
from acme.lakehouse.contracts import Contract

Kind = Literal["contribution", "withdrawal", "buy", "sell", "switch", "profile_change"]
KINDS: Final = frozenset(get_args(Kind))
NUMBERS: Final = ("units", "amount")
REQUIRED: Final = ("source_ref", "pot_id", "kind")
# A number that is not there; one that is given as null is `null`.
_ABSENT: Final = msgspec.Raw(b"")
# As a string or as a number; plain decimals, whose digits count.
_NUMBER: Final = re.compile(
    rb'(?:"([0-9]{1,30}(?:\.[0-9]{1,30})?)"|([0-9]{1,30}(?:\.[0-9]{1,30})?))'
)
INSTANT: Final = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6}0{0,9})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
# Control characters would break a line of the file that the order becomes.
TEXT: Final = re.compile(r"[^\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")
TEXT_LENGTH_MAX: Final = 200
# Of a reference people read every character: none that does not show (control, format, and any
# separator but the space), no space at either end. Named one by one, since which characters are
# assigned differs between releases of Unicode. Python, ECMAScript and Rust read the pattern alike.
NOT_SHOWN: Final = (
    r"\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f"
)
_SHOWN: Final = r"[^ {0}](?:[^{0}]*[^ {0}])?"
# Unpaired surrogates are no text; Rust's expressions do not know them.
SHOWN_IN_POLARS: Final = f"^(?:{_SHOWN.format(NOT_SHOWN)})$"
_HIDDEN: Final = re.compile(f"[{NOT_SHOWN}\\ud800-\\udfff]")
SHOWN: Final = re.compile(_SHOWN.format(NOT_SHOWN + r"\ud800-\udfff"))
_EVERY: Final = "a value: every order has one"
PRECISION, SCALE = 18, 6


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The JSON object of `POST /v1/orders`, and of a line of a bulk stream.

    What is absent is told from what is given as null: so the members that were sent can be counted.
    """

    source_ref: str
    pot_id: str
    kind: Kind
    source: str | UnsetType | None = UNSET
    received_at: str | UnsetType | None = UNSET
    asset_id: str | UnsetType | None = UNSET
    to_asset_id: str | UnsetType | None = UNSET
    units: msgspec.Raw = _ABSENT
    amount: msgspec.Raw = _ABSENT
    risk_profile_id: str | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order that keeps the contract; `row` is what `intake.accept` takes, `sha256` its hash.

    row: s source, o order_id, h SHA-256 of the canonical body, r source_ref, p pot_id, and the
    fields by their names, numbers as exact text.
    """

    order_id: str
    sha256: str
    row: dict[str, str]


@dataclass(frozen=True)
class KindFields:
    """Which fields a kind of order has to have, may have; all others are to be absent."""

    required: frozenset[str]
    optional: frozenset[str]


@cache
def orders_contract() -> Contract:
    """Return the contract that orders keep, by file and by HTTP."""
    return contracts.feed("orders")


@cache
def fields_by_kind() -> dict[str, KindFields]:
    """Return the fields of every kind, as the contract gives them."""
    (rule,) = [r for r in orders_contract().rules if r.name == "fields_by_kind"]
    optional: dict[str, list[str]] = rule.arguments["optional"]
    return {
        kind: KindFields(frozenset(names), frozenset(optional.get(kind, ())))
        for kind, names in rule.arguments["required"].items()
    }


def assembled(members: Mapping[str, object]) -> tuple[OrderBody, list[FieldError]]:
    """Return a body of the members that can be read, and what is wrong with the others.

    A text is `str`, or None for null; a number is `Raw`, as sent. Any other member of these names
    is the `Raw` of something else.
    """
    kept: dict[str, Any] = dict.fromkeys(REQUIRED, UNSET)
    faults: list[FieldError] = []
    for name, value in members.items():
        if name not in OrderBody.__struct_fields__:
            faults.append(FieldError(shown(name), "no such field", _as_sent(value)))
        elif name == "kind" and (not isinstance(value, str) or value not in KINDS):
            faults.append(FieldError(name, f"one of {', '.join(sorted(KINDS))}", _as_sent(value)))
        elif name not in NUMBERS and isinstance(value, msgspec.Raw):
            faults.append(FieldError(name, "a string", _as_sent(value)))
        elif name in REQUIRED and value is None:
            faults.append(FieldError(name, _EVERY, "null"))
        else:
            kept[name] = value
    faults += [FieldError(name, _EVERY, "nothing") for name in REQUIRED if name not in members]
    return OrderBody(**kept), faults


def _as_sent(value: object) -> str:
    if value is None:
        return "null"
    return shown(bytes(value) if isinstance(value, msgspec.Raw) else value)


def checked(
    body: OrderBody, source: str, *, event_clock: bool, faults: Sequence[FieldError] = ()
) -> NewOrder:
    """Return the order of a body sent with the API key of `source`; `faults` are as `assembled`.

    Raises `ProblemError`: `invalid` with every field that breaks the contract, `forbidden` for
    another source than the key's where nothing else is wrong with what was sent.
    """
    if not faults and isinstance(body.source, str) and body.source != source:
        raise ProblemError("forbidden", f"source: this API key sends orders of {source!r} alone")
    given: dict[str, str] = {}
    errors = list(faults)
    for name in ("source_ref", "pot_id", "asset_id", "to_asset_id", "risk_profile_id"):
        value: str | UnsetType | None = getattr(body, name)
        if isinstance(value, str):
            given[name] = value
            if (expected := _text_expected(name, value)) is not None:
                errors.append(FieldError(name, expected, shown(value)))
    for name in NUMBERS:
        _number(name, bytes(getattr(body, name)), given, errors)
    if isinstance(body.received_at, str):
        _instant(body.received_at, given, errors)
    elif event_clock and all(error.field != "received_at" for error in faults):
        errors.append(
            FieldError("received_at", "the order's time: this scheme runs on event time", "nothing")
        )
    if body.kind in KINDS:
        _fields(body.kind, given, errors)
    if errors:
        raise ProblemError("invalid", f"{errors[0].field}: expected {errors[0].expected}", errors)
    given["kind"] = body.kind
    digest = hashlib.sha256(canonical_json(given | {"source": source})).hexdigest()
    name = order_id(source, body.source_ref)
    row = given | {"s": source, "o": name, "h": digest}
    row["r"], row["p"] = row.pop("source_ref"), row.pop("pot_id")
    return NewOrder(name, digest, row)


def _text_expected(name: str, value: str) -> str | None:
    """Return what a text should be, where it is something else."""
    if name != "source_ref":
        if len(value) <= TEXT_LENGTH_MAX and TEXT.fullmatch(value) is not None:
            return None
        return f"1 to {TEXT_LENGTH_MAX} characters, none of them a control character"
    if not 1 <= len(value) <= 2 * TEXT_LENGTH_MAX:
        return f"1 to {2 * TEXT_LENGTH_MAX} characters"
    if SHOWN.fullmatch(value) is not None:
        return None
    hidden = _HIDDEN.search(value)
    which = "space at either end" if hidden is None else f"U+{ord(hidden[0]):04X}"
    return f"text that shows, without {which}"


def _number(name: str, raw: bytes, given: dict[str, str], errors: list[FieldError]) -> None:
    if raw in {b"", b"null"}:
        return
    found = _NUMBER.fullmatch(raw)
    text = (found[1] or found[2]).decode() if found is not None else ""
    whole, _, fraction = text.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    fits = len(fraction) <= SCALE and len(whole) <= PRECISION - SCALE
    if found is None or not fits or (whole == "0" and not fraction):
        expected = (
            f"a plain decimal above 0 with at most {PRECISION - SCALE} digits and {SCALE} decimals"
        )
        errors.append(FieldError(name, expected, shown(raw)))
    else:
        given[name] = f"{whole}.{fraction}" if fraction else whole


def _instant(text: str, given: dict[str, str], errors: list[FieldError]) -> None:
    moment = None
    if INSTANT.fullmatch(text):
        try:
            moment = datetime.fromisoformat(_six_digits(text.upper())).astimezone(UTC)
        except (ValueError, OverflowError):
            moment = None
    if moment is None:
        expected = "an RFC 3339 instant with offset, to the microsecond"
        errors.append(FieldError("received_at", expected, shown(text)))
    else:
        given["received_at"] = moment.isoformat(timespec="microseconds")


def _six_digits(text: str) -> str:
    """Return an instant without the zeros that may follow its microseconds."""
    return re.sub(r"(\.[0-9]{6})0+", r"\1", text)


def _fields(kind: str, given: dict[str, str], errors: list[FieldError]) -> None:
    fields = fields_by_kind()[kind]
    sized = given.keys() & {"asset_id", "to_asset_id", "units", "amount", "risk_profile_id"}
    wrong = {error.field for error in errors}
    errors += [
        FieldError(name, f"a value: a {kind} has one", "nothing")
        for name in sorted(fields.required - sized - wrong)
    ]
    errors += [
        FieldError(name, f"nothing: a {kind} has none", shown(given[name]))
        for name in sorted(sized - fields.required - fields.optional)
    ]


def is_text(value: str) -> bool:
    """Say whether a text is one that an id may be: not empty, no control character."""
    return TEXT.fullmatch(value) is not None


def source_problem(source: str) -> str | None:
    """Say what is wrong with the name of a source, if anything."""
    if source in RESERVED_SOURCES:
        return f"{source!r} is a source of the platform's own orders"
    if len(source) > TEXT_LENGTH_MAX or TEXT.fullmatch(source) is None:
        return f"expected 1 to {TEXT_LENGTH_MAX} characters, none of them a control character"
    return None


def as_json(row: dict[str, Any]) -> bytes:
    """Return a row as `intake.accept` reads it."""
    return msgspec.json.encode(row)
