"""What the API answers to requests that make no sense: a clear 4xx, never a failure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert answer.status_code == 422


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
    ("/nowhere", {404}),
]


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
        assert api.post("/auth/login", json=body).status_code == 401


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [*VALUES, "patient_id", "num_rounds", "strategy", "idempotency_key", "email", "password"]
)
BODIES = (
    st.dictionaries(FIELDS, JSON).map(lambda change: {**VALUES, **change})
    | JSON
    | st.dictionaries(FIELDS, JSON)
)
QUERIES = st.dictionaries(st.sampled_from(["search", "cursor", "limit", "other"]), st.text(max_size=120))
RELAXED = settings(deadline=None, database=None, max_examples=60, suppress_health_check=list(HealthCheck))


def test_nothing_that_is_sent_makes_the_api_fail(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model()
    headers = {
        person: {**token_of(person), "Content-Type": "application/json"} for person in ("nurse", "admin")
    }

    @RELAXED
    @given(st.sampled_from(["/predictions", "/training/runs", "/auth/login"]), BODIES)
    def send_body(path: str, body: Any) -> None:
        person = "admin" if path == "/training/runs" else "nurse"
        answer = api.post(path, headers=headers[person], content=json.dumps(body))
        assert answer.status_code < 500, (path, body, answer.text)
        assert answer.is_success or answer.json()["detail"]

    @RELAXED
    @given(st.sampled_from(["/patients", "/predictions/history"]), QUERIES)
    def send_query(path: str, query: dict[str, str]) -> None:
        answer = api.get(path, headers=headers["nurse"], params=query)
        assert answer.status_code < 500, (path, query, answer.text)

    send_body()
    send_query()
