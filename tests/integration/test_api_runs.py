"""Runs over the REST API: the list a page at a time, their logs, and some beside each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from db.federation import RunEvent
from tests.integration.conftest import AddRun, Consortium

Headers = Callable[[str], dict[str, str]]


def test_runs_are_listed_a_page_at_a_time_and_by_kind(
    api: TestClient, token_of: Headers, add_run: AddRun
) -> None:
    made = [add_run("completed", rounds=2) for _ in range(3)]
    headers = token_of("scientist")
    first = api.get("/training/runs", params={"limit": 2}, headers=headers).json()
    assert [run["id"] for run in first["items"]] == [made[2], made[1]]
    assert first["items"][0]["r2"] == [0.8, 0.8]
    rest = api.get("/training/runs", params={"cursor": first["next_cursor"]}, headers=headers).json()
    assert [run["id"] for run in rest["items"]] == [made[0]]
    assert rest["next_cursor"] is None
    assert api.get("/training/runs", params={"kind": "cohort"}, headers=headers).json()["items"] == []


def test_the_log_of_a_run_is_read_with_or_without_what_went_well(
    api: TestClient, token_of: Headers, add_run: AddRun, consortium: Consortium
) -> None:
    run = add_run("failed", error="Too few hospitals answered.")
    with consortium.central() as central:
        for severity in ("info", "error"):
            central.add(RunEvent(run_id=run, severity=severity, message=f"This is {severity}."))
        central.commit()
    headers = token_of("admin")
    log = api.get(f"/training/runs/{run}/events", headers=headers).json()
    assert [line["message"] for line in log["lines"]] == ["This is error.", "This is info."]
    assert (log["total"], log["troubles"]) == (2, 1)
    bad = api.get(f"/training/runs/{run}/events", params={"only_troubles": True}, headers=headers).json()
    assert [line["message"] for line in bad["lines"]] == ["This is error."]


@pytest.mark.parametrize("run", [999, 0, 2**31, 10**20])
def test_a_run_that_is_not_there_has_no_log(api: TestClient, token_of: Headers, run: int) -> None:
    assert api.get(f"/training/runs/{run}/events", headers=token_of("admin")).status_code == 404


def test_runs_beside_each_other_say_where_they_differ(
    api: TestClient, token_of: Headers, add_run: AddRun
) -> None:
    short, long = add_run("completed", rounds=2, num_rounds=2), add_run("completed", rounds=3, num_rounds=3)
    headers = token_of("scientist")
    answer = api.get("/training/runs/compare", params={"run": [long, short]}, headers=headers).json()
    assert [run["line"]["id"] for run in answer["runs"]] == [long, short]
    assert answer["differing"] == {"num_rounds": [3, 2]}
    assert answer["runs"][0]["best"]["round_number"] == 3
    missing = api.get("/training/runs/compare", params={"run": [short, 999]}, headers=headers)
    assert missing.status_code == 404
    assert api.get("/training/runs/compare", params={"run": [1] * 9}, headers=headers).status_code == 422
    assert api.get("/training/runs/compare", headers=headers).status_code == 422
