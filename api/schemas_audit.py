"""Bodies of the audit trail."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Cursor
from api.schemas import Answer
from app.services.audit_reading import AuditFilter
from app.services.paging import MAX_PAGE


class _Events(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: date | None = Field(None, description="first day")
    until: date | None = Field(None, description="last day")
    zone: str = Field("UTC", max_length=100, description="time zone of the days")
    worker_id: int | None = Field(None, ge=1, le=2**31 - 1, description="who")
    action: str | None = Field(None, max_length=100, description="such as patient_read")
    outcome: Literal["ok", "refused", "failed"] | None = Field(None, description="how it ended")
    target: str | None = Field(
        None, max_length=200, description="in a hospital a patient's id; in the consortium such as `run 7`"
    )
    institution: str | None = Field(None, max_length=50, description="code; of the central trail only")
    address: str | None = Field(None, max_length=64, description="where the request came from")
    request_id: str | None = Field(None, max_length=64, description="X-Request-ID of the request")

    def filter(self) -> AuditFilter:
        """Return the filter that this describes."""
        return AuditFilter(**self.model_dump(exclude={"format", "cursor", "limit"}))


class AuditExportQuery(_Events):
    """Which events, and as what kind of file."""

    format: Literal["csv", "xlsx"] = Field("csv", description="kind of file")


class AuditQuery(_Events):
    """Which events, and which page of them."""

    cursor: Cursor = None
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="rows on a page")


class AuditEventAnswer(Answer):
    """One event; never a patient's name or a value."""

    id: int
    occurred_at: datetime
    worker_id: int | None = Field(description="null if nobody asked")
    role: str | None
    institution: str | None = Field(description="name; of the central trail only")
    action: str
    target: str | None
    outcome: Literal["ok", "refused", "failed"]
    address: str | None
    request_id: str | None
    details: dict[str, Any]
    sealed: int | None = Field(description="position of its seal; null for about a second")


class ChainAnswer(Answer):
    """How far the trail is sealed. Write position and hash down elsewhere to notice a chain that was made anew."""

    position: int
    sha256: str
    sealed_at: datetime | None
    waiting: int = Field(description="events that wait for their seal")
    verified_at: datetime | None = Field(description="when the whole chain was last computed again")
    verified_position: int | None
    problem: str | None = Field(description="what that found; null if everything was as it was recorded")
