"""One page of a list of patients: from where its cursor stands, in the order of its sort."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Uuid, cast, literal, literal_column, select, tuple_
from sqlalchemy.orm import Session

from app.services.paging import Position, integer_cursor, unknown_cursor, uuid_cursor
from app.services.patient_query import PatientFilter, PatientSort, sort_key
from db.site import Patient, PatientChange
from fl.features import TARGET_NAME


def cursor_of(patient: Patient) -> str:
    """Return what a cursor calls a row: its id, and once it was changed also its version.

    The version says where the row stood; the history tells it even after later changes.
    """
    return str(patient.id) if patient.row_version == 1 else f"{patient.id}.{patient.row_version}"


def rows_at(
    site: Session,
    *,
    filter: PatientFilter,
    sort: PatientSort,
    descending: bool,
    position: Position | None,
    count: int,
) -> Sequence[Patient]:
    """Read up to `count` rows from a position on, in the order of reading.

    Raises
    ------
    InvalidInput
        If the position is no row of this institution.
    """
    keys = sort_key(sort, descending=descending)
    downwards = descending != (position is not None and position.backwards)
    query = select(Patient).where(*filter.conditions())
    if position is not None:
        place = _place_of(site, position.row, sort, descending=descending)
        query = query.where(tuple_(*keys) < place if downwards else tuple_(*keys) > place)
    query = query.order_by(*(key.desc() if downwards else key for key in keys)).limit(count)
    return site.scalars(query).all()


def _place_of(site: Session, row: str, sort: PatientSort, *, descending: bool) -> ColumnElement[Any]:
    """Return the sort key that a row had when it was at the version that its cursor names."""
    raw_id, _, raw_version = row.partition(".")
    patient = site.get(Patient, uuid_cursor(raw_id))
    if patient is None:
        raise unknown_cursor()
    version = integer_cursor(raw_version) if raw_version else 1
    then = _as_it_was(site, patient, version)
    if sort is PatientSort.NAME:
        return tuple_(then["last_name"], then["first_name"], patient.id)
    if sort is PatientSort.AGE:
        return tuple_(then["age"], patient.id)
    if sort is PatientSort.CHANGED:
        return tuple_(then["updated_at"], patient.id)
    cost = then[TARGET_NAME]
    unknown = "'-1'::integer::numeric" if descending else "'Infinity'::numeric"
    return tuple_(literal_column(unknown) if cost is None else literal(cost), cast(patient.id, Uuid))


def _as_it_was(site: Session, patient: Patient, version: int) -> dict[str, Any]:
    """Return what a patient is sorted by as of a version, by undoing the changes made since.

    If the history does not reach back so far, what it has undone is the best answer there is.
    """
    state: dict[str, Any] = {
        name: getattr(patient, name) for name in ("last_name", "first_name", "age", TARGET_NAME, "updated_at")
    }
    since = patient.row_version - version
    if since <= 0:
        return state
    query = (
        select(PatientChange)
        .where(PatientChange.patient_id == patient.id)
        .order_by(PatientChange.id.desc())
        .limit(since + 1)
    )
    changes = site.scalars(query).all()
    for change in changes[:since]:
        for field, (before, _) in change.changes.items():
            if field in state:
                state[field] = before
    state["updated_at"] = _time_of(patient, changes, since)
    if isinstance(state[TARGET_NAME], float | int):
        state[TARGET_NAME] = Decimal(str(state[TARGET_NAME]))
    return state


def _time_of(patient: Patient, changes: Sequence[PatientChange], since: int) -> datetime:
    """Return when the version was made: by the change before those undone, or when the patient was added."""
    return changes[since].occurred_at if len(changes) > since else patient.created_at
