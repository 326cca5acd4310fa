"""The whole product as `make run` starts it: what a person meets when a part of it is killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from app.settings import DEMO_PASSWORD
from db.embedded import EmbeddedPostgres
from db.ports import free_port
from fl.runtime.children import marked_processes
from fl.runtime.environment import FEDERATION_MARK
from tests.launching import Launch

READY = "Ctrl-C stops everything"
ENDED = ("completed", "failed", "cancelled")


class Client:
    """The REST API as one person uses it; a restarting server is asked again."""

    def __init__(self, address: str, email: str) -> None:
        self._http = httpx.Client(base_url=f"{address}/api", timeout=10, trust_env=False)
        self._email = email
        self._sign_in()

    def _sign_in(self) -> None:
        credentials = {"email": self._email, "password": DEMO_PASSWORD}
        token = self._http.post("/auth/login", json=credentials).raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> dict[str, Any]:
        """Ask until there is an answer other than a 503."""
        return self._eventually(lambda: self._http.get(path))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send until there is an answer other than a 503."""
        return self._eventually(lambda: self._http.post(path, json=body))

    def _eventually(self, call: Callable[[], httpx.Response], seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = call()
                if answer.status_code < 500:
                    parsed: dict[str, Any] = answer.raise_for_status().json()
                    return parsed
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, "the product did not come back"
            time.sleep(0.5)

    def wait_for_run(self, run_id: int, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Watch a Run until the condition holds or it has ended."""
        deadline = time.monotonic() + 120
        while not condition(run := self.get(f"/training/runs/{run_id}")) and run["status"] not in ENDED:
            assert time.monotonic() < deadline, f"the Run is {run['status']} in round {run['current_round']}"
            time.sleep(0.2)
        return run


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    data_dir = tmp_path_factory.mktemp("product")
    running = Launch(data_dir, free_port())
    try:
        running.wait_for(READY, 120)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=30)
        EmbeddedPostgres(data_dir).erase()


@pytest.fixture(scope="module")
def admin(launch: Launch) -> Client:
    return Client(f"http://127.0.0.1:{launch.port}", "admin@demo.local")


def _ends_well(admin: Client) -> None:
    started = admin.post("/training/runs", {"num_rounds": 2})
    run = admin.wait_for_run(started["id"], lambda run: run["status"] in ENDED)
    assert (run["status"], run["error"]) == ("completed", None)
    assert [round_["clients_participated"] for round_ in run["rounds"]] == [4, 4]


def _busy_run(admin: Client) -> int:
    run_id: int = admin.post("/training/runs", {"num_rounds": 60})["id"]
    admin.wait_for_run(run_id, lambda run: run["current_round"] >= 2)
    return run_id


def test_a_first_run_makes_the_model_in_use(admin: Client) -> None:
    assert admin.get("/model/status")["has_model"] is False
    _ends_well(admin)
    assert admin.get("/model/status")["has_model"] is True


def test_a_killed_web_application_comes_back_and_its_run_has_ended_with_a_reason(
    launch: Launch, admin: Client
) -> None:
    in_use = admin.get("/model/status")["version"]
    run_id = _busy_run(admin)
    launch.web.kill()
    launch.wait_for("The web application has ended; starting it again.", 30)
    run = admin.wait_for_run(run_id, lambda run: run["status"] in ENDED)
    assert run["status"] == "failed" and "start the Run again" in run["error"]
    assert admin.get("/model/status")["version"] == in_use
    _ends_well(admin)


def test_a_killed_postgres_comes_back_and_no_run_stays_running(launch: Launch, admin: Client) -> None:
    version = admin.get("/model/status")["version"]
    run_id = _busy_run(admin)
    pid = EmbeddedPostgres(launch.data_dir).pid
    assert pid is not None
    psutil.Process(pid).kill()
    launch.wait_for("PostgreSQL has ended; starting it again.", 30)
    run = admin.wait_for_run(run_id, lambda run: run["status"] in ENDED)
    assert run["status"] == "completed" or "start the Run again" in run["error"]
    assert version is not None and admin.get("/model/status")["has_model"] is True
    _ends_well(admin)


def test_stopping_leaves_no_process(launch: Launch) -> None:
    mark = str(launch.data_dir)
    assert len(marked_processes(FEDERATION_MARK, mark)) >= 6
    launch.process.terminate()
    code, said = launch.ended(seconds=30)
    assert code == 0 and "Stopped." in said
    assert not marked_processes(FEDERATION_MARK, mark)
    assert not marked_processes("DATA_DIR", mark)
