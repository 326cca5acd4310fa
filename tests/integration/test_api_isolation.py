"""Another institution's patients and predictions do not exist for a caller, on any route."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from api.app import ROUTERS
from db.site import Patient

FEATURES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
EDIT = {**FEATURES, "first_name": "Eve", "last_name": "Intruder"}
METHODS = ("GET", "PUT", "POST", "DELETE")
# What a route with a patient in its path needs besides.
BODIES: dict[tuple[str, str], dict[str, Any]] = {("PUT", "/patients/{patient_id}"): EDIT}


def _routes_of_one_patient() -> list[tuple[str, str]]:
    return [
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if "{patient_id}" in route.path
        for method in METHODS
        if method in route.methods
    ]


def test_another_institutions_patient_is_404_on_every_route_and_stays_as_it_is(
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    add_model: Callable[..., Any],
    consortium: Any,
) -> None:
    add_model()
    foreign = consortium.add_patient("southwest", "Bea", "Foreign")
    headers, owner = token_of("doctor"), token_of("other_doctor")
    routes = _routes_of_one_patient()
    assert len(routes) == 8
    for method, path in routes:
        answers = [
            api.request(
                method,
                path.format(patient_id=patient),
                headers={**headers, "If-Match": '"1"', "X-Request-ID": "same"},
                json={"confirm_patient_id": str(patient)}
                if "erasure" in path
                else BODIES.get((method, path)),
            )
            for patient in (foreign, uuid.uuid4())
        ]
        assert [answer.status_code for answer in answers] == [404, 404], (method, path)
        told = [{**answer.json(), "instance": ""} for answer in answers]
        assert told[0] == told[1], "not distinguished from one that never was"
    for path, body in (
        ("/predictions", {**FEATURES, "patient_id": str(foreign)}),
        ("/predictions/batch", {"patient_ids": [str(foreign)]}),
    ):
        answer = api.post(path, headers=headers, json=body)
        assert answer.status_code == 404, path

    kept = api.post("/predictions", headers=owner, json={**FEATURES, "patient_id": str(foreign)}).json()["id"]
    assert api.get("/patients?count=true", headers=headers).json()["count"] == 0
    assert api.get("/patients?search=foreign", headers=headers).json()["items"] == []
    assert api.get("/patients/cost-distribution", headers=headers).json()["count"] == 0
    assert api.get("/predictions/history", headers=headers).json()["items"] == []
    assert api.get("/predictions/history", headers=headers, params={"cursor": kept}).status_code == 422
    for path in ("/patients/export", "/predictions/export"):
        assert "Foreign" not in api.get(path, headers=headers).text
        assert "Foreign" in api.get(path, headers=owner).text
    nobody = api.post("/predictions/batch", headers=headers, json={"patients": {}})
    assert nobody.status_code == 422
    answer = api.delete(f"/patients/{foreign}", headers={**owner, "If-Match": '"1"'})
    assert answer.status_code == 204
    assert api.get("/patients/deleted", headers=headers).json()["items"] == []
    assert api.post(f"/patients/{foreign}/restore", headers=headers).status_code == 404
    with consortium.site("southwest") as site:
        patient = site.get(Patient, foreign)
        assert (patient.last_name, patient.deleted_at is None) == ("Foreign", False)
