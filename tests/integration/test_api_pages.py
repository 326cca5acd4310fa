"""Lists of the API are read page by page: every row once, in one order, and a cursor of nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.conftest import Consortium

FEATURES = {"age": 40, "sex": "female", "bmi": 25.5, "children": 1, "smoker": "no", "region": "northeast"}
TRIGGER = {"kind": "schedule", "cron": "0 3 * * 1", "timezone": "UTC"}
TokenOf = Callable[[str], dict[str, str]]


@pytest.fixture
def filled(
    consortium: Consortium, api: TestClient, token_of: TokenOf, add_model: Callable[..., Any]
) -> dict[str, str]:
    """Five of everything; the address of each list, and whose it is."""
    add_model()
    admin, doctor = token_of("admin"), token_of("doctor")
    patient = str(consortium.add_patient("northeast", "Ada", "Lovelace"))
    for number in range(5):
        assert api.post("/triggers", json={**TRIGGER, "name": f"No. {number}"}, headers=admin).is_success
        entry = {**FEATURES, "first_name": "Ada", "last_name": "Lovelace", "age": 50 + number}
        etag = {"If-Match": f'"{number + 1}"'}
        assert api.put(f"/patients/{patient}", json=entry, headers={**doctor, **etag}).is_success
        asked = {**FEATURES, "patient_id": patient}
        assert api.post("/predictions", json=asked, headers=doctor).is_success
        gone = consortium.add_patient("northeast", "Gone", f"No. {number}")
        assert api.delete(f"/patients/{gone}", headers={**doctor, "If-Match": '"1"'}).is_success
    return {
        "/triggers": "admin",
        "/institutions": "admin",
        "/patients/deleted": "doctor",
        f"/patients/{patient}/changes": "doctor",
        f"/patients/{patient}/predictions": "doctor",
    }


def test_every_row_is_on_one_page_in_the_order_of_the_whole_list(
    filled: dict[str, str], api: TestClient, token_of: TokenOf
) -> None:
    for path, who in filled.items():
        headers = token_of(who)
        whole = api.get(path, headers=headers).json()
        assert whole["next_cursor"] is None
        expected = 4 if path == "/institutions" else 5
        assert len(whole["items"]) == expected, path
        rows, cursor, pages = [], None, 0
        while True:
            query = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
            page = api.get(path, params=query, headers=headers).json()
            rows += page["items"]
            pages += 1
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert (rows, pages) == (whole["items"], (expected + 1) // 2), path


def test_a_cursor_of_nothing_and_a_limit_of_too_many_are_named(
    filled: dict[str, str], api: TestClient, token_of: TokenOf
) -> None:
    for path, who in filled.items():
        for query in ({"cursor": "nowhere"}, {"limit": 101}, {"limit": 0}):
            answer = api.get(path, params=query, headers=token_of(who))
            assert answer.status_code == 422, (path, query)
            assert answer.json()["problems"][0]["field"] in query, (path, query)


def test_the_cursor_of_a_patient_who_was_restored_is_refused_and_none_is_missed(
    filled: dict[str, str], api: TestClient, token_of: TokenOf
) -> None:
    doctor = token_of("doctor")
    page = api.get("/patients/deleted", params={"limit": 2}, headers=doctor).json()
    assert api.post(f"/patients/{page['next_cursor']}/restore", headers=doctor).is_success
    query = {"limit": 2, "cursor": page["next_cursor"]}
    answer = api.get("/patients/deleted", params=query, headers=doctor)
    assert answer.status_code == 422
    assert "Start again from its first page" in answer.json()["problems"][0]["message"]
    assert len(api.get("/patients/deleted", headers=doctor).json()["items"]) == 4
