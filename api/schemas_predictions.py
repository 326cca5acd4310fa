"""Bodies of predicting and of the predictions made; the features come from the feature table."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import TYPE_CHECKING

from pydantic import Field, create_model

from api.filters import PatientSelection
from api.schemas import Answer, Request, Usd, features_accepted
from app.services.prediction_history import PredictionOutcome

MOST_ROWS = 100_000  # of one batch
Inputs = dict[str, int | float | str]


class _PatientReference(Request):
    patient_id: uuid.UUID | None = Field(
        default=None, description="One of your own hospital's patients, to keep the prediction with."
    )


if TYPE_CHECKING:
    PredictionRequest = _PatientReference
    FeaturesRequest = Request
else:
    PredictionRequest = create_model(
        "PredictionRequest",
        __base__=_PatientReference,
        __doc__="The six features of one patient.",
        **features_accepted(),
    )
    FeaturesRequest = create_model(
        "FeaturesRequest", __base__=Request, __doc__="The six features of one patient.", **features_accepted()
    )


class PredictionAnswer(Answer):
    """One saved prediction."""

    id: uuid.UUID
    patient_id: uuid.UUID | None
    inputs: Inputs
    predicted_cost: Usd = Field(description="USD a year")
    interval_low: Usd | None = Field(
        description="USD a year; nine in ten such patients cost between low and high"
    )
    interval_high: Usd | None = Field(description="USD a year; null if the model version has no calibration")
    model_version: str
    worker_name: str
    created_at: datetime


class NewPredictionAnswer(PredictionAnswer):
    """A prediction just made, with what to be careful about."""

    cautions: list[str]


class OutcomeAnswer(PredictionAnswer):
    """A saved prediction beside what the patient really cost."""

    worker_id: int
    patient_name: str | None = Field(description="last name, first name; null if made for nobody")
    actual_cost: Usd | None = Field(description="USD a year; null if not known")
    error: Usd | None = Field(description="USD a year, predicted less actual; null if not known")
    covered: bool | None = Field(
        description="whether the actual cost lies in the interval; null if not known"
    )
    known_before: bool = Field(description="the actual cost was on record before: its error proves nothing")


def outcome_answer(outcome: PredictionOutcome) -> OutcomeAnswer:
    """Return a prediction and its outcome as one flat record."""
    return OutcomeAnswer.model_validate(
        {**{name: getattr(outcome.prediction, name) for name in _OF_PREDICTION}, **vars(outcome)}
    )


_OF_PREDICTION = (*PredictionAnswer.model_fields, "worker_id")


class WhatIfAnswer(Answer):
    """The same patient with something changed."""

    label: str
    inputs: Inputs
    cost: Usd = Field(description="USD a year")
    difference: Usd = Field(description="USD a year, less the predicted cost")


class ExplanationAnswer(Answer):
    """A prediction that was not saved, what it is made of, and what would change it."""

    inputs: Inputs
    predicted_cost: Usd = Field(description="USD a year")
    interval_low: Usd | None = Field(description="USD a year; null if the model version has no calibration")
    interval_high: Usd | None = Field(description="USD a year")
    model_version: str
    cautions: list[str]
    base_cost: float = Field(
        description="USD a year: what the model predicts on average for an invented cohort"
    )
    contributions: dict[str, float] = Field(
        description="feature -> USD a year; with base_cost they add up to the predicted cost before it is kept "
        "from falling below zero"
    )
    what_ifs: list[WhatIfAnswer] = Field(description="only those that apply to this patient")


class MonthAccuracyAnswer(Answer):
    """How right the predictions of one month and model version were."""

    month: date = Field(description="its first day")
    model_version: str
    count: int = Field(description="predictions whose actual cost was entered after they were made")
    mae: float = Field(description="USD a year")
    mean_error: float = Field(description="USD a year, predicted less actual")
    coverage: float | None = Field(description="share of actual costs inside the interval, 0 to 1")
    covered_of: int = Field(description="predictions that had an interval")


class AccuracyAnswer(Answer):
    """Accuracy by month and model version, the oldest first."""

    months: list[MonthAccuracyAnswer]


class BatchRow(Answer):
    """One predicted patient."""

    row: int = Field(description="of the file, or the place among the rows or patients, from 1")
    patient_id: uuid.UUID | None
    inputs: Inputs
    predicted_cost: float = Field(description="USD a year")
    interval_low: float | None = Field(description="USD a year; null if the model version has no calibration")
    interval_high: float | None = Field(description="USD a year")
    caution: str = Field(description="empty if there is nothing to be careful about")


class BatchAnswer(Answer):
    """Predicted costs of many patients."""

    model_version: str
    count: int
    rows: list[BatchRow]


class BatchRequest(Request):
    """One of: rows of features; patients by id; patients by filter. Patients' predictions are kept in the history."""

    rows: list[FeaturesRequest] | None = Field(default=None, min_length=1, max_length=MOST_ROWS)
    patient_ids: list[uuid.UUID] | None = Field(default=None, min_length=1, max_length=MOST_ROWS)
    patients: PatientSelection | None = Field(
        default=None, description="filters as of GET /patients; {} is every patient"
    )
