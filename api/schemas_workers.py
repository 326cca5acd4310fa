"""Bodies of looking after people: who they are, and the links with which they choose a password."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas import Answer, Request
from db.states import Role

_ROLES: dict[str, Any] = {"enum": [str(role) for role in Role]}


class WorkerAnswer(Answer):
    """A person who signs in."""

    id: int
    email: str
    name: str
    role: str = Field(json_schema_extra=_ROLES)
    institution_code: str | None = Field(description="null: belongs to the whole consortium")
    institution_name: str | None
    is_active: bool
    has_password: bool = Field(description="whether they have chosen one yet")
    locked_until: datetime | None = Field(description="while wrong passwords keep the account closed")
    link_expires_at: datetime | None = Field(description="of the one-time link that is alive")
    last_seen_at: datetime | None = Field(description="when they last did something, to the minute")
    created_at: datetime
    sessions: int = Field(description="browsers and programs that are signed in")
    row_version: int


class WorkerRequest(Request):
    """Somebody to add."""

    name: str
    email: str
    role: str = Field(json_schema_extra=_ROLES)
    institution: str | None = Field(
        default=None,
        description="code; left out for roles of the whole consortium, or for the own institution",
    )


class WorkerChange(Request):
    """What to change; what is left out stays."""

    row_version: int = Field(ge=1, le=2**31 - 1, description="of the person as the caller saw them")
    name: str | None = None
    role: str | None = Field(default=None, json_schema_extra=_ROLES)
    institution: str | None = Field(default=None, description="code")
    is_active: bool | None = Field(default=None, description="false ends every session at once")


class LinkAnswer(Answer):
    """A one-time link, answered this once."""

    email: str
    link: str = Field(description="where the person chooses a password, once; hand it over safely")
    expires_at: datetime


class AddedWorkerAnswer(Answer):
    """Somebody who was added, and how they choose their password."""

    worker: WorkerAnswer
    link: LinkAnswer


class EndedAnswer(Answer):
    """How many sessions were ended."""

    ended: int
