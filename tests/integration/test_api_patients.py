"""Patients over the API: listing, adding, editing, deleting, restoring, importing and exporting."""

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

Headers = dict[str, str]
TokenOf = Callable[[str], Headers]
ENTRY: dict[str, Any] = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "age": 36,
    "sex": "female",
    "bmi": 22.5,
    "children": 3,
    "smoker": "no",
    "region": "northeast",
    "insurance_cost": 1200.5,
}
FILE = (
    "Vorname,First Name,Last Name,Age,Sex,BMI,Children,Smoker,Region,Charges\n"
    ",Ada,Lovelace,36,F,22.5,3,N,northeast,1200.50\n"
    ",Alan,Turing,41,M,24.1,0,0,northwest,\n"
)


@pytest.fixture
def doctor(token_of: TokenOf) -> Headers:
    """What a doctor of northeast sends."""
    return token_of("doctor")


def _added(api: TestClient, headers: Headers, **change: Any) -> dict[str, Any]:
    answer = api.post("/patients?accept_duplicate=true", headers=headers, json={**ENTRY, **change})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_patient_is_added_read_edited_deleted_and_restored(api: TestClient, doctor: Headers) -> None:
    patient = _added(api, doctor)
    address = f"/patients/{patient['id']}"
    assert {name: patient[name] for name in ENTRY} == ENTRY
    assert (patient["row_version"], patient["deleted_at"], patient["cost_entered_at"]) == (1, None, None)
    assert api.get(address, headers=doctor).json() == patient

    edited = api.put(address, headers=_seen(doctor, 1), json={**ENTRY, "age": 37})
    assert (edited.status_code, edited.json()["age"], edited.json()["row_version"]) == (200, 37, 2)

    deleted = api.delete(address, headers=_seen(doctor, 2))
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert api.get(address, headers=doctor).status_code == 404
    assert api.delete(address, headers=_seen(doctor, 2)).status_code == 404
    assert api.get("/patients", headers=doctor).json()["items"] == []
    gone = api.get("/patients/deleted", headers=doctor).json()["items"]
    assert [item["id"] for item in gone] == [patient["id"]]
    assert gone[0]["deleted_at"] is not None

    assert api.post(f"{address}/restore", headers=doctor).json()["age"] == 37
    again = api.post(f"{address}/restore", headers=doctor)
    assert (again.status_code, again.json()["detail"][:30]) == (409, "This patient is not deleted; s")
    changes = api.get(f"{address}/changes", headers=doctor).json()["items"]
    assert [change["action"] for change in changes] == ["restored", "deleted", "edited", "added"]
    assert changes[2]["changes"] == {"age": [36, 37]}
    assert {change["worker_name"] for change in changes} == {"The doctor"}


def _seen(headers: Headers, row_version: int) -> Headers:
    return {**headers, "If-Match": f'"{row_version}"'}


def test_an_edit_of_an_older_record_is_412_with_the_record_and_the_differences(
    api: TestClient, doctor: Headers, token_of: TokenOf
) -> None:
    patient = _added(api, doctor)
    address = f"/patients/{patient['id']}"
    first = api.put(address, headers=_seen(token_of("nurse"), 1), json={**ENTRY, "bmi": 23.25})
    assert first.status_code == 200
    wanted = {**ENTRY, "bmi": 30, "insurance_cost": None}
    second = api.put(address, headers=_seen(doctor, 1), json=wanted)
    assert second.status_code == 412
    body = second.json()
    assert "Nothing was overwritten" in body["detail"]
    assert body["current"] == first.json()
    assert {item["field"]: (item["theirs"], item["yours"]) for item in body["differences"]} == {
        "bmi": (23.25, 30),
        "insurance_cost": (1200.5, None),
    }
    assert second.headers["ETag"] == first.headers["ETag"] == '"2"'
    knowingly = api.put(address, headers={**doctor, "If-Match": second.headers["ETag"]}, json=wanted)
    assert (knowingly.status_code, knowingly.json()["bmi"]) == (200, 30)


