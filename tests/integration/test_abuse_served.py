"""Attacks on the application as it is served: foreign pages, addresses, headers, bodies and cookies."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app.auth import sessions
from app.auth.cookie import SESSION_PATH, SIGN_OUT_PATH, cookie_name
from app.databases import central_session
from app.plotly_library import PLOTLY_PATH
from tests.integration.conftest import PEOPLE, Consortium
from tests.integration.test_logs_served import served

STREAM = "/_stcore/stream"
SOURCE = b"from __future__ import annotations"
DOTS = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..\\",
    "..%5c",
    "%252e%252e%252f",
    "....//",
    "..;/",
    "%c0%ae%c0%ae/",
)
SECRETS = (SOURCE, b"root:", b"[server]", b"postgresql")


@pytest.fixture
def web(consortium: Consortium, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the application in a process of its own."""
    with served(tmp_path) as client:
        yield client


def _socket_opens(web: httpx.Client, headers: dict[str, str] | None, origin: str | None) -> bool:
    address = str(web.base_url).replace("http", "ws", 1).rstrip("/") + STREAM
    try:
        with connect(address, origin=origin, additional_headers=headers, subprotocols=["streamlit"]):  # type: ignore[arg-type, list-item]
            return True
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 403
        return False


def _raw(web: httpx.Client, request: bytes) -> bytes:
    """Send bytes as they are and return the beginning of the answer."""
    assert web.base_url.port is not None
    with socket.create_connection((web.base_url.host, web.base_url.port), timeout=20) as wire:
        wire.sendall(request)
        wire.settimeout(20)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while len(answer) < 20_000 and (part := wire.recv(4096)):
                answer += part
                if b"\r\n\r\n" in answer and b"Connection: close" not in request:
                    break
        return answer


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def test_the_application_holds_against_foreign_pages_addresses_headers_and_bodies(
    web: httpx.Client, consortium: Consortium
) -> None:
    own = str(web.base_url).rstrip("/")
    with central_session() as central:
        _, secret = sessions.open_session(central, worker=consortium.workers["doctor"])
    cookie = {"Cookie": f"{cookie_name()}={secret}"}
    _foreign_pages(web, own, cookie)
    _addresses(web)
    _headers(web, own)
    _bodies(web)
    _replayed_cookie(web, own, cookie, secret)


def _foreign_pages(web: httpx.Client, own: str, cookie: dict[str, str]) -> None:
    assert _socket_opens(web, cookie, own)
    port = web.base_url.port
    foreign = (
        None,
        "null",
        "https://elsewhere.example",
        f"http://127.0.0.1:{port + 1 if port else 1}",  # another program of this machine
        f"http://localhost:{port}",
        f"http://127.0.0.1.elsewhere.example:{port}",
        f"http://elsewhere.example/127.0.0.1:{port}",
        "http://[",
        f"{own}@elsewhere.example",
    )
    for origin in foreign:
        assert not _socket_opens(web, cookie, origin), origin
    assert not _socket_opens(web, {**cookie, "Sec-Fetch-Site": "cross-site"}, own)
    for path in (SESSION_PATH, SIGN_OUT_PATH, "/_stcore/upload_file/a/b", "/_stcore/health"):
        for headers in (
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": own},
        ):
            for method in ("POST", "PUT", "DELETE"):
                answer = web.request(method, path, headers={**headers, **cookie})
                assert answer.status_code == 403, (method, path, headers)
                assert "access-control-allow-origin" not in answer.headers
    for method in ("GET", "OPTIONS"):
        answer = web.request(
            method,
            "/api/patients",
            headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "PUT", **cookie},
        )
        assert "access-control-allow-origin" not in answer.headers
        assert answer.status_code in (401, 405), "the cookie is no token"


