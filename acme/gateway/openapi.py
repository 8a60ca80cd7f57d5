"""`GET /openapi.json`: OpenAPI 3.1, put together from what the gateway enforces.

Bodies come from the contract of orders, answers from the types they are encoded with, problems and
their statuses from `problems.TYPES`. Every route has an `Operation` here; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from acme.domain.orders import TRANSITIONS
from acme.gateway import answer_examples as shown
from acme.gateway import order_schema
from acme.gateway.batches import Batches
from acme.gateway.bulk import LINES_MAX
from acme.gateway.bulk_formats import Csv, NdJson
from acme.gateway.evidence_packs import MEDIA_TYPE as ZIP
from acme.gateway.order_proofs import Proof
from acme.gateway.orders import KEY_LENGTH_MAX
from acme.gateway.pots import Pot
from acme.gateway.problems import MEDIA_TYPE as PROBLEM
from acme.gateway.problems import TYPES

Json = dict[str, Any]
JSON: Final = "application/json"
HTML: Final = "text/html"
STATES: Final = sorted({state for move in TRANSITIONS for state in move})
_REF: Final = "#/components/schemas/{name}"
# What any request with a key may be answered.
_KEYED: Final = ("unauthorised", "forbidden", "too_many_requests")
_BASIC: Final = "basic"


@dataclass(frozen=True)
class Answer:
    """One answer that is no problem; `headers` are names of HEADERS."""

    description: str
    media: str | None = JSON
    schema: Json | None = None
    headers: tuple[str, ...] = ()
    example: Any = None


@dataclass(frozen=True)
class Operation:
    """One method of one path. `scopes`: any of them; none, and no key is asked for."""

    summary: str
    answers: Mapping[int, Answer]
    scopes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    body: Mapping[str, Json] = field(default_factory=dict)
    scheme: str = "bearer"
    keyless: bool = False
    description: str = ""
    tags: tuple[str, ...] = field(default=())


HEADERS: Final[dict[str, Json]] = {
    "ETag": {
        "description": "Strong; send it back as If-None-Match.",
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}"$'},
        "required": True,
    },
    "Cache-Control": {"schema": {"type": "string"}, "required": True},
    "Vary": {"schema": {"const": "Authorization"}, "required": True},
    "Location": {
        "description": "Where the order is asked about.",
        "schema": {"type": "string", "pattern": "^/v1/orders/[0-9a-f]{32}$"},
        "required": True,
    },
    "Idempotent-Replayed": {
        "description": "`true` where the key was used before and this is the answer of that time.",
        "schema": {"const": "true"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the request is sent again, with the same key.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
        "required": True,
    },
    "WWW-Authenticate": {"schema": {"type": "string"}, "required": True},
    "Content-Disposition": {"schema": {"type": "string"}, "required": True},
}
_PROBLEM_HEADERS: Final = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_CONDITIONAL: Final = ("ETag", "Cache-Control", "Vary")
_UNCHANGED: Final = Answer("The client has this answer already.", media=None, headers=_CONDITIONAL)

PARAMETERS: Final[dict[str, Json]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": (
            "Chosen by the sender, for one order, for ever: the same key with the same order gets"
            " the answer of the first time; with another order, 409."
        ),
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": KEY_LENGTH_MAX,
            "pattern": "^[!-~](?:[ -~]*[!-~])?$",
        },
        "example": "2024-0001",
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of an answer that the client has.",
        "schema": {"type": "string"},
    },
    "order_id": {
        "name": "order_id",
        "in": "path",
        "required": True,
        "description": "First 32 hexadecimal digits of SHA-256 of source, line feed, source_ref.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "example": shown.ORDER_ID,
    },
    "pot_id": {
        "name": "pot_id",
        "in": "path",
        "required": True,
        "schema": order_schema.field_schemas()["pot_id"],
        "example": "P-1001",
    },
    "date": {
        "name": "date",
        "in": "path",
        "required": True,
        "description": "A published business date.",
        "schema": {"type": "string", "format": "date"},
        "example": "2024-03-04",
    },
}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _page(description: str) -> Answer:
    return Answer(description, media=HTML, schema={"type": "string"}, headers=("Cache-Control",))


_EVIDENCE: Final = Answer(
    "The pack: the same bytes whenever it is made.",
    media=ZIP,
    schema={"type": "string", "contentMediaType": ZIP},
    headers=(*_CONDITIONAL, "Content-Disposition"),
)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("/v1/orders", "POST"): Operation(
        "Send one order; answered once it cannot be lost",
        {
            201: Answer(
                "The order is durable. Its dealing date is that of its commit time.",
                schema=_ref("Receipt"),
                headers=("Location", "Idempotent-Replayed"),
                example=shown.RECEIPT,
            )
        },
        scopes=("submit",),
        problems=(
            *("malformed", "too_slow", "key_conflict", "reference_conflict", "too_large"),
            *("unsupported_media_type", "invalid", "unavailable"),
        ),
        parameters=("Idempotency-Key",),
        body={JSON: {"schema": _ref("OrderBody"), "examples": order_schema.examples()}},
        tags=("orders",),
    ),
    ("/v1/orders/bulk", "POST"): Operation(
        f"Send up to {LINES_MAX:,} orders in one stream, all or none",
        {
            201: Answer(
                "Every order is durable. The dealing date is that of the commit time of all.",
                schema=_ref("BulkReceipt"),
                headers=("Idempotent-Replayed",),
                example=shown.BULK_RECEIPT,
            )
        },
        scopes=("submit",),
        problems=(
            *("malformed", "too_slow", "key_conflict", "reference_conflict", "too_large"),
            *("unsupported_media_type", "invalid", "unavailable"),
        ),
        parameters=("Idempotency-Key",),
        body={
            NdJson.MEDIA: {
                "schema": {
                    "type": "string",
                    "description": "An OrderBody on each line, as `POST /v1/orders` takes it.",
                },
                "example": order_schema.ndjson_example(),
            },
            Csv.MEDIA: {
                "schema": {
                    "type": "string",
                    "description": (
                        "The columns of feed `orders` with their header, a record on each line."
                    ),
                },
                "example": order_schema.csv_example(),
            },
        },
        description=(
            "Lines that repeat an order, in the stream or of before, have no effect. Of a refused"
            " stream nothing is stored; `errors` has the first errors with their lines,"
            " `errors_in_all` their number."
        ),
        tags=("orders",),
    ),
    ("/v1/orders/{order_id}", "GET"): Operation(
        "Ask about an order of one's own",
        {
            200: Answer(
                "The order, and its state as received or as published.",
                schema=_ref("OrderState"),
                example=shown.ORDER_STATE,
            )
        },
        scopes=("read",),
        problems=("not_found", "unavailable"),
        parameters=("order_id",),
        tags=("orders",),
    ),
    ("/v1/orders/{order_id}", "DELETE"): Operation(
        "Cancel an order that no run has taken",
        {
            200: Answer(
                "The order is cancelled, now or before.",
                schema=_ref("Cancelled"),
                example=shown.CANCELLED,
            )
        },
        scopes=("submit",),
        problems=("not_found", "too_late", "unavailable"),
        parameters=("order_id",),
        tags=("orders",),
    ),
    ("/v1/orders/{order_id}/proof", "GET"): Operation(
        "Prove offline that an order was dealt in a sealed batch",
        {
            200: Answer(
                "The inclusion proof (RFC 9162) and the signed header of the batch.",
                schema=_ref("Proof"),
                headers=_CONDITIONAL,
                example=shown.proof(),
            ),
            304: _UNCHANGED,
        },
        scopes=("read", "compliance"),
        problems=("not_found", "not_batched", "unavailable"),
        parameters=("order_id", "If-None-Match"),
        description=(
            "For the order's owner and for compliance. 404 until its batch is published, 409 where"
            " the order ended without a batch."
        ),
        tags=("orders",),
    ),
    ("/v1/pots/{pot_id}", "GET"): Operation(
        "Read what a pot holds and is worth, as published",
        {
            200: Answer(
                "The pot at one published date.",
                schema=_ref("Pot"),
                headers=_CONDITIONAL,
                example=shown.POT,
            ),
            304: _UNCHANGED,
        },
        scopes=("read", "compliance"),
        problems=("not_found", "unavailable"),
        parameters=("pot_id", "If-None-Match"),
        description="With scope read, a pot that the source is granted; all others are 404.",
        tags=("published",),
    ),
    ("/v1/batches/{date}", "GET"): Operation(
        "Read the sealed batches of a published date",
        {
            200: Answer(
                "Batches of book live; to compliance, of every book.",
                schema=_ref("Batches"),
                headers=_CONDITIONAL,
                example=shown.BATCHES,
            ),
            304: _UNCHANGED,
        },
        scopes=("read", "compliance"),
        problems=("not_found", "unavailable"),
        parameters=("date", "If-None-Match"),
        tags=("published",),
    ),
    ("/v1/evidence/{date}.zip", "GET"): Operation(
        "Download the evidence of a published date",
        {200: _EVIDENCE, 304: _UNCHANGED},
        scopes=("compliance",),
        problems=("not_found", "unavailable"),
        parameters=("date", "If-None-Match"),
        tags=("published",),
    ),
    ("/healthz", "GET"): Operation(
        "Say whether the process answers",
        {200: Answer("It does.", schema=_ref("Health"), example={"status": "ok"})},
        tags=("operation",),
    ),
    ("/readyz", "GET"): Operation(
        "Say whether orders can be made durable now",
        {200: Answer("They can.", schema=_ref("Ready"), example={"status": "ready", "waiting": 0})},
        problems=("unavailable",),
        tags=("operation",),
    ),
    ("/metrics", "GET"): Operation(
        "Read metrics, as Prometheus does",
        {
            200: Answer(
                "Prometheus text.",
                media="text/plain",
                schema={"type": "string"},
                headers=("Cache-Control",),
            )
        },
        scopes=("compliance",),
        keyless=True,
        description="Without a key from the gateway's own machine alone.",
        tags=("operation",),
    ),
    ("/openapi.json", "GET"): Operation(
        "Read this document",
        {200: Answer("OpenAPI 3.1.", schema={"type": "object"})},
        tags=("operation",),
    ),
    ("/portal", "GET"): Operation(
        "See the published dates in a browser",
        {200: _page("A page.")},
        problems=("unavailable",),
        scopes=("compliance",),
        scheme=_BASIC,
        tags=("portal",),
    ),
    ("/portal/{date}", "GET"): Operation(
        "See one published date: batches, checks, breaks",
        {200: _page("A page.")},
        problems=("not_found", "unavailable"),
        parameters=("date",),
        scopes=("compliance",),
        scheme=_BASIC,
        tags=("portal",),
    ),
    ("/portal/{date}/evidence.zip", "GET"): Operation(
        "Download the evidence of a date from the portal",
        {200: _EVIDENCE, 304: _UNCHANGED},
        problems=("not_found", "unavailable"),
        parameters=("date", "If-None-Match"),
        scopes=("compliance",),
        scheme=_BASIC,
        tags=("portal",),
    ),
}


# ---- the document ------------------------------------------------------------------------------


@cache
def document(*, event_clock: bool) -> bytes:
    """Return the document of a gateway on that clock, as JSON."""
    return msgspec.json.encode(build(event_clock=event_clock))


def build(*, event_clock: bool) -> Json:
    """Return the document."""
    paths: dict[str, Json] = {}
    for (path, method), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ACME gateway",
            "version": "1",
            "description": (
                "Orders in, durable before they are answered; published dates out, each whole."
                " Errors are RFC 9457 problem details."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(event_clock=event_clock),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "acme_KEYID_SECRET",
                    "description": "The API key of a source, with its scopes.",
                },
                _BASIC: {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The same API key as the password, for browsers.",
                },
            },
        },
    }


def _operation(path: str, method: str, operation: Operation) -> Json:
    said: Json = {
        "operationId": f"{method.lower()} {path}",
        "summary": operation.summary,
        "tags": list(operation.tags),
        "security": _security(operation),
        "parameters": [{"$ref": f"#/components/parameters/{n}"} for n in operation.parameters],
        "responses": _responses(operation),
    }
    if operation.description:
        said["description"] = operation.description
    if operation.body:
        said["requestBody"] = {"required": True, "content": dict(operation.body)}
    return said


def _security(operation: Operation) -> list[Json]:
    schemes = [operation.scheme] if operation.scheme == "bearer" else [operation.scheme, "bearer"]
    keyed: list[Json] = [{scheme: [scope]} for scope in operation.scopes for scheme in schemes]
    return [{}, *keyed] if operation.keyless else keyed


def statuses(operation: Operation) -> dict[int, list[str]]:
    """Return the problems an operation may be answered with, by status."""
    kinds = (*operation.problems, *(_KEYED if operation.scopes else ()), "internal")
    found: dict[int, list[str]] = {}
    for kind in TYPES:
        if kind in kinds:
            found.setdefault(TYPES[kind][0], []).append(kind)
    return found


def _responses(operation: Operation) -> Json:
    responses: Json = {}
    for status, answer in operation.answers.items():
        said: Json = {"description": answer.description}
        if answer.headers:
            said["headers"] = _headers(answer.headers)
        if answer.media is not None:
            content: Json = {"schema": answer.schema}
            if answer.example is not None:
                content["example"] = answer.example
            said["content"] = {answer.media: content}
        responses[str(status)] = said
    for status, kinds in statuses(operation).items():
        responses[str(status)] = {
            "description": "; ".join(TYPES[kind][1] for kind in kinds) + ".",
            "headers": _headers(_PROBLEM_HEADERS.get(status, ())),
            "content": {
                PROBLEM: {
                    "schema": {
                        "allOf": [
                            _ref("Problem"),
                            {
                                "properties": {
                                    "type": {"enum": [f"/problems/{kind}" for kind in kinds]},
                                    "status": {"const": status},
                                }
                            },
                        ]
                    },
                    "example": shown.problem(kinds[0]),
                }
            },
        }
    return dict(sorted(responses.items()))


def _headers(names: tuple[str, ...]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schemas(*, event_clock: bool) -> Json:
    _, answers = msgspec.json.schema_components([Pot, Batches, Proof], ref_template=_REF)
    fields = order_schema.field_schemas()
    receipt: dict[str, Json] = {
        "order_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "source": {"type": "string"},
        "source_ref": {"type": "string"},
        "received_at": {"type": "string", "format": "date-time"},
        "dealing_date": {"type": "string", "format": "date"},
        "dealing_date_reason": {"type": "string"},
        "cut_off": {"type": "string", "format": "date-time"},
    }
    sent = {
        name: {"type": "string", "pattern": fields[name].get("pattern", "")}
        if name not in {"units", "amount"}
        else {"type": "string", "pattern": order_schema.number_pattern()}
        for name in ("pot_id", "asset_id", "to_asset_id", "units", "amount", "risk_profile_id")
    }
    text_or_null: Json = {"type": ["string", "null"]}
    return {
        **answers,
        "OrderBody": order_schema.order_body(event_clock=event_clock),
        "Receipt": _object(receipt),
        "BulkReceipt": _bulk_receipt(receipt, event_clock=event_clock),
        "Cancelled": _object(receipt | {"state": {"const": "cancelled"}}),
        "OrderState": _object(
            receipt
            | {"pot_id": sent["pot_id"], "kind": {"enum": _kinds()}}
            | {"state": {"enum": STATES}, "reason": text_or_null},
            sent
            | {
                "batch_id": text_or_null,
                "published_date": {"type": "string", "format": "date"},
            },
        ),
        "Health": _object({"status": {"const": "ok"}}),
        "Ready": _object(
            {"status": {"const": "ready"}, "waiting": {"type": "integer", "minimum": 0}}
        ),
        "Problem": _problem(),
    }


def _bulk_receipt(receipt: Mapping[str, Json], *, event_clock: bool) -> Json:
    dealing = {n: receipt[n] for n in ("dealing_date", "dealing_date_reason", "cut_off")}
    counted: Json = {"type": "integer", "minimum": 0}
    told: dict[str, Json] = {
        "idempotency_key": {"type": "string"},
        "body_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "lines": {"type": "integer", "minimum": 1},
        **dict.fromkeys(("created", "repeated"), counted),
        **dict.fromkeys(("first_order_id", "last_order_id"), receipt["order_id"]),
        "received_at": {"type": ["string", "null"], "format": "date-time"},
    }
    # Where no order was created there is no date either: each keeps the one it was answered with.
    if event_clock:
        one = _object({"received_at": receipt["received_at"]} | dealing)
        return _object(told, dict.fromkeys(("earliest", "latest"), one))
    return _object(told, dealing)


def _kinds() -> list[str]:
    return list(order_schema.examples())


def _object(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    return {
        "type": "object",
        "properties": {**(optional or {}), **required},
        "required": list(required),
        "additionalProperties": False,
    }


def _problem() -> Json:
    error = _object(
        {name: {"type": "string"} for name in ("field", "expected", "got")},
        {"line": {"type": "integer", "minimum": 1}},
    )
    schema = _object(
        {
            "type": {"enum": [f"/problems/{kind}" for kind in TYPES]},
            "title": {"enum": sorted({title for _, title in TYPES.values()})},
            "status": {"enum": sorted({int(HTTPStatus(status)) for status, _ in TYPES.values()})},
            "detail": {"type": "string"},
            "instance": {"type": "string", "pattern": "^urn:acme:request:[0-9a-f]{16}$"},
        },
        {
            "errors": {"type": "array", "items": error},
            "errors_in_all": {"type": "integer", "minimum": 1},
        },
    )
    return schema | {"additionalProperties": True, "description": "RFC 9457 problem details."}


async def openapi(request: Request) -> Response:
    """Answer with the document."""
    gateway = request.app.state.gateway
    return Response(document(event_clock=gateway.event_clock), media_type=JSON)


ROUTES: Final = [Route("/openapi.json", openapi, methods=["GET"])]
