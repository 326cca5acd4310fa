"""What the first page of data scientists and administrators shows of the consortium: Runs, model, people, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NoModelYet
from app.permissions import Permission
from app.services import models, monitoring
from app.services.monitoring import FederationView, RunProgress
from app.services.worker_scope import looked_after_by
from db.central import AuditEvent, Institution, MedicalWorker, ModelVersion, TrainingRun
from db.states import VersionStatus

RECENT = timedelta(days=7)
EVENTS_LIMIT = 10_000  # more refusals than that are not read
SHOWN = 10


@dataclass(frozen=True)
class WaitingVersion:
    """A model version that waits for a person's decision, and what the rule said of it."""

    version: str
    trained_at: datetime
    reason: str | None


@dataclass(frozen=True)
class ConsortiumOverview:
    """The consortium at a glance.

    Attributes
    ----------
    metrics
        Of the model in use, per institution among others, as training stored them; None without a model.
    last_run
        The newest Run as the live page shows it.
    """

    federation: FederationView
    status: models.ModelStatus
    metrics: dict[str, Any] | None
    last_run: RunProgress | None
    waiting: list[WaitingVersion]


@dataclass(frozen=True)
class StaffGroup:
    """The Workers of one role at one institution; `institution` is None for those of the whole consortium."""

    institution: str | None
    role: str
    active: int
    switched_off: int
    last_seen_at: datetime | None


@dataclass(frozen=True)
class Refusals:
    """Attempts of the last seven days that were refused, of one kind and by one role; None is unknown."""

    action: str
    role: str | None
    count: int
    last_at: datetime


def consortium_overview(*, central: Session, actor: Actor) -> ConsortiumOverview:
    """Read what data scientists and administrators see first; no patient and no count of one institution's rows
    beyond what training stored."""
    actor.require(Permission.TRAINING_READ)
    newest = central.scalar(select(func.max(TrainingRun.id)))
    try:
        metrics = models.model_metrics(central=central, actor=actor).metrics
    except NoModelYet:
        metrics = None
    return ConsortiumOverview(
        federation=monitoring.federation(central=central),
        status=models.model_status(central=central, actor=actor),
        metrics=metrics,
        last_run=None
        if newest is None
        else monitoring.run_progress(central=central, actor=actor, run_id=newest),
        waiting=_waiting(central),
    )


def staff(*, central: Session, actor: Actor) -> list[StaffGroup]:
    """Count the Workers by institution and role, the consortium's own first; those whom the actor looks after."""
    actor.require(Permission.WORKERS_MANAGE)
    active = func.count().filter(MedicalWorker.is_active)
    rows = central.execute(
        select(
            Institution.name,
            MedicalWorker.role,
            active,
            func.count() - active,
            func.max(MedicalWorker.last_seen_at),
        )
        .outerjoin(Institution, Institution.id == MedicalWorker.institution_id)
        .where(looked_after_by(actor))
        .group_by(Institution.code, Institution.name, MedicalWorker.role)
        .order_by(Institution.code.nulls_first(), MedicalWorker.role)
    )
    return [StaffGroup(*row) for row in rows]


def refusals(*, central: Session, actor: Actor) -> list[Refusals]:
    """Count the refused attempts of the last seven days, the most frequent kind first; at most ten kinds."""
    actor.require(Permission.AUDIT_READ)
    actor.require(Permission.TRAINING_READ)  # of all institutions, so for the consortium's people only
    newest = (
        select(AuditEvent.action, AuditEvent.role, AuditEvent.occurred_at, AuditEvent.outcome)
        .where(AuditEvent.occurred_at >= datetime.now(UTC) - RECENT)
        .order_by(AuditEvent.occurred_at.desc())
        .limit(EVENTS_LIMIT)
        .subquery()
    )
    rows = central.execute(
        select(newest.c.action, newest.c.role, func.count(), func.max(newest.c.occurred_at))
        .where(newest.c.outcome == "refused")
        .group_by(newest.c.action, newest.c.role)
        .order_by(func.count().desc(), newest.c.action)
        .limit(SHOWN)
    )
    return [Refusals(*row) for row in rows]


def _waiting(central: Session) -> list[WaitingVersion]:
    rows = central.execute(
        select(ModelVersion.version, ModelVersion.trained_at, ModelVersion.metrics["decision"].astext)
        .where(ModelVersion.status == VersionStatus.CANDIDATE)
        .order_by(ModelVersion.id.desc())
        .limit(SHOWN)
    )
    return [WaitingVersion(*row) for row in rows]
