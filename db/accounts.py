"""Tables of the central database by which people stay signed in and choose passwords; secrets are SHA-256 only."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.central import CentralBase


class RefreshToken(CentralBase):
    """What an API client trades once for the next access token; the tokens of a session are one family."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("refresh_tokens_session", "session_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sessions.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class OneTimeLink(CentralBase):
    """A link with which a Worker chooses a password once; at most one of a Worker's is alive."""

    __tablename__ = "one_time_links"
    __table_args__ = (
        Index("one_time_links_worker", "worker_id"),
        Index(
            "one_time_links_one_alive",
            "worker_id",
            unique=True,
            postgresql_where=text("used_at IS NULL AND ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    worker_id: Mapped[int] = mapped_column(ForeignKey("medical_workers.id"))
    created_by: Mapped[int | None] = mapped_column(
        ForeignKey("medical_workers.id")
    )  # NULL: on the server itself
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]  # replaced by a later one, or the account changed
