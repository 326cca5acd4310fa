"""What the REST API answers, to good requests and to bad ones."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.settings import get_settings
from db.central import AuditEvent, Institution, ModelVersion, TrainingRound, TrainingRun
from db.site import AccessEvent
from db.states import RoundStatus, RunStatus

Headers = dict[str, str]
TokenOf = Callable[[str], Headers]
VALUES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}


def test_health_needs_no_token(api: TestClient) -> None:
    answer = api.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "up", "federation": "down", "version": "0.1.0"}


def test_sign_in_answers_a_bearer_token(api: TestClient, consortium: Any) -> None:
    answer = api.post(
        "/auth/login", json={"email": " Doctor@NorthEast.test.local ", "password": consortium.password}
    )
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert answer.json()["expires_in"] == 900
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert api.get("/patients", headers=headers).json()["items"] == []


def _told(answer: Any) -> dict[str, Any]:
    """Return a problem without what names this one request."""
    return {name: value for name, value in answer.json().items() if name not in ("instance", "request_id")}


def test_a_wrong_password_is_401_with_one_sentence_for_every_reason(api: TestClient) -> None:
    known = api.post("/auth/login", json={"email": "doctor@northeast.test.local", "password": "wrong"})
    unknown = api.post("/auth/login", json={"email": "nobody@test.local", "password": "wrong"})
    assert (known.status_code, unknown.status_code) == (401, 401)
    assert _told(known) == _told(unknown)
    assert "wrong" not in known.json()["detail"].replace("five wrong passwords", "")


def test_another_institutions_patient_is_404(api: TestClient, token_of: TokenOf, consortium: Any) -> None:
    own = consortium.add_patient("northeast", "Ada", "Own")
    foreign = consortium.add_patient("southwest", "Bea", "Foreign")
    headers = token_of("doctor")
    read = api.get(f"/patients/{own}", headers=headers)
    assert read.status_code == 200
    assert (read.json()["last_name"], read.json()["bmi"], read.json()["insurance_cost"]) == (
        "Own",
        27.5,
        5000.0,
    )
    hidden = api.get(f"/patients/{foreign}", headers=headers)
    missing = api.get(f"/patients/{uuid.uuid4()}", headers=headers)
    assert (hidden.status_code, _told(hidden)) == (missing.status_code, _told(missing))
    assert hidden.status_code == 404


def test_a_prediction_cannot_be_kept_with_another_institutions_patient(
    api: TestClient, token_of: TokenOf, consortium: Any, add_model: Callable[..., Any]
) -> None:
    add_model()
    foreign = consortium.add_patient("southwest", "Bea", "Foreign")
    body = {**VALUES, "patient_id": str(foreign)}
    headers = token_of("doctor")
    assert api.post("/predictions", headers=headers, json=body).status_code == 404
    assert api.get("/predictions/history", headers=headers).json()["items"] == []


def test_a_prediction_is_answered_kept_and_found_in_the_history(
    api: TestClient, token_of: TokenOf, consortium: Any, add_model: Callable[..., Any]
) -> None:
    add_model("v7")
    patient = consortium.add_patient("northeast", "Ada", "Own")
    headers = token_of("nurse")
    answer = api.post("/predictions", headers=headers, json={**VALUES, "patient_id": str(patient)})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["model_version"] == "v7"
    assert made["predicted_cost"] > 0
    assert made["inputs"] == VALUES
    assert made["cautions"] == []
    kept = api.get("/predictions/history", headers=token_of("doctor")).json()["items"]
    assert [item["id"] for item in kept] == [made["id"]]
    assert kept[0]["predicted_cost"] == made["predicted_cost"]
    assert kept[0]["patient_id"] == str(patient)
    assert api.get("/predictions/history", headers=token_of("other_doctor")).json()["items"] == []


def test_an_unusual_patient_is_predicted_with_a_caution(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model()
    answer = api.post("/predictions", headers=token_of("nurse"), json={**VALUES, "age": 90, "bmi": 60})
    cautions = answer.json()["cautions"]
    assert len(cautions) == 2
    assert "Age 90 is outside 18–64 years" in cautions[0]


def test_without_a_model_predictions_and_metrics_are_409_and_the_status_says_so(
    api: TestClient, token_of: TokenOf
) -> None:
    headers = token_of("doctor")
    refused = api.post("/predictions", headers=headers, json=VALUES)
    assert refused.status_code == 409
    assert "No model has been trained yet" in refused.json()["detail"]
    assert _told(api.get("/model/metrics", headers=headers)) == _told(refused)
    status = api.get("/model/status", headers=headers)
    assert status.status_code == 200
    assert status.json()["has_model"] is False
    assert status.json()["message"] == refused.json()["detail"]


def test_status_and_metrics_of_the_model_in_use(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model("v1", status="retired")
    row = add_model("v2")
    headers = token_of("scientist")
    status = api.get("/model/status", headers=headers).json()
    assert (status["has_model"], status["version"], status["run_id"]) == (True, "v2", row.run_id)
    metrics = api.get("/model/metrics", headers=headers).json()
    assert (metrics["version"], metrics["r2"], metrics["mae"]) == ("v2", 0.8, 3000.0)
    assert metrics["metrics"]["sites"]["northeast"]["r2"] == 0.81


def test_a_run_is_accepted_once_watched_and_cancelled(
    api: TestClient, token_of: TokenOf, consortium: Any
) -> None:
    admin = token_of("admin")
    press = {**admin, "Idempotency-Key": "press-1"}
    first = api.post("/training/runs", headers=press, json={"num_rounds": 3})
    assert first.status_code == 202
    assert first.json()["status"] == "queued"
    assert api.post("/training/runs", headers=press, json={"num_rounds": 3}).json() == first.json()
    run_id = first.json()["id"]
    with consortium.central() as central:
        central.add(
            TrainingRound(
                run_id=run_id,
                round_number=1,
                clients_participated=2,
                aggregation_method="fedavg",
                status=RoundStatus.COMPLETED,
                loss=float("nan"),
                r2=0.5,
                mae=3000.0,
                rmse=5000.0,
                num_examples=100,
            )
        )
        central.commit()
    run = api.get(f"/training/runs/{run_id}", headers=token_of("scientist")).json()
    assert (run["status"], run["error"], run["num_rounds"]) == ("queued", None, 3)
    assert [(r["round_number"], r["r2"], r["loss"]) for r in run["rounds"]] == [(1, 0.5, None)]
    cancelled = api.post(f"/training/runs/{run_id}/cancel", headers=admin)
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    again = api.post(f"/training/runs/{run_id}/cancel", headers=admin)
    assert again.status_code == 409
    assert "already ended" in again.json()["detail"]


def test_a_run_of_any_kind_is_asked_for_with_its_settings(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., ModelVersion]
) -> None:
    admin = token_of("admin")
    add_model("v5")

    def started(body: dict[str, Any]) -> dict[str, Any]:
        answer = api.post("/training/runs", headers=admin, json=body)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = api.get(f"/training/runs/{answer.json()['id']}", headers=admin).json()
        return run

    prox = started({"strategy": "fedprox", "settings": {"proximal_mu": 1, "local_only": False}, "seed": 7})
    assert (prox["kind"], prox["strategy"], prox["seed"]) == ("federated", "fedprox", 7)
    assert (prox["settings"]["proximal_mu"], prox["settings"]["local_only"]) == (1.0, False)
    assert (prox["requested_by_name"], prox["saved_round"], prox["results"]) == ("The admin", 0, {})
    evaluation = started({"kind": "evaluation", "start_version": "v5"})
    assert (evaluation["kind"], evaluation["num_rounds"], evaluation["start_version"]) == (
        "evaluation",
        0,
        "v5",
    )
    assert started({"kind": "cohort"})["kind"] == "cohort"


def test_a_run_is_resumed_once_it_ended_with_a_saved_round(
    api: TestClient, token_of: TokenOf, consortium: Any
) -> None:
    admin = token_of("admin")
    run_id = api.post("/training/runs", headers=admin, json={"num_rounds": 4}).json()["id"]
    wish = {"resume_run_id": run_id}
    assert api.post("/training/runs", headers=admin, json=wish).status_code == 409
    assert api.post("/training/runs", headers=admin, json={"resume_run_id": 12345}).status_code == 404
    api.post(f"/training/runs/{run_id}/cancel", headers=admin)
    with consortium.central() as central:
        central.add(
            TrainingRound(run_id=run_id, round_number=1, aggregation_method="fedavg", weights=b"1234")
        )
        central.commit()
    assert api.get(f"/training/runs/{run_id}", headers=admin).json()["saved_round"] == 1
    resumed = api.post("/training/runs", headers=admin, json=wish)
    assert resumed.status_code == 202
    run = api.get(f"/training/runs/{resumed.json()['id']}", headers=admin).json()
    assert (run["resumed_from_id"], run["num_rounds"]) == (run_id, 4)


BAD_RUNS: list[tuple[dict[str, Any], str]] = [
    ({"num_rounds": 0}, "num_rounds"),
    ({"num_rounds": 1001}, "num_rounds"),
    ({"num_rounds": 2.5}, "num_rounds"),
    ({"num_rounds": 10**30}, "num_rounds"),
    ({"strategy": "best"}, "strategy"),
    ({"rounds": 3}, "rounds"),
    ({"kind": "guess"}, "kind"),
    ({"settings": {"local_epochs": 0}}, "local_epochs"),
    ({"settings": {"no_such": 1}}, "no_such"),
    ({"settings": {"late_policy": "shrug"}}, "late_policy"),
    ({"settings": {"start_from": "champion"}}, "start_from"),
    ({"kind": "evaluation"}, "start_version"),
    ({"seed": -1}, "seed"),
    ({"resume_run_id": 1, "seed": 3}, "seed"),
]


def test_a_bad_run_is_422_naming_the_field(api: TestClient, token_of: TokenOf) -> None:
    headers = token_of("admin")
    for body, field in BAD_RUNS:
        answer = api.post("/training/runs", headers=headers, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert [problem["field"] for problem in answer.json()["problems"]] == [field]


def test_the_audit_keeps_sign_ins_refusals_and_runs_without_names_or_values(
    api: TestClient, token_of: TokenOf, consortium: Any
) -> None:
    api.post("/auth/login", json={"email": "secret-typed-as-email", "password": "wrong"})
    api.get("/patients", headers=token_of("admin"))
    run = api.post("/training/runs", headers=token_of("admin"), json={"num_rounds": 2}).json()
    with consortium.central() as central:
        events = central.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    kept = [(event.action, event.outcome, event.worker_id, event.target) for event in events]
    admin = consortium.workers["admin"].id
    assert kept == [
        ("sign_in", "refused", None, None),
        ("sign_in", "ok", admin, None),
        ("GET /patients", "refused", admin, None),
        ("sign_in", "ok", admin, None),
        ("run_started", "ok", admin, f"run {run['id']}"),
    ]
    assert "secret-typed-as-email" not in repr([vars(event) for event in events])


def test_reading_patients_is_kept_by_id_in_the_site(
    api: TestClient, token_of: TokenOf, consortium: Any
) -> None:
    patient = consortium.add_patient("northeast", "Ada", "Lovelace")
    headers = token_of("nurse")
    listed = api.get("/patients?search=love", headers=headers)
    api.get(f"/patients/{patient}", headers=headers)
    with consortium.site("northeast") as site:
        events = site.scalars(select(AccessEvent).order_by(AccessEvent.id)).all()
    assert [(event.action, event.patient_id) for event in events] == [
        ("patients_searched", None),
        ("patient_read", patient),
    ]
    assert events[0].details == {"patient_ids": [str(patient)], "filters": ["search"]}
    assert events[0].request_id == listed.headers["X-Request-ID"]
    assert {event.worker_id for event in events} == {consortium.workers["nurse"].id}


def test_a_site_this_process_was_not_given_is_503(
    api: TestClient, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = token_of("doctor")
    monkeypatch.setenv("SITE_DATABASE_URLS", "{}")
    get_settings.cache_clear()
    answer = api.get("/patients", headers=headers)
    assert answer.status_code == 503
    assert "Northeast Hospital" in answer.json()["detail"]


def test_a_database_that_does_not_answer_is_503_with_a_sentence(
    api: TestClient, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = token_of("doctor")
    nowhere = "postgresql+psycopg2://user:pass@127.0.0.1:1/none"
    monkeypatch.setenv("SITE_DATABASE_URLS", json.dumps({"northeast": nowhere}))
    get_settings.cache_clear()
    answer = api.get("/patients", headers=headers)
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["detail"]
    monkeypatch.setenv("CENTRAL_DATABASE_URL", nowhere)
    get_settings.cache_clear()
    for path in ("/patients", "/model/status"):
        answer = api.get(path, headers=headers)
        assert (answer.status_code, "pass" in answer.text) == (503, False)
    health = api.get("/health")
    assert (health.status_code, health.json()["database"]) == (503, "down")
    login = api.post("/auth/login", json={"email": "a@b.c", "password": "x"})
    assert login.status_code == 503


def test_a_mistake_of_ours_is_500_without_its_text(
    api: TestClient, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "Love" + "lace"

    def broken(**_: object) -> None:
        raise RuntimeError(f"patient Ada {name}")

    headers = token_of("doctor")
    monkeypatch.setattr("app.services.patients.list_patients", broken)
    answer = api.get("/patients", headers=headers)
    assert answer.status_code == 500
    assert "went wrong on our side" in answer.json()["detail"]
    assert name not in answer.text
    assert name not in caplog.text


def test_the_openapi_description_is_served_with_the_ranges_of_the_feature_table(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    request = document["components"]["schemas"]["PredictionRequest"]
    assert request["properties"]["age"]["maximum"] == 120
    assert request["properties"]["region"]["enum"] == ["northeast", "northwest", "southeast", "southwest"]
    assert request["additionalProperties"] is False
    assert api.get("/docs").status_code == 200


def test_a_queued_run_of_another_status_keeps_its_reason(
    api: TestClient, token_of: TokenOf, consortium: Any
) -> None:
    with consortium.central() as central:
        assert central.scalars(select(Institution)).first() is not None
        run = TrainingRun(
            idempotency_key="k",
            status=RunStatus.FAILED,
            num_rounds=2,
            strategy="fedavg",
            settings={},
            seed=1,
            error="Only 1 hospital answered; 2 are needed.",
            finished_at=central.scalar(select(Institution.created_at).limit(1)),
        )
        central.add(run)
        central.commit()
        run_id = run.id
    answer = api.get(f"/training/runs/{run_id}", headers=token_of("admin")).json()
    assert answer["error"] == "Only 1 hospital answered; 2 are needed."
