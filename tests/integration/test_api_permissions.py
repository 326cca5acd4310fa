"""Every route by every role: a route without a line in this table fails the test."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from tests.integration.conftest import PEOPLE

ADMIN, SCIENTIST, DOCTOR, NURSE, MANAGER = "admin", "scientist", "doctor", "nurse", "manager"
EVERYBODY = {ADMIN, SCIENTIST, DOCTOR, NURSE, MANAGER}
CLINICIANS = {DOCTOR, NURSE}

FEATURES = {"age": 40, "sex": "male", "bmi": 27.0, "children": 0, "smoker": "no", "region": "northeast"}
ENTRY = {**FEATURES, "first_name": "Ada", "last_name": "Lovelace"}
WEEKLY = {"name": "Weekly", "kind": "schedule", "cron": "0 3 * * 1"}
A_KEY = (
    "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIdBwGWh7lTzTCOfctmaWXWqKFnkojSHnYs2FLxom"
    "CRi99YKThy8YrYC5n+Kuj1Qk5rnyplyUweRgj1ZPRUh9hRXp8faI/DehbXcEPK91BNQTFVuVMLnWaNZjfYwZC8GvA=="
)
DECISION = {"approve": True, "settings_sha256": "0" * 64}

# (method, path): who may, and a body that passes validation where one is needed. None: no token needed.
WHO_MAY: dict[tuple[str, str], tuple[set[str] | None, dict[str, Any] | None]] = {
    ("get", "/health"): (None, None),
    ("get", "/ready"): (None, None),
    ("get", "/system"): ({ADMIN}, None),
    ("post", "/auth/login"): (None, None),
    ("post", "/auth/refresh"): (None, None),
    ("post", "/auth/logout"): (EVERYBODY, None),
    ("get", "/account"): (EVERYBODY, None),
    ("put", "/account/password"): (
        EVERYBODY,
        {"present_password": "wrong", "new_password": "quite another one"},
    ),
    ("get", "/account/sessions"): (EVERYBODY, None),
    ("delete", "/account/sessions"): (EVERYBODY, None),
    ("delete", "/account/sessions/{session_id}"): (EVERYBODY, None),
    ("get", "/patients"): (CLINICIANS, None),
    ("post", "/patients"): (CLINICIANS, ENTRY),
    ("get", "/patients/export"): ({DOCTOR}, None),
    ("get", "/patients/deleted"): ({DOCTOR}, None),
    ("get", "/patients/cost-distribution"): (CLINICIANS, None),
    ("get", "/patients/{patient_id}"): (CLINICIANS, None),
    ("put", "/patients/{patient_id}"): (CLINICIANS, ENTRY),
    ("delete", "/patients/{patient_id}"): ({DOCTOR}, None),
    ("post", "/patients/{patient_id}/restore"): ({DOCTOR}, None),
    ("get", "/patients/{patient_id}/changes"): (CLINICIANS, None),
    ("get", "/patients/{patient_id}/predictions"): (CLINICIANS, None),
    ("post", "/patients/import"): ({DOCTOR}, {}),
    ("post", "/predictions"): (CLINICIANS, FEATURES),
    ("post", "/predictions/explain"): (CLINICIANS, FEATURES),
    ("get", "/predictions/history"): (CLINICIANS, None),
    ("get", "/predictions/export"): ({DOCTOR}, None),
    ("get", "/predictions/accuracy"): (CLINICIANS, None),
    ("post", "/predictions/batch"): ({DOCTOR}, {"rows": [FEATURES]}),
    ("get", "/model/status"): (EVERYBODY, None),
    ("get", "/model/metrics"): (EVERYBODY, None),
    ("get", "/model/card"): (EVERYBODY, None),
    ("get", "/model/versions"): ({ADMIN, SCIENTIST}, None),
    ("get", "/models"): ({ADMIN, SCIENTIST}, None),
    ("get", "/models/{version}"): ({ADMIN, SCIENTIST}, None),
    ("get", "/models/{version}/export"): ({ADMIN, SCIENTIST}, None),
    ("post", "/models/import"): ({ADMIN, SCIENTIST}, {}),
    ("post", "/models/{version}/promote"): ({ADMIN}, {"reason": "better"}),
    ("post", "/models/{version}/rollback"): ({ADMIN}, {"reason": "better"}),
    ("post", "/models/{version}/reject"): ({ADMIN}, {"reason": "worse"}),
    ("post", "/models/{version}/propose"): ({SCIENTIST}, {"reason": "better"}),
    ("post", "/models/{version}/shadow"): ({ADMIN}, {"reason": "try it", "active": True}),
    ("post", "/training/runs"): ({ADMIN}, {"num_rounds": 2}),
    ("get", "/training/runs"): ({ADMIN, SCIENTIST}, None),
    ("get", "/training/runs/compare"): ({ADMIN, SCIENTIST}, None),
    ("get", "/training/runs/{run_id}"): ({ADMIN, SCIENTIST}, None),
    ("get", "/training/runs/{run_id}/events"): ({ADMIN, SCIENTIST}, None),
    ("post", "/training/runs/{run_id}/cancel"): ({ADMIN}, None),
    ("get", "/training/queue"): ({ADMIN, SCIENTIST}, None),
    ("post", "/training/queue/pause"): ({ADMIN}, None),
    ("post", "/training/queue/resume"): ({ADMIN}, None),
    ("post", "/training/queue/{run_id}/front"): ({ADMIN}, None),
    ("get", "/triggers"): ({ADMIN}, None),
    ("post", "/triggers"): ({ADMIN}, WEEKLY),
    ("put", "/triggers/{trigger_id}"): ({ADMIN}, WEEKLY),
    ("post", "/triggers/{trigger_id}/pause"): ({ADMIN}, None),
    ("post", "/triggers/{trigger_id}/resume"): ({ADMIN}, None),
    ("post", "/triggers/{trigger_id}/run"): ({ADMIN}, None),
    ("get", "/triggers/{trigger_id}/events"): ({ADMIN}, None),
    ("delete", "/triggers/{trigger_id}"): ({ADMIN}, None),
    ("get", "/cohort"): ({ADMIN, SCIENTIST}, None),
    ("get", "/institutions"): ({ADMIN}, None),
    ("post", "/institutions"): (
        {ADMIN},
        {
            "code": "northeast",
            "name": "Taken Already",
            "manager": {"name": "A. Person", "email": "person@northeast.test.local"},
        },
    ),
    ("post", "/institutions/{code}/deactivate"): ({ADMIN}, {"reason": "for a test"}),
    ("post", "/institutions/{code}/reactivate"): ({ADMIN}, {"reason": "for a test"}),
    ("get", "/workers"): ({ADMIN, MANAGER}, None),
    ("post", "/workers"): (
        {ADMIN, MANAGER},
        {"name": "A. Nurse", "email": PEOPLE["nurse"][0], "role": "nurse", "institution": "northeast"},
    ),
    ("get", "/workers/{worker_id}"): ({ADMIN, MANAGER}, None),
    ("get", "/audit"): ({ADMIN, MANAGER}, None),
    ("get", "/audit/export"): ({ADMIN, MANAGER}, None),
    ("get", "/audit/head"): ({ADMIN, MANAGER}, None),
    ("get", "/patients/{patient_id}/export"): ({DOCTOR}, None),
    ("post", "/patients/{patient_id}/erasure"): ({DOCTOR}, {}),
    ("get", "/retention"): ({ADMIN, MANAGER}, None),
    ("put", "/retention"): ({ADMIN, MANAGER}, {"daily": False}),
    ("post", "/retention/run"): ({ADMIN, MANAGER}, None),
    ("get", "/problems"): (None, None),
    ("get", "/problems/{name}"): (None, None),
    ("patch", "/workers/{worker_id}"): ({ADMIN, MANAGER}, {"row_version": 1}),
    ("post", "/workers/{worker_id}/reset-link"): ({ADMIN, MANAGER}, None),
    ("post", "/workers/{worker_id}/end-sessions"): ({ADMIN, MANAGER}, None),
    ("get", "/institutions/{code}/keys"): ({ADMIN}, None),
    ("post", "/institutions/{code}/keys"): ({ADMIN}, {"public_key": A_KEY}),
    ("post", "/institutions/{code}/keys/{key_id}/revoke"): ({ADMIN}, {"reason": "for a test"}),
    ("get", "/participation"): ({MANAGER}, None),
    ("put", "/participation"): ({MANAGER}, {"consent": "open"}),
    ("post", "/participation/approvals/{run_id}"): ({MANAGER}, DECISION),
}

# What a route's query must name.
QUERIES = {"/training/runs/compare": {"run": 1}}


def _operations(api: TestClient) -> list[tuple[str, str]]:
    paths = api.get("/openapi.json").json()["paths"]
    return [(method, path) for path, operations in paths.items() for method in operations]


def _address(path: str) -> str:
    return path.format(
        patient_id=uuid.uuid4(),
        run_id=1,
        version="v1",
        trigger_id=1,
        key_id=1,
        code="northeast",
        worker_id=9999,
        session_id=uuid.uuid4(),
    )


def _send(
    api: TestClient, method: str, path: str, headers: dict[str, str] | None, body: dict[str, Any] | None
) -> int:
    address = _address(path)
    return api.request(method, address, headers=headers, json=body, params=QUERIES.get(path)).status_code


def test_every_route_has_a_line_in_the_table(api: TestClient) -> None:
    assert set(_operations(api)) == set(WHO_MAY)


def test_every_route_by_every_role(
    api: TestClient, token_of: Callable[[str], dict[str, str]], add_model: Callable[..., Any]
) -> None:
    add_model()
    headers = {person: token_of(person) for person in sorted(EVERYBODY)}
    for (method, path), (who, body) in WHO_MAY.items():
        if who is None:
            continue
        for person in EVERYBODY:
            status = _send(api, method, path, headers[person], body)
            if path == "/auth/logout":
                headers[person] = token_of(person)
            if person in who:
                # 422: an import without a file, an erasure that names another patient, a wrong present password.
                refused = (
                    (401, 403, 500)
                    if path.endswith(("/import", "/erasure", "/password"))
                    else (401, 403, 422, 500)
                )
                assert status not in refused, (method, path, person, status)
            else:
                assert status == 403, (method, path, person, status)


def test_a_wrong_role_is_refused_before_the_body_is_judged(
    api: TestClient, token_of: Callable[[str], dict[str, str]]
) -> None:
    headers = token_of(NURSE)
    assert _send(api, "post", "/training/runs", headers, {"num_rounds": "many"}) == 403


def test_no_route_answers_without_a_valid_token(api: TestClient) -> None:
    for (method, path), (who, body) in WHO_MAY.items():
        if who is None:
            continue
        for headers in (None, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
            answer = api.request(method, _address(path), headers=headers, json=body)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["detail"]
