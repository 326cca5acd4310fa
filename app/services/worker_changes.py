"""Adding people and changing what they are: name, role, institution, and whether they may sign in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput
from app.permissions import INSTITUTION_ROLES, Permission
from app.services import audit
from app.services.one_time_links import NewLink, issue_link
from app.services.person_entry import email_problems, name_problems, tidy_email, tidy_name
from app.services.worker_list import WorkerView, read_worker
from app.services.worker_scope import find_looked_after, require_may_give
from db.central import Institution, MedicalWorker
from db.states import Role
from fl.features import FieldProblem


@dataclass(frozen=True)
class AddedWorker:
    """Somebody who was added, and the one-time link with which they choose their password."""

    worker: WorkerView
    link: NewLink


def add_worker(
    *,
    central: Session,
    actor: Actor,
    name: str,
    email: str,
    role: str,
    institution: str | None = None,
) -> AddedWorker:
    """Add a person, who chooses a password through the link; nobody else ever types one.

    Parameters
    ----------
    institution
        Code of the institution; None for roles of the whole consortium. An institution's administrator need
        not give it.

    Raises
    ------
    InvalidInput
        Naming every field that is wrong.
    PermissionRefused
        If the actor may not give this role, or not there.
    Conflict
        If somebody signs in with this e-mail address already.
    """
    actor.require(Permission.WORKERS_MANAGE)
    name, email = tidy_name(name), tidy_email(email)
    problems = [*name_problems(name), *email_problems(email)]
    wanted = _role(role, problems)
    if wanted in INSTITUTION_ROLES and not institution:
        institution = actor.institution_code
    place = _institution(central, wanted, institution or None, problems)
    if problems or wanted is None:
        raise InvalidInput(problems)
    require_may_give(actor, wanted, place.code if place else None)
    if central.scalar(select(MedicalWorker.id).where(MedicalWorker.email == email)) is not None:
        raise _taken()
    worker = MedicalWorker(
        email=email, name=name, role=wanted, institution_id=place.id if place else None, password_hash=None
    )
    try:
        central.add(worker)
        central.flush()
    except IntegrityError as error:
        raise _taken() from error
    audit.record(
        central=central,
        actor=actor,
        action="worker_added",
        target=f"worker {worker.id}",
        details={"role": wanted.value, "institution": place.code if place else None},
    )
    central.refresh(worker)  # what the database filled in
    link = issue_link(central, worker, actor=actor)
    return AddedWorker(read_worker(central=central, actor=actor, worker_id=worker.id), link)


def change_worker(
    *,
    central: Session,
    actor: Actor,
    worker_id: int,
    row_version: int,
    name: str | None = None,
    role: str | None = None,
    institution: str | None = None,
    is_active: bool | None = None,
) -> WorkerView:
    """Change a person; what is None stays. A changed role, institution or a deactivation ends all their sessions.

    Parameters
    ----------
    row_version
        Of the record that the actor saw.

    Raises
    ------
    NotFound
        If the actor looks after nobody of that id.
    InvalidInput
        Naming every field that is wrong.
    PermissionRefused
        If the actor may not give this role, or not there.
    Conflict
        If somebody changed the person meanwhile, it is the actor's own role or activity, or the consortium would be
        left without an active administrator.
    """
    actor.require(Permission.WORKERS_MANAGE)
    worker = find_looked_after(central, actor, worker_id, for_update=True)
    if worker.row_version != row_version:
        raise Conflict(
            "Somebody else changed this person meanwhile. Nothing was changed: look at the person as they are now."
        )
    problems: list[FieldProblem] = []
    before = _facts(worker)
    wanted_name = worker.name if name is None else tidy_name(name)
    problems += name_problems(wanted_name)
    wanted_role = _role(worker.role if role is None else role, problems)
    code = institution if institution is not None else _code_of(worker)
    if wanted_role is not None and wanted_role not in INSTITUTION_ROLES and institution is None:
        code = None
    place = _institution(central, wanted_role, code, problems)
    if problems or wanted_role is None:
        raise InvalidInput(problems)
    require_may_give(actor, wanted_role, place.code if place else None)
    active = worker.is_active if is_active is None else is_active
    _refuse_to_lose_administrators(central, actor, worker, wanted_role, active)
    worker.name, worker.role = wanted_name, wanted_role
    worker.institution_id = place.id if place else None
    worker.is_active = active
    if central.is_modified(worker):
        worker.row_version += 1
        central.flush()
        central.refresh(worker)
        _record(central, actor, worker, before)
    return read_worker(central=central, actor=actor, worker_id=worker.id)


def _refuse_to_lose_administrators(
    central: Session, actor: Actor, worker: MedicalWorker, role: Role, active: bool
) -> None:
    """Refuse what nobody could undo; `find_looked_after` holds every active administrator of the consortium."""
    loses = worker.is_active and (role != worker.role or not active)
    if not loses:
        return
    if worker.id == actor.worker_id:
        raise Conflict("Nobody changes their own role or deactivates themselves. Ask another administrator.")
    if worker.role == Role.ADMIN:
        others = central.scalar(
            select(func.count())
            .select_from(MedicalWorker)
            .where(MedicalWorker.role == Role.ADMIN, MedicalWorker.is_active, MedicalWorker.id != worker.id)
        )
        if not others:
            raise Conflict(
                "This is the last active administrator of the consortium. Make somebody else an administrator first."
            )


def _role(role: str, problems: list[FieldProblem]) -> Role | None:
    if role in set(Role):
        return Role(role)
    problems.append(FieldProblem("role", f"The role is one of {', '.join(Role)}."))
    return None


def _institution(
    central: Session, role: Role | None, code: str | None, problems: list[FieldProblem]
) -> Institution | None:
    if role is None:
        return None
    if role not in INSTITUTION_ROLES:
        if code is not None:
            problems.append(
                FieldProblem(
                    "institution",
                    "People of this role belong to the whole consortium, to no institution.",
                )
            )
        return None
    if code is None:
        problems.append(
            FieldProblem("institution", "People of this role belong to an institution; choose it.")
        )
        return None
    found = central.scalars(select(Institution).where(Institution.code == code)).one_or_none()
    if found is None:
        problems.append(FieldProblem("institution", "There is no institution of this code."))
    return found


def _taken() -> Conflict:
    # Also where the person belongs to another institution, of whom this administrator learns nothing else.
    return Conflict("Somebody signs in with this e-mail address already; use another one.")


def _code_of(worker: MedicalWorker) -> str | None:
    return worker.institution.code if worker.institution else None


def _facts(worker: MedicalWorker) -> dict[str, Any]:
    return {
        "name": worker.name,
        "role": str(worker.role),
        "institution": _code_of(worker),
        "is_active": worker.is_active,
    }


def _record(central: Session, actor: Actor, worker: MedicalWorker, before: dict[str, Any]) -> None:
    """Keep what changed, from what to what; of a name only that it changed."""
    after = _facts(worker)
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    details = {name: ("changed" if name == "name" else values) for name, values in changed.items()}
    action = "worker_changed"
    if "is_active" in changed:
        action = "worker_reactivated" if worker.is_active else "worker_deactivated"
    audit.record(central=central, actor=actor, action=action, target=f"worker {worker.id}", details=details)
