"""Predictions over the API: explained, kept, filtered, exported, judged by month, and many at once; the model card."""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
from fastapi.testclient import TestClient

from fl.groups import GROUPS
from fl.intervals import Calibration, GroupInterval

Headers = dict[str, str]
TokenOf = Callable[[str], Headers]
VALUES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "yes", "region": "northeast"}
CALIBRATION = Calibration(
    {"no": GroupInterval(-3000.0, 5000.0, 800, False), "yes": GroupInterval(-9000.0, 8000.0, 200, False)}
)
GROUP = GROUPS[0]
METRICS = {
    "calibration": CALIBRATION.to_json(),
    "groups": {GROUP.feature: {GROUP.code: {"num_examples": 70, "r2": 0.5, "mae": 100.0, "rmse": None}}},
    "institutions": {"northeast": {"num_examples": 60, "r2": 0.9, "mae": 10.0, "rmse": 20.0}},
    "decision": "It is better on the same rows.",
}


@pytest.fixture
def doctor(token_of: TokenOf, add_model: Callable[..., Any]) -> Headers:
    """What a doctor of northeast sends, with a calibrated model in use."""
    add_model(metrics=METRICS)
    return token_of("doctor")


def test_a_prediction_has_an_interval_and_an_explanation_keeps_nothing(
    api: TestClient, doctor: Headers
) -> None:
    explained = api.post("/predictions/explain", headers=doctor, json={**VALUES, "bmi": 31}).json()
    made = explained["base_cost"] + sum(explained["contributions"].values())
    assert made == pytest.approx(explained["predicted_cost"], abs=0.02)
    assert list(explained["contributions"]) == list(VALUES)
    assert {"Stops smoking", "Reaches BMI 25"} <= {change["label"] for change in explained["what_ifs"]}
    assert all(
        change["difference"] == pytest.approx(change["cost"] - explained["predicted_cost"], abs=0.02)
        for change in explained["what_ifs"]
    )
    assert api.get("/predictions/history", headers=doctor).json()["items"] == []

    kept = api.post("/predictions", headers=doctor, json={**VALUES, "bmi": 31}).json()
    assert {name: kept[name] for name in ("predicted_cost", "interval_low", "interval_high")} == {
        name: explained[name] for name in ("predicted_cost", "interval_low", "interval_high")
    }
    assert kept["interval_high"] == pytest.approx(kept["predicted_cost"] + 8000)


def test_the_history_is_filtered_paged_and_judged_by_the_actual_cost(
    api: TestClient, doctor: Headers, token_of: TokenOf, consortium: Any
) -> None:
    patient = str(consortium.add_patient("northeast", "Ada", "Lovelace", insurance_cost=None))
    for person, reference in (("doctor", patient), ("nurse", None), ("nurse", None)):
        headers = doctor if person == "doctor" else token_of(person)
        answer = api.post("/predictions", headers=headers, json={**VALUES, "patient_id": reference})
        assert answer.status_code == 200, answer.text
    record = api.get(f"/patients/{patient}", headers=doctor).json()
    entry = {name: record[name] for name in ("first_name", "last_name", *VALUES)}
    seen = {**doctor, "If-Match": f'"{record["row_version"]}"'}
    api.put(f"/patients/{patient}", headers=seen, json={**entry, "insurance_cost": 100.0})

    nurse = str(consortium.workers["nurse"].id)
    by_nurse = api.get(
        "/predictions/history", headers=doctor, params={"worker_id": nurse, "limit": "1"}
    ).json()
    assert by_nurse["items"][0]["worker_name"] == "The nurse"
    rest = {"worker_id": nurse, "limit": "1", "cursor": by_nurse["next_cursor"]}
    second = api.get("/predictions/history", headers=doctor, params=rest).json()
    assert (len(second["items"]), second["next_cursor"]) == (1, None)
    assert second["previous_cursor"] is not None

    [judged] = api.get("/predictions/history?patient=lovel&with_error=true", headers=doctor).json()["items"]
    assert (judged["patient_name"], judged["actual_cost"]) == ("Lovelace, Ada", 100.0)
    assert judged["error"] == pytest.approx(judged["predicted_cost"] - 100)
    assert (judged["known_before"], judged["model_version"]) == (False, "v1")
    assert api.get(f"/patients/{patient}/predictions", headers=doctor).json()["items"] == [judged]
    for nothing in ({"until": "2001-01-01"}, {"model_version": "v9"}, {"patient_id": str(uuid.uuid4())}):
        assert api.get("/predictions/history", headers=doctor, params=nothing).json()["items"] == []

    [month] = api.get("/predictions/accuracy?zone=Europe/Berlin", headers=doctor).json()["months"]
    assert (month["count"], month["mean_error"]) == (1, pytest.approx(judged["error"]))

    answer = api.get("/predictions/export", headers=doctor, params={"with_error": "true"})
    [row] = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["patient_name"], row["region"], row["actual_cost"]) == (
        "Lovelace, Ada",
        "northeast",
        "100.00",
    )
    assert row["id"] == judged["id"]


