"""One-time links: an administrator makes one, and whoever opens it first chooses the password of that account."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict
from app.services import audit
from app.services.worker_scope import find_looked_after
from db.accounts import OneTimeLink
from db.central import MedicalWorker

LINK_LIFETIME = timedelta(hours=24)
LINK_PATH = "/set_password"


@dataclass(frozen=True)
class NewLink:
    """A link that was made; its secret is shown once and kept nowhere but as its hash.

    Attributes
    ----------
    path
        What follows the address of the application. The secret stands behind the `#`, which a browser sends to no
        server: no log and no other site sees it.
    """

    email: str
    path: str
    expires_at: datetime


def make_link(*, central: Session, actor: Actor, worker_id: int) -> NewLink:
    """Make a link for somebody whom the actor looks after; an earlier one stops working.

    Raises
    ------
    NotFound
        If the actor looks after nobody of that id.
    Conflict
        If the account is deactivated.
    """
    worker = find_looked_after(central, actor, worker_id, for_update=True)
    link = issue_link(central, worker, actor=actor)
    audit.record(central=central, actor=actor, action="reset_link_made", target=f"worker {worker.id}")
    return link


def issue_link(central: Session, worker: MedicalWorker, *, actor: Actor | None) -> NewLink:
    """Make a link for a Worker whose row is held; `actor` None is somebody at the server itself."""
    if not worker.is_active:
        raise Conflict("This account is deactivated. Reactivate it first.")
    central.execute(
        update(OneTimeLink)
        .where(
            OneTimeLink.worker_id == worker.id, OneTimeLink.used_at.is_(None), OneTimeLink.ended_at.is_(None)
        )
        .values(ended_at=func.clock_timestamp())
    )
    token = secrets.token_urlsafe(32)
    expires_at = datetime.now(UTC) + LINK_LIFETIME
    central.add(
        OneTimeLink(
            worker_id=worker.id,
            created_by=actor.worker_id if actor else None,
            token_sha256=link_sha256(token),
            expires_at=expires_at,
        )
    )
    central.flush()
    return NewLink(worker.email, f"{LINK_PATH}#{token}", expires_at)


def link_sha256(token: str) -> str:
    """Return what the database holds of a link's secret."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
