"""The people who sign in: finding one, and counting the failed attempts that lock an account."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Interval, case, func, or_, select, update
from sqlalchemy.orm import Session, joinedload

from db.central import MedicalWorker

FREE_ATTEMPTS = 5
FIRST_WAIT = 60  # seconds
# Seconds. Whoever knows somebody's e-mail address can keep them out; never for longer than this after the last try, and
# an administrator's one-time link opens the account at once.
LONGEST_WAIT = 900
_MOST_DOUBLINGS = 4  # 16 minutes, over the longest wait


def find_worker(*, central: Session, email: str) -> MedicalWorker | None:
    """Return the Worker of that e-mail address, in lower case, with the Institution; one SELECT."""
    query = (
        select(MedicalWorker)
        .where(MedicalWorker.email == email)
        .options(joinedload(MedicalWorker.institution))
        .execution_options(populate_existing=True)
    )
    return central.scalars(query).one_or_none()


def record_failed_attempt(*, central: Session, worker_id: int) -> None:
    """Count one wrong password; the fifth locks for a minute, each one more for twice as long."""
    failed = MedicalWorker.failed_attempts + 1
    central.execute(
        update(MedicalWorker)
        .where(MedicalWorker.id == worker_id, _not_locked())
        .values(
            failed_attempts=failed,
            locked_until=case((failed >= FREE_ATTEMPTS, func.now() + _wait_after(failed)), else_=None),
        )
        .execution_options(synchronize_session=False)
    )


def admit_vouched(*, central: Session, worker_id: int) -> bool:
    """Let in an active account whose owner somebody else vouches for; False if it is switched off.

    Wrong passwords neither keep the owner out nor are forgotten.
    """
    admitted = central.scalar(
        update(MedicalWorker)
        .where(MedicalWorker.id == worker_id, MedicalWorker.is_active)
        .values(last_seen_at=func.now())
        .returning(MedicalWorker.id)
        .execution_options(synchronize_session=False)
    )
    return admitted is not None


def admit(*, central: Session, worker_id: int, password_hash: str) -> bool:
    """Clear the failed attempts of an active, unlocked account; False if it may not sign in.

    The check and the change are one statement: of many passwords tried at once, none that is
    compared after the fifth wrong one is let in.

    Parameters
    ----------
    password_hash
        What the password was compared with, which takes a while; one that was replaced meanwhile lets nobody in.
    """
    compared = MedicalWorker.password_hash == password_hash
    admitted = central.scalar(
        update(MedicalWorker)
        .where(MedicalWorker.id == worker_id, MedicalWorker.is_active, _not_locked(), compared)
        .values(failed_attempts=0, locked_until=None, last_seen_at=func.now())
        .returning(MedicalWorker.id)
        .execution_options(synchronize_session=False)
    )
    return admitted is not None


def _not_locked() -> ColumnElement[bool]:
    # clock_timestamp(): now() is when the transaction began, which may be before the lock.
    return or_(MedicalWorker.locked_until.is_(None), MedicalWorker.locked_until <= func.clock_timestamp())


def _wait_after(failed: ColumnElement[int]) -> ColumnElement[timedelta]:
    doublings = func.least(failed - FREE_ATTEMPTS, _MOST_DOUBLINGS)
    seconds = func.least(FIRST_WAIT * func.power(2, doublings), LONGEST_WAIT)
    wait: ColumnElement[timedelta] = func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=Interval)
    return wait
