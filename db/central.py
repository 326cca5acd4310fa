"""Tables of the central database: people, Runs, model versions and audit; never a patient."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from db.states import (
    Phase,
    PromotionAction,
    Role,
    RoundStatus,
    RunKind,
    RunStatus,
    SessionEnd,
    SessionKind,
    SiteOutcome,
    VersionOrigin,
    VersionStatus,
    one_of,
)


class CentralBase(DeclarativeBase):
    """Base of every central table; times carry their zone."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this attribute by name
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        str: Text,
    }


class Institution(CentralBase):
    """A hospital: the legal owner of a Site."""

    __tablename__ = "institutions"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    code: Mapped[str] = mapped_column(String(50), unique=True)
    name: Mapped[str] = mapped_column(String(255))
    address: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))  # inactive: no Run asks it
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MedicalWorker(CentralBase):
    """A person who signs in."""

    __tablename__ = "medical_workers"
    __table_args__ = (
        CheckConstraint(one_of("role", Role), name="medical_workers_role"),
        CheckConstraint("email = lower(email)", name="medical_workers_email_lower"),
        CheckConstraint(
            "institution_id IS NOT NULL OR role IN ('data_scientist', 'admin')",
            name="medical_workers_clinician_has_institution",
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))  # NULL: no password was chosen yet
    password_changed_at: Mapped[datetime | None]
    name: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(50))
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institutions.id"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    failed_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    locked_until: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]  # signed in; the sessions say what came after
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    row_version: Mapped[int] = mapped_column(server_default=text("1"))

    institution: Mapped[Institution | None] = relationship(lazy="joined")


