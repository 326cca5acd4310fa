"""What a session runs on, in words, from what the browser or program says of itself."""

from __future__ import annotations

import re

from db.states import SessionKind

# The first that is found counts: later ones claim to be earlier ones.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "Chromebook"),
    ("Linux", "Linux"),
)
_PRODUCT = re.compile(r"[A-Za-z][\w.-]{0,39}")


def device_words(kind: str, user_agent: str | None) -> str:
    """Return for example `Firefox on Windows`, or `Program (curl)`; what is not recognised is not guessed."""
    said = user_agent or ""
    if kind == SessionKind.API:
        product = _PRODUCT.match(said)
        return f"Program ({product.group()})" if product else "Program"
    browser = next((name for mark, name in _BROWSERS if mark in said), "Browser")
    system = next((name for mark, name in _SYSTEMS if mark in said), None)
    return f"{browser} on {system}" if system else browser
