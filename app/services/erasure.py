"""Everything held on one patient as one document, and erasing it for good; the audit keeps the id alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, inspect, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import archives
from app.services.access import names_patient, record_access, refuse_unknown
from db.data_life import Erasure
from db.idempotency import SiteIdempotencyKey
from db.site import AccessEvent, Patient, PatientChange, Prediction, ShadowPrediction, SiteBase
from fl.features import FieldProblem

# What an event says of a patient to the patient; the network addresses of the staff are no fact about the patient.
_OF_AN_EVENT = ("id", "occurred_at", "worker_id", "role", "action", "outcome")


@dataclass(frozen=True)
class Erased:
    """What was erased with a patient: rows of the history, and predictions with those of the shadow version."""

    patient_id: uuid.UUID
    changes: int
    predictions: int


@dataclass(frozen=True)
class Tombstone:
    """One erased patient, for erasing again from what was restored."""

    patient_id: uuid.UUID
    erased_at: datetime
    worker_id: int
    worker_name: str


def export_person(*, site: Session, actor: Actor, patient_id: uuid.UUID) -> dict[str, Any]:
    """Return everything that this institution holds on one patient, also a deleted one, ready for JSON.

    Raises
    ------
    NotFound
        If this institution has no such patient, or they were erased.
    """
    actor.require(Permission.PATIENTS_EXPORT)
    patient = site.get(Patient, patient_id)
    if patient is None:
        refuse_unknown(site, actor, "person_exported", patient_id)
    changes = site.scalars(
        select(PatientChange).where(PatientChange.patient_id == patient_id).order_by(PatientChange.id)
    ).all()
    predictions = site.execute(
        select(Prediction, ShadowPrediction)
        .outerjoin(ShadowPrediction, ShadowPrediction.prediction_id == Prediction.id)
        .where(Prediction.patient_id == patient_id)
        .order_by(Prediction.created_at, Prediction.id)
    ).all()
    events = site.scalars(select(AccessEvent).where(names_patient(patient_id)).order_by(AccessEvent.id)).all()
    document = {
        "what": "Everything that the hospital's Fedcost database holds on one patient. Amounts are US dollars a year.",
        "institution": actor.institution_name,
        "made_at": datetime.now(UTC).isoformat(),
        "record": _row(patient),
        "changes": [_row(change) for change in changes],
        "predictions": [
            {**_row(prediction), "unshown_prediction": None if shadow is None else _row(shadow)}
            for prediction, shadow in predictions
        ],
        "accesses": [{name: _plain(getattr(event, name)) for name in _OF_AN_EVENT} for event in events],
    }
    record_access(
        site,
        actor,
        "person_exported",
        patient_id=patient_id,
        details={"changes": len(changes), "predictions": len(predictions), "accesses": len(events)},
    )
    return document


def erase_patient(*, site: Session, actor: Actor, patient_id: uuid.UUID, confirmed_id: uuid.UUID) -> Erased:
    """Erase a patient's record, history and predictions; nothing brings them back.

    What was computed from the patient together with others stays: models trained so far are not changed.

    Parameters
    ----------
    confirmed_id
        The id again, as whoever decides confirms it.

    Raises
    ------
    InvalidInput
        If the confirmation is not of this patient.
    NotFound
        If this institution has no such patient, or they were erased already.
    """
    actor.require(Permission.PATIENTS_ERASE)
    if confirmed_id != patient_id:
        raise InvalidInput(
            [FieldProblem("confirmed_id", "The confirmation names another patient; nothing was erased.")]
        )
    # The row's lock keeps others from adding to its history meanwhile.
    if site.scalar(select(Patient.id).where(Patient.id == patient_id).with_for_update()) is None:
        refuse_unknown(site, actor, "patient_erased", patient_id)
    erased = _erase(site, patient_id)
    if actor.institution_code is not None:
        archives.forget(
            actor.institution_code, patient_id
        )  # before the commit: if it fails, nothing is erased
    site.add(Erasure(patient_id=patient_id, worker_id=actor.worker_id, worker_name=actor.name))
    record_access(
        site,
        actor,
        "patient_erased",
        patient_id=patient_id,
        details={"changes": erased.changes, "predictions": erased.predictions},
    )
    return erased


def tombstones(site: Session) -> list[Tombstone]:
    """Return every patient who was erased here."""
    rows = site.scalars(select(Erasure).order_by(Erasure.erased_at, Erasure.patient_id))
    return [Tombstone(row.patient_id, row.erased_at, row.worker_id, row.worker_name) for row in rows]


def erase_again(site: Session, erased: Iterable[Tombstone]) -> int:
    """Erase from a restored database whoever was erased since its backup; returns how many records that were."""
    found = 0
    for one in erased:
        present = site.scalar(select(func.count()).where(Patient.id == one.patient_id)) or 0
        _erase(site, one.patient_id)
        site.execute(insert(Erasure).values(**vars(one)).on_conflict_do_nothing())
        if present:
            found += 1
            record_access(site, None, "patient_erased_again", patient_id=one.patient_id)
    return found


def _erase(site: Session, patient_id: uuid.UUID) -> Erased:
    predictions = _count(site, delete(Prediction).where(Prediction.patient_id == patient_id))
    changes = _count(site, delete(PatientChange).where(PatientChange.patient_id == patient_id))
    _count(site, delete(Patient).where(Patient.id == patient_id))
    answered = SiteIdempotencyKey.answer.contains(str(patient_id))
    _count(site, delete(SiteIdempotencyKey).where((SiteIdempotencyKey.patient_id == patient_id) | answered))
    return Erased(patient_id, changes, predictions)


def _count(site: Session, statement: Any) -> int:
    return cast("CursorResult[Any]", site.execute(statement)).rowcount


def _row(row: SiteBase) -> dict[str, Any]:
    return {column.key: _plain(getattr(row, column.key)) for column in inspect(type(row)).column_attrs}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    return dict(value) if isinstance(value, Mapping) else value
