"""The facts about the product at work, as the rules and the System page take them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.services.operations import Interval


@dataclass(frozen=True)
class DatabaseState:
    """The central database.

    Attributes
    ----------
    size
        Bytes.
    pool_waits
        How often all connections of this process were in use since it started.
    clock_difference
        Seconds that the database's clock is ahead of this process's.
    replica_lag
        Seconds that the slowest replica is behind; None without one.
    """

    version: str
    size: int
    connections: int
    connections_limit: int
    pool_in_use: int
    pool_size: int
    pool_waits: int
    since: datetime
    clock_difference: float
    revision: str | None
    expected_revision: str
    replica_lag: float | None

    @property
    def behind(self) -> bool:
        """Whether a migration is missing; revisions are numbered."""
        return self.revision is None or self.revision < self.expected_revision


@dataclass(frozen=True)
class SupervisorState:
    """What the leading supervisor last said of itself."""

    leader: str
    state: str
    heartbeat_at: datetime
    runtime: str
    bundle_sha256: str | None


@dataclass(frozen=True)
class SiteSeen:
    """When an active institution's Site last answered; None: never."""

    code: str
    name: str
    last_seen_at: datetime | None
    online_since: datetime | None


@dataclass(frozen=True)
class DiskState:
    """The disk of the data folder, bytes."""

    free: int
    total: int

    @property
    def free_share(self) -> float:
        """From 0 to 1."""
        return self.free / self.total if self.total else 0.0


@dataclass(frozen=True)
class Component:
    """Something installed, and its version."""

    name: str
    version: str


@dataclass(frozen=True)
class BackupState:
    """The newest backup that succeeded, bytes, and whether one failed after it."""

    finished_at: datetime | None
    size: int | None
    failed_since: bool


@dataclass(frozen=True)
class FaultState:
    """The newest mistake of the program."""

    reference: str
    place: str
    kind: str
    occurred_at: datetime
    request_id: str | None


@dataclass(frozen=True)
class AuditState:
    """How the central audit trail stands: events without a seal, and what its last verification found."""

    unsealed: int
    oldest_unsealed_at: datetime | None
    verified_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class Participation:
    """What became of the questions to one institution in the last Runs."""

    name: str
    runs: int
    asked: int
    ok: int
    excluded: int
    failed: int
    late: int


@dataclass(frozen=True)
class SystemState:
    """Everything that the rules look at.

    Attributes
    ----------
    backup
        None if this installation keeps no record of backups.
    recent
        What was answered in the last ten minutes; None if nothing was.
    failed_sign_ins
        Refused in the last ten minutes.
    certificate_expires_at
        Of SuperLink's certificate; None if it has none here.
    """

    now: datetime
    database: DatabaseState
    supervisor: SupervisorState | None
    federation_expected: bool
    federation_up: bool
    sites: list[SiteSeen]
    disk: DiskState | None
    versions: list[Component]
    backup: BackupState | None
    fault: FaultState | None
    audit: AuditState
    recent: Interval | None
    failed_sign_ins: int
    champion_since: datetime | None
    certificate_expires_at: datetime | None
    participation: list[Participation]
    web_since: datetime
    queue_length: int
