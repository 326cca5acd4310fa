"""What the API answers is what its description says, whoever asks for whatever."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_api
from app.settings import get_settings
from bench.malformed import send, sign_in
from bench.malformed_requests import can_be_asked_wrongly
from bench.served import served
from tests.integration.conftest import PASSWORD, PEOPLE, AddRun, Consortium

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
NOBODY = "nobody"
# Ends the session that the others need; called once, at the end.
SIGN_OUT = "POST /auth/logout"
PATIENTS = 12
TRIGGER = {"name": "Mondays", "kind": "schedule", "cron": "0 3 * * 1", "timezone": "UTC"}
# Of each role: the share of calls, and the number of operations, that did something. Otherwise only refusals would be
# compared with the description.
DONE = {
    "nurse": (0.2, 15),
    "doctor": (0.2, 20),
    "scientist": (0.18, 12),
    "admin": (0.2, 30),
    "manager": (0.18, 15),
    NOBODY: (0.05, 4),
}
MALFORMED = 300  # requests


@dataclass
class Walk:
    """One person who calls every operation, and what came of it."""

    app: FastAPI
    client: TestClient
    person: str
    ids: dict[str, list[str]]
    statuses: Counter[int] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    without_examples: int = 0
    outside: list[str] = field(default_factory=list)

    def sign_in(self) -> None:
        """Begin a session, unless it is nobody who calls."""
        if self.person == NOBODY:
            return
        credentials = {"email": PEOPLE[self.person][0], "password": PASSWORD}
        answer = self.client.post("/auth/login", json=credentials)
        assert answer.status_code == 200, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def send(self, case: Case) -> int:
        """Call the API and compare its answer with the description."""
        answer = case.call(headers=self.headers)
        if answer.status_code == 401 and self.person != NOBODY and not case.path.startswith("/auth/"):
            self.sign_in()  # what was called may have ended the session
            answer = case.call(headers=self.headers)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failure:
            self.outside.append(f"{case.operation.label} {answer.status_code}: {failure}")
        self.statuses[answer.status_code] += 1
        if answer.status_code < 300:
            self.done.add(case.operation.label)
        return int(answer.status_code)

    def with_known_ids(self, case: Case) -> Case:
        """Have a case name what is there."""
        for name in case.path_parameters:
            known = self.ids[name]
            case.path_parameters[name] = known[self.statuses.total() % len(known)]
        if "if-match" in {parameter.name for parameter in case.operation.headers}:
            case.headers["if-match"] = '"1"'
        return case


@pytest.fixture
def app(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The API, which does not mind how often it is asked."""
    for name in ("WORKER", "ADDRESS", "SIGN_IN"):
        monkeypatch.setenv(f"RATE_LIMIT_{name}", "10000000/minute")
    get_settings.cache_clear()
    yield create_api()


@pytest.fixture
def ids(
    consortium: Consortium, app: FastAPI, add_model: Callable[..., Any], add_run: AddRun
) -> dict[str, list[str]]:
    """What is there, by the name of the path's parameter."""
    add_model()
    add_model("v2", status="candidate", seed=2)
    runs = [add_run("completed", rounds=2), add_run("queued"), add_run("queued")]
    patients = [consortium.add_patient("northeast", "Ada", f"Number {number}") for number in range(PATIENTS)]
    client = TestClient(app)
    credentials = {"email": PEOPLE["admin"][0], "password": PASSWORD}
    token = client.post("/auth/login", json=credentials).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    triggers = [client.post("/triggers", json=TRIGGER, headers=headers).json()["id"] for _ in range(4)]
    return {
        "patient_id": [str(patient) for patient in patients],
        "run_id": [str(run) for run in runs],
        "version": ["v1", "v2"],
        "trigger_id": [str(trigger) for trigger in triggers],
        "worker_id": [str(consortium.workers[who].id) for who in ("other_doctor", "nurse")],
        "code": ["southwest", "northeast"],
        "key_id": ["1"],
        "session_id": [str(uuid.uuid4())],
        "name": ["not-found"],
    }


@pytest.mark.parametrize("person", list(DONE))
def test_no_answer_is_outside_of_the_description(
    person: str, app: FastAPI, ids: dict[str, list[str]]
) -> None:
    schema = openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(with_security_parameters=person == NOBODY)  # else only 401 would come
    walk = Walk(app, TestClient(app), person, ids)
    walk.sign_in()
    operations = {result.ok().label: result.ok() for result in schema.get_all_operations()}
    assert len(operations) > 60
    last = operations.pop(SIGN_OUT)
    for operation in operations.values():
        _call(walk, operation)
    assert not walk.outside, "\n\n".join(walk.outside)
    assert walk.without_examples < 5
    share, count = DONE[person]
    done = sum(number for status, number in walk.statuses.items() if status < 300)
    said = (walk.statuses, sorted(walk.done))
    assert done >= share * walk.statuses.total(), said
    assert len(walk.done) >= count, said
    assert walk.send(last.Case()) == (401 if person == NOBODY else 204)
    assert not walk.outside, walk.outside


def _call(walk: Walk, operation: APIOperation) -> None:  # type: ignore[type-arg]
    """Call an operation often if it does something for this person, and twice if it does not."""
    allowed = operation.as_strategy(GenerationMode.POSITIVE)
    known = allowed.map(walk.with_known_ids)
    refused = _examples(walk, known, 1) & {401, 403}
    if not refused:
        _examples(walk, known, 4)
        _examples(walk, allowed, 3)
    if can_be_asked_wrongly(operation):
        _examples(walk, operation.as_strategy(GenerationMode.NEGATIVE), 1 if refused else 4)


def _examples(walk: Walk, cases: SearchStrategy[Case], count: int) -> set[int]:
    """Send so many examples, the same ones each time, and return the statuses of their answers."""
    statuses: set[int] = set()

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def compare(case: Case) -> None:
        statuses.add(walk.send(case))

    try:
        compare()
    except Unsatisfiable:  # whatever is sent is as the description allows
        walk.without_examples += 1
    return statuses


def test_no_malformed_request_makes_the_served_application_fail(
    consortium: Consortium, add_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model()
    for name in ("WORKER", "ADDRESS", "SIGN_IN"):
        monkeypatch.setenv(f"RATE_LIMIT_{name}", "10000000/minute")
    with served("app.main:app", consortium.urls, tmp_path) as port:

        def tokens() -> list[str]:
            return [sign_in(port, PEOPLE[who][0], PASSWORD) for who in ("doctor", "admin")]

        answers = send(port, tokens, count=MALFORMED)
        assert tokens()
    assert not answers.failed, "\n".join(answers.failed)
    assert answers.statuses.total() == MALFORMED
    assert {"400", "401", "403", "404", "405", "422"} <= set(answers.statuses)
    assert answers.statuses["401"] < MALFORMED / 2, answers.statuses  # those are not looked at any further
