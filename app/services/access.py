"""Who looked at or changed which patient, kept in the institution's own database."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.actor import Actor
from app.services.audit import with_request_id
from db.site import AccessEvent


def record_access(
    site: Session,
    actor: Actor,
    action: str,
    *,
    patient_id: uuid.UUID | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add one event to the session: ids and counts only, never a name or a value."""
    site.add(_event(actor, action, patient_id, details))


def record_access_at_once(
    site: Session, actor: Actor, action: str, *, patient_id: uuid.UUID | None = None
) -> None:
    """Keep one event in a transaction of its own, because the session's is about to be rolled back."""
    with Session(site.get_bind()) as own:
        own.add(_event(actor, action, patient_id, None))
        own.commit()


def _event(
    actor: Actor, action: str, patient_id: uuid.UUID | None, details: Mapping[str, Any] | None
) -> AccessEvent:
    return AccessEvent(
        worker_id=actor.worker_id,
        action=action,
        patient_id=patient_id,
        address=actor.address[:64] if actor.address else None,
        details=with_request_id(details),
    )
