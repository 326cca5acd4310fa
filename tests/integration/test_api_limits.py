"""How often one may ask, and what the description of the API looks like to a browser without any other host."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from api.app import create_api
from app.settings import get_settings
from tests.integration.conftest import PEOPLE, Consortium

Headers = dict[str, str]
TokenOf = Callable[[str], Headers]


@pytest.fixture
def limited(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The API with small limits."""
    monkeypatch.setenv("RATE_LIMIT_WORKER", "3/minute")
    monkeypatch.setenv("RATE_LIMIT_ADDRESS", "12/minute")
    monkeypatch.setenv("RATE_LIMIT_SIGN_IN", "4/hour")
    get_settings.cache_clear()
    with TestClient(create_api(), raise_server_exceptions=False) as client:
        yield client


def _sign_in(client: TestClient, person: str) -> Headers:
    credentials = {"email": PEOPLE[person][0], "password": "a password for tests"}
    answer = client.post("/auth/login", json=credentials)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_worker_who_asks_too_often_is_429_and_another_is_not(limited: TestClient) -> None:
    doctor, nurse = _sign_in(limited, "doctor"), _sign_in(limited, "nurse")
    answers = [limited.get("/patients", headers=doctor) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == '"worker";q=3;w=60'
    assert re.fullmatch(r'"worker";r=0;t=\d+', refused.headers["RateLimit"])
    assert refused.json()["type"] == "/api/problems/too-many-requests"
    assert limited.get("/patients", headers=nurse).status_code == 200


def test_guessing_passwords_from_one_address_is_429_before_the_password_is_compared(
    limited: TestClient, consortium: Consortium
) -> None:
    wrong = {"email": "nobody@test.local", "password": "wrong"}
    answers = [limited.post("/auth/login", json=wrong) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 429]
    assert answers[-1].headers["RateLimit-Policy"] == '"sign-in";q=4;w=3600'
    assert limited.get("/health").status_code == 200


def test_an_address_that_asks_too_often_is_429_on_every_route(limited: TestClient) -> None:
    statuses = [limited.get("/nowhere").status_code for _ in range(13)]
    assert statuses == [404] * 12 + [429]
    assert limited.get("/health").status_code == 429


def test_a_limit_that_cannot_be_read_ends_the_start(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATE_LIMIT_WORKER", "often")
    get_settings.cache_clear()
    with pytest.raises(ValueError, match="often"):
        get_settings()


def test_every_problem_leads_to_its_description(api: TestClient) -> None:
    missing = api.get("/nowhere").json()
    described = api.get(missing["type"].removeprefix("/api")).json()
    assert (described["status"], described["title"]) == (404, missing["title"])
    assert api.get("/problems/nothing").status_code == 404
    assert len(api.get("/problems").json()["items"]) > 15


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/health", 405),
        ("GET", "/patients", 401),
        ("GET", "/patients/", 404),
    ],
)
def test_a_refusal_is_a_problem_with_everything_that_it_needs(
    api: TestClient, method: str, path: str, status: int
) -> None:
    answer = api.request(method, path)
    body = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, body["status"], body["instance"]) == (status, status, path)
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert body["title"] and body["detail"]
    assert body["type"].startswith("/api/problems/")


def test_the_description_is_a_page_that_asks_no_other_host_for_anything(api: TestClient) -> None:
    page = api.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", page.text)
    operations = [
        operation for item in api.get("/openapi.json").json()["paths"].values() for operation in item.values()
    ]
    for operation in operations:
        assert f"id='{operation['operationId']}'" in page.text
    links = set(re.findall(r"href='#(\w+)'", page.text))
    assert links <= set(re.findall(r"id='?(\w+)'?", page.text))
