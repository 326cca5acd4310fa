"""What an administrator reads of a person: their role, where they belong, and whether they can sign in."""

from __future__ import annotations

from datetime import tzinfo

from app.components.formats import ROLE_NAMES, day, when
from app.services.worker_list import WorkerView
from db.states import Role

STATE_NAMES = {
    "active": "Active",
    "locked": "Closed for some minutes",
    "deactivated": "Deactivated",
    "without_password": "No password yet",
}
WHOLE = "Whole consortium"


def state_of(worker: WorkerView) -> str:
    """Return the one of `STATE_NAMES` that matters most."""
    if not worker.is_active:
        return "deactivated"
    if worker.locked_until is not None:
        return "locked"
    return "active" if worker.has_password else "without_password"


def standing(worker: WorkerView, zone: tzinfo) -> str:
    """Return in a few words how somebody stands: what keeps them out, or when they were last active."""
    state = state_of(worker)
    if state != "active":
        return STATE_NAMES[state]
    return f"Active {day(worker.last_seen_at, zone)}" if worker.last_seen_at else "Never signed in"


def role_words(worker: WorkerView) -> str:
    """Return the role as it is called everywhere."""
    return ROLE_NAMES[Role(worker.role)]


def facts_of(worker: WorkerView) -> list[str]:
    """Return sentences on how the person stands, for the dialog."""
    facts = []
    if not worker.is_active:
        facts.append("Deactivated: cannot sign in.")
    elif worker.locked_until is not None:
        facts.append(f"Closed until {when(worker.locked_until)} after wrong passwords. A new link opens it.")
    elif not worker.has_password:
        facts.append("Has not chosen a password yet.")
    if worker.link_expires_at is not None:
        facts.append(f"A link is waiting for them until {when(worker.link_expires_at)}.")
    if worker.last_seen_at is None:
        facts.append("Has never signed in.")
    else:
        signed_in = {0: "signed in nowhere now", 1: "signed in at one place now"}.get(
            worker.sessions, f"signed in at {worker.sessions} places now"
        )
        facts.append(f"Last active {when(worker.last_seen_at)}; {signed_in}.")
    return facts
