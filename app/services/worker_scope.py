"""Whom an administrator looks after: everybody, or the people of the own institution; others do not exist for them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NotFound, PermissionRefused
from app.permissions import INSTITUTION_ROLES, MANAGED_ROLES, Permission
from db.central import MedicalWorker
from db.states import Role


def looked_after_by(actor: Actor) -> ColumnElement[bool]:
    """Return the condition that the actor looks after a Worker; raises `PermissionRefused`."""
    actor.require(Permission.WORKERS_MANAGE)
    roles = MANAGED_ROLES[actor.role]
    if roles == frozenset(Role):
        return true()
    return and_(MedicalWorker.institution_id == actor.institution_id, MedicalWorker.role.in_(sorted(roles)))


def roles_given_by(actor: Actor) -> list[Role]:
    """Return the roles that the actor may give, in the order of `Role`."""
    return [role for role in Role if role in MANAGED_ROLES.get(actor.role, frozenset())]


def looks_after_all(actor: Actor) -> bool:
    """Tell whether the actor looks after the people of every institution."""
    return MANAGED_ROLES.get(actor.role) == frozenset(Role)


def require_may_give(actor: Actor, role: Role, institution_code: str | None) -> None:
    """Raise `PermissionRefused` unless the actor may make somebody this, there."""
    if role not in MANAGED_ROLES.get(actor.role, frozenset()):
        raise PermissionRefused(
            "Your role does not include giving this role. Ask the consortium's administrators."
        )
    own_only = not looks_after_all(actor)
    if own_only and role in INSTITUTION_ROLES and institution_code != actor.institution_code:
        raise PermissionRefused("Your role includes looking after people of your own hospital only.")


def find_looked_after(
    central: Session, actor: Actor, worker_id: int, *, for_update: bool = False
) -> MedicalWorker:
    """Return a Worker whom the actor looks after.

    Parameters
    ----------
    for_update
        Hold the account, and with it those of all active administrators of the consortium, always in the same order,
        so that no two of them are demoted at the same moment.

    Raises
    ------
    NotFound
        If there is none of that id, or the actor does not look after them.
    """
    wanted = MedicalWorker.id == worker_id
    if for_update:
        is_last_candidate = and_(MedicalWorker.role == Role.ADMIN, MedicalWorker.is_active)
        central.execute(
            select(MedicalWorker.id)
            .where(or_(wanted, is_last_candidate))
            .order_by(MedicalWorker.id)
            .with_for_update()
        ).all()
    worker = central.scalars(
        select(MedicalWorker).where(wanted, looked_after_by(actor)).execution_options(populate_existing=True)
    ).one_or_none()
    if worker is None:
        raise NotFound("There is no such person among those whom you look after.")
    return worker
