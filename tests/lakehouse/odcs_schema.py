"""A strict JSON schema of the part of ODCS 3.1 that our contracts use.

Field names, enumerations and structure are the standard's; what our contracts do not use is not
allowed here, so that a typing error in a field name is found.
"""

from typing import Any

_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
_BOOLEAN = {"type": "boolean"}
_POSITION = {"type": "integer", "minimum": 1}
_WHOLE = {"type": "integer"}


def _closed(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


_CUSTOM_PROPERTIES = {
    "type": "array",
    "items": _closed(
        ["property", "value"],
        {"property": {"type": "string", "pattern": "^[a-z][A-Za-z]*$"}, "value": {}},
    ),
}

_VALID_VALUES = _closed(
    ["type", "metric", "arguments", "mustBe"],
    {
        "name": _TEXT,
        "type": {"const": "library"},
        "metric": {"const": "invalidValues"},
        "arguments": _closed(
            ["validValues"],
            {"validValues": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
        ),
        "mustBe": {"const": 0},
    },
)
_CUSTOM_CHECK = _closed(
    ["name", "type", "engine", "implementation", "severity", "description"],
    {
        "name": _TEXT,
        "type": {"const": "custom"},
        "engine": {"const": "acme"},
        "implementation": {
            "oneOf": [
                _TEXT,
                {"type": "object", "required": ["rule"], "properties": {"rule": _TEXT}},
            ]
        },
        "severity": {"enum": ["error", "warning"]},
        "description": _TEXT,
    },
)
_QUALITY = {"type": "array", "items": {"oneOf": [_VALID_VALUES, _CUSTOM_CHECK]}}

_LIMITS = dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _WHOLE)
# The standard gives every logical type its own options.
_OPTIONS: dict[str, dict[str, Any]] = {
    "string": {"minLength": _WHOLE, "maxLength": _WHOLE, "pattern": _TEXT, "format": _TEXT},
    "date": {"format": _TEXT},
    "timestamp": {"format": _TEXT, "timezone": _BOOLEAN, "defaultTimezone": _TEXT},
    "integer": {**_LIMITS, "format": {"enum": ["i32", "i64"]}},
    "number": _LIMITS,
    "boolean": {},
}
_PHYSICAL_TYPES = {
    "string": "^VARCHAR$",
    "date": "^DATE$",
    "timestamp": "^TIMESTAMPTZ$",
    "integer": "^(INTEGER|BIGINT)$",
    "number": r"^DECIMAL\([0-9]+,[0-9]+\)$",
    "boolean": "^BOOLEAN$",
}


def _property(logical_type: str) -> dict[str, Any]:
    return _closed(
        ["name", "logicalType", "physicalType", "required", "description"],
        {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
            "logicalType": {"const": logical_type},
            "physicalType": {"type": "string", "pattern": _PHYSICAL_TYPES[logical_type]},
            "required": _BOOLEAN,
            "primaryKey": _BOOLEAN,
            "primaryKeyPosition": _POSITION,
            "partitioned": _BOOLEAN,
            "partitionKeyPosition": _POSITION,
            "classification": _TEXT,
            "description": _TEXT,
            "logicalTypeOptions": _closed([], _OPTIONS[logical_type]),
            "quality": _QUALITY,
            "customProperties": _CUSTOM_PROPERTIES,
        },
    )


ODCS_SCHEMA = _closed(
    [
        *("apiVersion", "kind", "id", "name", "version", "status", "domain", "dataProduct"),
        *("description", "team", "slaProperties", "schema"),
    ],
    {
        "apiVersion": {"const": "v3.1.0"},
        "kind": {"const": "DataContract"},
        "id": _TEXT,
        "name": _TEXT,
        "version": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        "status": {"enum": ["proposed", "draft", "active", "deprecated", "retired"]},
        "domain": _TEXT,
        "dataProduct": _TEXT,
        "description": _closed(
            ["purpose", "usage", "limitations"],
            {"purpose": _TEXT, "usage": _TEXT, "limitations": _TEXT},
        ),
        "team": _closed(["name", "description"], {"name": _TEXT, "description": _TEXT}),
        "slaProperties": {
            "type": "array",
            "minItems": 1,
            "items": _closed(
                ["property", "value"],
                {
                    "property": _TEXT,
                    "value": {"type": ["string", "number", "boolean", "null"]},
                    "unit": _TEXT,
                    "element": _TEXT,
                    "driver": {"enum": ["regulatory", "analytics", "operational"]},
                    "description": _TEXT,
                },
            ),
        },
        "schema": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": _closed(
                [
                    *("name", "physicalName", "physicalType", "logicalType", "description"),
                    *("dataGranularityDescription", "properties"),
                ],
                {
                    "name": _TEXT,
                    "physicalName": _TEXT,
                    "physicalType": {"enum": ["table", "file"]},
                    "logicalType": {"const": "object"},
                    "description": _TEXT,
                    "dataGranularityDescription": _TEXT,
                    "properties": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"oneOf": [_property(name) for name in _OPTIONS]},
                    },
                    "quality": _QUALITY,
                    "customProperties": _CUSTOM_PROPERTIES,
                },
            ),
        },
        "customProperties": _CUSTOM_PROPERTIES,
    },
)
