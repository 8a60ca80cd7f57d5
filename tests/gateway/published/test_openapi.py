"""/openapi.json: every route is in it and the reverse, and what is answered is what it says."""

import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.routing import Route

from acme.domain.orders import order_id
from acme.gateway import openapi, order_bodies, order_json, order_schema
from acme.gateway.app import application
from acme.gateway.problems import TYPES, ProblemError
from acme.lakehouse import contracts
from acme.lakehouse.home import Home
from tests.gateway.published.conftest import Keys, Served
from tests.scenarios.driver import D1, D3, D4

pytestmark = pytest.mark.xdist_group("published")

DOCUMENT = openapi.build(event_clock=True)
URI = "urn:acme:openapi"
REGISTRY: Registry[Any] = Registry().with_resource(
    URI, Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
)


def errors(instance: Any, schema: Any) -> list[str]:
    """Return how an instance breaks a schema of the document."""
    absolute = json.loads(json.dumps(schema).replace('"#/components', f'"{URI}#/components'))
    validator = Draft202012Validator(absolute, registry=REGISTRY)
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(instance)]


def resolved(value: Any) -> Any:
    while "$ref" in value:
        found: Any = DOCUMENT
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        value = found
    return value


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method.upper(), operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


# ---- the document ------------------------------------------------------------------------------


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()


