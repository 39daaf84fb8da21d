"""The OpenAPI document, made of the declarations by which requests are read."""

from __future__ import annotations

import re
from typing import Any

from detector.explore.web.endpoints import ENDPOINTS, PREFIX, Endpoint
from detector.explore.web.events import SUMMARY

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
            },
        }
    },
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document of `/api/v1` as plain values."""
    paths = {f"{PREFIX}{one.path}": {"get": _operation(one)} for one in ENDPOINTS}
    own = {"get": {"summary": "This document", "operationId": "openapi", "responses": {"200": _answer(())}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Streamgauge explorer",
            "version": "1",
            "description": "Times in answers are milliseconds since 1970, UTC. Unknown numbers are null.",
        },
        "paths": {**paths, EVENTS: _events(), f"{PREFIX}/openapi.json": own},
        "components": {"schemas": {"Error": _ERROR}},
    }


def _events() -> dict[str, Any]:
    wrong = {"$ref": "#/components/schemas/Error"}
    error = {"description": "What is wrong", "content": {"application/json": {"schema": wrong}}}
    stream = {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    responses = {"200": stream, "404": error, "503": error}
    return {"get": {"summary": SUMMARY, "operationId": "events", "responses": responses}}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    wrong = {"$ref": "#/components/schemas/Error"}
    error = {"description": "What is wrong", "content": {"application/json": {"schema": wrong}}}
    return {
        "summary": endpoint.summary,
        "operationId": endpoint.path.strip("/").replace("/", "_").replace("{", "by_").replace("}", ""),
        "parameters": in_path + [one.as_openapi() for one in endpoint.parameters],
        "responses": {"200": _answer(endpoint.has), "400": error, "404": error},
    }


def _answer(has: tuple[str, ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    if has:
        schema |= {"required": list(has)}
    return {"description": "The answer", "content": {"application/json": {"schema": schema}}}
