"""Bodies of taking part and of managing institutions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas import Answer, Request
from api.schemas_workers import LinkAnswer


class ParticipationRequest(Request):
    """What the own institution allows."""

    consent: str = Field(
        description="`open` takes part in every Run, `paused` in none, `approval` in each that was approved",
        json_schema_extra={"enum": ["open", "paused", "approval"]},
    )
    reason: str | None = Field(default=None, description="needed to pause; stays in the own database")


class ParticipationState(Answer):
    """What the own institution allows, and who decided it."""

    consent: str
    reason: str | None
    changed_by_name: str | None
    changed_at: datetime | None


class ApprovalRequest(Request):
    """A decision on a Run."""

    approve: bool
    settings_sha256: str = Field(
        max_length=64, description="of the settings that were looked at; 409 if the Run asks for others now"
    )


class ApprovalAnswer(Answer):
    """A Run that asked, what it asks for, and what was decided."""

    run_id: int
    settings: dict[str, Any]
    settings_sha256: str
    requested_at: datetime
    decision: str
    decided_by_name: str | None
    decided_at: datetime | None


class ParticipationAnswer(ParticipationState):
    """Where the own institution stands; the newest Run first."""

    waiting: list[ApprovalAnswer]
    decided: list[ApprovalAnswer]


class Person(Request):
    """Somebody who gets an account."""

    name: str
    email: str


class InstitutionRequest(Request):
    """An institution to add, with its first people."""

    code: str
    name: str
    address: str | None = None
    manager: Person
    doctor: Person | None = None


class AccountAnswer(Answer):
    """An account that was made; the link is answered this once."""

    name: str
    email: str
    role: str
    link: LinkAnswer = Field(description="where its owner chooses a password")


class AddedAnswer(Answer):
    """What came of adding an institution."""

    code: str
    name: str
    accounts: list[AccountAnswer]
    database_made: bool = Field(description="whether this installation made its Site database")
    site_commands: str | None = Field(description="otherwise what the hospital runs to set up its Site")


class StatusRequest(Request):
    """Why an institution is deactivated or taken back in."""

    reason: str


class StatusAnswer(Answer):
    """An institution and whether Runs ask it."""

    code: str
    name: str
    is_active: bool


class RunPartAnswer(Answer):
    """What an institution did in one Run."""

    run_id: int
    kind: str
    status: str
    requested_at: datetime
    used: int = Field(description="answers that were used")
    asked: int
    reason: str | None = Field(description="why an answer was not used, the last time that happened")


class InstitutionAnswer(StatusAnswer):
    """An institution and what is known of its Site."""

    address: str | None
    created_at: datetime
    status_reason: str | None
    connection: str = Field(description="connected, starting, down or inactive")
    online_since: datetime | None
    last_seen_at: datetime | None
    usable_rows: int | None = Field(description="patients with a known cost, rounded down to tens")
    software_version: str | None
    same_code: bool | None = Field(description="whether it runs the code of the hub")
    consent: str | None
    people: int
    runs: list[RunPartAnswer]
