"""Every id of every route by every role: what is somebody else's answers like what never was, and stays as it is."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.app import ROUTERS, create_api
from api.dependencies import GuardedRoute
from app.permissions import PERMISSIONS, Permission
from db.central import MedicalWorker
from db.site import Patient, RunApproval
from db.states import Role
from tests.integration.conftest import AddRun, Consortium

FEATURES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
EDIT = {**FEATURES, "first_name": "Eve", "last_name": "Intruder"}
REASON = {"reason": "because of it"}
TRIGGER = {"name": "Mondays", "kind": "schedule", "cron": "0 3 * * 1", "timezone": "UTC"}
HASH = "0" * 64
OF_THE_PATH = "the id of the path"  # stands in a body for it
# (method, path): what the route needs besides the id. A route with an id that is not here fails the test.
LINES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/patients/{patient_id}"): {},
    ("PUT", "/patients/{patient_id}"): {"json": EDIT, "headers": {"If-Match": '"1"'}},
    ("DELETE", "/patients/{patient_id}"): {"headers": {"If-Match": '"1"'}},
    ("GET", "/patients/{patient_id}/changes"): {},
    ("GET", "/patients/{patient_id}/predictions"): {},
    ("POST", "/patients/{patient_id}/restore"): {},
    ("GET", "/patients/{patient_id}/export"): {},
    ("POST", "/patients/{patient_id}/erasure"): {"json": {"confirm_patient_id": OF_THE_PATH}},
    ("POST", "/participation/approvals/{run_id}"): {"json": {"approve": True, "settings_sha256": HASH}},
    ("GET", "/problems/{name}"): {},
    ("DELETE", "/account/sessions/{session_id}"): {},
    ("GET", "/workers/{worker_id}"): {},
    ("PATCH", "/workers/{worker_id}"): {"json": {"row_version": 1, "name": "Mallory"}},
    ("POST", "/workers/{worker_id}/end-sessions"): {},
    ("POST", "/workers/{worker_id}/reset-link"): {},
    ("POST", "/institutions/{code}/deactivate"): {"json": {"reason": "because of it"}},
    ("POST", "/institutions/{code}/reactivate"): {"json": {"reason": "because of it"}},
    ("GET", "/institutions/{code}/keys"): {},
    ("POST", "/institutions/{code}/keys"): {"json": {"public_key": "no key"}},
    ("POST", "/institutions/{code}/keys/{key_id}/revoke"): {"json": REASON},
    ("GET", "/models/{version}"): {},
    ("GET", "/models/{version}/export"): {},
    ("POST", "/models/{version}/promote"): {"json": REASON},
    ("POST", "/models/{version}/propose"): {"json": REASON},
    ("POST", "/models/{version}/reject"): {"json": REASON},
    ("POST", "/models/{version}/rollback"): {"json": REASON},
    ("POST", "/models/{version}/shadow"): {"json": {"reason": "because of it", "active": True}},
    ("GET", "/training/runs/{run_id}"): {},
    ("GET", "/training/runs/{run_id}/events"): {},
    ("POST", "/training/runs/{run_id}/cancel"): {},
    ("POST", "/training/queue/{run_id}/front"): {},
    ("PUT", "/triggers/{trigger_id}"): {"json": TRIGGER},
    ("DELETE", "/triggers/{trigger_id}"): {},
    ("GET", "/triggers/{trigger_id}/events"): {},
    ("POST", "/triggers/{trigger_id}/pause"): {},
    ("POST", "/triggers/{trigger_id}/resume"): {},
    ("POST", "/triggers/{trigger_id}/run"): {"headers": {"Idempotency-Key": "of-the-test"}},
}
# Of which every object is the consortium's own: who may act on one may act on all.
OF_ALL = {"version", "run_id", "trigger_id", "code", "name"}
PEOPLE = {
    "admin": Role.ADMIN,
    "scientist": Role.DATA_SCIENTIST,
    "doctor": Role.DOCTOR,
    "nurse": Role.NURSE,
    "manager": Role.INSTITUTION_ADMIN,
}
NEVER = {
    "patient_id": "018f0000-0000-7000-8000-000000000000",
    "run_id": "2000000",
    "version": "v2000000",
    "trigger_id": "2000000",
    "worker_id": "2000000",
    "session_id": "018f0000-0000-7000-8000-000000000000",
    "code": "nowhere",
    "name": "nothing",
}


def _routes_with_ids() -> Iterator[tuple[str, str, str, Permission | None]]:
    for router in ROUTERS:
        for route in router.routes:
            names = re.findall(r"\{(\w+)", getattr(route, "path", ""))
            for method in sorted(getattr(route, "methods", ()) if names else ()):
                permissions = route.permissions if isinstance(route, GuardedRoute) else ()
                yield method, route.path, names[0], permissions[0] if permissions else None


def test_every_route_with_an_id_has_a_line() -> None:
    described = {
        (method.upper(), path)
        for path, methods in create_api().openapi()["paths"].items()
        for method in methods
        if "{" in path
    }
    assert described == {(method, path) for method, path, _, _ in _routes_with_ids()}
    assert described - set(LINES) == set(), "routes that nobody thought of here"
    for method, path, name, _ in _routes_with_ids():
        assert name in NEVER, (method, path)


@pytest.fixture
def foreign(
    consortium: Consortium, add_model: Callable[..., Any], add_run: AddRun, api: TestClient, token_of: Any
) -> dict[str, list[str]]:
    """What is not theirs, by the name of the path's parameter."""
    add_model()
    patient = consortium.add_patient("southwest", "Bea", "Foreign")
    run = add_run("queued")
    with consortium.site("southwest") as site:
        site.add(RunApproval(run_id=run, settings_sha256=HASH, settings={}))
        site.commit()
    trigger = api.post("/triggers", json=TRIGGER, headers=token_of("admin")).json()["id"]
    return {
        "patient_id": [str(patient)],
        "run_id": [str(run)],
        "version": ["v1"],
        "trigger_id": [str(trigger)],
        "worker_id": [str(consortium.workers[who].id) for who in ("other_doctor", "admin", "scientist")],
        "session_id": [str(consortium.actors[who].session_id) for who in ("other_doctor", "admin")],
        "code": ["southwest"],
    }


