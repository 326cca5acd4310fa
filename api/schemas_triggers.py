"""Bodies of triggers, of what they did, and of the queue of Runs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from api.schemas import Answer, Request
from app.services.trigger_request import FEWEST_RECORDS, MOST_RECORDS
from db.states import RunKind
from fl.settings import DEFAULT_ROUNDS, MAX_ROUNDS, STRATEGIES


class TriggerBody(Request):
    """A trigger: when it fires, and the Run that it asks for."""

    name: StrictStr = Field(description="What the history and the list of Runs call it.")
    kind: StrictStr = Field(
        description="schedule: at fixed times; new_records: once there are enough new patients; manual: only by "
        "POST /triggers/{trigger_id}/run.",
        json_schema_extra={"enum": ["schedule", "new_records", "manual"]},
    )
    cron: StrictStr = Field(
        default="",
        description="Of a schedule: minute, hour, day of month, month, day of week.",
        examples=["0 3 * * 1"],
    )
    timezone: StrictStr = Field(
        default="UTC", description="Of a schedule: an IANA time zone.", examples=["Europe/Berlin"]
    )
    records: StrictInt = Field(
        default=0,
        description="Of new_records: how many new patients with a known cost there must be since the last "
        f"training, all hospitals together; {FEWEST_RECORDS} to {MOST_RECORDS}.",
    )
    only_if_new_data: StrictBool = Field(
        default=False, description="Fire only if a hospital has told of new patients since the last training."
    )
    run_kind: StrictStr = Field(
        default=RunKind.FEDERATED,
        description="What the Run is for.",
        json_schema_extra={"enum": [RunKind.FEDERATED, RunKind.LEAST_SQUARES, RunKind.COHORT]},
    )
    num_rounds: StrictInt = Field(
        default=DEFAULT_ROUNDS,
        description="Rounds of training; ignored for the other kinds.",
        json_schema_extra={"minimum": 1, "maximum": MAX_ROUNDS},
    )
    strategy: StrictStr = Field(default="fedavg", description=f"One of {', '.join(STRATEGIES)}.")
    run_settings: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr] = Field(
        default_factory=dict, description="Settings that differ from the strategy's defaults, by name."
    )


class TriggerEventAnswer(Answer):
    """That a trigger fired, or why it did not."""

    id: int
    trigger_id: int
    occurred_at: datetime
    outcome: Literal["fired", "skipped", "failed"]
    reason: str
    run_id: int | None = Field(description="the Run that was asked for; null if it did not fire")


class TriggerAnswer(Answer):
    """A trigger and where it stands."""

    id: int
    name: str
    kind: str
    is_active: bool = Field(description="false: paused")
    cron: str
    timezone: str
    records: int
    only_if_new_data: bool
    run_kind: str
    num_rounds: int
    strategy: str
    run_settings: dict[str, bool | int | float | str]
    created_at: datetime
    created_by: str | None
    next_firings: list[datetime] = Field(
        description="the next three times of an active schedule, in its own zone"
    )
    last_event: TriggerEventAnswer | None


class WaitingAnswer(Answer):
    """A Run that waits to be started."""

    id: int
    kind: str
    num_rounds: int
    strategy: str
    requested_at: datetime
    asked_by: str = Field(description="name of the person, of the trigger, or of both")


class QueueAnswer(Answer):
    """Whether Runs are started, and which wait."""

    paused_at: datetime | None = Field(description="since when no Run is started; null if the queue goes on")
    paused_by: str | None
    sentence: str
    total: int
    waiting: list[WaitingAnswer] = Field(description="in the order in which they are started, at most 100")
