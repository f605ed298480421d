"""The OpenAPI 3.1 description of the API, made from its routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any, Final

import msgspec

from fabric.web.routes import JSON, Request, Route

REFERENCE: Final = "#/components/schemas/{name}"
_VARIABLE: Final = re.compile(r"<(?:\w+:)?(\w+)>")
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "do_next"],
            "properties": {
                "code": {"type": "string", "description": "The error's name for programs."},
                "message": {"type": "string", "description": "What happened."},
                "do_next": {"type": "string", "description": "What to do about it; may be empty."},
            },
        }
    },
}


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of all routes below `/api/`."""
    api = [route for route in routes if route.is_api]
    kinds = [kind for route in api for kind in (route.body, route.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    known = dict(zip(map(repr, kinds), schemas, strict=True))
    described: dict[str, dict[str, Any]] = {}
    for route in api:
        path = _VARIABLE.sub(r"{\1}", route.path)
        described.setdefault(path, {})[route.method.lower()] = _operation(route, known)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fabric", "version": metadata.version("fabric-mq")},
        "paths": described,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"basic": []}, {"token": []}],
    }


def _operation(route: Route, known: dict[str, Any]) -> dict[str, Any]:
    needs = "everybody" if route.role is None else f"role {route.role.label}"
    answer: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        answer["content"] = {JSON: {"schema": known[repr(route.answer)]}}
    operation: dict[str, Any] = {
        "operationId": f"{route.method} {route.path}",
        "summary": route.summary,
        "description": f"For {needs}.",
        "parameters": [*_path_parameters(route), *_query_parameters(route.query)],
        "responses": {
            "200": answer,
            "default": {
                "description": "It was refused, or failed.",
                "content": {JSON: {"schema": {"$ref": REFERENCE.format(name="Error")}}},
            },
        },
    }
    if route.role is None:
        operation["security"] = []
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": known[repr(route.body)]}}}
    return operation


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in _VARIABLE.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(query: type[Request]) -> Iterable[dict[str, Any]]:
    schema = msgspec.json.schema_components([query], ref_template=REFERENCE)[1][query.__name__]
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        yield {"name": name, "in": "query", "required": name in required, "schema": each}
