"""Access tokens: what they say, which are refused, and two keys alive while one replaces the other."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from sqlalchemy import func, update
from sqlalchemy.orm import Session as DatabaseSession

from app.auth import sessions
from app.auth.tokens import actor_for_access_token, issue_access_token, key_id
from app.databases import central_session
from app.errors import SessionEnded
from app.settings import Settings, get_settings
from db.central import Session
from db.states import SessionKind

KEY = "a secret for tests that nobody else uses"
NEW_KEY = "the key that takes over, as long as it must be"


@pytest.fixture
def session_id(consortium: Any) -> uuid.UUID:
    with central_session() as central:
        session, _ = sessions.open_session(central, worker=consortium.workers["nurse"], kind=SessionKind.API)
        return session.id


@pytest.fixture
def central_now(session_id: uuid.UUID) -> Iterator[DatabaseSession]:
    with central_session() as central:
        yield central


def _token(session_id: uuid.UUID) -> str:
    with central_session() as central:
        return issue_access_token(sessions.actor_for_session(central, session_id=session_id))[0]


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _signed(claims: dict[str, Any], key: str = KEY, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": key_id(KEY), **header})


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def test_a_token_says_whose_it_is_and_which_key_signed_it(consortium: Any, session_id: uuid.UUID) -> None:
    with central_session() as central:
        token, expires_in = issue_access_token(sessions.actor_for_session(central, session_id=session_id))
    assert expires_in == 900
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": key_id(KEY)}
    claims = _claims(token)
    assert claims["exp"] - claims["iat"] == 900
    del claims["exp"], claims["iat"]
    assert claims == {
        "iss": "fedcost",
        "aud": "fedcost-api",
        "sub": str(consortium.workers["nurse"].id),
        "sid": str(session_id),
        "role": "nurse",
        "institution": "northeast",
    }


def test_the_token_of_somebody_without_an_institution_says_so_and_works(consortium: Any) -> None:
    with central_session() as central:
        session, _ = sessions.open_session(central, worker=consortium.workers["admin"], kind=SessionKind.API)
        opened = session.id
    token = _token(opened)
    claims = _claims(token)
    assert (claims["role"], claims["institution"]) == ("admin", None)
    del claims["institution"]
    with central_session() as central:
        assert actor_for_access_token(central, token=token).institution_id is None
        with pytest.raises(SessionEnded):
            actor_for_access_token(central, token=_signed(claims))


def test_a_token_works_until_its_session_ends(session_id: uuid.UUID) -> None:
    token = _token(session_id)
    with central_session() as central:
        actor = actor_for_access_token(central, token=token)
        assert actor.session_id == session_id
        sessions.sign_out(central, actor=actor)
    with pytest.raises(SessionEnded), central_session() as central:
        actor_for_access_token(central, token=token)


def _in(seconds: int) -> int:
    return int(datetime.now(UTC).timestamp()) + seconds


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "another key": lambda good: _signed(good, "another secret of thirty-two characters"),
    "expired": lambda good: _signed({**good, "exp": _in(-1)}),
    "from the future": lambda good: _signed({**good, "iat": _in(60), "exp": _in(600)}),
    "a time that is none": lambda good: _signed({**good, "iat": True}),
    "of another issuer": lambda good: _signed({**good, "iss": "elsewhere"}),
    "for somebody else": lambda good: _signed({**good, "aud": "another-api"}),
    "of another person": lambda good: _signed({**good, "sub": "999"}),
    "no session": lambda good: _signed({**good, "sid": "nonsense"}),
    "an unknown session": lambda good: _signed({**good, "sid": str(uuid.uuid4())}),
    "a higher role": lambda good: _signed({**good, "role": "admin"}),
    "another institution": lambda good: _signed({**good, "institution": "southwest"}),
    "no institution": lambda good: _signed({**good, "institution": None}),
    "an unknown kid": lambda good: _signed(good, kid="0" * 16),
    "a kid that is a path": lambda good: _signed(good, "\0", kid="../../../../dev/null"),
    "another HMAC": lambda good: jwt.encode(good, KEY, algorithm="HS512", headers={"kid": key_id(KEY)}),
    "nothing": lambda good: "",
    "dots": lambda good: "a.b.c",
    **{
        f"without {name}": lambda good, name=name: _signed(  # type: ignore[misc]
            {key: value for key, value in good.items() if key != name}
        )
        for name in ("iss", "aud", "sub", "sid", "role", "iat", "exp")
    },
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_refused(
    central_now: DatabaseSession, session_id: uuid.UUID, forge: Callable[[dict[str, Any]], str]
) -> None:
    good = _claims(_token(session_id))
    assert actor_for_access_token(central_now, token=_signed(good))
    with pytest.raises(SessionEnded):
        actor_for_access_token(central_now, token=forge(good))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("kid", [key_id(KEY), None])
def test_a_token_that_says_it_needs_no_signature_is_refused(
    central_now: DatabaseSession, session_id: uuid.UUID, algorithm: str, kid: str | None
) -> None:
    header = {"alg": algorithm, "typ": "JWT", **({"kid": kid} if kid else {})}
    genuine = _token(session_id)
    unsigned = f"{_b64(json.dumps(header).encode())}.{genuine.split('.')[1]}"
    for signature in ("", genuine.split(".")[2]):
        with pytest.raises(SessionEnded):
            actor_for_access_token(central_now, token=f"{unsigned}.{signature}")


def test_a_token_cannot_choose_a_signature_by_public_key(
    central_now: DatabaseSession, session_id: uuid.UUID
) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = _claims(_token(session_id))
    header = {"kid": key_id(KEY)}
    with pytest.raises(SessionEnded):
        actor_for_access_token(
            central_now, token=jwt.encode(claims, private, algorithm="RS256", headers=header)
        )
    # A key that everybody knows, taken for the secret of an HMAC.
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    for extra in ({"jwk": jwk}, {"x5c": [_b64(public)]}, {"jku": "https://elsewhere.example/keys"}):
        token = jwt.encode(claims, _b64(public), algorithm="HS256", headers={**header, **extra})
        with pytest.raises(SessionEnded):
            actor_for_access_token(central_now, token=token)


def test_a_changed_character_of_any_part_is_refused(
    central_now: DatabaseSession, session_id: uuid.UUID
) -> None:
    token = _token(session_id)
    for place in (5, token.index(".") + 5, token.rindex(".") + 5):
        changed = "A" if token[place] != "A" else "B"
        with pytest.raises(SessionEnded):
            actor_for_access_token(central_now, token=token[:place] + changed + token[place + 1 :])


@pytest.fixture
def with_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def set_keys(now: str, previous: str | None = None) -> None:
        monkeypatch.setenv("JWT_SECRET", now)
        if previous is None:
            monkeypatch.delenv("JWT_SECRET_PREVIOUS", raising=False)
        else:
            monkeypatch.setenv("JWT_SECRET_PREVIOUS", previous)
        get_settings.cache_clear()

    yield set_keys
    get_settings.cache_clear()


def test_while_a_key_is_replaced_both_verify_and_only_the_new_one_signs(
    session_id: uuid.UUID, with_keys: Callable[..., None]
) -> None:
    old = _token(session_id)
    with_keys(NEW_KEY, KEY)
    new = _token(session_id)
    assert jwt.get_unverified_header(new)["kid"] == key_id(NEW_KEY) != key_id(KEY)
    jwt.decode(new, NEW_KEY, algorithms=["HS256"], audience="fedcost-api")
    with central_session() as central:
        assert actor_for_access_token(central, token=old).session_id == session_id
        assert actor_for_access_token(central, token=new).session_id == session_id
    swapped = jwt.encode(_claims(new), KEY, algorithm="HS256", headers={"kid": key_id(NEW_KEY)})
    with pytest.raises(SessionEnded), central_session() as central:
        actor_for_access_token(central, token=swapped)
    with_keys(NEW_KEY)
    with pytest.raises(SessionEnded), central_session() as central:
        actor_for_access_token(central, token=old)


def test_a_key_that_is_too_short_is_refused_outside_of_a_demonstration(
    consortium: Any, with_keys: Callable[..., None]
) -> None:
    for keys in (("short",), (KEY, "short")):
        with_keys(*keys)
        with pytest.raises(ValueError, match="must have at least 32 characters"):
            Settings()  # type: ignore[call-arg]


def test_a_token_is_refused_over_http_with_a_sentence(
    api: TestClient, token_of: Any, consortium: Any
) -> None:
    headers = token_of("nurse")
    assert api.get("/patients", headers=headers).status_code == 200
    with consortium.central() as central:
        central.execute(update(Session).values(ended_at=func.now()))
        central.commit()
    refused = api.get("/patients", headers=headers)
    assert refused.status_code == 401
    assert "Please sign in again." in refused.json()["detail"]
