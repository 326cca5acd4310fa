"""Predicting many patients at once: a table from a file, a selection of patients, or rows from the API."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.actor import Actor
from app.services.imports import RowProblem

if TYPE_CHECKING:
    from app.services.patient_query import PatientFilter
    from app.services.tabular import Table

MAX_ROWS = 200_000
Progress = Callable[[float], None]  # is told the share that is done, 0 to 1


@dataclass(frozen=True)
class BatchCheck:
    """What a table holds. If `problems` is not empty nothing of it is predicted.

    Attributes
    ----------
    rows
        Row of the file of each patient; the header is row 1. Shape (n,).
    columns
        Feature name -> n valid values.
    problems
        Everything wrong, by row and column.
    """

    rows: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    problems: list[RowProblem]


@dataclass(frozen=True)
class BatchResult:
    """Predicted costs of n patients, as columns.

    Attributes
    ----------
    model_version
        The version that made them.
    rows
        Row of the file, or 1 to n. Shape (n,).
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
    columns: dict[str, NDArray[Any]]
    cost: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    cautions: list[str]
    patient_ids: list[uuid.UUID]
    patient_names: list[str]

    def __len__(self) -> int:
        return len(self.cost)

    def headings(self) -> list[str]:
        """Return the headings of `records`, with units, for a table or a download."""
        raise NotImplementedError

    def records(self) -> Iterator[tuple[object, ...]]:
        """Yield one tuple for each patient, in the order of `headings`; None where there is no interval."""
        raise NotImplementedError


def check_batch(table: Table, mapping: Mapping[str, str | None]) -> BatchCheck:
    """Check a table's six columns; `mapping` is feature name -> name in the table's header."""
    raise NotImplementedError


def predict_batch(
    *, central: Session, actor: Actor, check: BatchCheck, progress: Progress | None = None
) -> BatchResult:
    """Predict a checked table; raises `InvalidInput` if the check found a problem, and `NoModelYet`."""
    raise NotImplementedError


def predict_patients(
    *,
    central: Session,
    site: Session,
    actor: Actor,
    filter: PatientFilter | None = None,
    patient_ids: Sequence[uuid.UUID] | None = None,
    progress: Progress | None = None,
) -> BatchResult:
    """Predict the patients of a filter or a list, and keep a prediction of each in the history.

    Raises
    ------
    InvalidInput
        If neither or both of filter and list are given, no patient is meant, or there are more than `MAX_ROWS`.
    NotFound
        If one of `patient_ids` is not a patient of this institution (any more).
    NoModelYet
        If no model was trained yet.
    """
    raise NotImplementedError


def predict_rows(*, central: Session, actor: Actor, rows: Sequence[Mapping[str, object]]) -> BatchResult:
    """Predict rows of features; raises `InvalidInput` with fields named `rows.0.age`, and `NoModelYet`."""
    raise NotImplementedError
