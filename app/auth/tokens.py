"""Short-lived access tokens for API clients: signed, and checked against the sessions at each request."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import jwt
from sqlalchemy.orm import Session

from app.actor import Actor
from app.auth.sessions import ENDED, actor_for_session
from app.errors import SessionEnded
from app.settings import get_settings

_ALGORITHM = "HS256"
_ISSUER = "fedcost"
_AUDIENCE = "fedcost-api"
_CLOCKS_DIFFER_BY = 10  # seconds, between two processes that serve the application
_OTHER_PERSON = "Your role or hospital has changed since you signed in. Please sign in again."


def access_token_lifetime() -> timedelta:
    """Return how long an access token lives."""
    return timedelta(minutes=get_settings().access_token_minutes)


def issue_access_token(actor: Actor) -> tuple[str, int]:
    """Return an access token for the actor's session, and the seconds until it expires.

    Role and institution in it are for clients; what counts is read from the database at each request.
    """
    now = datetime.now(UTC)
    lifetime = access_token_lifetime()
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": str(actor.worker_id),
        "sid": str(actor.session_id),
        **_person(actor),
        "iat": now,
        "exp": now + lifetime,
    }
    key = get_settings().jwt_secret.get_secret_value()
    token = jwt.encode(claims, key, algorithm=_ALGORITHM, headers={"kid": key_id(key)})
    return token, int(lifetime.total_seconds())


def actor_for_access_token(central: Session, *, token: str, address: str | None = None) -> Actor:
    """Return who an access token belongs to, as they are now.

    Raises
    ------
    SessionEnded
        If the token is forged, expired, from the future or malformed, its session has ended, or the person has
        another role or institution by now.
    """
    try:
        claims = _verified(token)
        session_id = uuid.UUID(str(claims["sid"]))
    except (jwt.InvalidTokenError, ValueError):
        raise SessionEnded(ENDED) from None
    actor = actor_for_session(central, session_id=session_id, address=address)
    if str(actor.worker_id) != claims["sub"]:
        raise SessionEnded(ENDED)
    if any(claims.get(name, "") != value for name, value in _person(actor).items()):
        raise SessionEnded(_OTHER_PERSON)
    return actor


@lru_cache(maxsize=8)
def key_id(key: str) -> str:
    """Return the name of a key, which every process that knows the key gives it."""
    return hashlib.sha256(f"the name of {key}".encode()).hexdigest()[:16]


def _verified(token: str) -> Mapping[str, Any]:
    """Return the claims of a token that holds now."""
    settings = get_settings()
    keys = [key.get_secret_value() for key in (settings.jwt_secret, settings.jwt_secret_previous) if key]
    claims = _signed(token, tuple(keys))
    now = datetime.now(UTC).timestamp()
    if now >= claims["exp"]:
        raise jwt.ExpiredSignatureError
    if claims["iat"] > now + _CLOCKS_DIFFER_BY:
        raise jwt.ImmatureSignatureError
    return claims


@lru_cache(maxsize=1024)
def _signed(token: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the claims of a token that one of the keys signed; what is remembered is only what was found good.

    Which algorithm is used is ours to say, and never the token's. When it holds is asked each time it comes.
    """
    keys = {key_id(key): key for key in known}
    named = jwt.get_unverified_header(token).get("kid")
    key = keys.get(named) if isinstance(named, str) else None
    if key is None:
        raise jwt.InvalidTokenError
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[_ALGORITHM],
        issuer=_ISSUER,
        audience=_AUDIENCE,
        options={
            "require": ["iss", "aud", "sub", "sid", "role", "iat", "exp"],
            "verify_iat": False,
        },
    )
    if type(claims["iat"]) is not int or type(claims["exp"]) is not int:
        raise jwt.InvalidTokenError
    return MappingProxyType(claims)


def _person(actor: Actor) -> dict[str, str | None]:
    return {"role": actor.role.value, "institution": actor.institution_code}
