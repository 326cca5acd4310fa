"""SQL and other hostile text in every place of every route that takes text: refused or kept as it is, never run."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from fastapi.testclient import TestClient
from sqlalchemy import text

from api.app import ROUTERS
from api.dependencies import GuardedRoute
from app.permissions import PERMISSIONS
from db.states import Role
from tests.integration.conftest import Consortium

SLEEP = 40  # seconds; nothing here takes half as long, however busy the machine is
HOSTILE = (
    "' OR '1'='1",
    "x'; DROP TABLE patients CASCADE; --",
    f"x' OR (SELECT pg_sleep({SLEEP})) IS NOT NULL --",
    "') UNION SELECT password_hash FROM medical_workers --",
    "\\'; TRUNCATE training_runs CASCADE; --",
    ":name %(name)s %s {0} ${x}",
    "a\x00b",
    "\ud800",
    "*" * 3000,
)
PERSON_OF = {
    Role.ADMIN: "admin",
    Role.DATA_SCIENTIST: "scientist",
    Role.DOCTOR: "doctor",
    Role.NURSE: "nurse",
    Role.INSTITUTION_ADMIN: "manager",
}
# Said by PostgreSQL, a driver or an interpreter, and by no answer of ours.
LEAKS = re.compile(
    r"psycopg|sqlalchemy|syntax error|\$2[aby]\$|Traceback|PostgreSQL \d|relation \"|column \"", re.I
)


def _operations(api: TestClient) -> Iterator[tuple[str, str, dict[str, Any]]]:
    document = api.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _person(method: str, path: str) -> str | None:
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, GuardedRoute) and route.path == path and method in (route.methods or ()):
                [permission, *_] = route.permissions or (None,)
                return next(
                    person
                    for role, person in PERSON_OF.items()
                    if permission is None or permission in PERMISSIONS[role]
                )
    return None


def _schema(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Return a value that a schema accepts, or nearly."""
    schema = _schema(document, schema)
    if "anyOf" in schema:
        return _example(document, schema["anyOf"][0])
    if "enum" in schema or "const" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type")
    if kind == "object":
        wanted = schema.get("required", ())
        return {
            name: _example(document, part)
            for name, part in schema.get("properties", {}).items()
            if name in wanted
        }
    if kind == "array":
        return [_example(document, schema.get("items", {}))]
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind == "boolean":
        return True
    return str(uuid.uuid4()) if schema.get("format") == "uuid" else "abc"


def _takes_text(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    schema = _schema(document, schema)
    return schema.get("type") == "string" or any(
        _takes_text(document, part) for part in schema.get("anyOf", ())
    )


def _counts(consortium: Consortium) -> dict[str, int]:
    counts = {}
    for name, url in (("central", consortium.central), ("site", lambda: consortium.site("northeast"))):
        with url() as session:
            tables = session.scalars(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
            ).all()
            for table in tables:
                counts[f"{name}.{table}"] = session.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0
    return counts


def test_hostile_text_in_every_parameter_and_field_of_every_route_is_text(
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    consortium: Consortium,
    add_model: Callable[..., Any],
) -> None:
    add_model()
    consortium.add_patient("northeast", "Ada", "Lovelace")
    document = api.get("/openapi.json").json()
    headers = {person: token_of(person) for person in PERSON_OF.values()}
    before = _counts(consortium)
    asked, wrong = 0, list[str]()
    for method, path, operation in _operations(api):
        person = _person(method, path)
        parameters = operation.get("parameters", [])
        in_path = [one["name"] for one in parameters if one["in"] == "path"]
        in_query = [one["name"] for one in parameters if one["in"] == "query"]
        content = operation.get("requestBody", {}).get("content", {})
        body: Any = None
        fields: list[str] = []
        if "application/json" in content:
            schema = _schema(document, content["application/json"]["schema"])
            body = _example(document, schema)
            properties = schema.get("properties", {})
            fields = [name for name, part in properties.items() if _takes_text(document, part)]
        for hostile in HOSTILE:
            sent: list[dict[str, Any]] = []
            if in_path:
                sent.append({"path": dict.fromkeys(in_path, hostile), "json": body})
            sent += [{"params": {name: hostile}, "json": body} for name in in_query if hostile != "\ud800"]
            sent += [{"json": {**body, name: hostile}} for name in fields if isinstance(body, dict)]
            for request in sent:
                address = path
                for name in in_path:
                    value = request.get("path", {}).get(
                        name, "1" if name != "patient_id" else str(uuid.uuid4())
                    )
                    address = address.replace(f"{{{name}}}", _quoted(value))
                began = time.monotonic()
                answer = api.request(
                    method,
                    address,
                    headers={**headers.get(person or "", {}), "Content-Type": "application/json"},
                    params=request.get("params"),
                    content=None if request.get("json") is None else json.dumps(request["json"]),
                )
                asked += 1
                where = f"{method} {path} {request}: {answer.status_code} {answer.text[:200]}"
                if answer.status_code >= 500 or LEAKS.search(answer.text):
                    wrong.append(where)
                assert time.monotonic() - began < SLEEP / 2, where
    assert asked > 500
    assert not wrong, "\n".join(wrong)
    after = _counts(consortium)
    assert set(after) == set(before)
    fewer = {name for name in before if after[name] < before[name]}
    # What waits for its seal is sealed meanwhile; of all else nothing may be gone.
    assert fewer <= {"central.audit_unsealed", "site.audit_unsealed"}


def _quoted(value: str) -> str:
    return quote(value, safe="", errors="surrogatepass")
