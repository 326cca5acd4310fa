"""Bodies of how the product is at work."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas import Answer


class FindingAnswer(Answer):
    """One thing that is wrong, and what to do."""

    rule: str
    severity: Literal["error", "warning"]
    what: str
    todo: str


class DatabaseAnswer(Answer):
    """The central database."""

    version: str
    size: int = Field(description="bytes")
    connections: int
    connections_limit: int
    pool_in_use: int
    pool_size: int
    pool_waits: int = Field(
        description="how often all connections of this process were in use since its start"
    )
    since: datetime
    clock_difference: float = Field(description="seconds that its clock is ahead of this process's")
    revision: str | None
    expected_revision: str
    replica_lag: float | None = Field(description="seconds; null without a replica")


class SupervisorAnswer(Answer):
    """What the supervisor last said."""

    leader: str
    state: str
    heartbeat_at: datetime
    runtime: str
    bundle_sha256: str | None


class SiteSeenAnswer(Answer):
    """When a hospital's Site last answered."""

    code: str
    name: str
    last_seen_at: datetime | None
    online_since: datetime | None


class DiskAnswer(Answer):
    """The disk of the data folder, bytes."""

    free: int
    total: int


class ComponentAnswer(Answer):
    """Something installed, and its version."""

    name: str
    version: str


class BackupAnswer(Answer):
    """The newest backup that succeeded."""

    finished_at: datetime | None
    size: int | None = Field(description="bytes")
    failed_since: bool


class FaultAnswer(Answer):
    """The newest mistake of the program; its stack is in the log under the reference."""

    reference: str
    place: str
    kind: str
    occurred_at: datetime
    request_id: str | None


class AuditAnswer(Answer):
    """How the audit trail stands."""

    unsealed: int
    oldest_unsealed_at: datetime | None
    verified_at: datetime | None
    problem: str | None


class ParticipationAnswer(Answer):
    """What became of the questions to one hospital in the last twenty runs."""

    name: str
    runs: int
    asked: int
    ok: int
    excluded: int
    failed: int
    late: int


class IntervalAnswer(Answer):
    """What was answered in a stretch of time; latencies in seconds."""

    begin: datetime
    requests: int
    client_errors: int
    server_errors: int
    sign_in_failures: int
    predictions: int
    request_p50: float | None
    request_p95: float | None
    prediction_p50: float | None
    prediction_p95: float | None


class SystemAnswer(Answer):
    """The product at work."""

    now: datetime
    findings: list[FindingAnswer] = Field(
        description="what is wrong, the worst first; empty: everything works"
    )
    database: DatabaseAnswer
    supervisor: SupervisorAnswer | None
    federation_up: bool
    queue_length: int
    sites: list[SiteSeenAnswer]
    disk: DiskAnswer | None
    versions: list[ComponentAnswer]
    backup: BackupAnswer | None
    fault: FaultAnswer | None
    audit: AuditAnswer
    recent: IntervalAnswer | None = Field(description="the last ten minutes")
    failed_sign_ins: int = Field(description="in the last ten minutes")
    champion_since: datetime | None
    certificate_expires_at: datetime | None
    participation: list[ParticipationAnswer]
    web_since: datetime
    traffic: list[IntervalAnswer] = Field(description="the last 24 hours by half hours")
    days: list[IntervalAnswer] = Field(description="the last fourteen days")