def test_a_record_changed_since_is_not_deleted(api: TestClient, doctor: Headers) -> None:
    address = f"/patients/{_added(api, doctor)['id']}"
    api.put(address, headers=_seen(doctor, 1), json={**ENTRY, "bmi": 30})
    refused = api.delete(address, headers=_seen(doctor, 1))
    assert (refused.status_code, refused.headers["ETag"], refused.json()["differences"]) == (412, '"2"', [])
    assert refused.json()["type"] == "/api/problems/patient-changed"
    assert api.delete(address, headers=_seen(doctor, 2)).status_code == 204


def test_a_change_that_does_not_say_what_was_seen_is_428(api: TestClient, doctor: Headers) -> None:
    address = f"/patients/{_added(api, doctor)['id']}"
    for answer in (api.put(address, headers=doctor, json=ENTRY), api.delete(address, headers=doctor)):
        assert (answer.status_code, answer.json()["type"]) == (428, "/api/problems/precondition-missing")
    for tag in ("1", "*", '"x"', 'W/"1"', '"' + "9" * 30 + '"'):
        answer = api.delete(address, headers={**doctor, "If-Match": tag})
        assert (answer.status_code, answer.json()["problems"][0]["field"]) == (422, "If-Match")


def test_a_record_that_the_client_has_is_not_sent_again(api: TestClient, doctor: Headers) -> None:
    address = f"/patients/{_added(api, doctor)['id']}"
    tag = api.get(address, headers=doctor).headers["ETag"]
    for sent in (tag, f'"7", W/{tag}', "*"):
        known = api.get(address, headers={**doctor, "If-None-Match": sent})
        assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", tag)
    api.put(address, headers={**doctor, "If-Match": tag}, json={**ENTRY, "bmi": 30})
    fresh = api.get(address, headers={**doctor, "If-None-Match": tag})
    assert (fresh.status_code, fresh.json()["bmi"]) == (200, 30)


def test_a_possible_duplicate_is_409_with_its_id_until_it_is_accepted(
    api: TestClient, doctor: Headers
) -> None:
    patient = _added(api, doctor)
    twin = {**ENTRY, "first_name": " ada ", "bmi": 31}
    refused = api.post("/patients", headers=doctor, json=twin)
    assert refused.status_code == 409
    assert refused.json()["possible_duplicates"] == [patient["id"]]
    assert "accept_duplicate=true" in refused.json()["detail"]
    assert api.post("/patients?accept_duplicate=true", headers=doctor, json=twin).status_code == 201
    older = {**ENTRY, "age": 80}
    assert api.post("/patients", headers=doctor, json=older).status_code == 201
    wrong = api.post("/patients", headers=doctor, json={**ENTRY, "bmi": 500})
    assert [problem["field"] for problem in wrong.json()["problems"]] == ["bmi"]


def test_the_list_is_filtered_sorted_counted_and_paged_both_ways(api: TestClient, doctor: Headers) -> None:
    for age in (20, 30, 40, 50, 60):
        _added(api, doctor, age=age, smoker="yes" if age > 25 else "no", last_name=f"L{age}")
    query = {"smoker": "yes", "sort": "age", "descending": "true", "limit": "2", "count": "true"}
    first = api.get("/patients", headers=doctor, params=query).json()
    assert ([item["age"] for item in first["items"]], first["count"]) == ([60, 50], 4)
    assert first["previous_cursor"] is None
    second = api.get("/patients", headers=doctor, params={**query, "cursor": first["next_cursor"]}).json()
    assert ([item["age"] for item in second["items"]], second["next_cursor"]) == ([40, 30], None)
    back = api.get("/patients", headers=doctor, params={**query, "cursor": second["previous_cursor"]}).json()
    assert back["items"] == first["items"]
    ages = {"age_from": "30", "age_to": "50", "search": "L4"}
    found = api.get("/patients", headers=doctor, params=ages).json()
    assert ([item["age"] for item in found["items"]], found["count"]) == ([40], None)
    costs = api.get("/patients/cost-distribution", headers=doctor).json()
    assert (costs["count"], sum(costs["counts"]), len(costs["edges"])) == (5, 5, len(costs["counts"]) + 1)
    assert costs["edges"][-1] is None


