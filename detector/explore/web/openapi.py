"""The OpenAPI document, made of the declarations by which requests are read."""

from __future__ import annotations

import re
from typing import Any

from detector.explore.web.all_endpoints import ALL
from detector.explore.web.endpoints import PREFIX, Endpoint

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "message"],
            "properties": {
                "status": {"type": "integer"},
                "message": {"type": "string"},
                "parameter": {"type": "string"},
                "job": {"type": "string"},
            },
        }
    },
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document of `/api/v1` as plain values."""
    paths: dict[str, dict[str, Any]] = {}
    for one in ALL:
        paths.setdefault(f"{PREFIX}{one.path}", {})[one.method.lower()] = _operation(one)
    own = {"get": {"summary": "This document", "operationId": "openapi", "responses": {"200": _answer(())}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Streamgauge explorer",
            "version": "1",
            "description": "Times in answers are milliseconds since 1970, UTC. Unknown numbers are null.",
        },
        "paths": {**paths, f"{PREFIX}/openapi.json": own},
        "components": {"schemas": {"Error": _ERROR}},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    wrong = {"$ref": "#/components/schemas/Error"}
    error = {"description": "What is wrong", "content": {"application/json": {"schema": wrong}}}
    name = endpoint.path.strip("/").replace("/", "_").replace("{", "by_").replace("}", "")
    found: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": name if endpoint.method == "GET" else f"{endpoint.method.lower()}_{name}",
        "responses": {"200": _answer(endpoint.has), "400": error, "404": error},
    }
    if endpoint.method != "GET":
        found["responses"] |= {"403": error}
    if endpoint.method == "POST":
        found["responses"] |= {"202": _answer(endpoint.has), **dict.fromkeys(("409", "413", "415"), error)}
        return found | {"parameters": in_path, "requestBody": _body(endpoint)}
    return found | {"parameters": in_path + [one.as_openapi() for one in endpoint.parameters]}


def _body(endpoint: Endpoint) -> dict[str, Any]:
    fields = {one.name: one.schema() | {"description": one.description} for one in endpoint.parameters}
    schema = {"type": "object", "additionalProperties": False, "properties": fields}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answer(has: tuple[str, ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if has:
        schema |= {"required": list(has)}
    return {"description": "The answer", "content": {"application/json": {"schema": schema}}}
