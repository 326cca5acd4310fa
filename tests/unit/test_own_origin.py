"""Whose requests reach the application: those of its own pages, at the address that people know."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from app import own_origin
from app.own_origin import OwnOriginOnly


def _passes(monkeypatch: pytest.MonkeyPatch, public_url: str | None, **headers: str) -> bool:
    monkeypatch.setattr(own_origin, "get_settings", lambda: SimpleNamespace(public_url=public_url))
    passed = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    async def send(message: Any) -> None:
        assert message == {"type": "websocket.close", "code": 1008}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": raw}
    asyncio.run(OwnOriginOnly(app)(scope, None, send))  # type: ignore[arg-type]
    return bool(passed)


@pytest.mark.parametrize(
    ("public_url", "host", "origin", "passes"),
    [
        (None, "127.0.0.1:8501", "http://127.0.0.1:8501", True),
        (None, "Fedcost.Example", "https://fedcost.example", True),
        (None, "127.0.0.1:8501", "http://127.0.0.1:8502", False),
        (None, "127.0.0.1:8501", "null", False),
        (None, "", "null", False),
        (None, "", "", False),
        # Behind a proxy that says its own port.
        ("https://fedcost.example:8444", "fedcost.example:8443", "https://fedcost.example:8444", True),
        ("https://fedcost.example:8444", "fedcost.example:8443", "https://fedcost.example:8445", False),
        ("https://fedcost.example:8444", "fedcost.example:8443", "null", False),
    ],
)
def test_a_socket_opens_for_own_pages_only(
    monkeypatch: pytest.MonkeyPatch, public_url: str | None, host: str, origin: str, passes: bool
) -> None:
    assert _passes(monkeypatch, public_url, host=host, origin=origin) is passes


def test_a_socket_without_an_origin_or_from_another_site_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _passes(monkeypatch, None, host="a")
    assert not _passes(monkeypatch, None, host="a", origin="http://a", sec_fetch_site="cross-site")
    assert not _passes(monkeypatch, None, host="a", origin="http://a", sec_fetch_site="same-site")
    assert _passes(monkeypatch, None, host="a", origin="http://a", sec_fetch_site="same-origin")
