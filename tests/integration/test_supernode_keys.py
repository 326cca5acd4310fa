"""Keys of SuperNodes as administrators register and revoke them: each once, for one institution, and kept for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from app.services import supernode_keys
from db.central import AuditEvent
from db.supernode_keys import SupernodeKey
from fl.node_keys import fingerprint, make_private_key, public_line, read_private_key
from tests.integration.conftest import Consortium

TokenOf = Callable[[str], dict[str, str]]
Keys = Callable[[], str]


@pytest.fixture
def new_key(tmp_path: Path) -> Keys:
    """Make a SuperNode's key and return its public line."""

    def make() -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.key"
        make_private_key(path)
        return public_line(read_private_key(path))

    return make


def test_an_institution_may_have_two_keys_so_that_one_can_follow_the_other(
    consortium: Consortium, central: Session, new_key: Keys
) -> None:
    admin = consortium.actors["admin"]
    lines = [new_key(), new_key()]
    for line in lines:
        supernode_keys.register_key(
            central=central, actor=admin, code="northeast", public_key=f"  {line} ward-7 "
        )
    listed = supernode_keys.list_keys(central=central, actor=admin, code="northeast")
    assert [key.fingerprint for key in listed] == [fingerprint(line) for line in reversed(lines)]
    assert {key.registered_by for key in listed} == {"The admin"}
    assert not any(key.in_use or key.revoked_at for key in listed)
    assert supernode_keys.list_keys(central=central, actor=admin, code="southwest") == []


@pytest.mark.parametrize("second", ["northeast", "southwest"])
def test_a_key_is_registered_once_for_whomever(
    consortium: Consortium, central: Session, new_key: Keys, second: str
) -> None:
    admin, line = consortium.actors["admin"], new_key()
    supernode_keys.register_key(central=central, actor=admin, code="northeast", public_key=line)
    with pytest.raises(Conflict, match="registered for Northeast Hospital already"):
        supernode_keys.register_key(central=central, actor=admin, code=second, public_key=f"{line} again")
    assert len(central.scalars(select(SupernodeKey)).all()) == 1


def test_a_revoked_key_is_kept_with_who_and_why_and_never_comes_back(
    consortium: Consortium, central: Session, new_key: Keys
) -> None:
    admin, line = consortium.actors["admin"], new_key()
    asked = {"central": central, "actor": admin, "code": "northeast"}
    key = supernode_keys.register_key(**asked, public_key=line)
    revoked = supernode_keys.revoke_key(**asked, key_id=key.id, reason="  the disk   was stolen ")
    assert (revoked.revoked_by, revoked.in_use) == ("The admin", False)
    assert revoked.revoked_at is not None
    with pytest.raises(Conflict, match="revoked already"):
        supernode_keys.revoke_key(**asked, key_id=key.id, reason="again")
    for code in ("northeast", "southwest"):
        with pytest.raises(Conflict, match="never used again"):
            supernode_keys.register_key(central=central, actor=admin, code=code, public_key=line)
    assert supernode_keys.list_keys(**asked) == [revoked]
    events = central.scalars(
        select(AuditEvent).where(AuditEvent.action.startswith("supernode_key")).order_by(AuditEvent.id)
    ).all()
    assert [(event.action, event.target) for event in events] == [
        ("supernode_key_registered", "institution northeast"),
        ("supernode_key_revoked", "institution northeast"),
    ]
    assert events[1].details == {"fingerprint": key.fingerprint, "reason": "the disk was stolen"}


def test_the_key_of_another_institution_is_not_found(
    consortium: Consortium, central: Session, new_key: Keys
) -> None:
    admin = consortium.actors["admin"]
    key = supernode_keys.register_key(central=central, actor=admin, code="northeast", public_key=new_key())
    with pytest.raises(NotFound):
        supernode_keys.revoke_key(
            central=central, actor=admin, code="southwest", key_id=key.id, reason="a mistake"
        )
    assert supernode_keys.list_keys(central=central, actor=admin, code="northeast")[0].revoked_at is None


@pytest.mark.parametrize("reason", ["", " \t ", "x" * 501])
def test_a_revocation_needs_a_reason(
    consortium: Consortium, central: Session, new_key: Keys, reason: str
) -> None:
    asked = {"central": central, "actor": consortium.actors["admin"], "code": "northeast"}
    key = supernode_keys.register_key(**asked, public_key=new_key())
    with pytest.raises(InvalidInput, match="reason"):
        supernode_keys.revoke_key(**asked, key_id=key.id, reason=reason)


@pytest.mark.parametrize("sent", ["", "ssh-rsa AAAA", "ecdsa-sha2-nistp384", "x" * 5000, "<script>\0"])
def test_what_is_no_key_is_refused_in_a_sentence(consortium: Consortium, central: Session, sent: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        supernode_keys.register_key(
            central=central, actor=consortium.actors["admin"], code="northeast", public_key=sent
        )
    assert refused.value.problems[0].field == "public_key"
    assert refused.value.problems[0].message.endswith(".")


@pytest.mark.parametrize("person", ["scientist", "doctor", "nurse", "manager"])
def test_nobody_but_the_consortiums_administrators(
    consortium: Consortium, central: Session, new_key: Keys, person: str
) -> None:
    asked = {"central": central, "actor": consortium.actors[person], "code": "northeast"}
    with pytest.raises(PermissionRefused):
        supernode_keys.list_keys(**asked)
    with pytest.raises(PermissionRefused):
        supernode_keys.register_key(**asked, public_key=new_key())
    with pytest.raises(PermissionRefused):
        supernode_keys.revoke_key(**asked, key_id=1, reason="no")


def test_over_the_api(consortium: Consortium, api: TestClient, token_of: TokenOf, new_key: Keys) -> None:
    headers, line = token_of("admin"), new_key()
    address = "/institutions/northeast/keys"
    made = api.post(address, json={"public_key": line}, headers=headers)
    assert made.status_code == 201, made.text
    assert api.post(address, json={"public_key": line}, headers=headers).status_code == 409
    assert (
        api.post("/institutions/nowhere/keys", json={"public_key": line}, headers=headers).status_code == 404
    )
    assert api.post(address, json={"public_key": "no key"}, headers=headers).status_code == 422
    revoke = f"{address}/{made.json()['id']}/revoke"
    assert api.post(revoke, json={"reason": "stolen"}, headers=headers).status_code == 200
    again = api.post(revoke, json={"reason": "stolen"}, headers=headers)
    assert (again.status_code, again.json()["detail"]) == (409, "This key is revoked already.")
    (listed,) = api.get(address, headers=headers).json()
    assert listed["fingerprint"] == fingerprint(line)
    assert listed["revoked_at"] is not None