def test_an_export_is_a_file_that_the_import_reads(api: TestClient, doctor: Headers) -> None:
    _added(api, doctor, last_name="=cmd()", insurance_cost=None)
    _added(api, doctor)
    answer = api.get("/patients/export?sort=name", headers=doctor)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="fedcost-patients-')
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["last_name"], row["age"], row["insurance_cost"]) for row in rows] == [
        ("'=cmd()", "36", ""),
        ("Lovelace", "36", "1200.50"),
    ]
    check = api.post("/patients/import?check_only=true", headers=doctor, content=answer.content)
    assert (check.json()["already_there"], check.json()["added"]) == (2, 0), check.text

    workbook = api.get("/patients/export?format=xlsx&cost_unknown=true", headers=doctor)
    assert workbook.headers["content-disposition"].endswith('.xlsx"')
    sheet = openpyxl.load_workbook(io.BytesIO(workbook.content)).active
    assert sheet is not None
    assert [row[3] for row in sheet.iter_rows(values_only=True)] == ["age", 36]


def test_a_file_is_checked_and_imported_once(api: TestClient, doctor: Headers) -> None:
    csv_file = {**doctor, "Content-Type": "text/csv"}
    checked = api.post("/patients/import?check_only=true", headers=csv_file, content=FILE.encode())
    assert checked.status_code == 200, checked.text
    assert checked.json()["mapping"]["insurance_cost"] == "Charges"
    assert (checked.json()["rows"], checked.json()["costs_known"], checked.json()["added"]) == (2, 1, 2)
    assert checked.json()["ignored"] == ["Vorname"]
    assert api.get("/patients?count=true", headers=doctor).json()["count"] == 0
    imported = api.post("/patients/import", headers=csv_file, content=FILE.encode()).json()
    assert (imported["checked_only"], imported["added"], imported["already_there"]) == (False, 2, 0)
    assert imported["known_names"] is None
    again = api.post("/patients/import", headers=doctor, files={"file": ("p.csv", FILE.encode(), "text/csv")})
    assert (again.json()["added"], again.json()["already_there"]) == (0, 2), again.text
    assert api.get("/patients?count=true", headers=doctor).json()["count"] == 2


def test_columns_of_any_name_are_mapped_by_the_client(api: TestClient, doctor: Headers) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["a", "s", "b", "c", "q", "r"])
    book.active.append([36, "F", 22.5, 3, "N", "northeast"])
    written = io.BytesIO()
    book.save(written)
    mapping = json.dumps({"age": "a", "sex": "s", "bmi": "b", "children": "c", "smoker": "q", "region": "r"})
    form = {"file": ("p.xlsx", written.getvalue(), "application/octet-stream")}
    answer = api.post("/patients/import", headers=doctor, files=form, data={"mapping": mapping})
    assert answer.json()["added"] == 1, answer.text
    raw = api.post(
        "/patients/import", headers=doctor, params={"mapping": mapping}, content=written.getvalue()
    )
    assert raw.json()["already_there"] == 1, raw.text


def test_every_problem_of_a_file_is_named_by_row_and_column_and_nothing_is_imported(
    api: TestClient, doctor: Headers
) -> None:
    rows = ["Age,Sex,BMI,Children,Smoker,Region", "36,F,22.5,3,N,northeast"]
    rows += ["200,F,22.5,3,N,northeast"] * 1500
    rows[5] = "36,F,22.5,3,perhaps,nowhere"
    answer = api.post("/patients/import", headers=doctor, content="\n".join(rows).encode())
    assert answer.status_code == 422
    body = answer.json()
    assert (body["total"], len(body["problems"])) == (1501, 1000)
    assert (body["problems"][0]["row"], body["problems"][0]["field"]) == (3, "Age")
    assert [(p["row"], p["field"]) for p in body["problems"] if p["field"] != "Age"] == [
        (6, "Smoker"),
        (6, "Region"),
    ]
    assert body["detail"].startswith(
        "1,501 problems were found; nothing was used. The first, in row 3: Age is"
    )
    assert api.get("/patients", headers=doctor).json()["items"] == []


