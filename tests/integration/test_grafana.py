"""The ready-made dashboard asks only for what is exported, by labels that it has, and is of Grafana's shape."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app import measures
from app.metrics_endpoint import ConsortiumCollector
from app.settings import PROJECT_ROOT
from db.data_life import Backup
from db.federation import FederationStatus

DASHBOARD: dict[str, Any] = json.loads((PROJECT_ROOT / "docs" / "grafana-dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
_METRIC = re.compile(r"fedcost_\w+")
_BY = re.compile(r"by \(([\w, ]+)\)")
_SELECTED = re.compile(r"\{([^}]*)\}")

SHAPE = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "time": {"type": "object", "required": ["from", "to"]},
        "templating": {"type": "object", "required": ["list"]},
        "panels": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["id", "title", "type", "gridPos", "targets", "fieldConfig", "datasource"],
                "properties": {
                    "type": {"enum": ["stat", "timeseries"]},
                    "gridPos": {
                        "type": "object",
                        "required": ["x", "y", "w", "h"],
                        "properties": {
                            "x": {"type": "integer", "minimum": 0, "maximum": 23},
                            "w": {"type": "integer", "minimum": 1, "maximum": 24},
                        },
                    },
                    "targets": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "object", "required": ["expr", "refId", "datasource"]},
                    },
                    "fieldConfig": {"type": "object", "required": ["defaults", "overrides"]},
                },
            },
        },
    },
}


@pytest.fixture
def exported(
    consortium: Any, add_run: Callable[..., int], add_model: Callable[..., Any]
) -> dict[str, set[str]]:
    """Everything that a working installation exports: name of a series -> its labels."""
    add_run("completed", rounds=1)
    add_model()
    with consortium.central() as central:
        central.add(FederationStatus(state="up", runtime="warm", leader="hub:7", sites={}))
        now = datetime.now(UTC)
        central.add(
            Backup(started_at=now, finished_at=now, folder="b", status="completed", databases={}, bytes=1)
        )
        central.commit()
    measures.request_answered(method="GET", route="/api/patients", status=200, seconds=0.01)
    collector = ConsortiumCollector(consortium.settings)
    measures.REGISTRY.register(collector)
    try:
        said = generate_latest(measures.REGISTRY).decode()
    finally:
        measures.REGISTRY.unregister(collector)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_every_query_asks_for_series_and_labels_that_are_exported(exported: dict[str, set[str]]) -> None:
    for expression in EXPRESSIONS:
        names = set(_METRIC.findall(expression))
        assert names, expression
        assert names <= set(exported), expression
        labels = {label.strip() for found in _BY.findall(expression) for label in found.split(",")}
        labels |= {
            part.partition("=")[0].strip(" ~!")
            for found in _SELECTED.findall(expression)
            for part in found.split(",")
        }
        for name in names:
            assert labels <= exported[name], (expression, name)


def test_everything_that_is_exported_is_on_the_dashboard(exported: dict[str, set[str]]) -> None:
    asked = {name for expression in EXPRESSIONS for name in _METRIC.findall(expression)}
    families = {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in asked}
    told = {re.sub(r"_(bucket|count|sum|created|total)$", "", name) for name in exported}
    assert told - families == {"fedcost_started_timestamp_seconds"}


def test_no_series_is_labelled_by_a_person_or_a_patient(exported: dict[str, set[str]]) -> None:
    assert set().union(*exported.values()) == {"method", "route", "status", "database", "le"}


def test_the_file_is_of_grafanas_shape_and_its_panels_do_not_overlap() -> None:
    jsonschema.validate(DASHBOARD, SHAPE)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    [source] = DASHBOARD["templating"]["list"]
    assert source["type"] == "datasource"
    assert {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]} == {
        f"${{{source['name']}}}"
    }
