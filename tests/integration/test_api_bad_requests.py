"""What the API answers to requests that make no sense: a clear 4xx, never a failure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.filters import HistoryQuery, PatientExportQuery, PatientListQuery

Headers = dict[str, str]
TokenOf = Callable[[str], Headers]
VALUES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"age": -1}, "age"),
    ({"age": 121}, "age"),
    ({"age": 40.5}, "age"),
    ({"age": "40"}, "age"),
    ({"age": None}, "age"),
    ({"age": True}, "age"),
    ({"bmi": 9.99}, "bmi"),
    ({"bmi": 100.01}, "bmi"),
    ({"children": -1}, "children"),
    ({"children": 31}, "children"),
    ({"smoker": "maybe"}, "smoker"),
    ({"smoker": False}, "smoker"),
    ({"region": "nowhere"}, "region"),
    ({"sex": ""}, "sex"),
    ({"sex": "\ud800"}, "sex"),
    ({"patient_id": "not-an-id"}, "patient_id"),
    ({"salary": 1}, "salary"),
]


def test_a_bad_value_is_422_naming_the_field(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model()
    headers = {**token_of("nurse"), "Content-Type": "application/json"}
    for change, field in BAD_VALUES:
        answer = api.post("/predictions", headers=headers, content=json.dumps({**VALUES, **change}))
        assert answer.status_code == 422, (change, answer.text)
        assert [problem["field"] for problem in answer.json()["problems"]] == [field]
        assert answer.json()["detail"] == answer.json()["problems"][0]["message"]


def test_an_empty_form_names_every_field(api: TestClient, token_of: TokenOf) -> None:
    answer = api.post("/predictions", headers=token_of("nurse"), json={})
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["problems"]] == list(VALUES)
    assert answer.json()["problems"][0]["message"] == (
        "Age is missing; expected a whole number from 0 to 120 (years)."
    )


def test_malformed_json_is_a_clear_4xx(api: TestClient, token_of: TokenOf) -> None:
    headers = {**token_of("nurse"), "Content-Type": "application/json"}
    for content in (b"{", b"", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"age": NaN}'):
        answer = api.post("/predictions", headers=headers, content=content)
        assert answer.status_code in (400, 422), (content, answer.text)
        assert answer.json()["detail"]


def test_a_body_that_is_not_json_is_refused(api: TestClient, token_of: TokenOf) -> None:
    answer = api.post("/predictions", headers=token_of("nurse"), data={"age": "40"})
    assert (answer.status_code, answer.json()["type"]) == (415, "/api/problems/wrong-media-type")


def test_a_deeply_nested_body_is_refused(api: TestClient, token_of: TokenOf) -> None:
    headers = {**token_of("nurse"), "Content-Type": "application/json"}
    answer = api.post("/predictions", headers=headers, content=b"[" * 30_000)
    assert 400 <= answer.status_code < 500


def test_a_huge_body_is_413_declared_or_not(api: TestClient, token_of: TokenOf) -> None:
    headers = {**token_of("nurse"), "Content-Type": "application/json"}
    declared = api.post("/predictions", headers=headers, content=b" " * 200_000)
    assert declared.status_code == 413
    streamed = api.post("/predictions", headers=headers, content=(b" " * 10_000 for _ in range(20)))
    assert streamed.status_code == 413
    assert streamed.json()["detail"]


BAD_ADDRESSES = [
    ("/patients/not-an-id", {422}),
    ("/patients?cursor=nonsense", {422}),
    (f"/patients?cursor={uuid.uuid4()}", {422}),
    ("/patients?limit=0", {422}),
    ("/patients?limit=101", {422}),
    ("/patients?limit=many", {422}),
    ("/patients?search=%00", {422}),
    (f"/patients?search={'x' * 101}", {422}),
    ("/predictions/history?cursor=%F0%9F%98%80", {422}),
    (f"/predictions/history?cursor={uuid.uuid4()}", {422}),
    ("/patients?cursor=before-nonsense", {422}),
    ("/patients?sort=salary", {422}),
    ("/patients?descending=perhaps", {422}),
    ("/patients?smoker=maybe", {422}),
    ("/patients?age_from=40.5", {422}),
    ("/patients?age_from=-1", {422}),
    ("/patients?age_to=" + "9" * 30, {422}),
    ("/patients?age_from=50&age_to=40", {422}),
    ("/patients?bmi_from=nan", {422}),
    ("/patients?bmi_to=1e400", {422}),
    ("/patients?salary=1", {422}),
    ("/patients/export?format=pdf", {422}),
    ("/patients/export?cursor=1", {422}),
    ("/patients/export?search=%00", {422}),
    ("/patients/deleted?limit=0", {422}),
    ("/patients/deleted?limit=" + "9" * 5000, {422}),
    ("/patients/not-an-id/changes", {422}),
    ("/patients/not-an-id/predictions", {422}),
    ("/predictions/history?since=yesterday", {422}),
    ("/predictions/history?since=2026-02-30", {422}),
    ("/predictions/history?until=0001-01-01", {422}),
    ("/predictions/history?until=9999-12-31", {422}),
    ("/predictions/history?since=2026-02-01&until=2026-01-01", {422}),
    ("/predictions/history?worker_id=" + "9" * 20, {422}),
    ("/predictions/history?worker_id=-1", {422}),
    ("/predictions/history?patient_id=1", {422}),
    ("/predictions/history?patient=%00", {422}),
    ("/predictions/history?model_version=%00", {422}),
    ("/predictions/history?zone=Atlantis", {422}),
    ("/predictions/history?zone=../../etc/passwd", {422}),
    ("/predictions/history?zone=%00", {422}),
    ("/predictions/export?with_error=2", {422}),
    ("/predictions/accuracy?zone=" + "x" * 101, {422}),
    ("/predictions/accuracy?since=2026-01-01", {422}),
    ("/model/card?version=%00", {422}),
    ("/model/card?version=" + "x" * 51, {422}),
    ("/model/card?version=v99", {404}),
    ("/nowhere", {404}),
]

ENTRY = {**VALUES, "first_name": "Ada", "last_name": "Lovelace", "insurance_cost": 100.0}
BAD_ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"first_name": ""}, "first_name"),
    ({"first_name": None}, "first_name"),
    ({"last_name": 5}, "last_name"),
    ({"last_name": "a\x00b"}, "last_name"),
    ({"last_name": "\ud800"}, "last_name"),
    ({"last_name": "x" * 256}, "last_name"),
    ({"insurance_cost": -1}, "insurance_cost"),
    ({"insurance_cost": 1e300}, "insurance_cost"),
    ({"insurance_cost": "100"}, "insurance_cost"),
    ({"insurance_cost": True}, "insurance_cost"),
    ({"insurance_cost": 10**400}, "insurance_cost"),
    ({"age": 10**400}, "age"),
    ({"bmi": 10**400}, "bmi"),
    ({"id": str(uuid.uuid4())}, "id"),
    ({"created_by": 1}, "created_by"),
    *BAD_VALUES[:-2],
]


def test_a_bad_patient_is_422_naming_the_field_when_added_and_when_edited(
    api: TestClient, token_of: TokenOf, consortium: Any
) -> None:
    patient = consortium.add_patient("northeast", "Ada", "Lovelace")
    headers = {**token_of("nurse"), "Content-Type": "application/json"}
    headers["If-Match"] = '"1"'
    for method, path in (("POST", "/patients"), ("PUT", f"/patients/{patient}")):
        for change, field in BAD_ENTRIES:
            content = json.dumps({**ENTRY, **change})
            answer = api.request(method, path, headers=headers, content=content)
            assert answer.status_code == 422, (method, change, answer.text)
            assert [problem["field"] for problem in answer.json()["problems"]] == [field]
    assert len(api.get("/patients", headers=headers).json()["items"]) == 1


def test_a_bad_address_is_a_clear_4xx(api: TestClient, token_of: TokenOf) -> None:
    headers = token_of("doctor")
    for path, statuses in BAD_ADDRESSES:
        answer = api.get(path, headers=headers)
        assert answer.status_code in statuses, (path, answer.text)
        assert answer.json()["detail"]


def test_a_bad_run_id_is_a_clear_4xx(api: TestClient, token_of: TokenOf) -> None:
    scientist, admin = token_of("scientist"), token_of("admin")
    for run_id, status in (("0", 404), ("-1", 404), ("9" * 20, 404), ("9" * 5000, 422), ("x", 422)):
        assert api.get(f"/training/runs/{run_id}", headers=scientist).status_code == status
        assert api.post(f"/training/runs/{run_id}/cancel", headers=admin).status_code == status


STRANGE_CREDENTIALS = [
    {"email": "a@b.c\x00", "password": "x"},
    {"email": "", "password": ""},
    {"email": "doctor@northeast.test.local", "password": "\x00"},
    {"email": "doctor@northeast.test.local", "password": "ä" * 200},
]


def test_strange_credentials_are_refused_like_wrong_ones(api: TestClient) -> None:
    for body in STRANGE_CREDENTIALS:
        expected = 422 if "\x00" in "".join(body.values()) else 401
        assert api.post("/auth/login", json=body).status_code == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        *ENTRY,
        "patient_id",
        "reason",
        "rows",
        "patients",
        "patient_ids",
        "num_rounds",
        "strategy",
        "email",
    ]
)
BODIES = (
    st.dictionaries(FIELDS, JSON).map(lambda change: {**VALUES, **change})
    | st.dictionaries(FIELDS, JSON, max_size=2).map(lambda change: {**ENTRY, **change})
    | JSON
    | st.dictionaries(FIELDS, JSON)
)
PARAMETERS = sorted(
    {
        *PatientListQuery.model_fields,
        *PatientExportQuery.model_fields,
        *HistoryQuery.model_fields,
        "mapping",
        "other",
    }
)
# Numbers and dates that mean something, and texts that mean nothing.
SENT = st.text(max_size=120) | st.integers().map(str) | st.floats().map(str) | st.dates().map(str)
QUERIES = st.dictionaries(st.sampled_from(PARAMETERS), SENT, max_size=4)
BODY_ROUTES = [
    ("POST", "/predictions"),
    ("POST", "/predictions/explain"),
    ("POST", "/predictions/batch"),
    ("POST", "/patients"),
    ("PUT", f"/patients/{uuid.uuid4()}"),
    ("POST", "/training/runs"),
    ("POST", "/auth/login"),
]
QUERY_ROUTES = [
    "/patients",
    "/patients/export",
    "/patients/deleted",
    "/predictions/history",
    "/predictions/export",
    "/predictions/accuracy",
    "/model/card",
]
FILE_ROUTES = ["/patients/import", "/predictions/batch"]
FILE_TYPES = [
    "text/csv",
    "application/octet-stream",
    "application/json",
    "multipart/form-data; boundary=x",
    "nonsense",
]
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
HEADINGS = b"Age,Sex,BMI,Children,Smoker,Region,First Name,Last Name,Charges\n"
FILES = (
    st.binary(max_size=300)
    | st.binary(max_size=300).map(lambda part: FORM + part + b"\r\n--x--\r\n")
    | st.lists(st.text(max_size=8), min_size=9, max_size=9).map(
        lambda cells: HEADINGS + ",".join(cells).encode("utf-8", "replace")
    )
)
RELAXED = settings(max_examples=50, suppress_health_check=list(HealthCheck))


def test_nothing_that_is_sent_makes_the_api_fail(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model()
    headers = {
        person: {**token_of(person), "Content-Type": "application/json"} for person in ("doctor", "admin")
    }

    @RELAXED
    @given(st.sampled_from(BODY_ROUTES), BODIES)
    def send_body(route: tuple[str, str], body: Any) -> None:
        method, path = route
        person = "admin" if path == "/training/runs" else "doctor"
        answer = api.request(method, path, headers=headers[person], content=json.dumps(body))
        assert answer.status_code < 500, (path, body, answer.text)
        assert answer.is_success or answer.json()["detail"]

    @RELAXED
    @given(st.sampled_from(QUERY_ROUTES), QUERIES)
    def send_query(path: str, query: dict[str, str]) -> None:
        answer = api.get(path, headers=headers["doctor"], params=query)
        assert answer.status_code < 500, (path, query, answer.text)

    @RELAXED
    @given(st.sampled_from(FILE_ROUTES), st.sampled_from(FILE_TYPES), FILES, QUERIES)
    def send_file(path: str, kind: str, content: bytes, query: dict[str, str]) -> None:
        sent = {**headers["doctor"], "Content-Type": kind}
        answer = api.post(path, headers=sent, params=query, content=content)
        assert answer.status_code < 500, (path, content, answer.text)
        assert answer.is_success or answer.json()["detail"]

    send_body()
    send_query()
    send_file()
