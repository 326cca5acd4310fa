"""What an administrator sees of the product at work: database, federation, disk, versions, backups, mistakes."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import psutil
from cryptography import x509
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import PermissionRefused
from app.permissions import Permission
from app.services import federation_figures, operations
from app.services.operations import Interval
from app.services.system_rules import Finding, findings
from app.services.system_state import (
    AuditState,
    BackupState,
    Component,
    DatabaseState,
    DiskState,
    FaultState,
    Participation,
    SiteSeen,
    SupervisorState,
    SystemState,
)
from app.settings import get_settings
from app.version import VERSION
from db.audit_trail import AuditUnsealed, AuditVerification
from db.central import AuditEvent, Institution, SiteResult, TrainingRun
from db.data_life import Backup
from db.engines import engine_for
from db.federation import FederationStatus, SitePresence
from db.pools import KEPT, MORE, CountingPool
from db.revisions import current_revision, newest_revision
from db.states import ENDED_STATUSES, SiteOutcome

LAST_RUNS = 20  # over which the participation of an institution is told
RECENT = timedelta(minutes=10)
CHART_SPAN, CHART_STEP = timedelta(hours=24), timedelta(minutes=30)
DAYS = timedelta(days=14)
NOT_ALLOWED = "42501"  # SQLSTATE insufficient_privilege
PACKAGES = ("streamlit", "flwr", "tensorflow", "sqlalchemy", "fastapi")


@dataclass(frozen=True)
class SystemView:
    """How the product is at this moment, and what is wrong with it, the worst first."""

    state: SystemState
    findings: list[Finding]


@dataclass(frozen=True)
class SystemHistory:
    """What all web processes answered: `traffic` in the last 24 hours by half hours, `days` in the last fourteen days.

    A stretch in which nothing happened is left out.
    """

    traffic: list[Interval]
    days: list[Interval]


def system_view(*, central: Session, actor: Actor) -> SystemView:
    """Read how the product is, what is wrong with it, and what to do."""
    actor.require(Permission.SYSTEM_READ)
    try:
        state = system_state(central=central)
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != NOT_ALLOWED:
            raise
        raise PermissionRefused(
            "The web application of a hospital may not look at the whole consortium. Use the address of the hub."
        ) from error
    return SystemView(state=state, findings=findings(state))


def system_history(*, central: Session, actor: Actor) -> SystemHistory:
    """Read what was answered in the last time."""
    actor.require(Permission.SYSTEM_READ)
    return SystemHistory(
        traffic=operations.history(central=central, since=CHART_SPAN, step=CHART_STEP),
        days=operations.history(central=central, since=DAYS, step=timedelta(days=1)),
    )


def system_state(*, central: Session) -> SystemState:
    """Read the facts on which the rules decide."""
    settings = get_settings()
    figures = federation_figures.federation_figures(central=central)
    return SystemState(
        now=figures.now,
        database=_database(central),
        supervisor=_supervisor(central),
        federation_expected=settings.federation or figures.heartbeat_age is not None,
        federation_up=figures.up,
        sites=_sites(central),
        disk=_disk(settings.data_dir),
        versions=_versions(central),
        backup=_backup(central, demonstration=settings.demo_mode),
        fault=_fault(central),
        audit=_audit(central),
        recent=operations.total(central=central, since=RECENT),
        failed_sign_ins=_failed_sign_ins(central),
        champion_since=figures.champion_since,
        certificate_expires_at=_certificate_expiry(),
        participation=_participation(central),
        web_since=datetime.fromtimestamp(psutil.Process().create_time(), UTC),
        queue_length=figures.queue_length,
    )


@dataclass(frozen=True)
class Readiness:
    """Whether this process can serve: the database answers and has the schema that the software wants, or a newer."""

    ready: bool
    revision: str | None
    expected_revision: str


def readiness(*, central: Session) -> Readiness:
    """Tell a load balancer whether to send requests here."""
    revision, expected = current_revision(central), newest_revision("central")
    # A newer one is no reason to turn requests away: it comes first when an installation is updated process by process.
    return Readiness(revision is not None and revision >= expected, revision, expected)


def _database(central: Session) -> DatabaseState:
    began = datetime.now(UTC)
    version, size, used, limit, since, now, replica = central.execute(
        text(
            "SELECT current_setting('server_version'), pg_database_size(current_database()), "
            "(SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL), "
            "current_setting('max_connections')::int, pg_postmaster_start_time(), clock_timestamp(), "
            "(SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication)"
        )
    ).one()
    ended = datetime.now(UTC)
    url = get_settings().central_database_url.get_secret_value()
    pool = engine_for(url).pool
    return DatabaseState(
        version=str(version).partition(" ")[0],
        size=size,
        connections=used,
        connections_limit=limit,
        pool_in_use=pool.checkedout() if isinstance(pool, CountingPool) else 0,
        pool_size=KEPT + MORE,
        pool_waits=pool.waits if isinstance(pool, CountingPool) else 0,
        since=since,
        clock_difference=(now - (began + (ended - began) / 2)).total_seconds(),
        revision=current_revision(central),
        expected_revision=newest_revision("central"),
        replica_lag=None if replica is None else float(replica),
    )


def _supervisor(central: Session) -> SupervisorState | None:
    status = central.scalars(select(FederationStatus).execution_options(populate_existing=True)).one_or_none()
    if status is None:
        return None
    return SupervisorState(
        status.leader, status.state, status.heartbeat_at, status.runtime, status.bundle_sha256
    )


def _sites(central: Session) -> list[SiteSeen]:
    rows = central.execute(
        select(Institution.code, Institution.name, SitePresence.last_seen_at, SitePresence.online_since)
        .outerjoin(SitePresence, SitePresence.institution_id == Institution.id)
        .where(Institution.is_active)
        .order_by(Institution.code)
    )
    return [SiteSeen(*row) for row in rows]


def _disk(folder: Path) -> DiskState | None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return DiskState(usage.free, usage.total)


def _versions(central: Session) -> list[Component]:
    status = central.scalars(select(FederationStatus)).one_or_none()
    server = str(central.scalar(text("SELECT current_setting('server_version')")))
    bundle = status.bundle_sha256 if status else None
    return [
        Component("Fedcost", VERSION),
        Component("Python", platform.python_version()),
        *_installed(),
        Component("PostgreSQL", server.partition(" ")[0]),
        Component("Code of the federation", bundle[:12] if bundle else "–"),
    ]


@lru_cache(maxsize=1)
def _installed() -> tuple[Component, ...]:
    """Return versions from what is installed: TensorFlow is never imported here."""
    found = []
    for name in PACKAGES:
        try:
            found.append(Component(_SPELLED[name], metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append(Component(_SPELLED[name], "not installed"))
    return tuple(found)


_SPELLED = {
    "streamlit": "Streamlit",
    "flwr": "Flower",
    "tensorflow": "TensorFlow",
    "sqlalchemy": "SQLAlchemy",
    "fastapi": "FastAPI",
}


def _backup(central: Session, *, demonstration: bool) -> BackupState | None:
    """Return the newest backup that succeeded, with whether a later one failed; a demonstration owes none."""
    newest = select(Backup).order_by(Backup.finished_at.desc()).limit(1)
    last = central.scalars(newest).first()
    if last is None and demonstration:
        return None
    good = central.scalars(newest.where(Backup.status == "completed")).first()
    return BackupState(
        finished_at=good.finished_at if good else None,
        size=good.bytes if good else None,
        failed_since=last is not None and last.status == "failed",
    )


def _fault(central: Session) -> FaultState | None:
    fault = operations.last_fault(central=central)
    if fault is None:
        return None
    return FaultState(fault.reference, fault.place, fault.kind, fault.occurred_at, fault.request_id)


def _audit(central: Session) -> AuditState:
    waiting, oldest = central.execute(
        select(func.count(), func.min(AuditEvent.occurred_at)).where(
            AuditEvent.id.in_(select(AuditUnsealed.event_id))
        )
    ).one()
    last = central.scalars(select(AuditVerification).order_by(AuditVerification.id.desc()).limit(1)).first()
    return AuditState(
        unsealed=waiting,
        oldest_unsealed_at=oldest,
        verified_at=last.verified_at if last else None,
        problem=last.problem if last else None,
    )


def _failed_sign_ins(central: Session) -> int:
    refused = select(func.count()).where(
        AuditEvent.action == "sign_in",
        AuditEvent.outcome == "refused",
        AuditEvent.occurred_at >= func.now() - RECENT,
    )
    return central.scalar(refused) or 0


def _certificate_expiry() -> datetime | None:
    path = os.environ.get("SUPERLINK_CERTIFICATE")
    if not path:
        return None
    try:
        return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def _participation(central: Session) -> list[Participation]:
    runs = (
        select(TrainingRun.id)
        .where(TrainingRun.status.in_(ENDED_STATUSES))
        .order_by(TrainingRun.id.desc())
        .limit(LAST_RUNS)
    )
    counted: Sequence[SiteOutcome] = tuple(SiteOutcome)
    rows = central.execute(
        select(
            Institution.name,
            func.count(SiteResult.run_id.distinct()),
            func.count(SiteResult.id),
            *(func.count(SiteResult.id).filter(SiteResult.outcome == outcome) for outcome in counted),
        )
        .outerjoin(SiteResult, (SiteResult.institution_id == Institution.id) & SiteResult.run_id.in_(runs))
        .where(Institution.is_active)
        .group_by(Institution.id, Institution.code, Institution.name)
        .order_by(Institution.code)
    )
    return [
        Participation(name, runs_asked, asked, **dict(zip((str(o) for o in counted), outcomes, strict=True)))
        for name, runs_asked, asked, *outcomes in rows
    ]
