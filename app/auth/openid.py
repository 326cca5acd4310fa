"""Somebody whom an OpenID Connect provider vouches for: which account that is, and a session of ours for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as DatabaseSession

from app.auth.account_events import record_of
from app.auth.openid_settings import openid_settings
from app.auth.sessions import open_session, sha256
from app.auth.sign_in import normal_email
from app.errors import SignInRefused
from app.services import workers
from db.central import MedicalWorker, Session

# Streamlit keeps the identity in a cookie of its own for a month. It opens one session, soon after it was vouched for.
FRESH = timedelta(minutes=5)
_CLOCKS_DIFFER_BY = timedelta(minutes=2)
UNKNOWN = "You signed in at your provider, but no active account here has your e-mail address. Ask your administrator."
NOT_VERIFIED = "Your provider has not verified your e-mail address, so it does not tell who you are here."


@dataclass(frozen=True)
class Identity:
    """What an ID token says that counts here; Streamlit has checked its signature, issuer, nonce and expiry.

    Attributes
    ----------
    key
        SHA-256 of what makes this token the only one of its kind.
    """

    email: str
    email_verified: bool
    issued_at: datetime
    key: str


def identity_of(claims: Mapping[str, Any]) -> Identity | None:
    """Return a fresh identity that the provider made for this application; None if there is none."""
    issuer, subject, issued = claims.get("iss"), claims.get("sub"), claims.get("iat")
    audience, nonce = claims.get("aud"), claims.get("nonce")
    audiences = audience if isinstance(audience, list) else [audience]
    if not (claims.get("is_logged_in") is True and isinstance(issuer, str) and isinstance(subject, str)):
        return None
    if isinstance(issued, bool) or not isinstance(issued, int | float) or not isinstance(nonce, str):
        return None
    if openid_settings().openid_client_id not in audiences:
        return None
    issued_at = datetime.fromtimestamp(issued, UTC)
    if not -_CLOCKS_DIFFER_BY <= datetime.now(UTC) - issued_at <= FRESH:
        return None
    return Identity(
        email=normal_email(str(claims.get("email") or "")),
        email_verified=claims.get("email_verified") is True,
        issued_at=issued_at,
        key=sha256(json.dumps([issuer, subject, issued, nonce])),
    )


def was_used(central: DatabaseSession, identity: Identity) -> bool:
    """Tell whether the identity has opened its session already."""
    return central.scalar(select(Session.id).where(Session.openid_sha256 == identity.key)) is not None


def sign_in_as(
    central: DatabaseSession, *, identity: Identity, address: str | None, user_agent: str | None
) -> Session:
    """Open a session for the account with the identity's verified e-mail address.

    Raises
    ------
    SignInRefused
        If the provider has not verified the address, no active account has it, or the identity was used before.
    """
    worker = _holder(central, identity)
    if not identity.email_verified:
        raise _refused(central, worker, address, "not_verified", NOT_VERIFIED)
    if worker is None or not workers.admit_vouched(central=central, worker_id=worker.id):
        raise _refused(central, worker, address, "no_active_account", UNKNOWN)
    try:
        session, _ = open_session(
            central, worker=worker, user_agent=user_agent, address=address, openid_sha256=identity.key
        )
    except IntegrityError:
        central.rollback()
        raise SignInRefused("This sign-in at your provider was used before. Sign in there again.") from None
    record_of(central, worker, "sign_in", address=address, details={"through": "openid"})
    return session


def _holder(central: DatabaseSession, identity: Identity) -> MedicalWorker | None:
    if not identity.email or not identity.email.isprintable():
        return None
    return workers.find_worker(central=central, email=identity.email)


def _refused(
    central: DatabaseSession, worker: MedicalWorker | None, address: str | None, reason: str, sentence: str
) -> SignInRefused:
    details = {"through": "openid", "reason": reason}
    record_of(central, worker, "sign_in", outcome="refused", address=address, details=details)
    central.commit()
    return SignInRefused(sentence)
