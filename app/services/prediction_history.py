"""The institution's saved predictions, and how right they were once the actual cost is known."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy.orm import Session

from app.actor import Actor
from app.services.paging import Page
from db.site import Prediction


@dataclass(frozen=True)
class PredictionFilter:
    """Which predictions to list; everything is optional.

    Attributes
    ----------
    patient
        Words that must all occur in the patient's name, in any order and in any case.
    patient_id
        One patient.
    worker_id
        Who made the prediction.
    model_version
        By which model.
    since, until
        First and last day, both included, as days of `zone`.
    zone
        The reader's time zone by its IANA name, for example "Europe/Berlin".
    with_error
        Only predictions of patients whose actual cost is known by now.
    """

    patient: str | None = None
    patient_id: uuid.UUID | None = None
    worker_id: int | None = None
    model_version: str | None = None
    since: date | None = None
    until: date | None = None
    zone: str = "UTC"
    with_error: bool = False


@dataclass(frozen=True)
class PredictionOutcome:
    """A saved prediction beside what the patient really cost.

    Attributes
    ----------
    patient_name
        "Last, First"; None if it was made for nobody or the patient was deleted.
    actual_cost
        USD a year; None if not known.
    error
        USD a year, predicted less actual; None if not known.
    covered
        Whether the actual cost lies in the prediction's interval; None if either is not known.
    known_before
        The actual cost was on record when the prediction was made, so its error proves nothing.
    """

    prediction: Prediction
    patient_name: str | None
    actual_cost: Decimal | None
    error: Decimal | None
    covered: bool | None
    known_before: bool


@dataclass(frozen=True)
class HistoryChoices:
    """What the history can be filtered by.

    Attributes
    ----------
    workers
        Id and last known name of everybody who saved a prediction, by name.
    versions
        Model versions that made one, the newest first.
    """

    workers: list[tuple[int, str]]
    versions: list[str]


@dataclass(frozen=True)
class MonthAccuracy:
    """How right the predictions of one month and model version were, of those whose cost came later.

    Attributes
    ----------
    month
        Its first day; months are counted in `zone` of the question.
    count
        Predictions with an error that counts.
    mae, mean_error
        USD a year; the mean error is predicted less actual: above zero, the model asks too much.
    coverage
        Share of actual costs inside the interval, 0 to 1; None if no prediction had an interval.
    covered_of
        How many predictions had an interval.
    """

    month: date
    model_version: str
    count: int
    mae: float
    mean_error: float
    coverage: float | None
    covered_of: int


def history(
    *,
    site: Session,
    actor: Actor,
    filter: PredictionFilter = PredictionFilter(),
    cursor: str | None = None,
    limit: int = 20,
) -> Page[PredictionOutcome]:
    """List predictions, the newest first; raises `InvalidInput` if filter, cursor or limit is not accepted."""
    raise NotImplementedError


def predictions_of(*, site: Session, actor: Actor, patient_id: uuid.UUID) -> list[PredictionOutcome]:
    """List one patient's predictions, the newest first (at most 100); raises `NotFound`."""
    raise NotImplementedError


def history_for_export(
    *, site: Session, actor: Actor, filter: PredictionFilter = PredictionFilter()
) -> Iterator[PredictionOutcome]:
    """Yield every prediction of the filter, the newest first; the export is in the access log before the first."""
    raise NotImplementedError


def history_choices(*, site: Session, actor: Actor) -> HistoryChoices:
    """Return who and which versions made predictions here."""
    raise NotImplementedError


def accuracy_by_month(*, site: Session, actor: Actor, zone: str = "UTC") -> list[MonthAccuracy]:
    """Return the error by month and version, oldest first, of predictions whose actual cost was entered later."""
    raise NotImplementedError
