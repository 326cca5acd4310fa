"""Keys of the institutions' SuperNodes: registered and revoked by the consortium's administrators, never deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from app.actor import Actor
from app.errors import Conflict, InvalidInput, NotFound
from app.permissions import Permission
from app.services import audit
from db.central import Institution, MedicalWorker
from db.supernode_keys import SupernodeKey
from fl.features import FieldProblem
from fl.node_keys import BadKey, fingerprint, read_public_line

REGISTERED, REVOKED = "supernode_key_registered", "supernode_key_revoked"
LONGEST_REASON = 500  # characters
LONGEST_KEY = 2000  # characters; a key has about 250


@dataclass(frozen=True)
class KeyView:
    """One key of an institution.

    Attributes
    ----------
    registered_by, revoked_by
        Names; None if the hub made the key itself for a SuperNode on its own machine, or if it is not revoked.
    in_use
        Whether SuperLink lets its holder in.
    """

    id: int
    fingerprint: str
    registered_at: datetime
    registered_by: str | None
    revoked_at: datetime | None
    revoked_by: str | None
    in_use: bool


def list_keys(*, central: Session, actor: Actor, code: str) -> list[KeyView]:
    """Read the keys of an institution, the newest first, revoked ones too.

    Raises
    ------
    NotFound
        If there is no such institution.
    """
    actor.require(Permission.INSTITUTIONS_MANAGE)
    institution = _institution(central, code)
    registrar, revoker = aliased(MedicalWorker), aliased(MedicalWorker)
    rows = central.execute(
        select(SupernodeKey, registrar.name, revoker.name)
        .outerjoin(registrar, registrar.id == SupernodeKey.registered_by)
        .outerjoin(revoker, revoker.id == SupernodeKey.revoked_by)
        .where(SupernodeKey.institution_id == institution.id)
        .order_by(SupernodeKey.id.desc())
        .execution_options(populate_existing=True)
    ).all()
    return [_view(key, registered_by, revoked_by) for key, registered_by, revoked_by in rows]


def register_key(*, central: Session, actor: Actor, code: str, public_key: str) -> KeyView:
    """Let the holder of a key answer for an institution; the supervisor tells SuperLink within seconds.

    A key that the institution has already stays valid, so that a SuperNode can change from one to the other.

    Parameters
    ----------
    public_key
        As `python -m fl.runtime.supernode_key` prints it; a comment behind it is left out.

    Raises
    ------
    NotFound
        If there is no such institution.
    InvalidInput
        If it is no public key of a SuperNode.
    Conflict
        If the key is or was registered, for whatever institution: a revoked key never comes back.
    """
    actor.require(Permission.INSTITUTIONS_MANAGE)
    institution = _institution(central, code)
    try:
        line = read_public_line(public_key[:LONGEST_KEY])
    except BadKey as problem:
        raise InvalidInput([FieldProblem("public_key", str(problem))]) from problem
    told = fingerprint(line)
    known = central.scalars(select(SupernodeKey).where(SupernodeKey.fingerprint == told)).one_or_none()
    if known is not None:
        raise _taken(known)
    key = SupernodeKey(
        institution_id=institution.id, public_key=line, fingerprint=told, registered_by=actor.worker_id
    )
    try:
        central.add(key)
        central.flush()
    except IntegrityError as error:
        raise Conflict("Somebody has just registered this key.") from error
    audit.record(
        central=central,
        actor=actor,
        action=REGISTERED,
        target=f"institution {code}",
        details={"fingerprint": told},
    )
    name = central.scalar(select(MedicalWorker.name).where(MedicalWorker.id == actor.worker_id))
    return _view(key, name, None)


def revoke_key(*, central: Session, actor: Actor, code: str, key_id: int, reason: str) -> KeyView:
    """Shut the holder of a key out for good; the supervisor tells SuperLink within seconds, during a Run too.

    Raises
    ------
    NotFound
        If the institution has no such key.
    InvalidInput
        If the reason is missing or too long.
    Conflict
        If it is revoked already.
    """
    actor.require(Permission.INSTITUTIONS_MANAGE)
    institution = _institution(central, code)
    key = central.scalars(
        select(SupernodeKey)
        .where(SupernodeKey.id == key_id, SupernodeKey.institution_id == institution.id)
        .with_for_update(of=SupernodeKey)
    ).one_or_none()
    if key is None:
        raise NotFound("This institution has no such key.")
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= LONGEST_REASON:
        message = f"Give a reason of at most {LONGEST_REASON} characters; it is kept with the change."
        raise InvalidInput([FieldProblem("reason", message)])
    if key.revoked_at is not None:
        raise Conflict("This key is revoked already.")
    # The supervisor clears what SuperLink called its holder, too; here it keeps Runs from asking it meanwhile.
    key.revoked_at, key.revoked_by, key.flwr_node_id = func.now(), actor.worker_id, None
    audit.record(
        central=central,
        actor=actor,
        action=REVOKED,
        target=f"institution {code}",
        details={"fingerprint": key.fingerprint, "reason": reason},
    )
    central.flush()
    central.refresh(key)
    names = {
        worker.id: worker.name
        for worker in central.scalars(
            select(MedicalWorker).where(MedicalWorker.id.in_((key.registered_by, key.revoked_by)))
        )
    }
    return _view(key, names.get(key.registered_by or 0), names.get(key.revoked_by or 0))


def _institution(central: Session, code: str) -> Institution:
    institution = central.scalars(select(Institution).where(Institution.code == code)).one_or_none()
    if institution is None:
        raise NotFound("There is no such institution.")
    return institution


def _taken(known: SupernodeKey) -> Conflict:
    if known.revoked_at is not None:
        return Conflict("This key was revoked, and a revoked key is never used again. Make a new one.")
    return Conflict(f"This key is registered for {known.institution.name} already.")


def _view(key: SupernodeKey, registered_by: str | None, revoked_by: str | None) -> KeyView:
    return KeyView(
        id=key.id,
        fingerprint=key.fingerprint,
        registered_at=key.registered_at,
        registered_by=registered_by,
        revoked_at=key.revoked_at,
        revoked_by=revoked_by,
        in_use=key.flwr_node_id is not None,
    )
