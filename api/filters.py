"""Query parameters of lists, made of the filters that the services declare."""

from __future__ import annotations

import dataclasses
import typing
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from app.services.paging import MAX_PAGE
from app.services.patient_query import PatientFilter, PatientSort
from app.services.prediction_history import PredictionFilter
from fl.features import FEATURES

_DESCRIPTIONS = {
    "search": "words that must all occur in the name",
    "cost_unknown": "only patients whose cost is not known",
    "patient": "words that must all occur in the patient's name",
    "patient_id": "one patient",
    "worker_id": "who made the prediction",
    "model_version": "by which model version",
    "since": "first day, in `zone`",
    "until": "last day, in `zone`",
    "zone": "time zone of the days, for example Europe/Berlin",
    "with_error": "only predictions of patients whose actual cost is known by now",
}
LONGEST_TEXT = 100  # characters
LARGEST_INTEGER = 2**31 - 1  # of an integer column in PostgreSQL


class Query(BaseModel):
    """Query parameters; one that is not declared is refused rather than ignored."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _feature_schema(name: str) -> tuple[str, dict[str, Any]] | None:
    for feature in FEATURES:
        if name == feature.name and feature.kind == "category":
            return feature.label, {"enum": [*feature.values, None]}
        if name in (f"{feature.name}_from", f"{feature.name}_to"):
            limits = {"minimum": feature.minimum, "maximum": feature.maximum}
            unit = f" in {feature.unit}" if feature.unit else ""
            return f"{feature.label}{unit}, included", limits
    return None


def _parameters(declared: type[Any]) -> dict[str, Any]:
    """Return one query parameter for each field of a filter, with what the feature table says of it."""
    hints = typing.get_type_hints(declared)
    parameters: dict[str, Any] = {}
    for field in dataclasses.fields(declared):
        described = _feature_schema(field.name)
        label, extra = described or (_DESCRIPTIONS[field.name], {})
        limits: dict[str, Any] = {}
        hint = hints[field.name]
        if hint in (int, int | None):
            limits = {"ge": -LARGEST_INTEGER, "le": LARGEST_INTEGER}
        elif hint in (float, float | None):
            limits = {"allow_inf_nan": False}
        elif hint in (str, str | None):
            limits = {"max_length": LONGEST_TEXT}
        parameters[field.name] = (
            hint,
            Field(field.default, description=label, json_schema_extra=extra, **limits),
        )
    return parameters


Cursor = Annotated[
    str | None,
    StringConstraints(max_length=LONGEST_TEXT),
    Field(
        description="next_cursor or previous_cursor of another page of the same list; none for the first page"
    ),
]


class _PatientOrder(Query):
    sort: PatientSort = Field(PatientSort.NAME, description="what the list is ordered by")
    descending: bool = Field(False, description="the largest, last or newest first; unknown costs stay last")


class _PatientPage(_PatientOrder):
    cursor: Cursor = None
    limit: int = Field(25, ge=1, le=MAX_PAGE, description="rows on a page")
    count: bool = Field(False, description="also count the patients of all pages")


class _PatientExport(_PatientOrder):
    format: Literal["csv", "xlsx"] = Field("csv", description="kind of file")


class _PredictionPage(Query):
    cursor: Cursor = None
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="rows on a page")


class _PredictionExport(Query):
    format: Literal["csv", "xlsx"] = Field("csv", description="kind of file")


class AccuracyQuery(Query):
    """How months are counted."""

    zone: str = Field("UTC", max_length=LONGEST_TEXT, description=_DESCRIPTIONS["zone"])


if TYPE_CHECKING:
    PatientSelection = Query
    PatientListQuery = _PatientPage
    PatientExportQuery = _PatientExport
    HistoryQuery = _PredictionPage
    HistoryExportQuery = _PredictionExport
else:
    _PATIENTS, _PREDICTIONS = _parameters(PatientFilter), _parameters(PredictionFilter)
    PatientSelection = create_model("PatientSelection", __base__=Query, **_PATIENTS)
    PatientListQuery = create_model("PatientListQuery", __base__=_PatientPage, **_PATIENTS)
    PatientExportQuery = create_model("PatientExportQuery", __base__=_PatientExport, **_PATIENTS)
    HistoryQuery = create_model("HistoryQuery", __base__=_PredictionPage, **_PREDICTIONS)
    HistoryExportQuery = create_model("HistoryExportQuery", __base__=_PredictionExport, **_PREDICTIONS)


def patient_filter(query: BaseModel) -> PatientFilter:
    """Return the filter that a query describes."""
    return PatientFilter(**_values(query, PatientFilter))


def prediction_filter(query: BaseModel) -> PredictionFilter:
    """Return the filter that a query describes."""
    return PredictionFilter(**_values(query, PredictionFilter))


def _values(query: BaseModel, declared: type[Any]) -> dict[str, Any]:
    return {field.name: getattr(query, field.name) for field in dataclasses.fields(declared)}
