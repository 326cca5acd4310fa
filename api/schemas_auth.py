"""Bodies of signing in, of the own account and of the health check."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas import Answer, Request


class LoginRequest(Request):
    """Who signs in."""

    email: str = Field(max_length=255)
    password: str = Field(max_length=255)


class RefreshRequest(Request):
    """What goes on with a session."""

    refresh_token: str = Field(max_length=100, description="of the last answer; used once")


class TokenAnswer(Answer):
    """A token to send as `Authorization: Bearer ...`, and one to get the next with."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="seconds")
    refresh_token: str = Field(description="for `POST /auth/refresh`, once; keep it as you keep a password")
    refresh_expires_in: int = Field(description="seconds until e-mail and password are needed again")


class AccountAnswer(Answer):
    """Who is calling."""

    worker_id: int
    name: str
    email: str
    role: str
    institution_code: str | None = Field(description="null: belongs to the whole consortium")
    institution_name: str | None


class PasswordChange(Request):
    """The password that is right now, and the next one."""

    present_password: str = Field(max_length=255)
    new_password: str = Field(max_length=255)


class SessionAnswer(Answer):
    """A browser or program that is signed in."""

    id: uuid.UUID
    kind: str
    user_agent: str | None
    address: str | None
    created_at: datetime
    last_seen_at: datetime = Field(description="when something was last done in it, to the minute")
    expires_at: datetime
    is_this_one: bool


class HealthAnswer(Answer):
    """Whether this process and what it stands on are up."""

    status: Literal["ok", "degraded"]
    database: Literal["up", "down"]
    federation: Literal["up", "starting", "down"]
    version: str


class ReadyAnswer(Answer):
    """Whether a load balancer may send requests to this process."""

    status: Literal["ready", "not_ready"]
    database: Literal["up", "down"]
    schema_current: bool
