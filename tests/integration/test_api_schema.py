"""What the API answers is what its description says, whoever asks for whatever."""

from __future__ import annotations

import contextlib
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
from sqlalchemy import update

from api.app import create_api
from app.settings import get_settings
from bench.malformed import send, sign_in
from bench.malformed_requests import can_be_asked_wrongly
from bench.served import served
from db.central import MedicalWorker
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
STRANGERS = 30  # of those whose tokens are as the description allows, and as many others
EXAMPLES = 4  # of an operation, as the description allows, and as many as it forbids
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
class Described:
    """What the description has, and requests made of it once for everybody who sends them: making takes longest.

    Attributes
    ----------
    strange
        Headers of those who have no token, or one that nobody was given.
    """

    operations: dict[str, APIOperation]  # type: ignore[type-arg]
    strange: list[dict[str, str]]
    _made: dict[tuple[str, GenerationMode], list[Case]] = field(default_factory=dict)

    def cases(self, label: str, mode: GenerationMode, count: int = EXAMPLES) -> list[Case]:
        """Return so many requests, or none if whatever is sent is as the description allows."""
        if (label, mode) not in self._made:
            self._made[label, mode] = _examples(self.operations[label].as_strategy(mode), EXAMPLES)
        return [_copy(case) for case in self._made[label, mode][:count]]


def _operations(
    document: dict[str, Any],
    *,
    with_tokens: bool,
) -> dict[str, APIOperation]:  # type: ignore[type-arg]
    schema = openapi.from_dict(document)
    schema.config.generation.update(with_security_parameters=with_tokens)
    return {result.ok().label: result.ok() for result in schema.get_all_operations()}


def _examples(cases: SearchStrategy[Case], count: int) -> list[Case]:
    """Return so many examples, the same ones each time."""
    made: list[Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def keep(case: Case) -> None:
        made.append(case)

    with contextlib.suppress(Unsatisfiable):
        keep()
    return made


def _copy(case: Case) -> Case:
    """Return a case that may be changed."""
    return case.operation.Case(
        method=case.method,
        path_parameters=dict(case.path_parameters),
        headers=dict(case.headers),
        cookies=dict(case.cookies),
        query=dict(case.query),
        body=case.body,
        media_type=case.media_type,
        multipart_content_types=case.multipart_content_types,
        _meta=case.meta,
    )


@dataclass
class Walk:
    """One person who calls every operation, and what came of it."""

    consortium: Consortium
    app: FastAPI
    client: TestClient
    person: str
    described: Described
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
        with self.consortium.central() as central, central.begin():
            central.execute(update(MedicalWorker).values(locked_until=None))  # after so many wrong passwords
        credentials = {"email": PEOPLE[self.person][0], "password": PASSWORD}
        answer = self.client.post("/auth/login", json=credentials)
        assert answer.status_code == 200, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def call(self, label: str) -> None:
        """Call an operation often if it does something for this person, and twice if it does not."""
        first = self.described.cases(label, GenerationMode.POSITIVE, 1)
        refused = {self.send(self.with_known_ids(case)) for case in first} & {401, 403}
        if not refused:
            for case in self.described.cases(label, GenerationMode.POSITIVE):
                self.send(self.with_known_ids(case))
            for case in self.described.cases(label, GenerationMode.POSITIVE, 3):
                self.send(case)
        if can_be_asked_wrongly(self.described.operations[label]):
            wrong = self.described.cases(label, GenerationMode.NEGATIVE, 1 if refused else EXAMPLES)
            self.without_examples += not wrong
            for case in wrong:
                self.send(case)

    def send(self, case: Case) -> int:
        """Call the API and compare its answer with the description."""
        headers = self.headers
        if self.person == NOBODY:
            headers = self.described.strange[self.statuses.total() % len(self.described.strange)]
        answer = case.call(headers=headers, app=self.app)
        if answer.status_code == 401 and self.person != NOBODY and not case.path.startswith("/auth/"):
            self.sign_in()  # what was called may have ended the session
            answer = case.call(headers=self.headers, app=self.app)
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


@pytest.fixture(scope="module")
def described() -> Described:
    """The description of the API."""
    document = create_api().openapi()
    guarded = _operations(document, with_tokens=True)["GET /account"]
    asked = [
        case
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for case in _examples(guarded.as_strategy(mode), STRANGERS)
    ]
    strange = [
        {name: value for name, value in case.headers.items() if name == "Authorization"} for case in asked
    ]
    # With those, a request of somebody who is signed in would only be answered 401.
    return Described(_operations(document, with_tokens=False), strange)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a model's file that was made for one person is kept for the next; TensorFlow takes seconds to start."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def app(consortium: Consortium, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The API, which does not mind how often it is asked."""
    monkeypatch.setenv("DATA_DIR", str(data_dir))
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
    person: str,
    consortium: Consortium,
    app: FastAPI,
    described: Described,
    ids: dict[str, list[str]],
) -> None:
    walk = Walk(consortium, app, TestClient(app), person, described, ids)
    walk.sign_in()
    assert len(described.operations) > 60
    for label in described.operations:
        if label != SIGN_OUT:
            walk.call(label)
    assert not walk.outside, "\n\n".join(walk.outside)
    assert walk.without_examples < 5
    share, count = DONE[person]
    done = sum(number for status, number in walk.statuses.items() if status < 300)
    said = (walk.statuses, sorted(walk.done))
    assert done >= share * walk.statuses.total(), said
    assert len(walk.done) >= count, said
    assert walk.send(described.operations[SIGN_OUT].Case()) == (401 if person == NOBODY else 204)
    assert not walk.outside, walk.outside


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
