"""Who looked at or changed which patient, kept in the institution's own database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, and_, any_, func, insert, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NotFound
from app.request_id import current_request_id
from app.services.audit import Outcome
from db.site import AccessEvent, SiteBase

ACCESS_EVENTS = SiteBase.metadata.tables["access_events"]
# Of the table, and made once: an object of it takes longer than the database does.
_KEEP = insert(ACCESS_EVENTS).inline()


def record_access(
    site: Session,
    actor: Actor | None,
    action: str,
    *,
    patient_id: uuid.UUID | None = None,
    details: Mapping[str, Any] | None = None,
    outcome: Outcome = "ok",
) -> None:
    """Add one event to the transaction: ids and counts only, never a name or a value. Without an actor nobody asked."""
    event = access_event(actor, action, patient_id=patient_id, details=details, outcome=outcome)
    site.execute(_KEEP, event)


def record_failed_access(
    site: Session, actor: Actor, action: str, *, patient_id: uuid.UUID | None = None
) -> None:
    """Keep a failed attempt in a transaction of its own, because the session's is about to be rolled back."""
    with Session(site.get_bind()) as own:
        own.execute(_KEEP, access_event(actor, action, patient_id=patient_id, outcome="failed"))
        own.commit()


def names_patient(patient_id: uuid.UUID) -> ColumnElement[bool]:
    """Return the condition that an event is of a patient, alone or among others."""
    listed = AccessEvent.details.op("->", return_type=JSONB())("patient_ids")  # as the index has it
    among = and_(AccessEvent.details.has_key("patient_ids"), listed.contains([str(patient_id)]))
    found = select(AccessEvent.id).where(or_(AccessEvent.patient_id == patient_id, among))
    # An array, or PostgreSQL, which takes one in a hundred events for a patient's, goes through all, the newest first.
    return AccessEvent.id == any_(func.array(found.scalar_subquery()))


def refuse_unknown(
    site: Session,
    actor: Actor,
    action: str,
    patient_id: uuid.UUID,
    sentence: str = "There is no such patient in your hospital.",
) -> NoReturn:
    """Raise `NotFound`, and keep that somebody asked for an id that this institution does not have."""
    record_failed_access(site, actor, action, patient_id=patient_id)
    raise NotFound(sentence)


def access_event(
    actor: Actor | None,
    action: str,
    *,
    patient_id: uuid.UUID | None = None,
    details: Mapping[str, Any] | None = None,
    outcome: Outcome = "ok",
) -> dict[str, Any]:
    """Return the columns of an event, for whoever keeps it in a statement of their own."""
    return {
        "worker_id": actor.worker_id if actor else None,
        "role": actor.role if actor else None,
        "action": action,
        "patient_id": patient_id,
        "outcome": outcome,
        "address": actor.address[:64] if actor and actor.address else None,
        "request_id": current_request_id(),
        "details": dict(details or {}),
    }
