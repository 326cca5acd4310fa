"""Tables of requests that must change something once: who sent which key, and what was answered."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from db.central import CentralBase
from db.privileges import DatabaseKind
from db.site import SiteBase


class _Key:
    """What both tables hold; the row is written with the change, the answer after it."""

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    attempt: Mapped[uuid.UUID]  # which of several requests with the key has made the change
    route: Mapped[str] = mapped_column(String(100))  # without ids
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]  # NULL: the answer is not known, or not kept
    headers: Mapped[dict[str, Any] | None]
    answer: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CentralIdempotencyKey(_Key, CentralBase):
    """A request that has changed the central database."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_created_at", "created_at"),)

    worker_id: Mapped[int] = mapped_column(ForeignKey("medical_workers.id"), primary_key=True, sort_order=-1)


class SiteIdempotencyKey(_Key, SiteBase):
    """A request that has changed a Site's database; `patient_id` is whom its answer is about."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_created_at", "created_at"),)

    worker_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, sort_order=-1)
    patient_id: Mapped[uuid.UUID | None]


IDEMPOTENCY_KEYS: dict[DatabaseKind, type[CentralIdempotencyKey] | type[SiteIdempotencyKey]] = {
    "central": CentralIdempotencyKey,
    "site": SiteIdempotencyKey,
}