def test_many_rows_files_and_patients_are_predicted_with_one_request(
    api: TestClient, doctor: Headers, consortium: Any
) -> None:
    rows = [VALUES, {**VALUES, "smoker": "no", "age": 90}]
    answer = api.post("/predictions/batch", headers=doctor, json={"rows": rows})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["count"], body["model_version"]) == (2, "v1")
    assert [row["inputs"] for row in body["rows"]] == rows
    assert [bool(row["caution"]) for row in body["rows"]] == [False, True]
    one = api.post("/predictions/explain", headers=doctor, json=VALUES).json()
    assert body["rows"][0]["predicted_cost"] == one["predicted_cost"]
    assert body["rows"][0]["interval_high"] == one["interval_high"]

    text = "Alter,Sex,BMI,Children,Smoker,Region\n40,M,27.5,2,Y,northeast\n90,M,27.5,2,N,northeast\n"
    mapping = json.dumps({name: name.capitalize() for name in VALUES} | {"age": "Alter", "bmi": "BMI"})
    sent = {**doctor, "Content-Type": "text/csv"}
    filed = api.post("/predictions/batch", headers=sent, params={"mapping": mapping}, content=text.encode())
    assert filed.status_code == 200, filed.text
    assert [row["row"] for row in filed.json()["rows"]] == [2, 3]
    assert [row["predicted_cost"] for row in filed.json()["rows"]] == [
        row["predicted_cost"] for row in body["rows"]
    ]
    query = {"mapping": mapping, "format": "xlsx"}
    workbook = api.post("/predictions/batch", headers=sent, params=query, content=text.encode())
    sheet = openpyxl.load_workbook(io.BytesIO(workbook.content)).active
    assert sheet is not None
    assert sheet.max_row == 3
    assert api.get("/predictions/history", headers=doctor).json()["items"] == []

    first = str(consortium.add_patient("northeast", "Ada", "Lovelace", smoker="yes"))
    second = str(consortium.add_patient("northeast", "Alan", "Turing"))
    listed = api.post("/predictions/batch", headers=doctor, json={"patient_ids": [second, first]}).json()
    assert [row["patient_id"] for row in listed["rows"]] == [second, first]
    chosen = api.post("/predictions/batch", headers=doctor, json={"patients": {"smoker": "yes"}}).json()
    assert [row["patient_id"] for row in chosen["rows"]] == [first]
    kept = api.get("/predictions/history", headers=doctor).json()["items"]
    assert sorted(item["patient_id"] for item in kept) == sorted([first, first, second])


BAD_BATCHES: list[tuple[object, int, list[str]]] = [
    ({}, 422, ["body"]),
    ({"rows": [VALUES], "patients": {}}, 422, ["body"]),
    ({"rows": []}, 422, ["rows"]),
    ({"rows": [VALUES, {**VALUES, "age": 400, "sex": "x"}]}, 422, ["rows.1.age", "rows.1.sex"]),
    ({"rows": [{**VALUES, "age": "40"}]}, 422, ["rows.0.age"]),
    ({"rows": [{**VALUES, "salary": 1}]}, 422, ["rows.0.salary"]),
    ({"rows": [{}]}, 422, [f"rows.0.{name}" for name in VALUES]),
    ({"patient_ids": ["nobody"]}, 422, ["patient_ids.0"]),
    ({"patients": {"age_from": "40"}}, 422, ["patients.age_from"]),
    ({"patients": {"name": "x"}}, 422, ["patients.name"]),
    ({"patients": {"region": "nowhere"}}, 422, ["region"]),
    ({"patients": {}}, 422, ["patients"]),
    ([], 422, ["body"]),
    ({"patient_ids": [str(uuid.uuid4())]}, 404, []),
]


def test_a_wrong_batch_names_every_problem_and_predicts_nothing(api: TestClient, doctor: Headers) -> None:
    for body, status, fields in BAD_BATCHES:
        answer = api.post("/predictions/batch", headers=doctor, json=body)
        assert answer.status_code == status, (body, answer.text)
        assert [problem["field"] for problem in answer.json().get("problems", [])] == fields
        assert answer.json()["detail"]
    text = "Age,Sex,BMI,Children,Smoker,Region\n40,M,27.5,2,Y,northeast\n40,M,,2,Y,nowhere\n"
    answer = api.post("/predictions/batch", headers=doctor, content=text.encode())
    assert answer.status_code == 422
    assert [(p["row"], p["field"]) for p in answer.json()["problems"]] == [(3, "BMI"), (3, "Region")]
    many = json.dumps({"rows": [{}] * 100_001}).encode()
    json_type = {**doctor, "Content-Type": "application/json"}
    assert api.post("/predictions/batch", headers=json_type, content=many).status_code == 422


def test_the_model_card_tells_of_institutions_groups_and_intervals(
    api: TestClient, doctor: Headers, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model("v2", status="candidate")
    card = api.get("/model/card", headers=doctor).json()
    assert (card["version"], card["decision"]) == ("v1", METRICS["decision"])
    assert [(part["code"], part["r2"]) for part in card["institutions"]] == [("northeast", 0.9)]
    [group] = card["groups"]
    assert (group["label"], group["num_examples"], group["rmse"]) == (GROUP.label, 70, None)
    assert [(part["smoker"], part["low"]) for part in card["intervals"]] == [("no", -3000), ("yes", -9000)]
    assert api.get("/model/card?version=v2", headers=doctor).status_code == 404
    scientist = token_of("scientist")
    compared = api.get("/model/card?version=v2", headers=scientist)
    assert (compared.status_code, compared.json()["intervals"]) == (200, [])
    listed = api.get("/model/versions", headers=scientist).json()["items"]
    assert [(item["version"], item["status"], item["r2"]) for item in listed] == [
        ("v2", "candidate", 0.8),
        ("v1", "champion", 0.8),
    ]
