"""Who did what in the consortium, kept for ever; never a patient's name or a value."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy.orm import Session

from app.actor import Actor
from app.databases import central_session
from app.errors import CentralUnavailable
from app.request_id import current_request_id
from db.central import AuditEvent

logger = logging.getLogger(__name__)

Outcome = Literal["ok", "refused", "failed"]


def record(
    *,
    central: Session,
    actor: Actor | None,
    action: str,
    target: str | None = None,
    outcome: Outcome = "ok",
    address: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Add one event to the session; it commits with the change that it describes.

    Parameters
    ----------
    action
        What was done, for example `run_started`.
    target
        On what, for example `run 7`; an id, never a name or a value.
    address
        Network address of the caller; the actor's own if not given.
    """
    event = AuditEvent(
        worker_id=actor.worker_id if actor else None,
        role=actor.role if actor else None,
        institution_id=actor.institution_id if actor else None,
        action=action[:100],
        target=target[:200] if target is not None else None,
        outcome=outcome,
        address=(address or (actor.address if actor else None) or "")[:64] or None,
        request_id=current_request_id(),
        details=dict(details or {}),
    )
    central.add(event)
    return event


def record_refusal(*, actor: Actor, action: str) -> None:
    """Keep that a person asked for what their role does not include; in a transaction of its own.

    If the database does not answer, the log says so instead: the person is refused either way.
    """
    try:
        with central_session(changes=False) as central:
            record(central=central, actor=actor, action=action, outcome="refused")
    except CentralUnavailable:
        logger.error("a refusal could not be kept: the central database does not answer")
