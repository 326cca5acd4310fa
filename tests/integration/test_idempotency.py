"""Idempotency-Key: a request that is sent twice changes something once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from api.app import ROUTERS, create_api
from api.idempotency import ONCE, REPEATABLE
from app import housekeeping
from app.databases import site_session
from app.services import idempotency, patient_records
from db.central import MedicalWorker, TrainingRun
from db.idempotency import CentralIdempotencyKey, SiteIdempotencyKey
from db.site import Patient, Prediction
from tests.integration.conftest import Consortium

Headers = dict[str, str]
TokenOf = Callable[[str], Headers]
VALUES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
ENTRY = {**VALUES, "first_name": "Quirina", "last_name": "Zuckmayer"}
FILE = (
    b"First Name,Last Name,Age,Sex,BMI,Children,Smoker,Region,Charges\n"
    b"Neu,Zuckmayer,61,F,41.2,1,Y,southwest,54321\n"
)


def _patients(consortium: Consortium, code: str = "northeast") -> int:
    with consortium.site(code) as site:
        return site.scalar(select(func.count()).select_from(Patient)) or 0


def _keys(consortium: Consortium) -> list[SiteIdempotencyKey]:
    with consortium.site("northeast") as site:
        return list(site.scalars(select(SiteIdempotencyKey)))


def _with_key(headers: Headers, key: str = "press-1") -> Headers:
    return {**headers, "Idempotency-Key": key}


def _kind(answer: Any) -> str:
    return str(answer.json()["type"].rsplit("/", 1)[-1])


def test_every_post_accepts_a_key_or_is_named_with_a_reason() -> None:
    posts = {route.path for router in ROUTERS for route in router.routes if "POST" in route.methods}
    assert posts == {*ONCE, *REPEATABLE}
    assert not ONCE.keys() & REPEATABLE.keys()
    paths = create_api().openapi()["paths"]
    named = {
        path
        for path, item in paths.items()
        for operation in item.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    }
    assert named == set(ONCE)


def test_the_same_request_again_gets_the_same_answer_and_adds_one_row(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    headers = _with_key(token_of("doctor"))
    first = api.post("/patients", headers=headers, json=ENTRY)
    again = api.post("/patients", headers=headers, json=ENTRY)
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert _patients(consortium) == 1
    assert [str(row.patient_id) for row in _keys(consortium)] == [first.json()["id"]]


def test_an_answer_without_a_body_is_replayed_too(
    api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> None:
    add_model("v1")
    add_model("v2", status="candidate", seed=2)
    headers = _with_key(token_of("scientist"))
    answers = [api.post("/models/v2/propose", headers=headers, json={"reason": "better"}) for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 2, answers[0].text
    assert answers[1].headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/patients", {**ENTRY, "age": 41}),
        ("/patients?accept_duplicate=true", ENTRY),
        ("/predictions", VALUES),
    ],
    ids=["body", "query", "address"],
)
def test_the_key_of_another_request_is_refused(
    api: TestClient, token_of: TokenOf, consortium: Consortium, path: str, body: dict[str, Any]
) -> None:
    headers = _with_key(token_of("doctor"))
    assert api.post("/patients", headers=headers, json=ENTRY).status_code == 201
    refused = api.post(path, headers=headers, json=body)
    assert (refused.status_code, _kind(refused)) == (422, "key-used-otherwise")
    assert _patients(consortium) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "schl\u00fcssel".encode("latin-1"), "tab\tulator"])
def test_a_key_that_is_not_printable_ascii_is_refused(
    api: TestClient, token_of: TokenOf, consortium: Consortium, key: Any
) -> None:
    refused = api.post("/patients", headers=_with_key(token_of("doctor"), key), json=ENTRY)
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["field"] == "Idempotency-Key"
    assert _patients(consortium) == 0


def test_after_an_error_the_corrected_request_may_take_the_same_key(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    consortium.add_patient("northeast", "Quirina", "Zuckmayer", age=40)
    headers = _with_key(token_of("doctor"))
    assert api.post("/patients", headers=headers, json={**ENTRY, "age": 999}).status_code == 422
    assert _kind(api.post("/patients", headers=headers, json=ENTRY)) == "possible-duplicate"
    assert api.post(f"/patients/{uuid.uuid4()}/restore", headers=headers).status_code == 404
    assert _keys(consortium) == []
    added = api.post("/patients?accept_duplicate=true", headers=headers, json=ENTRY)
    assert added.status_code == 201
    assert "idempotency-replayed" not in added.headers
    assert _patients(consortium) == 2


@pytest.mark.parametrize("query", ["", "?accept_duplicate=true"])
def test_of_requests_at_the_same_moment_one_changes_something(
    api: TestClient, token_of: TokenOf, consortium: Consortium, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    headers, together = _with_key(token_of("doctor")), Barrier(4, timeout=30)
    add = patient_records.add_patient

    def add_together(**arguments: Any) -> Any:
        together.wait()  # all have found no such key and no such patient
        return add(**arguments)

    monkeypatch.setattr(patient_records, "add_patient", add_together)
    with ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(api.post, f"/patients{query}", headers=headers, json=ENTRY) for _ in range(4)]
        answers = [one.result() for one in sent]
    monkeypatch.undo()
    assert _patients(consortium) == 1
    first = [
        answer
        for answer in answers
        if answer.status_code == 201 and "idempotency-replayed" not in answer.headers
    ]
    assert len(first) == 1
    for answer in answers:
        if answer.status_code == 201:
            assert answer.content == first[0].content
        else:
            assert (answer.status_code, _kind(answer)) == (409, "request-under-way")


def test_the_same_key_of_another_worker_is_another_key(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    first = api.post("/patients", headers=_with_key(token_of("doctor")), json=ENTRY)
    other = api.post("/patients?accept_duplicate=true", headers=_with_key(token_of("nurse")), json=ENTRY)
    assert (first.status_code, other.status_code) == (201, 201)
    assert first.json()["id"] != other.json()["id"]
    assert _patients(consortium) == 2


def test_an_answer_that_was_not_kept_is_told_and_nothing_is_done_again(
    api: TestClient, token_of: TokenOf, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = _with_key(token_of("doctor"))
    with monkeypatch.context() as patch:  # as if the process had ended after the change
        patch.setattr(idempotency, "LARGEST_ANSWER", 0)
        assert api.post("/patients", headers=headers, json=ENTRY).status_code == 201
    soon = api.post("/patients", headers=headers, json=ENTRY)
    assert (soon.status_code, _kind(soon)) == (409, "request-under-way")
    _age(consortium, minutes=2)
    later = api.post("/patients", headers=headers, json=ENTRY)
    assert (later.status_code, _kind(later)) == (409, "already-done")
    assert _patients(consortium) == 1


def _age(consortium: Consortium, **past: int) -> None:
    with consortium.site("northeast") as site:
        before = func.now() - func.make_interval(0, 0, 0, 0, past.get("hours", 0), past.get("minutes", 0))
        site.execute(update(SiteIdempotencyKey).values(created_at=before))
        site.commit()


def test_a_key_is_free_again_after_a_day_and_is_swept(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    headers = _with_key(token_of("doctor"))
    path = "/patients?accept_duplicate=true"
    assert api.post(path, headers=headers, json=ENTRY).status_code == 201
    _age(consortium, hours=25)
    again = api.post(path, headers=headers, json={**ENTRY, "age": 50})
    assert (again.status_code, again.json()["age"]) == (201, 50)
    _age(consortium, hours=23)
    housekeeping.delete_what_is_old()
    assert len(_keys(consortium)) == 1
    _age(consortium, hours=25)
    housekeeping.delete_what_is_old()
    assert _keys(consortium) == []


def test_after_an_erasure_no_kept_answer_speaks_of_the_patient(
    api: TestClient, token_of: TokenOf, consortium: Consortium, add_model: Callable[..., Any]
) -> None:
    add_model()
    headers = token_of("doctor")
    added = api.post("/patients", headers=_with_key(headers, "add"), json=ENTRY).json()
    body = {**VALUES, "patient_id": added["id"]}
    assert api.post("/predictions", headers=_with_key(headers, "predict"), json=body).status_code == 200
    api.delete(f"/patients/{added['id']}", headers={**headers, "If-Match": '"1"'})
    restored = api.post(f"/patients/{added['id']}/restore", headers=_with_key(headers, "restore"))
    assert restored.status_code == 200, restored.text
    other = {**ENTRY, "first_name": "Bea"}
    api.post("/patients", headers=_with_key(headers, "other"), json=other)
    assert {row.key for row in _keys(consortium) if str(row.patient_id) == added["id"]} == {
        "add",
        "predict",
        "restore",
    }
    erasure, confirmed = f"/patients/{added['id']}/erasure", {"confirm_patient_id": added["id"]}
    erased = api.post(erasure, headers=_with_key(headers, "erase"), json=confirmed)
    assert erased.status_code == 200, erased.text
    kept = _keys(consortium)
    assert {row.key for row in kept} == {"other", "erase"}
    assert not any(added["id"] in str(vars(row)) for row in kept)
    again = api.post(erasure, headers=_with_key(headers, "erase"), json=confirmed)
    assert (again.status_code, _kind(again)) == (409, "already-done")


def test_an_answer_about_somebody_who_was_erased_meanwhile_is_not_kept(
    api: TestClient, token_of: TokenOf, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = token_of("doctor")
    monkeypatch.setattr(idempotency, "LARGEST_ANSWER", 0)
    added = api.post("/patients", headers=_with_key(headers), json=ENTRY).json()
    monkeypatch.undo()
    key = _keys(consortium)[0]
    sent = idempotency.RequestKey(
        "site", key.worker_id, key.key, key.route, key.request_sha256, attempt=key.attempt
    )
    confirmed = {"confirm_patient_id": added["id"]}
    assert api.post(f"/patients/{added['id']}/erasure", headers=headers, json=confirmed).status_code == 200
    with site_session(consortium.actors["doctor"]) as site:
        answer = idempotency.KeptAnswer(201, {}, str(added))
        idempotency.keep_answer(session=site, key=sent, answer=answer, patient_id=uuid.UUID(added["id"]))
    assert [row.answer for row in _keys(consortium)] == [None]


def test_a_prediction_is_kept_once(
    api: TestClient, token_of: TokenOf, consortium: Consortium, add_model: Callable[..., Any]
) -> None:
    add_model()
    headers = _with_key(token_of("nurse"))
    first, again = (api.post("/predictions", headers=headers, json=VALUES) for _ in range(2))
    assert (first.status_code, again.content) == (200, first.content)
    with consortium.site("northeast") as site:
        assert site.scalar(select(func.count()).select_from(Prediction)) == 1


def test_a_file_is_imported_once_and_only_checking_it_takes_no_key(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    headers = _with_key(token_of("doctor"))
    checked = api.post("/patients/import?check_only=true", headers=headers, files={"file": FILE})
    assert checked.status_code == 200, checked.text
    assert _keys(consortium) == []
    # The client draws another boundary of the form each time.
    first, again = (api.post("/patients/import", headers=headers, files={"file": FILE}) for _ in range(2))
    assert (first.json()["added"], again.content) == (1, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert first.request.headers["content-type"] != again.request.headers["content-type"]


def test_a_body_that_is_too_large_is_refused_with_a_key_too(api: TestClient, token_of: TokenOf) -> None:
    headers = _with_key(token_of("doctor"))
    chunks = (b" " * 40_000 for _ in range(2))  # no declared length
    refused = api.post("/patients", headers={**headers, "Content-Type": "application/json"}, content=chunks)
    assert (refused.status_code, _kind(refused)) == (413, "too-large")


def test_a_run_is_asked_for_once_and_its_key_is_in_the_central_database(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    headers = _with_key(token_of("admin"))
    first, again = (api.post("/training/runs", headers=headers, json={"num_rounds": 2}) for _ in range(2))
    assert (first.status_code, again.content) == (202, first.content)
    with consortium.central() as central:
        assert central.scalar(select(func.count()).select_from(TrainingRun)) == 1
        assert central.scalars(select(CentralIdempotencyKey.route)).all() == ["/training/runs"]
    assert _keys(consortium) == []


def test_a_one_time_link_is_kept_by_no_key(
    api: TestClient, token_of: TokenOf, consortium: Consortium
) -> None:
    headers = _with_key(token_of("admin"))
    person = {
        "name": "A. Nurse",
        "email": "new@northeast.test.local",
        "role": "nurse",
        "institution": "northeast",
    }
    added = api.post("/workers", headers=headers, json=person)
    assert added.status_code == 201, added.text
    again = api.post("/workers", headers=headers, json=person)
    assert (again.status_code, _kind(again)) == (409, "already-done")
    with consortium.central() as central:
        found = select(func.count()).where(MedicalWorker.email == person["email"])
        assert central.scalar(found) == 1
        assert central.scalars(select(CentralIdempotencyKey.answer)).all() == [None]
