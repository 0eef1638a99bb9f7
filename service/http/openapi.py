"""Additions to GET /openapi.json: the token, and the refusals that any request may get."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from spikesight.service.http.gate import HEALTH

ANYWHERE = {
    400: "not HTTP, a host name that is not the service's, or a parameter that is malformed or unknown",
    408: "the request took too long to arrive",
    413: "the body is too large",
    414: "the path is too long",
    415: "the body is compressed",
    431: "the headers are too large",
    500: "the service failed on this request",
    503: "too many connections, or the service is shutting down: try again after Retry-After seconds",
}
GUARDED = {401: "the token is missing or wrong"}
COUNTED = {429: "too many requests: try again after Retry-After seconds"}
FOREIGN = {403: "a page of another origin asks: see --allow-origin"}
TOKEN = {"type": "http", "scheme": "bearer", "description": "needed where the service was started with one"}
REFUSAL = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
NEVER = ("HTTPValidationError", "ValidationError")  # the framework's schemas; this service answers 400 instead


def describe(app: FastAPI, *, token: bool) -> None:
    """Add the gate's refusals to the app's OpenAPI description; `token`: whether the service requires a token."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document_of(app, token)
        return app.openapi_schema

    app.openapi = document


def document_of(app: FastAPI, token: bool) -> dict[str, Any]:
    """Return the framework's OpenAPI document with the token and the refusals added."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for name in NEVER:
        made["components"]["schemas"].pop(name, None)
    made["components"]["securitySchemes"] = {"token": TOKEN}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            if token and refusals(path, method).get(401):
                operation["security"] = [{"token": []}]
            complete(operation["responses"], refusals(path, method))
    return made


def refusals(path: str, method: str) -> dict[int, str]:
    """Return the refusals that the gate may send for this path and method, by status."""
    found = dict(ANYWHERE)
    if path not in HEALTH:
        found |= COUNTED | GUARDED
    return found | ({} if method == "get" else FOREIGN)


def complete(responses: dict[str, Any], found: dict[int, str]) -> None:
    """Add refusals to a route's responses; a description that the route has itself stays."""
    responses.pop("422", None)
    for status, text in found.items():
        responses.setdefault(str(status), {"description": text})
    for status, response in responses.items():
        if int(status) >= 400:
            response.setdefault("content", REFUSAL)
