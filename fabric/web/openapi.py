"""The OpenAPI 3.1 description of the API, made from its routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any, Final

import msgspec

from fabric.web.routes import API, JSON, Request, Route

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


REFUSALS: Final = {
    "400": "The request cannot be understood, or says something that cannot be meant.",
    "401": "Nobody has said who asks, or the credentials are wrong.",
    "403": "Who asks may not do this.",
    "404": "There is no such thing.",
    "409": "It contradicts what there is, or somebody else was faster.",
    "413": "The body is too long; this answer has none itself.",
    "415": "The body is neither JSON nor a form.",
    "429": "Too much at a time, or too many wrong passwords.",
    "502": "ZooKeeper has answered something unexpected.",
    "503": "ZooKeeper or a broker cannot be asked now.",
}
"""What each status of an error means."""


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
            "responses": {status: _refusal(text) for status, text in REFUSALS.items()},
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
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"For {needs}.",
        "parameters": [*_path_parameters(route), *_query_parameters(route.query)],
        "responses": {"200": answer}
        | {status: {"$ref": f"#/components/responses/{status}"} for status in _refusals_of(route)},
    }
    if route.role is None:
        operation["security"] = []
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": known[repr(route.body)]}}}
    return operation


def _operation_id(route: Route) -> str:
    """A name for programs that are made from the description, `post_containers_start`."""
    words = re.findall(r"[A-Za-z0-9]+", route.path.removeprefix(API))
    return "_".join((route.method.lower(), *words))


def _refusals_of(route: Route) -> Iterable[str]:
    """The statuses of the errors that a route may answer."""
    needless = set()
    if route.role is None:
        needless |= {"401", "403"}
    if route.body is None:
        needless |= {"413", "415"}
    if not route.changes:
        needless |= {"409"}
    return (status for status in REFUSALS if status not in needless)


def _refusal(text: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name="Error")}
    return {"description": text, "content": {JSON: {"schema": schema}}}


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in _VARIABLE.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(query: type[Request]) -> Iterable[dict[str, Any]]:
    schema = msgspec.json.schema_components([query], ref_template=REFERENCE)[1][query.__name__]
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        yield {"name": name, "in": "query", "required": name in required, "schema": each}