def _answer(api: TestClient, method: str, path: str, id_: str, headers: dict[str, str]) -> tuple[Any, ...]:
    """Return what tells one answer from another, with neither the id that was asked for nor that of the request."""
    line = LINES[method, path]
    address = re.sub(r"\{\w+\}", id_, path.replace("{key_id}", "2000000"))
    answer = api.request(
        method,
        address,
        headers={**headers, **line.get("headers", {})},
        **{
            name: {key: id_ if part == OF_THE_PATH else part for key, part in value.items()}
            for name, value in line.items()
            if name != "headers"
        },
    )
    of_request = answer.headers.get("x-request-id", "")
    body = answer.text.replace(of_request or "\0", "REQUEST").replace(id_, "ID")
    kept = {
        name: value
        for name, value in answer.headers.items()
        if name not in ("x-request-id", "content-length", "date") and not name.startswith("x-ratelimit")
    }
    return answer.status_code, body, kept


def test_what_is_somebody_elses_answers_like_what_never_was(
    consortium: Consortium,
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    foreign: dict[str, list[str]],
) -> None:
    headers = {who: token_of(who) for who in PEOPLE}
    for method, path, name, permission in _routes_with_ids():
        for who, role in PEOPLE.items():
            allowed = permission is None or permission in PERMISSIONS[role]
            if allowed and (name in OF_ALL and not path.startswith("/participation")):
                continue  # theirs to see; that a missing one is 404 is tried below
            if allowed and name == "worker_id" and role is Role.ADMIN:
                continue
            never = _answer(api, method, path, NEVER[name], headers[who])
            assert never[0] == (404 if allowed else 403), (who, method, path, never)
            for id_ in foreign[name]:
                assert _answer(api, method, path, id_, headers[who]) == never, (who, method, path, id_)
    _nothing_was_touched(consortium, foreign)


def _nothing_was_touched(consortium: Consortium, foreign: dict[str, list[str]]) -> None:
    with consortium.site("southwest") as site:
        patient = site.get_one(Patient, uuid.UUID(foreign["patient_id"][0]))
        assert (patient.first_name, patient.last_name, patient.row_version) == ("Bea", "Foreign", 1)
        assert patient.deleted_at is None
        assert site.get_one(RunApproval, int(foreign["run_id"][0])).decision == "waiting"
    with consortium.central() as central:
        for id_ in foreign["worker_id"]:
            assert central.get_one(MedicalWorker, int(id_)).name != "Mallory"


def test_what_never_was_is_404_to_those_who_may(
    api: TestClient, token_of: Callable[[str], dict[str, str]], foreign: dict[str, list[str]]
) -> None:
    headers = {who: token_of(who) for who in PEOPLE}
    for method, path, name, permission in _routes_with_ids():
        tried = [who for who, role in PEOPLE.items() if permission is None or permission in PERMISSIONS[role]]
        assert tried, (method, path)
        for who in tried:
            status, body, _ = _answer(api, method, path, NEVER[name], headers[who])
            assert status == 404, (who, method, path, status, body)


def test_ids_in_bodies_and_filters_reach_nobody_elses(
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    consortium: Consortium,
    foreign: dict[str, list[str]],
) -> None:
    patient, never = foreign["patient_id"][0], NEVER["patient_id"]
    doctor, owner = token_of("doctor"), token_of("other_doctor")
    made = api.post("/predictions", headers=owner, json={**FEATURES, "patient_id": patient})
    assert made.status_code == 200

    def both(call: Callable[[str], Any]) -> list[Any]:
        answers = [call(id_) for id_ in (patient, never)]
        return [
            (answer.status_code, re.sub(r'"request_id":"[^"]*"', "", answer.text).replace(id_, "ID"))
            for answer, id_ in zip(answers, (patient, never), strict=True)
        ]

    for call in (
        lambda id_: api.post("/predictions", headers=doctor, json={**FEATURES, "patient_id": id_}),
        lambda id_: api.post("/predictions/batch", headers=doctor, json={"patient_ids": [id_]}),
        lambda id_: api.get("/predictions/history", headers=doctor, params={"patient_id": id_}),
        lambda id_: api.get("/predictions/history", headers=doctor, params={"cursor": id_}),
        lambda id_: api.get("/patients", headers=doctor, params={"cursor": id_}),
    ):
        theirs, nobodys = both(call)
        assert theirs == nobodys
    for path in ("/patients/export", "/predictions/export"):
        assert "Foreign" not in api.get(path, headers=doctor).text
        assert "Foreign" in api.get(path, headers=owner).text
