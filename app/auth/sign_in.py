"""Deciding whether an e-mail address and a password let a person in; the form and the API both ask here."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.auth.account_events import record_of
from app.auth.passwords import check_password
from app.errors import SignInRefused
from app.measures import sign_in_refused
from app.services import workers
from db.central import MedicalWorker

# One sentence for every reason: another one for a locked account would tell that the account exists.
REFUSAL = (
    "This e-mail and password do not match an account that can sign in. "
    "After five wrong passwords an account is closed for some minutes."
)
LONGEST_EMAIL = 255


def normal_email(email: str) -> str:
    """Return an e-mail address as the database holds it: trimmed, lower case."""
    return email.strip().lower()


def verify_credentials(
    central: Session, *, email: str, password: str, address: str | None = None
) -> MedicalWorker:
    """Return the Worker who signs in; commits what the attempt changed if it is refused.

    The answer takes the same time for a known and an unknown address: each is one SELECT, one bcrypt
    comparison and one commit of the audit event. If it is right, the transaction holds the account: the session
    that is to follow belongs into it, so that an account which is changed at this moment ends that session too.

    Raises
    ------
    SignInRefused
        If address or password is wrong, or the account is switched off or locked.
    """
    wanted = normal_email(email)
    worker = workers.find_worker(central=central, email=wanted) if _may_be_email(wanted) else None
    central.commit()  # gives the connection back while bcrypt takes its quarter of a second
    right = check_password(password, worker.password_hash if worker else None)
    if (
        worker is not None
        and worker.password_hash is not None
        and right
        and workers.admit(central=central, worker_id=worker.id, password_hash=worker.password_hash)
    ):
        record_of(central, worker, "sign_in", address=address)
        return worker
    if worker is not None and not right:
        workers.record_failed_attempt(central=central, worker_id=worker.id)
    record_of(central, worker, "sign_in", outcome="refused", address=address)
    central.commit()
    sign_in_refused()
    raise SignInRefused(REFUSAL)


def _may_be_email(text: str) -> bool:
    return 0 < len(text) <= LONGEST_EMAIL and text.isprintable()
