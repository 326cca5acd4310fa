"""Bodies of signing in and of the health check."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas import Answer, Request


class LoginRequest(Request):
    """Who signs in."""

    email: str = Field(max_length=255)
    password: str = Field(max_length=255)


class LoginAnswer(Answer):
    """A token to send as `Authorization: Bearer ...`."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="seconds")


class HealthAnswer(Answer):
    """Whether this process and what it stands on are up."""

    status: Literal["ok", "degraded"]
    database: Literal["up", "down"]
    federation: Literal["up", "starting", "down"]
    version: str
