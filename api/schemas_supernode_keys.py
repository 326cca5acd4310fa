"""Bodies of the keys of SuperNodes."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas import Answer, Request


class KeyRequest(Request):
    """A key to register."""

    public_key: str = Field(
        max_length=2000,
        description="one line of OpenSSH or PEM, as `python -m fl.runtime.supernode_key` prints",
    )


class RevokeRequest(Request):
    """Why a key is revoked."""

    reason: str


class KeyAnswer(Answer):
    """A key of an institution; its private half is at the SuperNode only."""

    id: int
    fingerprint: str = Field(description="as `ssh-keygen -l` tells it")
    registered_at: datetime
    registered_by: str | None = Field(description="null: the hub made it for a SuperNode on its own machine")
    revoked_at: datetime | None
    revoked_by: str | None
    in_use: bool = Field(description="whether SuperLink lets its holder in")
