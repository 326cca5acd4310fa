"""Audit events of people who have no session, or not yet: signing in, links, tokens that come twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.services import audit
from db.central import MedicalWorker


def record_of(
    central: Session,
    worker: MedicalWorker | None,
    action: str,
    *,
    outcome: audit.Outcome = "ok",
    address: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an event of a Worker to the session.

    Parameters
    ----------
    worker
        None if nobody has the e-mail address; what was typed is not kept, because people type passwords into the
        wrong field.
    """
    event = audit.record(
        central=central, actor=None, action=action, outcome=outcome, address=address, details=details
    )
    if worker is not None:
        event.worker_id = worker.id
        event.role = worker.role
        event.institution_id = worker.institution_id
