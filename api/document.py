"""What the description of the API says beyond the routes: answers and headers that every route may have."""

from __future__ import annotations

from typing import Any

from fastapi.openapi.constants import REF_TEMPLATE
from pydantic.json_schema import models_json_schema

from api.idempotency import HEADER, ONCE, REPLAYED
from api.problems import MEDIA_TYPE
from api.schemas import REASONS, ErrorBody
from api.schemas_predictions import BatchRequest

EVERYWHERE = (413, 429, 500)  # statuses that any route may answer
_JSON = "application/json"
_ERROR = {"$ref": "#/components/schemas/ErrorBody"}
_STATES = ("HealthAnswer", "ReadyAnswer")  # what 503 says there is no problem
_TEXT = {"type": "string"}
_SECONDS = {"description": "seconds after which to try again", "schema": {"type": "integer"}}
_REQUEST_ID = {"description": "the request's own, or one made here", "schema": _TEXT}
_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "sent again with the same key within a day, the request changes nothing again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
_REPLAYED = {
    "description": "true if this was answered before",
    "schema": {"type": "string", "enum": ["true"]},
}
_HEADERS_OF: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"description": "how to sign in", "schema": _TEXT}},
    "429": {
        "Retry-After": _SECONDS,
        "RateLimit": {"description": "policy, requests that remain, seconds", "schema": _TEXT},
        "RateLimit-Policy": {"description": "policy, requests, seconds", "schema": _TEXT},
    },
    "503": {"Retry-After": _SECONDS},
}


def complete(document: dict[str, Any]) -> None:
    """Add to the document what no route says of itself: common answers, headers, bodies that a route reads itself."""
    models = [(BatchRequest, "validation"), (ErrorBody, "serialization")]
    _, described = models_json_schema(models, ref_template=REF_TEMPLATE)  # type: ignore[arg-type]
    document["components"]["schemas"].update(described["$defs"])
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _complete(operation, accepts_key=method == "post" and path in ONCE)


def _complete(operation: dict[str, Any], *, accepts_key: bool) -> None:
    answers = operation["responses"]
    common = [*EVERYWHERE]
    if accepts_key:
        operation.setdefault("parameters", []).append(_KEY)
        common += [409, 422]
        for status, answer in answers.items():
            if status < "300":
                answer.setdefault("headers", {})[REPLAYED] = _REPLAYED
    if _JSON in operation.get("requestBody", {}).get("content", {}):
        common.append(415)
    for status in common:
        answers.setdefault(
            str(status), {"description": REASONS[status], "content": {_JSON: {"schema": _ERROR}}}
        )
    for status, answer in answers.items():
        headers = answer.setdefault("headers", {})
        headers["X-Request-ID"] = _REQUEST_ID
        content = answer.get("content", {})
        is_problem = status >= "400" and not any(name in str(content) for name in _STATES)
        if is_problem:
            headers.update(_HEADERS_OF.get(status, {}))
            if _JSON in content:
                content[MEDIA_TYPE] = content.pop(_JSON)
    operation["responses"] = dict(sorted(answers.items()))
