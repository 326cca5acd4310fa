"""Who looked at or changed which patient, kept in the institution's own database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NotFound
from app.request_id import current_request_id
from app.services.audit import Outcome
from db.site import SiteBase

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