BAD_FILES: list[tuple[bytes, str, str]] = [
    (b"", "file", "empty"),
    (b"%PDF-1.4", "file", "PDF"),
    (b"PK\x03\x04 broken", "file", "Excel"),
    (b"\x00\x01\x02", "file", ""),
    (b"Age,Sex\n1", "file", "No column is"),
]
BAD_MAPPINGS = [
    "{",
    "[]",
    '{"age": 1}',
    '{"salary": "Age"}',
    '{"age": "Not there"}',
    "{}",
    "\x00",
    '{"age": "\\ud800"}',
]


def test_a_file_that_cannot_be_read_is_422_with_a_sentence(api: TestClient, doctor: Headers) -> None:
    for content, field, words in BAD_FILES:
        answer = api.post("/patients/import", headers=doctor, content=content)
        assert answer.status_code == 422, (content, answer.text)
        assert {problem["field"] for problem in answer.json()["problems"]} == {field}
        assert words in answer.json()["detail"]
    for mapping in BAD_MAPPINGS:
        params = {"mapping": mapping}
        answer = api.post("/patients/import", headers=doctor, params=params, content=FILE.encode())
        assert answer.status_code == 422, (mapping, answer.text)
        assert answer.json()["detail"]


def test_a_form_without_a_file_or_of_another_shape_is_a_clear_4xx(api: TestClient, doctor: Headers) -> None:
    form = {**doctor, "Content-Type": "multipart/form-data; boundary=x"}
    parts = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n'
    for content in (b"", b"nonsense", parts, b"--x\r\nnothing\r\n\r\n--x--\r\n"):
        answer = api.post("/patients/import", headers=form, content=content)
        assert answer.status_code in (400, 422), (content, answer.text)
        assert answer.json()["detail"]
    several = {"a": ("a", b"1"), "b": ("b", b"2")}
    assert api.post("/patients/import", headers=doctor, files=several).status_code == 400
    without = {**doctor, "Content-Type": "multipart/form-data"}
    assert api.post("/patients/import", headers=without, content=FILE.encode()).status_code == 400


def test_a_wrong_role_is_refused_before_a_large_body_is_read(api: TestClient, token_of: TokenOf) -> None:
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100_000

    for address in ("/patients/import", "/predictions/batch"):
        for headers, status in (({}, 401), (token_of("nurse"), 403)):
            sent = 0
            answer = api.post(address, headers=headers, content=chunks())
            assert (answer.status_code, sent) == (status, 0)
    admin = {**token_of("admin"), "Content-Type": "application/json"}
    assert api.post("/patients", headers=admin, content=b"{").status_code == 403
    assert api.post("/patients", content=b"{").status_code == 401


def test_only_files_and_batches_may_be_large(api: TestClient, doctor: Headers) -> None:
    large = b"x" * 70_000
    json_type = {**doctor, "Content-Type": "application/json"}
    assert api.post("/patients", headers=json_type, content=large).status_code == 413
    assert api.put(f"/patients/{uuid.uuid4()}", headers=json_type, content=large).status_code == 413
    assert api.post("/patients/import", headers=doctor, content=large).status_code == 422
    assert api.post("/predictions/batch", headers=json_type, content=large).status_code == 400
    huge = b" " * (21 * 1024 * 1024)
    assert api.post("/patients/import", headers=doctor, content=huge).status_code == 413
    assert api.post("/predictions/batch", headers=doctor, content=huge).status_code == 413
