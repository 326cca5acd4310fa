"""Taking part and managing institutions over the API."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app.auth.one_time_link import choose_password
from app.databases import central_session
from tests.integration.conftest import Consortium
from tests.integration.institution_facts import ask_for_approval

TokenOf = Callable[[str], dict[str, str]]
LAKESIDE = {
    "code": "lakeside",
    "name": "Lakeside Hospital",
    "manager": {"name": "Mara Lake", "email": "mara@lakeside.example.org"},
}


def test_a_hospital_reads_and_changes_how_it_takes_part(
    consortium: Consortium, api: TestClient, token_of: TokenOf
) -> None:
    manager = token_of("manager")
    before = api.get("/participation", headers=manager).json()
    assert before == {
        "consent": "open",
        "reason": None,
        "changed_by_name": None,
        "changed_at": None,
        "waiting": [],
        "decided": [],
    }
    refused = api.put("/participation", headers=manager, json={"consent": "paused"})
    assert refused.status_code == 422 and refused.json()["problems"][0]["field"] == "reason"
    changed = api.put("/participation", headers=manager, json={"consent": "approval", "reason": "Rules"})
    assert changed.status_code == 200 and changed.json()["changed_by_name"] == "The manager"
    assert api.get("/participation", headers=manager).json()["consent"] == "approval"


def test_a_run_is_approved_with_the_settings_that_were_looked_at(
    consortium: Consortium, api: TestClient, token_of: TokenOf
) -> None:
    ask_for_approval(consortium, "northeast", 5)
    ask_for_approval(consortium, "southwest", 6)
    manager = token_of("manager")
    [waiting] = api.get("/participation", headers=manager).json()["waiting"]
    assert (waiting["run_id"], waiting["settings"]["num_rounds"]) == (5, 12)
    decision = {"approve": True, "settings_sha256": waiting["settings_sha256"]}
    other = api.post("/participation/approvals/6", headers=manager, json=decision)
    assert other.status_code == 404, "another hospital's run"
    stale = {**decision, "settings_sha256": "0" * 64}
    assert api.post("/participation/approvals/5", headers=manager, json=stale).status_code == 409
    approved = api.post("/participation/approvals/5", headers=manager, json=decision)
    assert (approved.status_code, approved.json()["decision"]) == (200, "approved")
    assert api.post("/participation/approvals/5", headers=manager, json=decision).status_code == 409
    assert [each["run_id"] for each in api.get("/participation", headers=manager).json()["decided"]] == [5]


def test_a_hospitals_administrator_reads_no_patient(
    consortium: Consortium, api: TestClient, token_of: TokenOf
) -> None:
    patient = consortium.add_patient("northeast", "Ada", "Lovelace")
    manager = token_of("manager")
    for address in ("/patients", f"/patients/{patient}", "/patients/export", "/predictions/history"):
        answer = api.get(address, headers=manager)
        assert answer.status_code == 403 and "Lovelace" not in answer.text


def test_institutions_are_listed_deactivated_and_taken_back_in(
    consortium: Consortium, api: TestClient, token_of: TokenOf
) -> None:
    admin = token_of("admin")
    listed = api.get("/institutions", headers=admin).json()["items"]
    assert {each["code"]: each["is_active"] for each in listed} == dict.fromkeys(consortium.urls.sites, True)
    reason = {"reason": "It leaves"}
    gone = api.post("/institutions/southeast/deactivate", headers=admin, json=reason)
    assert (gone.status_code, gone.json()["is_active"]) == (200, False)
    assert api.post("/institutions/southeast/deactivate", headers=admin, json=reason).status_code == 409
    assert api.post("/institutions/nowhere/deactivate", headers=admin, json=reason).status_code == 404
    back = api.post("/institutions/southeast/reactivate", headers=admin, json={"reason": "It is back"})
    assert back.json()["is_active"] is True


def test_an_institution_is_added_with_links_that_are_answered_once(
    consortium: Consortium, api: TestClient, token_of: TokenOf
) -> None:
    admin = token_of("admin")
    added = api.post("/institutions", headers=admin, json=LAKESIDE)
    assert added.status_code == 201
    body = added.json()
    assert (body["database_made"], len(body["accounts"])) == (False, 1)
    assert "python -m fl.runtime.supernode" in body["site_commands"]
    link = body["accounts"][0]["link"]
    assert link["email"] == "mara@lakeside.example.org"
    token = link["link"].removeprefix("http://testserver/set_password#")
    with central_session() as central:
        choose_password(central, token=token, password="some words of nobody's")
    signed_in = api.post(
        "/auth/login", json={"email": "mara@lakeside.example.org", "password": "some words of nobody's"}
    )
    assert signed_in.status_code == 200
    assert api.post("/institutions", headers=admin, json=LAKESIDE).status_code == 409
    assert token not in api.get("/institutions", headers=admin).text


@pytest.mark.parametrize("missing", ["code", "name", "manager"])
def test_an_institution_without_what_it_needs_is_refused(
    consortium: Consortium, api: TestClient, token_of: TokenOf, missing: str
) -> None:
    body = {key: value for key, value in LAKESIDE.items() if key != missing}
    answer = api.post("/institutions", headers=token_of("admin"), json=body)
    assert answer.status_code == 422 and missing in answer.json()["problems"][0]["field"]
