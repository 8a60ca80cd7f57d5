"""The JSON Schema of an order's body: the contract and the patterns that `order_bodies` enforces.

A body that conforms is refused only for what no schema can say: another source than the key's,
a pot that is not granted, a date that is in no calendar. Kinds and their fields are the contract's.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from acme.gateway import order_bodies
from acme.gateway.order_bodies import (
    INSTANT,
    PRECISION,
    SCALE,
    SHOWN,
    TEXT,
    TEXT_LENGTH_MAX,
    OrderBody,
)

Schema = dict[str, Any]
WHOLE_DIGITS: Final = PRECISION - SCALE
# As the server reads them: 30 digits before and after the point, most of them zeros.
_DIGITS_MAX: Final = 30
_NUMBERS: Final = ("units", "amount")
_TEXTS: Final = {
    "source": TEXT_LENGTH_MAX,
    "source_ref": 2 * TEXT_LENGTH_MAX,
    "pot_id": TEXT_LENGTH_MAX,
    "asset_id": TEXT_LENGTH_MAX,
    "to_asset_id": TEXT_LENGTH_MAX,
    "risk_profile_id": TEXT_LENGTH_MAX,
}


def number_pattern() -> str:
    """Return the pattern of a number as a string: a plain decimal above 0, no finer than 6."""
    zeros = f"0{{0,{_DIGITS_MAX - SCALE}}}"
    leading = f"0{{0,{_DIGITS_MAX - WHOLE_DIGITS}}}"
    whole = rf"[1-9][0-9]{{0,{WHOLE_DIGITS - 1}}}(?:\.[0-9]{{1,{SCALE}}}{zeros})?"
    below_one = "|".join(f"{'0' * n}[1-9][0-9]{{0,{SCALE - n - 1}}}" for n in range(SCALE))
    return rf"^(?:{leading}{whole}|{leading}0\.(?:{below_one}){zeros})$"


def number() -> Schema:
    """Return the schema of a number: as a string (exact in every client) or as a JSON number."""
    return {
        "oneOf": [
            {"type": "string", "pattern": number_pattern()},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10**WHOLE_DIGITS},
        ],
        "description": (
            f"A plain decimal above 0 with at most {WHOLE_DIGITS} digits and {SCALE} decimals, no"
            " exponent. A string is exact in every client; a JSON number is read as the text it is."
        ),
    }


def field_schemas() -> dict[str, Schema]:
    """Return the schema of every field of `OrderBody` but `kind`."""
    fields: dict[str, Schema] = {
        name: {"type": "string", "minLength": 1, "maxLength": longest, "pattern": _whole(TEXT)}
        for name, longest in _TEXTS.items()
    }
    fields["source_ref"] |= {
        "pattern": _whole(SHOWN),
        "description": (
            "The sender's name of the order: text that shows, no white space at either end, no"
            " control, format or separator character but the space."
        ),
    }
    fields |= {name: number() for name in _NUMBERS}
    fields["received_at"] = {
        "type": "string",
        "format": "date-time",
        "pattern": _whole(INSTANT),
        "description": "The order's time on a scheme that runs on event time; else for reference.",
    }
    return fields


def _whole(pattern: Any) -> str:
    return f"^(?:{pattern.pattern})$"


def order_body(*, event_clock: bool) -> Schema:
    """Return the schema of a body: one variant for each kind of order."""
    return {
        "description": "One order. Unknown fields are refused; null stands for an absent field.",
        "oneOf": [
            _variant(kind, fields, event_clock=event_clock)
            for kind, fields in order_bodies.fields_by_kind().items()
        ],
    }


def _variant(kind: str, fields: order_bodies.KindFields, *, event_clock: bool) -> Schema:
    known = field_schemas()
    always = {f.encode_name for f in msgspec.structs.fields(OrderBody) if f.required}
    required = always | fields.required | ({"received_at"} if event_clock else set())
    optional = fields.optional | {"source", "received_at"}
    properties: dict[str, Schema] = {}
    for field in msgspec.structs.fields(OrderBody):
        name = field.encode_name
        if name == "kind":
            properties[name] = {"const": kind}
        elif name in required:
            properties[name] = known[name]
        elif name in optional:
            properties[name] = {"anyOf": [known[name], {"type": "null"}]}
        else:
            properties[name] = {"type": "null", "description": f"A {kind} has none."}
    return {
        "title": kind,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }


def examples() -> dict[str, dict[str, Any]]:
    """Return a body for each kind, by its name."""
    values = {
        "asset_id": "EQ",
        "to_asset_id": "BD",
        "units": "12.5",
        "amount": "100.00",
        "risk_profile_id": "GROWTH",
    }
    return {
        kind: {
            "summary": f"A {kind.replace('_', ' ')}",
            "value": {
                "source_ref": f"2024-000{number}",
                "pot_id": "P-1001",
                "kind": kind,
                "received_at": "2024-03-04T09:00:00Z",
                **{n: values[n] for n in values if n in fields.required | fields.optional},
            },
        }
        for number, (kind, fields) in enumerate(order_bodies.fields_by_kind().items(), start=1)
    }


def ndjson_example() -> str:
    """Return an order of each kind, a line each."""
    bodies = [example["value"] for example in examples().values()]
    return "".join(f"{msgspec.json.encode(body).decode()}\n" for body in bodies)


def csv_example() -> str:
    """Return the same orders as records of feed `orders`."""
    columns = order_bodies.orders_contract().column_names
    bodies = [example["value"] for example in examples().values()]
    records = [",".join(columns), *(",".join(b.get(c, "") for c in columns) for b in bodies)]
    return "".join(f"{record}\n" for record in records)
