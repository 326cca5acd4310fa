"""The web application as it is served: one real process with pages, API, sign-in cookie and supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app import federation_child
from app.auth import sessions
from app.databases import central_session
from app.settings import PROJECT_ROOT, Settings
from db.ports import free_port


def _wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def web(consortium: Any, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of `streamlit run app/main.py`; its process writes `web.log`."""
    port = free_port()
    log = (tmp_path / "web.log").open("wb")
    server = subprocess.Popen(
        [
            sys.executable,
            *("-m", "streamlit", "run", "app/main.py"),
            *("--server.address", "127.0.0.1", "--server.port", str(port)),
        ],
        cwd=PROJECT_ROOT,
        env=os.environ.copy(),
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

        def answers() -> bool:
            assert server.poll() is None, (tmp_path / "web.log").read_text()
            try:
                return client.get("/api/health").status_code == 200
            except httpx.TransportError:
                return False

        try:
            _wait_for(answers, 60)
            yield client
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)
            log.close()


def test_pages_api_and_cookie_on_one_port(web: httpx.Client, consortium: Any, tmp_path: Path) -> None:
    page = web.get("/", headers={"Accept": "text/html"})
    assert re.match(r"fedcost_browser=[\w-]{43}; HttpOnly; Path=/; SameSite=lax$", page.headers["set-cookie"])
    assert "set-cookie" not in web.get("/", headers={"Accept": "text/html"}).headers, "it has one"
    assert "text/html" in page.headers["content-type"]
    for name, value in {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
    }.items():
        assert page.headers[name] == value
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]

    document = web.get("/api/openapi.json")
    assert document.headers["cache-control"] == "no-store"
    assert "/predictions" in document.json()["paths"]
    assert web.get("/api/docs").status_code == 200
    assert web.get("/api/nowhere").json()["type"] == "/api/problems/no-such-address"

    email = "nurse@northeast.test.local"
    login = web.post("/api/auth/login", json={"email": email, "password": consortium.password})
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    assert web.get("/api/patients", params={"search": "Lovelace"}, headers=headers).status_code == 200
    assert "Lovelace" not in (tmp_path / "web.log").read_text()

    with central_session() as central:
        session, _ = sessions.open_session(central, worker=consortium.workers["nurse"])
        ticket = sessions.issue_ticket(central, session_id=session.id, browser=web.cookies["fedcost_browser"])
    foreign = {"Origin": "https://elsewhere.example"}
    body = {"ticket": ticket}
    assert web.post("/auth/session", json=body, headers=foreign).status_code == 403
    assert web.post("/auth/session", json=body, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    for content in (b"", b"{", b"[]", b"x" * 5000, b'{"ticket": 1}'):
        json_type = {"Content-Type": "application/json"}
        assert web.post("/auth/session", content=content, headers=json_type).status_code == 400
    assert web.post("/auth/session", data=body).status_code == 400

    for other in ("fedcost_browser=another-one", "fedcost_browser=", "nothing=1"):
        refused = web.post("/auth/session", json=body, headers={"Cookie": other})
        assert refused.status_code == 401, "the ticket was made for another browser"
    traded = web.post("/auth/session", json=body, headers={"Origin": str(web.base_url).rstrip("/")})
    assert traded.status_code == 204
    cookie = traded.headers["set-cookie"]
    assert re.match(r"fedcost_session=[\w-]{43};", cookie)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert web.post("/auth/session", json=body).status_code == 401, "a ticket is good for one trade"

    secret = web.cookies["fedcost_session"]
    with central_session() as central:
        assert sessions.actor_for_token(central, secret=secret).email == email
    assert web.post("/auth/sign-out", headers=foreign).status_code == 403
    ended = web.post("/auth/sign-out")
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["set-cookie"]
    with pytest.raises(sessions.SessionEnded), central_session() as central:
        sessions.actor_for_token(central, secret=secret)
    assert web.post("/auth/sign-out").status_code == 204, "a second press is no error"


# A stand-in for the supervisor that does what it promises: it goes when its parent's pipe ends.
OBEDIENT = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
DEAF = "import signal, os, time; signal.signal(15, 1); print(os.getpid(), flush=True); time.sleep(600)"


def _pids(data_dir: Path) -> list[int]:
    log = data_dir / "logs" / "supervisor.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("program", [OBEDIENT, DEAF], ids=["obedient", "deaf"])
def test_the_supervisor_lives_as_long_as_the_web_process_and_is_restarted(
    program: str, consortium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(federation_child, "COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(federation_child, "RESTART_AFTER", 0.05)
    monkeypatch.setattr(federation_child, "STOP_WITHIN", 0.5)
    settings: Settings = consortium.settings

    async def serve() -> None:
        async with federation_child.supervisor_running(settings):
            await asyncio.to_thread(_wait_for, lambda: len(_pids(tmp_path)) == 1)
            [first] = _pids(tmp_path)
            assert os.getsid(first) == first
            os.kill(first, signal.SIGKILL)
            await asyncio.to_thread(_wait_for, lambda: len(_pids(tmp_path)) == 2)

    asyncio.run(serve())
    assert not any(_is_alive(pid) for pid in _pids(tmp_path))


PARENT = f"""
import asyncio, os, signal, sys
from app import federation_child
from app.settings import get_settings

federation_child.COMMAND = (sys.executable, "-c", {OBEDIENT!r})

async def serve():
    async with federation_child.supervisor_running(get_settings()):
        await asyncio.sleep(600)

asyncio.run(serve())
"""


def test_the_supervisor_notices_a_killed_web_process(consortium: Any, tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=PROJECT_ROOT, env=os.environ.copy())
    _wait_for(lambda: len(_pids(tmp_path)) == 1)
    [supervisor] = _pids(tmp_path)
    parent.kill()
    parent.wait(10)
    _wait_for(lambda: not _is_alive(supervisor), 10)


def test_the_settings_reach_the_supervisor(
    consortium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "environment.json"  # it holds secrets, which no log may
    program = (
        "import os, json, pathlib, sys; "
        f"pathlib.Path({str(told)!r}).write_text(json.dumps(dict(os.environ)) + chr(10)); sys.stdin.read()"
    )
    monkeypatch.setattr(federation_child, "COMMAND", (sys.executable, "-c", program))

    async def serve() -> None:
        async with federation_child.supervisor_running(consortium.settings):
            await asyncio.to_thread(_wait_for, lambda: told.exists() and told.read_text().endswith("\n"))

    asyncio.run(serve())
    environment = json.loads(told.read_text())
    assert environment["DATA_DIR"] == str(tmp_path)
    assert environment["CENTRAL_DATABASE_URL"] == consortium.urls.app_central