def _addresses(web: httpx.Client) -> None:
    bases = (
        "/static/",
        "/component/",
        "/media/",
        "/_stcore/",
        "/library/",
        "/api/models/",
        "/api/docs/",
        "/",
        "/vendor/",
    )
    files = ("app/main.py", "etc/passwd", ".streamlit/config.toml", "proc/self/environ")
    for base in bases:
        for dots in DOTS:
            for file in files:
                request = f"GET {base}{dots * 8}{file} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                answer = _raw(web, request) if file == files[0] else b""
                path = f"{base}{dots * 3}{file}"
                connection = http.client.HTTPConnection(web.base_url.host, web.base_url.port, timeout=20)
                connection.request("GET", path)
                got = connection.getresponse()
                answer += got.read()
                connection.close()
                assert got.status < 500, path
                assert not any(secret in answer for secret in SECRETS), path
    assert web.get(PLOTLY_PATH + "/../../app/main.py").status_code in (200, 404)


def _headers(web: httpx.Client, own: str) -> None:
    page = web.get("/", headers={"Accept": "text/html"})
    policy = page.headers["content-security-policy"]
    assert "'unsafe-eval'" not in policy
    for part in ("default-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'self'"):
        assert part in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert "strict-transport-security" not in page.headers, "this address has no TLS"
    for path in ("/api/patients", "/auth/session", "/media/none"):
        assert web.get(path).headers["cache-control"] == "no-store"
    for host in ("elsewhere.example", "", "127.0.0.1:1@elsewhere.example", "é", "a" * 5000):
        answer = _raw(web, f"GET /api/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert _status(answer) < 500, host
        assert b"elsewhere.example" not in answer, "no header of the request makes part of an answer"
    for name in (
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Request-ID",
        "Authorization",
    ):
        for value in (
            b"\xff\xfe\x00",
            b"a" * 70_000,
            b"<script>",
            "é".encode(),
            b"a\r\n b",
            b"Bearer \xff",
            b"Bearer " + b"." * 9,
        ):
            raw = b"GET /api/patients HTTP/1.1\r\nHost: x\r\n" + name.encode() + b": " + value
            answer = _raw(web, raw + b"\r\nConnection: close\r\n\r\n")
            assert _status(answer) in (0, 400, 401, 431), (name, value[:20], answer[:100])
            assert b"<script>" not in answer
    injected = _raw(
        web, b"GET /api/health?x=%0d%0aX-Injected:%20yes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert b"X-Injected" not in injected.split(b"\r\n\r\n")[0]
    smuggled = (
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert b"openapi" not in _raw(web, smuggled)


def _bodies(web: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    json_type = {"Content-Type": "application/json"}
    assert web.post("/api/auth/login", content=b"x" * 70_000, headers=json_type).status_code == 413
    for path in ("/api/auth/login", "/auth/session"):
        with contextlib.suppress(
            httpx.TransportError
        ):  # without a length; the server may close before all was sent
            assert web.post(path, content=endless(), headers=json_type).status_code in (400, 403, 413)
    for length in ("-1", "1e9", "99999999999999999999", "0x10", ""):
        raw = f"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        assert _status(_raw(web, raw.encode())) in (0, 400, 413, 422), length
    deep = b'{"email":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert web.post("/api/auth/login", content=deep, headers=json_type).status_code in (400, 422)
    assert web.get("/api/health").status_code == 200, "it still answers"


def _replayed_cookie(web: httpx.Client, own: str, cookie: dict[str, str], secret: str) -> None:
    assert web.post(SIGN_OUT_PATH, headers={**cookie, "Origin": own}).status_code == 204
    with pytest.raises(sessions.SessionEnded), central_session() as central:
        sessions.actor_for_token(central, secret=secret)
    token = web.post(
        "/api/auth/login", json={"email": PEOPLE["doctor"][0], "password": "a password for tests"}
    ).json()["access_token"]
    bearer: Any = {"Authorization": f"Bearer {token}"}
    assert web.get("/api/patients", headers=bearer).status_code == 200
    assert web.post("/api/auth/logout", headers=bearer).status_code == 204
    for _ in range(2):
        assert web.get("/api/patients", headers=bearer).status_code == 401
