"""Bodies of retention: how long data are kept, what would be deleted now, and the jobs that deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, StrictBool, StrictInt

from api.schemas import Answer, Request


class RetentionRequest(Request):
    """How long each kind is kept; a kind that is not named stays as it is."""

    days: dict[str, StrictInt | None] = Field(
        default_factory=dict, max_length=20, description="kind -> days, or null: for ever"
    )
    daily: StrictBool = Field(description="whether old data are deleted every day")


class DueAnswer(Answer):
    """What a job would delete now of one kind."""

    kind: str
    label: str
    least: int = Field(description="days that it is kept at least")
    days: int | None = Field(description="null: for ever")
    rows: int
    oldest: datetime | None


class RetentionJobAnswer(Answer):
    """One job."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    status: str
    requested_by_name: str | None = Field(description="null: the daily job")
    days: dict[str, Any]
    deleted: dict[str, int] = Field(description="kind -> rows")
    archive: str | None = Field(description="folder of the archive on the machine that made it")
    error: str | None


class RetentionAnswer(Answer):
    """The settings, what they mean today, and the last jobs."""

    daily: bool
    changed_by: str | None
    changed_at: datetime | None
    due: list[DueAnswer]
    jobs: list[RetentionJobAnswer]
