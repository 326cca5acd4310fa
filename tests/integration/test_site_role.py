"""A Site's own web process enters the central database as its institution's role: its people find all they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.components.navigation import pages_for
from app.settings import get_settings
from db.central import AuditEvent, ModelVersion
from tests.integration.conftest import PASSWORD, PEOPLE, AddRun, Consortium
from tests.integration.page_scripts import page_of

INPUTS = {"age": 45, "sex": "female", "bmi": 31.5, "children": 2, "smoker": "no", "region": "northeast"}


@pytest.fixture
def site_process(
    consortium: Consortium,
    add_model: Callable[..., ModelVersion],
    add_run: AddRun,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Consortium]:
    """The web process of the northeast's Site: one Site database, and its institution's way into the central one."""
    add_model()
    add_run("completed", 3)
    monkeypatch.setenv("CENTRAL_DATABASE_URL", consortium.urls.central_of_sites["northeast"])
    own = consortium.urls.app_sites["northeast"]
    monkeypatch.setenv("SITE_DATABASE_URLS", f'{{"northeast": "{own}"}}')
    get_settings.cache_clear()
    yield consortium
    get_settings.cache_clear()


@pytest.mark.parametrize("person", ["doctor", "nurse", "manager"])
def test_every_page_of_a_hospitals_people_works(site_process: Consortium, person: str) -> None:
    site_process.add_patient("northeast", "Ada", "Lovelace", insurance_cost=None)
    for entry in pages_for(site_process.actors[person]):
        app = page_of(site_process, person, entry.name)
        assert not app.exception, entry.name
        assert not [said.value for said in app.error if "wrong on our side" in said.value], entry.name


def test_a_doctor_works_over_the_api(site_process: Consortium, api: TestClient, token_of: Any) -> None:
    headers = token_of("doctor")
    made = api.post("/predictions", json=INPUTS, headers=headers)
    assert made.status_code == 200, made.text
    assert len(api.get("/predictions/history", headers=headers).json()["items"]) == 1
    assert api.get("/model/status", headers=headers).status_code == 200
    assert api.get("/model/card", headers=headers).status_code == 200
    assert api.get("/health").json()["database"] == "up"
    assert api.post("/auth/logout", headers=headers).status_code in (200, 204)
    with site_process.central() as central:
        actions = set(central.scalars(select(AuditEvent.action)))
    assert {"sign_in", "sign_out"} <= actions


@pytest.mark.parametrize("person", ["admin", "scientist", "other_doctor"])
def test_people_of_elsewhere_do_not_exist_here(
    site_process: Consortium, api: TestClient, person: str
) -> None:
    answer = api.post("/auth/login", json={"email": PEOPLE[person][0], "password": PASSWORD})
    assert answer.status_code == 401
    with site_process.central() as central:
        assert central.scalars(select(AuditEvent.outcome)).all() == ["refused"]


def test_a_hospitals_administrator_looks_after_its_people(
    site_process: Consortium, api: TestClient, token_of: Any
) -> None:
    headers = token_of("manager")
    people = api.get("/workers", headers=headers).json()["items"]
    assert {each["email"].split("@")[1] for each in people} == {"northeast.test.local"}
    added = api.post(
        "/workers",
        json={"name": "N. Nurse", "email": "n@new.org", "role": "nurse", "institution": "northeast"},
        headers=headers,
    )
    assert added.status_code == 201, added.text
    assert added.json()["link"]
    assert "n@new.org" in {each["email"] for each in api.get("/workers", headers=headers).json()["items"]}
