"""The OpenAPI document, made of the declarations by which requests are read."""

from __future__ import annotations

import re
from typing import Any

from detector.explore.deciding.wish import schema
from detector.explore.web.all_endpoints import ALL
from detector.explore.web.endpoints import PREFIX, Endpoint
from detector.explore.web.events import SUMMARY
from detector.http.cross_site import MARKED

EVENTS = f"{PREFIX}/events"
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
    paths[f"{PREFIX}/decisions"]["post"] = _deciding()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Streamgauge explorer",
            "version": "1",
            "description": "Times in answers are milliseconds since 1970, UTC. Unknown numbers are null.",
        },
        "paths": {**paths, EVENTS: _events(), f"{PREFIX}/openapi.json": own},
        "components": {"schemas": {"Error": _ERROR, **schema()}},
    }


def _events() -> dict[str, Any]:
    """Return the operation that goes on."""
    stream = {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    responses = {"200": stream, "404": _error("It is a backtest"), "503": _error("Too many follow already")}
    return {"get": {"summary": SUMMARY, "operationId": "events", "responses": responses}}


def _deciding() -> dict[str, Any]:
    """Return the one operation that writes."""
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Wish"}}}
    refused = {
        "400": "A field of the body is wrong",
        "401": "Name and password are needed",
        "403": "The request comes from another site, or this explorer takes no decisions",
        "404": "There is no such incident or series",
        "408": "The body did not arrive in time",
        "409": "The incident cannot be decided so",
        "411": "The body has no length",
        "413": "The body is too large",
        "415": "The body is not JSON",
        "503": "The decision could not be written",
    }
    return {
        "summary": "Decide about an incident or a series: the record that the commands write",
        "operationId": "decide",
        "parameters": [_mark()],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "201": _answer(("decision", "place", "command", "note")),
            **{status: _error(told) for status, told in refused.items()},
        },
    }


def _mark() -> dict[str, Any]:
    """Return the header that requests need which change something."""
    mark = {"type": "string", "const": MARKED}
    return {"name": "X-Streamgauge", "in": "header", "required": True, "schema": mark}


def _error(told: str) -> dict[str, Any]:
    wrong = {"$ref": "#/components/schemas/Error"}
    return {"description": told, "content": {"application/json": {"schema": wrong}}}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    ids = {"type": "string"} | ({"pattern": endpoint.ids} if endpoint.ids else {})
    in_path: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": ids}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    error = _error("What is wrong")
    name = endpoint.path.strip("/").replace("/", "_").replace("{", "by_").replace("}", "")
    found: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": name if endpoint.method == "GET" else f"{endpoint.method.lower()}_{name}",
        "responses": {"200": _answer(endpoint.has), "400": error, "404": error},
    }
    if endpoint.computes:
        found["responses"] |= {"409": _error("The model cannot be used now")}
    if endpoint.method != "GET":
        found["responses"] |= dict.fromkeys(("401", "403", "408", "411", "413", "415"), error)
        in_path.append(_mark())
    if endpoint.method == "POST":
        found["responses"] |= {"202": _answer(endpoint.has)}
        return found | {"parameters": in_path, "requestBody": _body(endpoint)}
    return found | {"parameters": in_path + [one.as_openapi() for one in endpoint.parameters]}


def _body(endpoint: Endpoint) -> dict[str, Any]:
    fields = {one.name: one.schema_in_body() for one in endpoint.parameters}
    schema = {"type": "object", "additionalProperties": False, "properties": fields}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answer(has: tuple[str, ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if has:
        schema |= {"required": list(has)}
    return {"description": "The answer", "content": {"application/json": {"schema": schema}}}
