"""Triggers and the queue of Runs over the REST API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

NIGHTLY = {
    "name": "Nightly",
    "kind": "schedule",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "only_if_new_data": True,
    "num_rounds": 4,
    "run_settings": {"local_epochs": 2, "local_only": False},
}


@pytest.fixture
def call(api: TestClient, token_of: Callable[[str], dict[str, str]]) -> Callable[..., Any]:
    headers = token_of("admin")

    def request(method: str, path: str, status: int, body: object = None) -> Any:
        answer = api.request(method, path, headers=headers, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    return request


def test_a_trigger_is_added_changed_paused_and_deleted(call: Callable[..., Any]) -> None:
    assert call("GET", "/triggers", 200)["items"] == []
    made = call("POST", "/triggers", 201, NIGHTLY)
    assert {name: made[name] for name in NIGHTLY} == NIGHTLY
    assert (made["is_active"], made["created_by"], made["last_event"]) == (True, "The admin", None)
    assert len(made["next_firings"]) == 3
    assert datetime.fromisoformat(made["next_firings"][0]).utcoffset() is not None
    assert call("GET", "/triggers", 200)["items"] == [made]
    place = f"/triggers/{made['id']}"
    changed = call("PUT", place, 200, {"name": "Many", "kind": "new_records", "records": 500})
    assert (changed["kind"], changed["records"], changed["next_firings"]) == ("new_records", 500, [])
    assert call("POST", f"{place}/pause", 200)["is_active"] is False
    assert call("POST", f"{place}/resume", 200)["is_active"] is True
    call("DELETE", place, 204)
    for method, path in (("PUT", place), ("DELETE", place), ("POST", f"{place}/run")):
        body = NIGHTLY if method == "PUT" else None
        assert call(method, path, 404, body)["detail"] == f"There is no trigger {made['id']}."
    assert call("GET", "/triggers", 200)["items"] == []


def test_everything_wrong_with_a_trigger_is_named(call: Callable[..., Any]) -> None:
    wrong = {**NIGHTLY, "cron": "61 * * * *", "timezone": "Berlin", "run_settings": {"local_epochs": 0}}
    problems = call("POST", "/triggers", 422, wrong)["problems"]
    assert [problem["field"] for problem in problems] == ["cron", "timezone", "local_epochs"]
    assert "Example: 0 3 * * 1 is every Monday" in problems[0]["message"]
    call("POST", "/triggers", 422, {**NIGHTLY, "when": "now"})
    call("POST", "/triggers", 422, {"name": "N", "kind": "schedule", "num_rounds": True})


def test_a_saved_start_is_fired_and_its_run_waits_in_the_queue(call: Callable[..., Any]) -> None:
    made = call("POST", "/triggers", 201, {"name": "Saved", "kind": "manual", "num_rounds": 2})
    place = f"/triggers/{made['id']}"
    fired = call("POST", f"{place}/run", 202)
    assert fired["outcome"] == "fired" and fired["run_id"] is not None
    assert call("POST", f"{place}/run", 202)["outcome"] == "skipped"
    other = call("POST", "/training/runs", 202, {"num_rounds": 2})["id"]
    queue = call("GET", "/training/queue", 200)
    assert [run["id"] for run in queue["waiting"]] == [fired["run_id"], other]
    assert queue["waiting"][0]["asked_by"] == "The admin, trigger “Saved”"
    front = call("POST", f"/training/queue/{other}/front", 200)
    assert [run["id"] for run in front["waiting"]] == [other, fired["run_id"]]
    paused = call("POST", "/training/queue/pause", 200)
    assert paused["paused_by"] == "The admin" and "no run is started until" in paused["sentence"]
    assert call("POST", "/training/queue/resume", 200)["paused_at"] is None
    call("POST", f"/training/runs/{other}/cancel", 202)
    call("POST", f"/training/queue/{other}/front", 409)
    call("POST", "/training/queue/99999/front", 404)
    page = call("GET", f"{place}/events?limit=1", 200)
    assert [event["outcome"] for event in page["items"]] == ["skipped"]
    rest = call("GET", f"{place}/events?limit=1&cursor={page['next_cursor']}", 200)
    assert rest["items"][0] == fired and rest["next_cursor"] is None
    assert call("GET", "/triggers", 200)["items"][0]["last_event"]["outcome"] == "skipped"