class Session(CentralBase):
    """One signed-in browser or API client; secrets are stored as SHA-256 only."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_worker", "worker_id"),
        CheckConstraint(one_of("kind", SessionKind), name="sessions_kind"),
        CheckConstraint(one_of("end_reason", SessionEnd), name="sessions_end_reason"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    worker_id: Mapped[int] = mapped_column(ForeignKey("medical_workers.id"))
    kind: Mapped[str] = mapped_column(String(10), server_default=SessionKind.BROWSER)
    token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    ticket_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    ticket_browser_sha256: Mapped[str | None] = mapped_column(String(64))  # only this browser may trade it
    ticket_expires_at: Mapped[datetime | None]
    openid_sha256: Mapped[str | None] = mapped_column(
        String(64), unique=True
    )  # an identity opens one session
    user_agent: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())  # to the minute
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(30))


class TrainingRun(CentralBase):
    """One training asked for by a Worker or a trigger."""

    __tablename__ = "training_runs"
    __table_args__ = (
        CheckConstraint(one_of("status", RunStatus), name="training_runs_status"),
        CheckConstraint(one_of("kind", RunKind), name="training_runs_kind"),
        CheckConstraint(
            "CASE WHEN kind = 'federated' THEN num_rounds BETWEEN 1 AND 1000 ELSE num_rounds = 0 END",
            name="training_runs_num_rounds",
        ),
        CheckConstraint(
            "kind <> 'evaluation' OR start_version_id IS NOT NULL", name="training_runs_evaluates_a_version"
        ),
        CheckConstraint(
            "(status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name="training_runs_ended_has_time",
        ),
        CheckConstraint("status <> 'failed' OR error IS NOT NULL", name="training_runs_failed_has_reason"),
        Index(
            "training_runs_one_running",
            text("(true)"),
            unique=True,
            postgresql_where=text("status IN ('starting', 'statistics', 'training', 'evaluating')"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(100), unique=True)
    kind: Mapped[str] = mapped_column(String(20), server_default=RunKind.FEDERATED)
    status: Mapped[str] = mapped_column(String(20), server_default=RunStatus.QUEUED)
    requested_by: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))
    trigger_id: Mapped[int | None] = mapped_column(ForeignKey("training_triggers.id"))  # NULL: a person asked
    resumed_from_id: Mapped[int | None] = mapped_column(ForeignKey("training_runs.id"))
    # The version that training starts from, or that an evaluation is of. The two tables refer to each other.
    start_version_id: Mapped[int | None] = mapped_column(
        ForeignKey("model_versions.id", name="training_runs_start_version", use_alter=True)
    )
    num_rounds: Mapped[int]
    strategy: Mapped[str] = mapped_column(String(50))
    settings: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    current_round: Mapped[int] = mapped_column(server_default=text("0"))
    flwr_run_id: Mapped[str | None] = mapped_column(String(20))
    error: Mapped[str | None]
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))
    # fl.features.Preprocessing as JSON, once the statistics are in: a resumed Run goes on with the same scaler.
    preprocessing: Mapped[dict[str, Any] | None]
    # What the Run found out besides its Rounds, by name: "baseline", "local_only", "cohort", "evaluation".
    results: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))

    rounds: Mapped[list[TrainingRound]] = relationship(order_by="TrainingRound.round_number")
    site_results: Mapped[list[SiteResult]] = relationship(order_by="SiteResult.id")
    requester: Mapped[MedicalWorker | None] = relationship(foreign_keys=[requested_by])


class TrainingRound(CentralBase):
    """One aggregation; metrics are of the aggregated model on every Site's held-out rows."""

    __tablename__ = "training_rounds"
    __table_args__ = (
        UniqueConstraint("run_id", "round_number"),
        CheckConstraint(one_of("status", RoundStatus), name="training_rounds_status"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"))
    round_number: Mapped[int]
    clients_participated: Mapped[int] = mapped_column(server_default=text("0"))
    aggregation_method: Mapped[str] = mapped_column(String(50))
    status: Mapped[str] = mapped_column(String(20), server_default=RoundStatus.STARTED)
    loss: Mapped[float | None]  # mean squared error of the standardised cost, held-out rows
    mae: Mapped[float | None]  # USD
    rmse: Mapped[float | None]  # USD
    r2: Mapped[float | None]
    num_examples: Mapped[int | None]  # held-out rows evaluated
    weights_sha256: Mapped[str | None] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    completed_at: Mapped[datetime | None]
    metrics: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    # Checkpoint: the aggregated weights (float32, little-endian) and the strategy's own state after the Round.
    weights: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    server_state: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    # The receipt's hash covers the hash before it, the weights' hash, participants, rows and update norms.
    previous_receipt_sha256: Mapped[str | None] = mapped_column(String(64))
    receipt_sha256: Mapped[str | None] = mapped_column(String(64))


class SiteResult(CentralBase):
    """What one Site sent in one Round and phase, or why it sent nothing."""

    __tablename__ = "site_results"
    __table_args__ = (
        UniqueConstraint("run_id", "round_number", "phase", "institution_id"),
        CheckConstraint(one_of("phase", Phase), name="site_results_phase"),
        CheckConstraint(one_of("outcome", SiteOutcome), name="site_results_outcome"),
        CheckConstraint("outcome = 'ok' OR reason IS NOT NULL", name="site_results_failure_has_reason"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"))
    round_number: Mapped[int]  # 0 in the statistics phase
    phase: Mapped[str] = mapped_column(String(20))
    institution_id: Mapped[int] = mapped_column(ForeignKey("institutions.id"))
    outcome: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None]
    num_examples: Mapped[int | None]  # train: rows trained on; evaluate: held-out rows
    loss: Mapped[float | None]  # mean squared error of the standardised cost on those rows
    mae: Mapped[float | None]  # USD
    rmse: Mapped[float | None]  # USD
    r2: Mapped[float | None]
    update_norm: Mapped[float | None]  # L2 norm of (weights sent - weights received)
    seconds: Mapped[float | None]  # work at the Site
    flwr_node_id: Mapped[str | None] = mapped_column(String(20))  # unsigned 64-bit
    update_sha256: Mapped[str | None] = mapped_column(String(64))  # of the array that the Site sent
    # The array itself, kept for the Round that made the version, so that its aggregate can be computed again.
    update: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    institution: Mapped[Institution] = relationship(lazy="joined")


class ModelVersion(CentralBase):
    """Saved weights with the preprocessing they need; both commit together."""

    __tablename__ = "model_versions"
    __table_args__ = (
        CheckConstraint(one_of("status", VersionStatus), name="model_versions_status"),
        Index(
            "model_versions_one_champion",
            text("(true)"),
            unique=True,
            postgresql_where=text("status = 'champion'"),
        ),
        CheckConstraint(one_of("origin", VersionOrigin), name="model_versions_origin"),
        CheckConstraint(
            "origin <> 'run' OR (run_id IS NOT NULL AND training_round IS NOT NULL)",
            name="model_versions_run_has_round",
        ),
        CheckConstraint("NOT is_shadow OR status = 'candidate'", name="model_versions_shadow_is_candidate"),
        Index("model_versions_one_shadow", text("(true)"), unique=True, postgresql_where=text("is_shadow")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    version: Mapped[str] = mapped_column(String(50), unique=True)
    status: Mapped[str] = mapped_column(String(20), server_default=VersionStatus.CANDIDATE)
    model_path: Mapped[str] = mapped_column(String(500))
    origin: Mapped[str] = mapped_column(String(10), server_default=VersionOrigin.RUN)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("training_runs.id"))  # NULL: imported
    training_round: Mapped[int | None]
    is_shadow: Mapped[bool] = mapped_column(
        server_default=text("false")
    )  # predicts beside the champion, unseen
    preprocessing: Mapped[dict[str, Any]]  # fl.features.Preprocessing as JSON
    weights: Mapped[bytes] = mapped_column(LargeBinary)  # float32, little-endian, fl.model order
    weights_sha256: Mapped[str] = mapped_column(String(64))
    r2: Mapped[float | None]
    mse: Mapped[float | None]  # USD squared
    rmse: Mapped[float | None]  # USD
    mae: Mapped[float | None]  # USD
    num_examples: Mapped[int]  # rows trained on in the last Round, all Sites
    metrics: Mapped[dict[str, Any]]  # per-institution metrics, baseline and champion on the same rows
    # Run, Rounds, Sites, rows, settings, seed, library versions and code revision; of an import, its file's hash.
    lineage: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    trained_at: Mapped[datetime] = mapped_column(server_default=func.now())

    run: Mapped[TrainingRun | None] = relationship(foreign_keys=[run_id])


class Promotion(CentralBase):
    """Why a ModelVersion became, or stopped being, the champion; never changed afterwards."""

    __tablename__ = "promotions"
    __table_args__ = (CheckConstraint(one_of("action", PromotionAction), name="promotions_action"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    previous_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    action: Mapped[str] = mapped_column(String(20))
    worker_id: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))  # NULL: by rule
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    model_version: Mapped[ModelVersion] = relationship(foreign_keys=[model_version_id])


class TrainingTrigger(CentralBase):
    """A rule that asks for a Run without a person."""

    __tablename__ = "training_triggers"
    __table_args__ = (
        CheckConstraint("kind IN ('manual', 'schedule', 'new_records')", name="training_triggers_kind"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    settings: Mapped[dict[str, Any]]  # when it fires, and the Run that it asks for; see fl.triggers
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))  # false: paused
    created_by: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    next_fire_at: Mapped[datetime | None]  # of a schedule; one that passed while nothing ran fires once
    last_checked_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class AuditEvent(CentralBase):
    """Who did what, when, from where, with which outcome; never a patient's name or a value."""

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('ok', 'refused', 'failed')", name="audit_events_outcome"),
        Index("audit_events_time", "occurred_at"),
        Index("audit_events_worker", "worker_id", "id"),
        Index("audit_events_action", "action", "id"),
        Index("audit_events_institution", "institution_id", "id"),
        Index("audit_events_target", "target", "id"),
        Index("audit_events_not_ok", "outcome", "id", postgresql_where=text("outcome <> 'ok'")),
        Index("audit_events_request", "request_id", postgresql_where=text("request_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worker_id: Mapped[int | None]
    role: Mapped[str | None] = mapped_column(String(50))
    institution_id: Mapped[int | None]
    action: Mapped[str] = mapped_column(String(100))
    target: Mapped[str | None] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(20))
    address: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    request_id: Mapped[str | None] = mapped_column(String(64))  # of the HTTP request or the page's rerun


CENTRAL_APPEND_ONLY = (AuditEvent.__tablename__, Promotion.__tablename__)
