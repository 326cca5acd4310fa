"""Changing one's own password, which takes the present one and ends every session of the person."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.actor import Actor
from app.auth.password_rules import check_new_password
from app.auth.passwords import check_password, hash_password
from app.errors import InvalidInput
from app.permissions import Permission
from app.services import audit, workers
from db.central import MedicalWorker
from fl.features import FieldProblem

WRONG = (
    "The present password is not right, or was wrong so often that the account is closed for some minutes."
)
NONE_YET = "Your account has no password. Ask your administrator for a one-time link to choose one."


def change_own_password(central: Session, *, actor: Actor, present: str, new: str) -> MedicalWorker:
    """Replace the actor's password and return their account, for the session that may follow in this transaction.

    The database ends every session, token and link of the person with it. A wrong present password counts like one
    at the sign-in: who finds an open browser cannot try any number of them.

    Raises
    ------
    InvalidInput
        If the present password is wrong, or the new one is not accepted.
    """
    actor.require(Permission.OWN_ACCOUNT)
    worker = central.scalars(
        select(MedicalWorker)
        .where(MedicalWorker.id == actor.worker_id)
        .execution_options(populate_existing=True)
    ).one()
    if worker.password_hash is None:
        raise InvalidInput([FieldProblem("present_password", NONE_YET)])
    right = check_password(present, worker.password_hash)
    if not right or not workers.admit(
        central=central, worker_id=worker.id, password_hash=worker.password_hash
    ):
        if not right:
            workers.record_failed_attempt(central=central, worker_id=worker.id)
        audit.record(central=central, actor=actor, action="password_changed", outcome="refused")
        central.commit()
        raise InvalidInput([FieldProblem("present_password", WRONG)])
    check_new_password(new, worker=worker)
    if check_password(new, worker.password_hash):
        raise InvalidInput([FieldProblem("new_password", "The new password is the one that you have.")])
    set_password(central, worker_id=worker.id, password=new)
    audit.record(central=central, actor=actor, action="password_changed")
    return worker


def set_password(central: Session, *, worker_id: int, password: str) -> None:
    """Write a checked password, and open the account again if wrong ones had closed it."""
    central.execute(
        update(MedicalWorker)
        .where(MedicalWorker.id == worker_id)
        .values(
            password_hash=hash_password(password),
            password_changed_at=func.clock_timestamp(),
            failed_attempts=0,
            locked_until=None,
        )
        .execution_options(synchronize_session=False)
    )
