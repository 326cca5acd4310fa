"""The institution's saved predictions, each beside what the patient really cost once that is known."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, and_, func, select, text, tuple_
from sqlalchemy.orm import Session

from app.actor import Actor
from app.permissions import Permission
from app.services.access import record_access, refuse_unknown
from app.services.paging import MAX_PAGE, Page, Position, read_page, unknown_cursor, uuid_cursor
from app.services.prediction_accuracy import MonthAccuracy, accuracy_by_month
from app.services.prediction_query import PredictionFilter
from db.site import Patient, Prediction

__all__ = [
    "HistoryChoices",
    "MonthAccuracy",
    "PredictionFilter",
    "PredictionOutcome",
    "accuracy_by_month",
    "history",
    "history_choices",
    "history_for_export",
    "predictions_of",
]

EVERYTHING = PredictionFilter()
EXPORT_BATCH = 1000  # rows that an export holds at a time


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
        Model versions that made one, the one used last first.
    """

    workers: list[tuple[int, str]]
    versions: list[str]


def history(
    *,
    site: Session,
    actor: Actor,
    filter: PredictionFilter = EVERYTHING,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[PredictionOutcome]:
    """List one page of the predictions that `filter` names, the newest first.

    Parameters
    ----------
    cursor
        `next_cursor` or `previous_cursor` of another page of the same list.
    limit
        Rows on the page, 1 to 100.

    Raises
    ------
    InvalidInput
        If the filter, the cursor or the limit is not accepted.
    """
    actor.require(Permission.PREDICT)
    filter.check()
    query = _outcomes().where(*filter.conditions(site))
    page = _page(site, query, cursor, limit)
    _record_listed(site, actor, page.items, filters=filter.used)
    return page


def predictions_of(
    *, site: Session, actor: Actor, patient_id: uuid.UUID, cursor: str | None = None, limit: int = MAX_PAGE
) -> Page[PredictionOutcome]:
    """List one page of a patient's predictions, the newest first; cursor and limit as of `history`.

    Raises
    ------
    NotFound
        If this institution has no such patient, or they were deleted.
    InvalidInput
        If the cursor or the limit is not accepted.
    """
    actor.require(Permission.PREDICT)
    present = select(Patient.id).where(Patient.id == patient_id, Patient.deleted_at.is_(None))
    if site.scalar(present) is None:
        refuse_unknown(site, actor, "predictions_listed", patient_id)
    page = _page(site, _outcomes().where(Prediction.patient_id == patient_id), cursor, limit)
    record_access(
        site, actor, "predictions_listed", patient_id=patient_id, details={"count": len(page.items)}
    )
    return page


def history_for_export(
    *, site: Session, actor: Actor, filter: PredictionFilter = EVERYTHING
) -> Iterator[PredictionOutcome]:
    """Return every prediction of the filter, the newest first, read while they are taken.

    The session must stay open for so long. The access log gets how many there are and which filters were used,
    before the first is read.

    Raises
    ------
    InvalidInput
        If the filter is not accepted.
    """
    actor.require(Permission.PREDICT)
    actor.require(Permission.PATIENTS_EXPORT)
    filter.check()
    query = _outcomes().where(*filter.conditions(site))
    count = site.scalar(select(func.count()).select_from(query.subquery()))
    record_access(site, actor, "predictions_exported", details={"count": count, "filters": filter.used})
    site.flush()
    rows = site.execute(_in_order(query).execution_options(yield_per=EXPORT_BATCH))
    return (_outcome(row) for row in rows)


def history_choices(*, site: Session, actor: Actor) -> HistoryChoices:
    """Return who made predictions here, and which versions; it looks up one row for each, not all rows."""
    actor.require(Permission.PREDICT)
    workers = site.execute(text(_LAST_OF_EACH.format(column="worker_id"))).all()
    versions = site.execute(text(_LAST_OF_EACH.format(column="model_version"))).all()
    return HistoryChoices(
        workers=sorted(
            ((key, name) for key, name, _ in workers), key=lambda worker: (worker[1].casefold(), worker[0])
        ),
        versions=[key for key, _, _ in sorted(versions, key=lambda version: version[2], reverse=True)],
    )


# DISTINCT would read every row; this goes from value to value along the column's index.
_LAST_OF_EACH = """
    WITH RECURSIVE found (key, worker_name, created_at) AS (
        (SELECT {column}, worker_name, created_at FROM predictions
         ORDER BY {column}, created_at DESC, id DESC LIMIT 1)
        UNION ALL
        SELECT following.* FROM found CROSS JOIN LATERAL (
            SELECT {column}, worker_name, created_at FROM predictions WHERE {column} > found.key
            ORDER BY {column}, created_at DESC, id DESC LIMIT 1
        ) AS following
    )
    SELECT key, worker_name, created_at FROM found
"""

_Outcomes = Select[Prediction, str, str, Decimal | None, datetime | None]


def _outcomes() -> _Outcomes:
    return select(
        Prediction, Patient.first_name, Patient.last_name, Patient.insurance_cost, Patient.cost_entered_at
    ).join(Patient, and_(Patient.id == Prediction.patient_id, Patient.deleted_at.is_(None)), isouter=True)


def _page(site: Session, query: _Outcomes, cursor: str | None, limit: int) -> Page[PredictionOutcome]:
    return read_page(
        cursor,
        limit,
        lambda position, count: _rows_at(site, query, position, count),
        lambda outcome: outcome.prediction.id,
    )


def _rows_at(
    site: Session, query: _Outcomes, position: Position | None, count: int
) -> list[PredictionOutcome]:
    """Read up to `count` rows from a position on, in the order of reading."""
    backwards = position is not None and position.backwards
    if position is not None:
        at = site.get(Prediction, uuid_cursor(position.row))
        if at is None:
            raise unknown_cursor()
        place, here = tuple_(Prediction.created_at, Prediction.id), (at.created_at, at.id)
        query = query.where(place > here if backwards else place < here)
    return [_outcome(row) for row in site.execute(_in_order(query, backwards=backwards).limit(count))]


def _in_order(query: _Outcomes, *, backwards: bool = False) -> _Outcomes:
    keys = (Prediction.created_at, Prediction.id)
    return query.order_by(*(key if backwards else key.desc() for key in keys))


def _outcome(row: tuple[Any, ...]) -> PredictionOutcome:
    prediction, first_name, last_name, actual, entered = row
    error = covered = None
    if actual is not None:
        error = prediction.predicted_cost - actual
        if prediction.interval_low is not None:
            covered = prediction.interval_low <= actual <= prediction.interval_high
    return PredictionOutcome(
        prediction=prediction,
        patient_name=None if last_name is None else f"{last_name}, {first_name}",
        actual_cost=actual,
        error=error,
        covered=covered,
        known_before=actual is not None and (entered is None or entered <= prediction.created_at),
    )


def _record_listed(
    site: Session, actor: Actor, outcomes: list[PredictionOutcome], *, filters: list[str]
) -> None:
    patients = {str(one.prediction.patient_id) for one in outcomes if one.prediction.patient_id is not None}
    record_access(
        site,
        actor,
        "predictions_listed",
        details={"count": len(outcomes), "patient_ids": sorted(patients), "filters": filters},
    )