def test_every_route_is_in_it_and_the_reverse(tmp_path: Any) -> None:
    door = application(Home(tmp_path), lambda: "postgresql://nowhere")
    routed = {
        (route.path_format, method)
        for route in door.router.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert len(routed) >= len({r.path for r in door.router.routes if isinstance(r, Route)})
    assert set(openapi.OPERATIONS) == routed


def test_every_problem_and_parameter_is_used() -> None:
    kinds = {
        k for o in openapi.OPERATIONS.values() for ks in openapi.statuses(o).values() for k in ks
    }
    assert set(TYPES) - kinds == {"method_not_allowed"}
    used = {name for o in openapi.OPERATIONS.values() for name in o.parameters}
    assert used == set(openapi.PARAMETERS)
    for path, _, operation in operations():
        names = {resolved(p)["name"] for p in operation["parameters"]}
        assert set(re.findall("{(.*?)}", path)) <= names


def test_every_example_keeps_its_schema() -> None:
    counted = 0
    for path, method, operation in operations():
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                if "example" in content:
                    counted += 1
                    found = errors(content["example"], content["schema"])
                    assert found == [], (path, method, status)
    for parameter in openapi.PARAMETERS.values():
        if "example" in parameter:
            assert errors(parameter["example"], parameter["schema"]) == []
    assert counted > 50


def test_the_event_clock_asks_for_a_time() -> None:
    on_event = order_schema.order_body(event_clock=True)["oneOf"][0]["required"]
    on_database = order_schema.order_body(event_clock=False)["oneOf"][0]["required"]
    assert set(on_event) - set(on_database) == {"received_at"}


# ---- bodies: what conforms is taken, what does not is refused -----------------------------------


def taken(body: object) -> bool:
    try:
        order_json.parse(json.dumps(body).encode(), "T", event_clock=True)
    except ProblemError:
        return False
    return True


def test_the_bounds_are_those_of_the_contract() -> None:
    contract = contracts.feed("orders")
    fields = order_schema.field_schemas()
    for column in contract.columns:
        if column.sql_type.startswith("DECIMAL"):
            assert column.sql_type == f"DECIMAL({order_bodies.PRECISION},{order_bodies.SCALE})"
        if column.name in ("source", "source_ref"):
            assert fields[column.name]["maxLength"] == column.max_length
    assert {v["title"] for v in order_schema.order_body(event_clock=True)["oneOf"]} == set(
        order_bodies.fields_by_kind()
    )


@pytest.mark.parametrize("kind", list(order_schema.examples()))
def test_every_example_of_a_body_is_taken(kind: str) -> None:
    body = order_schema.examples()[kind]["value"]
    assert errors(body, {"$ref": "#/components/schemas/OrderBody"}) == []
    assert taken(body)


TEXTS = ["", "P", "x" * 200, "x" * 201, "x" * 401, "a\nb", "\x7f", "\u2028", "ü 💶", None, 7, True,
         " a", "a ", "a\u202eb", "a\u200b", "a\u00a0b", "a\U000e0041b", "\u0301é"]  # fmt: skip
NUMBERS = [
    *("1", "0", "0.0", "00.100", "12.5", "-1", "+1", "1e3", ".5", "1.", "", " 1", "1.1234567"),
    *("0.000001", "0.0000001", "1.100000000", "999999999999.999999", "1000000000000", "٣"),
    *(1, 0, -1, 12, 10**12, 999_999_999_999, None, True, [], {}),
]
INSTANTS = [
    *("2024-03-04T09:00:00Z", "2024-03-04t09:00:00.123456+01:00", "2024-03-04", "", "soon"),
    *("2024-03-04T09:00:00", "2024-03-04T09:00:00.1234567Z", "2024-03-04 09:00:00Z", None, 1),
]
BODIES = st.fixed_dictionaries(
    {
        "source_ref": st.sampled_from(TEXTS),
        "pot_id": st.sampled_from(["P", *TEXTS]),
        "kind": st.sampled_from([*order_bodies.fields_by_kind(), "gift", None]),
        "received_at": st.sampled_from([INSTANTS[0], *INSTANTS]),
    },
    optional={
        "source": st.sampled_from(["T", None, 3]),
        "asset_id": st.sampled_from(["EQ", *TEXTS]),
        "to_asset_id": st.sampled_from(["EQ", *TEXTS]),
        "units": st.sampled_from(NUMBERS),
        "amount": st.sampled_from(NUMBERS),
        "risk_profile_id": st.sampled_from(["G", *TEXTS]),
        "more": st.just(1),
    },
)
GOOD = st.sampled_from([e["value"] for e in order_schema.examples().values()])


@settings(max_examples=600, deadline=None)
@given(BODIES, GOOD, st.sets(st.sampled_from(["source_ref", "pot_id", "kind", "units", "amount"])))
def test_a_body_is_taken_exactly_if_it_conforms(
    body: dict[str, Any], good: dict[str, Any], changed: set[str]
) -> None:
    schema = {"$ref": "#/components/schemas/OrderBody"}
    nearly = good | {name: body[name] for name in changed & body.keys()}
    for candidate in (body, nearly):
        assert taken(candidate) == (errors(candidate, schema) == []), candidate


@settings(max_examples=1000, deadline=None)
@given(
    st.from_regex(r"\A[0-9]{0,14}(\.[0-9]{0,9})?\Z") | st.sampled_from([str(n) for n in NUMBERS])
)
def test_a_number_is_taken_exactly_if_it_matches(text: str) -> None:
    body = order_schema.examples()["contribution"]["value"] | {"amount": text}
    assert taken(body) == (re.search(order_schema.number_pattern(), text) is not None)


# ---- answers: what is sent is what is declared --------------------------------------------------


def conforms(answer: httpx.Response, path: str) -> None:
    """Hold an answer against the document: status, headers, media type, body."""
    operation = DOCUMENT["paths"][path][answer.request.method.lower()]
    said = operation["responses"].get(str(answer.status_code))
    assert said is not None, (path, answer.status_code, answer.text)
    for name, header in said.get("headers", {}).items():
        told = resolved(header)
        if told.get("required"):
            assert name.lower() in answer.headers, (path, name)
        if name.lower() in answer.headers:
            assert errors(answer.headers[name], told["schema"]) == []
    if "content" not in said:
        assert answer.content == b""
        return
    media = answer.headers["content-type"].partition(";")[0]
    content = said["content"][media]
    body = answer.json() if media.endswith("json") else answer.text
    assert errors(body, content["schema"]) == []


@pytest.mark.anyio
async def test_it_is_served(served: Served) -> None:
    async with served.client() as client:
        answer = await client.get("/openapi.json")
    assert answer.json() == json.loads(json.dumps(DOCUMENT))
    conforms(answer, "/openapi.json")


@pytest.mark.anyio
async def test_what_is_answered_is_what_is_declared(served: Served, keys: Keys) -> None:
    order = {"pot_id": "B", "received_at": f"{D4}T09:00:00Z", "source_ref": "openapi"}
    order |= {"kind": "sell", "asset_id": "EQ", "units": "0.5"}
    mine = order_id("T", "openapi")
    reads = [
        ("/v1/orders/{order_id}", f"/v1/orders/{mine}"),
        ("/v1/orders/{order_id}", "/v1/orders/x"),
        ("/v1/orders/{order_id}/proof", f"/v1/orders/{mine}/proof"),
        ("/v1/orders/{order_id}/proof", f"/v1/orders/{order_id('T', 'sell')}/proof"),
        ("/v1/pots/{pot_id}", "/v1/pots/B"),
        ("/v1/pots/{pot_id}", "/v1/pots/A"),
        ("/v1/batches/{date}", f"/v1/batches/{D1}"),
        ("/v1/batches/{date}", f"/v1/batches/{D4}"),
        ("/v1/evidence/{date}.zip", f"/v1/evidence/{D3}.zip"),
        ("/v1/evidence/{date}.zip", f"/v1/evidence/{D4}.zip"),
        ("/portal", "/portal"),
        ("/portal/{date}", f"/portal/{D3}"),
        ("/portal/{date}/evidence.zip", f"/portal/{D3}/evidence.zip"),
        ("/metrics", "/metrics"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
    ]
    bodies: list[tuple[dict[str, str], bytes]] = [
        ({"idempotency-key": "o1"}, json.dumps(order).encode()),
        ({"idempotency-key": "o1"}, json.dumps(order).encode()),
        ({"idempotency-key": "o1"}, json.dumps(order | {"units": 7}).encode()),
        ({"idempotency-key": "o2"}, json.dumps(order | {"units": 7}).encode()),
        ({"idempotency-key": "o3"}, json.dumps(order | {"pot_id": "A"}).encode()),
        ({"idempotency-key": "o4"}, json.dumps(order | {"units": "-7"}).encode()),
        ({"idempotency-key": "o5"}, b"{"),
        ({"idempotency-key": "o6"}, b" " * 70_000),
        ({"idempotency-key": "o7", "content-type": "text/csv"}, b"x"),
        ({}, json.dumps(order).encode()),
    ]
    line = {k: v for k, v in order.items() if k != "source_ref"}
    ndjson = "application/x-ndjson"
    streams: list[tuple[dict[str, str], bytes]] = [
        ({"idempotency-key": "b1", "content-type": ndjson}, json.dumps(order).encode()),
        ({"idempotency-key": "b1", "content-type": ndjson}, json.dumps(order).encode()),
        ({"idempotency-key": "b1", "content-type": ndjson}, json.dumps(order).encode() + b"\n"),
        (
            {"idempotency-key": "b2", "content-type": ndjson},
            json.dumps(order | {"units": 8}).encode(),
        ),
        ({"idempotency-key": "b3", "content-type": ndjson}, json.dumps(line).encode()),
        (
            {"idempotency-key": "b4", "content-type": ndjson},
            json.dumps(order | {"pot_id": "A"}).encode(),
        ),
        ({"idempotency-key": "b5", "content-type": "application/json"}, b"{}"),
        ({"content-type": ndjson}, json.dumps(order).encode()),
    ]
    seen: dict[str, set[int]] = {}
    for key in (keys.owner, keys.compliance, keys.submit_only, None):
        async with served.client(key) as client:
            for headers, body in bodies:
                told = {"content-type": "application/json"} | headers
                answer = await client.post("/v1/orders", content=body, headers=told)
                conforms(answer, "/v1/orders")
                seen.setdefault("POST", set()).add(answer.status_code)
            for headers, body in streams:
                answer = await client.post("/v1/orders/bulk", content=body, headers=headers)
                conforms(answer, "/v1/orders/bulk")
                seen.setdefault("bulk", set()).add(answer.status_code)
            for path, url in reads:
                answer = await client.get(url)
                conforms(answer, path)
                seen.setdefault("GET", set()).add(answer.status_code)
                if tag := answer.headers.get("etag"):
                    again = await client.get(url, headers={"if-none-match": tag})
                    assert again.status_code == 304
                    conforms(again, path)
            for url in (f"/v1/orders/{mine}", f"/v1/orders/{order_id('T', 'nobody')}"):
                answer = await client.delete(url)
                conforms(answer, "/v1/orders/{order_id}")
                seen.setdefault("DELETE", set()).add(answer.status_code)
    assert seen["POST"] == {201, 400, 401, 403, 409, 413, 415, 422}
    assert seen["bulk"] == {201, 400, 401, 403, 409, 415, 422}
    assert seen["GET"] == {200, 401, 403, 404, 409}
    assert seen["DELETE"] == {200, 401, 403, 404}
