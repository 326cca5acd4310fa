"""What the reader's browser tells: its time zone, its theme, and whether it is a telephone."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def browser_zone() -> tzinfo:
    """Return the browser's time zone; UTC if the browser does not tell."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def is_dark() -> bool:
    """Tell whether the reader sees the dark variant of the theme."""
    return st.context.theme.type == "dark"


def theme_colour(name: str) -> str:
    """Return a colour of the theme variant that the reader sees, such as `textColor`."""
    variant = "dark" if is_dark() else "light"
    return str(st.get_option(f"theme.{variant}.{name}"))


def is_telephone() -> bool:
    """Tell whether the browser says that it runs on a telephone."""
    return "Mobi" in (st.context.headers.get("User-Agent") or "")
