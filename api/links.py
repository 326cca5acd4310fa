"""Where a one-time link leads: the address of this application in front of its path."""

from __future__ import annotations

from fastapi import Request

from api.schemas_workers import LinkAnswer
from app.services.one_time_links import NewLink
from app.settings import get_settings


def answered_link(request: Request, link: NewLink) -> LinkAnswer:
    """Return a link with the address of this application in front."""
    base = get_settings().public_url or f"{request.url.scheme}://{request.url.netloc}"
    return LinkAnswer(email=link.email, link=base.rstrip("/") + link.path, expires_at=link.expires_at)
