"""Short-lived access tokens for API clients: signed, and checked against the sessions at each request."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import jwt
from sqlalchemy.orm import Session

from app.actor import Actor
from app.auth.sessions import ENDED, actor_for_session
from app.errors import SessionEnded
from app.settings import get_settings

_ALGORITHM = "HS256"
_ISSUER = "fedcost"


def access_token_lifetime() -> timedelta:
    """Return how long an access token, and the API session behind it, lives."""
    return timedelta(minutes=get_settings().access_token_minutes)


def issue_access_token(actor: Actor) -> tuple[str, int]:
    """Return an access token for the actor's session, and the seconds until it expires.

    The token says only whose session it is; role and institution are read from the database at each request.
    """
    now = datetime.now(UTC)
    lifetime = access_token_lifetime()
    claims = {
        "iss": _ISSUER,
        "sub": str(actor.worker_id),
        "sid": str(actor.session_id),
        "iat": now,
        "exp": now + lifetime,
    }
    secret = get_settings().jwt_secret.get_secret_value()
    return jwt.encode(claims, secret, algorithm=_ALGORITHM), int(lifetime.total_seconds())


def actor_for_access_token(central: Session, *, token: str, address: str | None = None) -> Actor:
    """Return who an access token belongs to, as they are now.

    Raises
    ------
    SessionEnded
        If the token is forged, expired or malformed, or its session has ended.
    """
    secret = get_settings().jwt_secret.get_secret_value()
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            options={"require": ["iss", "sub", "sid", "iat", "exp"]},
        )
        session_id = uuid.UUID(str(claims["sid"]))
    except (jwt.InvalidTokenError, ValueError):
        raise SessionEnded(ENDED) from None
    actor = actor_for_session(central, session_id=session_id, address=address)
    if str(actor.worker_id) != claims["sub"]:
        raise SessionEnded(ENDED)
    return actor
