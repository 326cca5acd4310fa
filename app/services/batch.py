"""Predicting many patients at once: a table from a file, a selection of patients, or rows from the API."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import InvalidInput, NotFound
from app.measures import batch_predicted
from app.permissions import Permission
from app.services import models
from app.services.access import record_access
from app.services.batch_columns import BatchCheck, Columns, check_batch, columns_of
from app.services.batch_saving import save_batch
from app.services.patient_query import PatientFilter, PatientSort, sort_key
from app.services.predictions import cautions_for, interval_columns, predict_columns, shadow_columns
from app.services.tabular import MAX_ROWS
from db.site import Patient
from fl.features import FEATURE_NAMES, FEATURES, FieldProblem

__all__ = [
    "MAX_ROWS",
    "BatchCheck",
    "BatchResult",
    "check_batch",
    "predict_batch",
    "predict_patients",
    "predict_rows",
]

CHUNK = 10_000  # rows that are predicted at a time
SHARE_OF_SAVING = 0.9  # of the time that a selection of patients takes

Progress = Callable[[float], None]  # is told the share that is done, 0 to 1


@dataclass(frozen=True)
class BatchResult:
    """Predicted costs of n patients, as columns.

    Attributes
    ----------
    model_version
        The version that made them.
    rows
        Row or line of the file, or 1 to n. Shape (n,).
    columns
        Feature name -> n valid values.
    cost
        USD a year, whole cents. Shape (n,).
    low, high
        USD a year: 90 % interval, NaN where the version cannot say. Shape (n,).
    cautions
        n texts; empty where there is nothing to be careful about.
    patient_ids, patient_names
        Of a selection of patients: n each, names as "Last, First"; otherwise empty.
    """

    model_version: str
    rows: NDArray[np.int64]
    columns: Columns
    cost: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    cautions: list[str]
    patient_ids: list[uuid.UUID] = field(default_factory=list)
    patient_names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.cost)

    def headings(self) -> list[str]:
        """Return the headings of `records`, with units, for a table or a download."""
        features = [f"{one.label} ({one.unit})" if one.unit else one.label for one in FEATURES]
        costs = [f"{name} (USD a year)" for name in ("Predicted cost", "Interval from", "Interval to")]
        return [*(["Patient"] if self.patient_names else ["Row"]), *features, *costs, "Caution"]

    def records(self) -> Iterator[tuple[object, ...]]:
        """Yield one tuple for each patient, in the order of `headings`; None where there is no interval."""
        first = self.patient_names or self.rows.tolist()
        features = (self.columns[name].tolist() for name in FEATURE_NAMES)
        ends = ([None if math.isnan(end) else end for end in ends.tolist()] for ends in (self.low, self.high))
        return zip(first, *features, self.cost.tolist(), *ends, self.cautions, strict=True)


def predict_batch(
    *, central: Session, actor: Actor, check: BatchCheck, progress: Progress | None = None
) -> BatchResult:
    """Predict a checked table, all of it or nothing.

    Raises
    ------
    InvalidInput
        If the check found any problem: part of a list is easily taken for the whole.
    NoModelYet
        If no model was trained yet.
    """
    actor.require(Permission.PREDICT_BATCH)
    if check.problems:
        raise InvalidInput(
            [
                FieldProblem(problem.column or "file", f"Row {problem.row}: {problem.message}")
                for problem in check.problems
            ]
        )
    return _predicted(models.champion(central=central), check.rows, check.columns, progress)


def predict_rows(*, central: Session, actor: Actor, rows: Sequence[Mapping[str, object]]) -> BatchResult:
    """Predict rows of features, all of them or none.

    Raises
    ------
    InvalidInput
        Naming every value that is not accepted as `rows.0.age`; or `rows` if there are none or too many.
    NoModelYet
        If no model was trained yet.
    """
    actor.require(Permission.PREDICT_BATCH)
    _check_size(len(rows), "rows")
    columns, problems = columns_of(rows)
    if problems:
        raise InvalidInput([FieldProblem(f"rows.{row}.{name}", message) for row, name, message in problems])
    return _predicted(models.champion(central=central), np.arange(1, len(rows) + 1), columns, None)


def predict_patients(
    *,
    central: Session,
    site: Session,
    actor: Actor,
    filter: PatientFilter | None = None,
    patient_ids: Sequence[uuid.UUID] | None = None,
    progress: Progress | None = None,
) -> BatchResult:
    """Predict the patients of a filter, by name, or of a list, in its order, and keep a prediction of each.

    Raises
    ------
    InvalidInput
        If neither or both of filter and list are given, no patient is meant, or there are too many.
    NotFound
        If one of `patient_ids` is not a patient of this institution, or was deleted.
    NoModelYet
        If no model was trained yet.
    """
    actor.require(Permission.PREDICT_BATCH)
    actor.require(Permission.PATIENTS_READ)
    if (filter is None) == (patient_ids is None):
        message = "Choose patients either one by one or by a filter."
        raise InvalidInput([FieldProblem("patients", message)])
    loaded = models.champion(central=central)
    found = _filtered(site, filter) if filter is not None else _listed(site, patient_ids or ())
    _check_size(len(found), "patients")
    ids, first_names, last_names, *values = zip(*found, strict=True)
    columns = {
        feature.name: np.asarray(column, dtype=np.float64 if feature.kind == "number" else None)
        for feature, column in zip(FEATURES, values, strict=True)
    }

    def report(share: float) -> None:
        if progress:
            progress(share)

    predicted = _predicted(
        loaded,
        np.arange(1, len(found) + 1),
        columns,
        lambda share: report(share * (1 - SHARE_OF_SAVING)),
        patient_ids=list(ids),
        patient_names=[f"{last}, {first}" for last, first in zip(last_names, first_names, strict=True)],
    )
    record_access(
        site,
        actor,
        "patients_predicted",
        details={"count": len(found), "filters": filter.used if filter else ["patient_ids"]},
    )
    save_batch(
        site=site,
        actor=actor,
        model_version=predicted.model_version,
        patient_ids=predicted.patient_ids,
        columns=columns,
        costs=predicted.cost,
        low=predicted.low,
        high=predicted.high,
        shadow=_shadow(loaded, columns, len(found)),
        saved=lambda count: report(1 - SHARE_OF_SAVING * (1 - count / len(found))),
    )
    return predicted


_READ = (
    Patient.id,
    Patient.first_name,
    Patient.last_name,
    *(getattr(Patient, name) for name in FEATURE_NAMES),
)


def _filtered(site: Session, filter: PatientFilter) -> Sequence[Row[Any]]:
    filter.check()
    query = select(*_READ).where(*filter.conditions())
    query = query.order_by(*sort_key(PatientSort.NAME, descending=False)).limit(MAX_ROWS + 1)
    return site.execute(query).all()


def _listed(site: Session, patient_ids: Sequence[uuid.UUID]) -> Sequence[Row[Any]]:
    wanted = list(dict.fromkeys(patient_ids))
    _check_size(len(wanted), "patient_ids")
    present = Patient.id.in_(wanted), Patient.deleted_at.is_(None)
    found = {row[0]: row for row in site.execute(select(*_READ).where(*present))}
    if len(found) < len(wanted):
        raise NotFound("One or more of these patients are not, or no longer, in your hospital.")
    return [found[patient_id] for patient_id in wanted]


def _check_size(count: int, field: str) -> None:
    if count == 0:
        raise InvalidInput([FieldProblem(field, "There is no patient to predict.")])
    if count > MAX_ROWS:
        raise InvalidInput([FieldProblem(field, f"At most {MAX_ROWS:,} patients are predicted at once.")])


def _predicted(
    loaded: models.LoadedModel,
    rows: NDArray[np.int64],
    columns: Columns,
    progress: Progress | None,
    **patients: Any,
) -> BatchResult:
    cost, low, high = (np.empty(len(rows)) for _ in range(3))
    for begin in range(0, len(rows), CHUNK):
        part = slice(begin, begin + CHUNK)
        some = {name: column[part] for name, column in columns.items()}
        cost[part] = predict_columns(loaded, some)
        low[part], high[part] = interval_columns(loaded, cost[part], some)
        if progress:
            progress(min(begin + CHUNK, len(rows)) / len(rows))
    batch_predicted(len(rows))
    return BatchResult(
        loaded.version, rows, columns, cost, low, high, _cautions(columns, len(rows)), **patients
    )


def _shadow(
    loaded: models.LoadedModel, columns: Columns, count: int
) -> tuple[str, NDArray[np.float64]] | None:
    if loaded.shadow is None:
        return None
    costs = np.empty(count)
    for begin in range(0, count, CHUNK):
        part = slice(begin, begin + CHUNK)
        found = shadow_columns(loaded, {name: column[part] for name, column in columns.items()})
        assert found is not None
        costs[part] = found[1]
    return loaded.shadow.version, costs


def _cautions(columns: Columns, count: int) -> list[str]:
    unusual = np.zeros(count, dtype=bool)
    for feature in FEATURES:
        if feature.usual is not None:
            lowest, highest = feature.usual
            unusual |= (columns[feature.name] < lowest) | (columns[feature.name] > highest)
    cautions = [""] * count
    for row in np.flatnonzero(unusual).tolist():
        cautions[row] = " ".join(cautions_for({name: columns[name][row].item() for name in FEATURE_NAMES}))
    return cautions
