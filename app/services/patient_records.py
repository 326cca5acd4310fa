"""Changing the own institution's patients: adding, editing, deleting and restoring, each kept in the history."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, FieldDifference, PatientChanged
from app.permissions import Permission
from app.services.access import record_access, record_failed_access, refuse_unknown
from app.services.paging import (
    MAX_PAGE,
    Page,
    check_limit,
    integer_cursor,
    page_of,
    unknown_cursor,
    uuid_cursor,
)
from app.services.patient_entry import FIELD_LABELS, accepted_columns, is_storable
from db.site import Patient, PatientAction, PatientChange
from fl.features import FEATURE_BY_NAME, TARGET_NAME, parse_value

UNDO_PERIOD = timedelta(days=30)  # a deleted patient can be restored for so long
MOST_DUPLICATES = 20  # patients pointed out as perhaps the same


def add_patient(
    *,
    site: Session,
    actor: Actor,
    first_name: str,
    last_name: str,
    inputs: Mapping[str, object],
    insurance_cost: object = None,
) -> Patient:
    """Add one patient.

    Parameters
    ----------
    inputs
        The features by name, as typed.
    insurance_cost
        USD a year, or None if it is not known yet.

    Raises
    ------
    InvalidInput
        Naming every field that is missing or not accepted.
    """
    actor.require(Permission.PATIENTS_WRITE)
    columns = accepted_columns(first_name, last_name, inputs, insurance_cost)
    patient = Patient(**columns, created_by=actor.worker_id)
    site.add(patient)
    site.flush()
    _keep_change(site, actor, patient, PatientAction.ADDED, patient.created_at)
    record_access(site, actor, "patient_added", patient_id=patient.id)
    return patient


def edit_patient(
    *,
    site: Session,
    actor: Actor,
    patient_id: uuid.UUID,
    row_version: int,
    first_name: str,
    last_name: str,
    inputs: Mapping[str, object],
    insurance_cost: object = None,
) -> Patient:
    """Replace a patient's record, if nobody else changed it in between.

    A cost entered for a patient whose cost was unknown is dated, so that predictions made before can be judged
    by it; taking a cost away again takes the date away too. An edit that changes nothing leaves no history.

    Parameters
    ----------
    row_version
        `row_version` of the patient as the editor saw it.

    Raises
    ------
    PatientChanged
        If the record has changed since and differs from what is wanted; it holds the record and the differences.
    InvalidInput
        Naming every field that is missing or not accepted.
    NotFound
        If this institution has no such patient, or they were deleted.
    """
    actor.require(Permission.PATIENTS_WRITE)
    patient = _locked(site, patient_id)
    if patient is None or patient.deleted_at is not None:
        refuse_unknown(site, actor, "patient_edited", patient_id)
    columns = accepted_columns(first_name, last_name, inputs, insurance_cost)
    changes = {
        field: (getattr(patient, field), wanted)
        for field, wanted in columns.items()
        if getattr(patient, field) != wanted
    }
    if changes and patient.row_version != row_version:
        record_failed_access(site, actor, "patient_edit_conflict", patient_id=patient.id)
        site.expunge(patient)
        raise PatientChanged(
            patient,
            [
                FieldDifference(field, label, *changes[field])
                for field, label in FIELD_LABELS.items()
                if field in changes
            ],
        )
    if changes:
        now = _now(site)
        before_cost, cost = changes.get(TARGET_NAME, (None, None))
        if TARGET_NAME in changes and (before_cost is None or cost is None):
            patient.cost_entered_at = now if cost is not None else None
        for field, (_, wanted) in changes.items():
            setattr(patient, field, wanted)
        patient.updated_at = now
        site.flush()
        _keep_change(site, actor, patient, PatientAction.EDITED, now, changes)
    record_access(site, actor, "patient_edited", patient_id=patient.id, details={"fields": len(changes)})
    return patient


def delete_patient(
    *, site: Session, actor: Actor, patient_id: uuid.UUID, row_version: int | None = None
) -> Patient:
    """Take a patient out of every list; for 30 days `restore_patient` brings them back.

    Parameters
    ----------
    row_version
        Of the record that this was decided on; None if that does not matter.

    Raises
    ------
    PatientChanged
        If the record has another version.
    NotFound
        If this institution has no such patient, or they are deleted already.
    """
    actor.require(Permission.PATIENTS_DELETE)
    patient = _locked(site, patient_id)
    if patient is None or patient.deleted_at is not None:
        refuse_unknown(site, actor, "patient_deleted", patient_id)
    if row_version is not None and patient.row_version != row_version:
        record_failed_access(site, actor, "patient_delete_conflict", patient_id=patient.id)
        site.expunge(patient)
        raise PatientChanged(patient)
    now = _now(site)
    patient.deleted_at = patient.updated_at = now
    site.flush()
    _keep_change(site, actor, patient, PatientAction.DELETED, now)
    record_access(site, actor, "patient_deleted", patient_id=patient.id)
    return patient


def restore_patient(*, site: Session, actor: Actor, patient_id: uuid.UUID) -> Patient:
    """Bring a deleted patient back, with the same record, history and predictions.

    Raises
    ------
    NotFound
        If this institution never had such a patient.
    Conflict
        If the patient is not deleted, or was deleted more than 30 days ago.
    """
    actor.require(Permission.PATIENTS_DELETE)
    patient = _locked(site, patient_id)
    if patient is None:
        refuse_unknown(site, actor, "patient_restored", patient_id)
    if patient.deleted_at is None:
        record_failed_access(site, actor, "patient_restored", patient_id=patient_id)
        raise Conflict("This patient is not deleted; somebody may have restored them already.")
    now = _now(site)
    if patient.deleted_at < now - UNDO_PERIOD:
        record_failed_access(site, actor, "patient_restored", patient_id=patient_id)
        raise Conflict(
            f"This patient was deleted more than {UNDO_PERIOD.days} days ago and can no longer be restored."
        )
    patient.deleted_at = None
    patient.updated_at = now
    site.flush()
    _keep_change(site, actor, patient, PatientAction.RESTORED, now)
    record_access(site, actor, "patient_restored", patient_id=patient.id)
    return patient


def recently_deleted(
    *, site: Session, actor: Actor, cursor: str | None = None, limit: int = 50
) -> Page[Patient]:
    """List the patients that can still be restored, the last deleted first.

    Raises
    ------
    InvalidInput
        If the cursor is none, as that of a patient who was restored, or the limit is not accepted.
    """
    actor.require(Permission.PATIENTS_DELETE)
    query = (
        select(Patient)
        .where(Patient.deleted_at >= func.now() - UNDO_PERIOD)
        .order_by(Patient.deleted_at.desc(), Patient.id.desc())
        .limit(check_limit(limit) + 1)
    )
    if cursor is not None:
        at = site.get(Patient, uuid_cursor(cursor))
        if at is None or at.deleted_at is None:
            raise unknown_cursor()
        query = query.where(tuple_(Patient.deleted_at, Patient.id) < (at.deleted_at, at.id))
    page = page_of(site.scalars(query).all(), limit, lambda patient: patient.id)
    record_access(
        site,
        actor,
        "deleted_patients_listed",
        details={"patient_ids": [str(patient.id) for patient in page.items]},
    )
    return page


def changes_of(
    *, site: Session, actor: Actor, patient_id: uuid.UUID, cursor: str | None = None, limit: int = MAX_PAGE
) -> Page[PatientChange]:
    """Read what was changed of one patient, the newest change first.

    `changes` of each maps a field to [before, after]; BMI (kg/m²) and cost (USD a year) are numbers there, an
    unknown cost is None.

    Raises
    ------
    NotFound
        If this institution has no such patient, or they were deleted.
    InvalidInput
        If the cursor or the limit is not accepted.
    """
    actor.require(Permission.PATIENTS_READ)
    patient = site.get(Patient, patient_id)
    if patient is None or patient.deleted_at is not None:
        refuse_unknown(site, actor, "patient_history_read", patient_id)
    query = (
        select(PatientChange).where(PatientChange.patient_id == patient_id).order_by(PatientChange.id.desc())
    )
    if cursor is not None:
        query = query.where(PatientChange.id < integer_cursor(cursor))
    rows = site.scalars(query.limit(check_limit(limit) + 1)).all()
    page = page_of(rows, limit, lambda change: change.id)
    record_access(
        site, actor, "patient_history_read", patient_id=patient_id, details={"count": len(page.items)}
    )
    return page


def recorded_changes(changes: Mapping[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    """Return field -> (before, after) as `PatientChange.changes` keeps it: decimals as JSON numbers.

    A float holds the twelve digits of BMI and cost exactly enough to give the same decimal back.
    """
    return {field: [_recorded(value) for value in pair] for field, pair in changes.items()}


def possible_duplicates(
    *, site: Session, actor: Actor, first_name: str, last_name: str, age: object
) -> list[Patient]:
    """List patients of the same name, upper case and spaces ignored, and the same age in years.

    Called as one types: an entry that is not complete has no duplicates.
    """
    actor.require(Permission.PATIENTS_READ)
    name = "".join(f"{last_name}{first_name}".split())
    try:
        years = parse_value(FEATURE_BY_NAME["age"], age)
    except ValueError:
        return []
    if not first_name.strip() or not last_name.strip() or not is_storable(name):
        return []
    query = (
        select(Patient)
        .where(
            Patient.deleted_at.is_(None),
            Patient.age == years,
            func.replace(func.lower(Patient.last_name + Patient.first_name), " ", "") == func.lower(name),
        )
        .order_by(Patient.id)
        .limit(MOST_DUPLICATES)
    )
    found = list(site.scalars(query))
    details = {"patient_ids": [str(patient.id) for patient in found]}
    record_access(site, actor, "possible_duplicates_searched", details=details)
    return found


def _recorded(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _locked(site: Session, patient_id: uuid.UUID) -> Patient | None:
    """Read the patient as it is now and keep others from changing it until this transaction ends."""
    return site.get(Patient, patient_id, with_for_update=True, populate_existing=True)


def _now(site: Session) -> datetime:
    """Return the database's time of this transaction, for the record and its history alike."""
    return site.execute(select(func.now())).scalar_one()


def _keep_change(
    site: Session,
    actor: Actor,
    patient: Patient,
    action: PatientAction,
    now: datetime,
    changes: Mapping[str, tuple[Any, Any]] | None = None,
) -> None:
    site.add(
        PatientChange(
            patient_id=patient.id,
            occurred_at=now,
            worker_id=actor.worker_id,
            worker_name=actor.name,
            action=action,
            changes=recorded_changes(changes or {}),
        )
    )
