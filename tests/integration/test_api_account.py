"""The own account by the API: who is calling, the password, and where one is signed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.integration.conftest import PASSWORD, PEOPLE, Consortium

NEW = "harbour lantern twelve"


@pytest.fixture
def sign_in(api: TestClient, consortium: Consortium) -> Callable[..., dict[str, str]]:
    def sign_in(password: str = PASSWORD, agent: str = "a program") -> dict[str, str]:
        answer = api.post(
            "/auth/login",
            json={"email": PEOPLE["doctor"][0], "password": password},
            headers={"User-Agent": agent},
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    return sign_in


def test_who_is_calling(api: TestClient, sign_in: Callable[..., dict[str, str]]) -> None:
    account = api.get("/account", headers=sign_in()).json()
    assert (account["email"], account["role"]) == (PEOPLE["doctor"][0], "doctor")
    assert (account["institution_code"], account["institution_name"]) == ("northeast", "Northeast Hospital")


def test_a_changed_password_ends_every_session_and_goes_on_with_a_new_one(
    api: TestClient, sign_in: Callable[..., dict[str, str]]
) -> None:
    here, elsewhere = sign_in(), sign_in()
    change = {"present_password": PASSWORD, "new_password": NEW}
    wrong = api.put("/account/password", json={**change, "present_password": "wrong"}, headers=here)
    assert wrong.status_code == 422 and wrong.json()["problems"][0]["field"] == "present_password"
    weak = api.put("/account/password", json={**change, "new_password": "short"}, headers=here)
    assert weak.status_code == 422 and weak.json()["problems"][0]["field"] == "new_password"
    assert api.get("/account", headers=elsewhere).status_code == 200
    changed = api.put("/account/password", json=change, headers=here)
    assert changed.status_code == 200
    for ended in (here, elsewhere):
        assert api.get("/account", headers=ended).status_code == 401
    following = {"Authorization": f"Bearer {changed.json()['access_token']}"}
    assert api.get("/account", headers=following).status_code == 200
    assert api.post("/auth/refresh", json={"refresh_token": changed.json()["refresh_token"]}).is_success
    sign_in(NEW)
    old = {"email": PEOPLE["doctor"][0], "password": PASSWORD}
    assert api.post("/auth/login", json=old).status_code == 401


def test_sessions_are_listed_and_ended_one_by_one_or_all_others(
    api: TestClient, sign_in: Callable[..., dict[str, str]], token_of: Callable[[str], dict[str, str]]
) -> None:
    here, second, third = sign_in(agent="here"), sign_in(agent="second"), sign_in(agent="third")
    listed = api.get("/account/sessions", headers=here).json()
    mine = [session for session in listed if session["kind"] == "api"]
    assert (mine[0]["user_agent"], mine[0]["is_this_one"]) == ("here", True)
    assert {session["user_agent"] for session in mine} >= {"here", "second", "third"}
    assert [session["is_this_one"] for session in listed].count(True) == 1
    (of_second,) = [session["id"] for session in mine if session["user_agent"] == "second"]
    nurse = token_of("nurse")
    assert api.delete(f"/account/sessions/{of_second}", headers=nurse).status_code == 404
    assert api.get("/account", headers=second).status_code == 200
    assert api.delete(f"/account/sessions/{of_second}", headers=here).status_code == 204
    assert api.get("/account", headers=second).status_code == 401
    assert api.delete(f"/account/sessions/{of_second}", headers=here).status_code == 404
    ended = api.delete("/account/sessions", headers=here)
    assert ended.status_code == 200 and ended.json()["ended"] >= 1
    assert api.get("/account", headers=third).status_code == 401
    assert [session["is_this_one"] for session in api.get("/account/sessions", headers=here).json()] == [True]
