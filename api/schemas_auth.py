"""Bodies of signing in and of the health check."""

from __future__ import annotations

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
