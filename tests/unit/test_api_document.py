"""The API's description: valid and complete, and the table of docs/api.md says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest

from api.app import ROUTERS, create_api
from api.dependencies import GuardedRoute
from api.document import EVERYWHERE
from api.limits import LARGER_BODIES
from app.settings import PROJECT_ROOT
from fl.features import FEATURES

DOCUMENTATION = PROJECT_ROOT / "docs" / "api.md"
OPEN = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("GET", "/problems"),
    ("GET", "/problems/{name}"),
}  # need no token
REF = "#/components/schemas/"
COMMON = {*EVERYWHERE, 415}  # said once for all routes
Operation = dict[str, Any]


@cache
def _document() -> dict[str, Any]:
    return create_api().openapi()


def _operations() -> Iterator[tuple[str, str, Operation]]:
    for path, item in _document()["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def _schemas(node: object) -> Iterator[dict[str, Any]]:
    """Yield every JSON object below a place of the document."""
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from _schemas(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _schemas(inner)


def test_every_schema_is_valid_and_every_reference_leads_somewhere() -> None:
    document = _document()
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = {node["$ref"] for node in _schemas(document) if isinstance(node.get("$ref"), str)}
    assert {reference.removeprefix(REF) for reference in references} <= set(schemas)
    assert {name for name in schemas if f"{REF}{name}" not in references} == set(), "described but not used"


def test_every_operation_has_a_name_a_sentence_its_answers_and_its_parameters() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(set(names)) == len(names)
    for method, path, operation in _operations():
        place = f"{method} {path}"
        assert operation["description"].rstrip().endswith("."), place
        assert re.fullmatch(r"[a-z_]+", operation["operationId"]), place
        parameters = operation.get("parameters", [])
        assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
        for parameter in parameters:
            if parameter["in"] == "query":
                assert parameter.get("description"), f"{place} {parameter['name']}"
        for status, answer in operation["responses"].items():
            assert answer["description"], place
            assert status in ("204", "304") or answer["content"], f"{place} {status}"
            assert "X-Request-ID" in answer["headers"], f"{place} {status}"
            if status >= "400" and (path, status) not in {("/health", "503"), ("/ready", "503")}:
                assert set(answer["content"]) == {"application/problem+json"}, f"{place} {status}"
        successes = [status for status in operation["responses"] if status.startswith("2")]
        assert len(successes) == 1, place
        needed = {"401", "403", "503"} if (method, path) not in OPEN else set()
        assert {*needed, "413", "429", "500"} <= set(operation["responses"]), place
        assert ("415" in operation["responses"]) == (
            "application/json" in operation.get("requestBody", {}).get("content", {})
        ), place
        assert ("security" in operation) == ((method, path) not in OPEN), place


def test_every_body_is_described_with_the_ranges_of_the_feature_table() -> None:
    schemas = _document()["components"]["schemas"]
    for name in ("PatientEntry", "PatientEdit", "PredictionRequest", "FeaturesRequest"):
        assert schemas[name]["additionalProperties"] is False
        for feature in FEATURES:
            described = schemas[name]["properties"][feature.name]
            assert feature.name in schemas[name]["required"]
            if feature.kind == "category":
                assert described["enum"] == list(feature.values)
            else:
                assert (described["minimum"], described["maximum"]) == (feature.minimum, feature.maximum)
    for _, path, operation in _operations():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["schema"], path
    listing = next(o for m, p, o in _operations() if (m, p) == ("GET", "/patients"))
    parameters = {parameter["name"]: parameter["schema"] for parameter in listing["parameters"]}
    assert parameters["age_from"]["maximum"] == 120
    assert {"search", "smoker", "cost_unknown", "sort", "descending", "cursor", "limit", "count"} <= set(
        parameters
    )


def test_larger_bodies_are_only_accepted_where_a_route_reads_one() -> None:
    reading = {(m, p) for m, p, o in _operations() if "multipart" in str(o.get("requestBody"))}
    assert set(LARGER_BODIES) == reading


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: router.prefix or "health")
def test_every_route_is_guarded_by_a_permission_or_open_on_purpose(router: Any) -> None:
    for route in router.routes:
        for method in route.methods:
            if (method, route.path) in OPEN:
                assert not isinstance(route, GuardedRoute)
            else:
                assert isinstance(route, GuardedRoute), route.path
                assert len(route.permissions) == 1, route.path


def _documented() -> list[tuple[str, ...]]:
    lines = re.findall(r"^\| `([A-Z]+)` \| `(\S+)` \| (\S+) \| ([\d, ]+) \|", DOCUMENTATION.read_text(), re.M)
    return [tuple(cell.strip() for cell in line) for line in lines]


def _as_documented() -> list[tuple[str, ...]]:
    permissions = {
        (method, route.path): route.permissions
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, GuardedRoute)
        for method in route.methods or ()
    }
    return [
        (
            method,
            path,
            ", ".join(f"`{permission}`" for permission in permissions.get((method, path), ())) or "–",
            ", ".join(status for status in sorted(operation["responses"]) if int(status) not in COMMON),
        )
        for method, path, operation in _operations()
    ]


def test_the_table_of_the_documentation_is_that_of_the_application() -> None:
    assert _documented() == _as_documented()
