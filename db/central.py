"""Tables of the central database: people, Runs, model versions and audit; never a patient."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
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


class Role(StrEnum):
    """What a Worker is; `app.permissions` says what each may do."""

    NURSE = "nurse"
    DOCTOR = "doctor"
    DATA_SCIENTIST = "data_scientist"
    ADMIN = "admin"
    INSTITUTION_ADMIN = "institution_admin"


class RunKind(StrEnum):
    """What a Run is for."""

    FEDERATED = "federated"  # Rounds of training, which make a model version
    LEAST_SQUARES = "least_squares"  # one message: the baseline alone
    COHORT = "cohort"  # one message: what the Sites' patients are like
    EVALUATION = "evaluation"  # one message: a version beside the champion on the same held-out rows


class RunStatus(StrEnum):
    """The states of a Run, in the order in which it passes them."""

    QUEUED = "queued"
    STARTING = "starting"
    STATISTICS = "statistics"
    TRAINING = "training"
    EVALUATING = "evaluating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUNNING_STATUSES = (RunStatus.STARTING, RunStatus.STATISTICS, RunStatus.TRAINING, RunStatus.EVALUATING)
ENDED_STATUSES = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


class RoundStatus(StrEnum):
    """The states of one Round."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"


class Phase(StrEnum):
    """What a Site was asked for."""

    STATISTICS = "statistics"
    TRAIN = "train"
    EVALUATE = "evaluate"
    COHORT = "cohort"


class SiteOutcome(StrEnum):
    """How a Site answered: used, sat out with a reason, failed, or came too late."""

    OK = "ok"
    EXCLUDED = "excluded"
    FAILED = "failed"
    LATE = "late"


class VersionStatus(StrEnum):
    """The states of a ModelVersion; exactly one at most is champion."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    RETIRED = "retired"
    REJECTED = "rejected"


class PromotionAction(StrEnum):
    """What happened to a ModelVersion."""

    PROMOTE = "promote"
    REJECT = "reject"
    ROLLBACK = "rollback"
    PROPOSE = "propose"  # a data scientist asks an administrator to promote
    SHADOW_START = "shadow_start"
    SHADOW_STOP = "shadow_stop"


class VersionOrigin(StrEnum):
    """Where the weights of a ModelVersion come from."""

    RUN = "run"
    IMPORT = "import"


class EventSeverity(StrEnum):
    """How much an event of a Run matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Consent(StrEnum):
    """What an institution's administrator allows: every Run, none, or each after its settings were approved."""

    OPEN = "open"
    PAUSED = "paused"
    APPROVAL = "approval"


def _one_of(column: str, values: type[StrEnum]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


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
        CheckConstraint(_one_of("role", Role), name="medical_workers_role"),
        CheckConstraint("email = lower(email)", name="medical_workers_email_lower"),
        CheckConstraint(
            "institution_id IS NOT NULL OR role IN ('data_scientist', 'admin')",
            name="medical_workers_clinician_has_institution",
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(50))
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institutions.id"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    failed_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    locked_until: Mapped[datetime | None]
    last_seen_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    institution: Mapped[Institution | None] = relationship(lazy="joined")


class Session(CentralBase):
    """One signed-in browser or API client; secrets are stored as SHA-256 only."""

    __tablename__ = "sessions"
    __table_args__ = (Index("sessions_worker", "worker_id"),)

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    worker_id: Mapped[int] = mapped_column(ForeignKey("medical_workers.id"))
    token_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    ticket_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    ticket_expires_at: Mapped[datetime | None]
    user_agent: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class TrainingRun(CentralBase):
    """One training asked for by a Worker or a trigger."""

    __tablename__ = "training_runs"
    __table_args__ = (
        CheckConstraint(_one_of("status", RunStatus), name="training_runs_status"),
        CheckConstraint(_one_of("kind", RunKind), name="training_runs_kind"),
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
        CheckConstraint(_one_of("status", RoundStatus), name="training_rounds_status"),
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
        CheckConstraint(_one_of("phase", Phase), name="site_results_phase"),
        CheckConstraint(_one_of("outcome", SiteOutcome), name="site_results_outcome"),
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


class RunEvent(CentralBase):
    """One plain sentence of what happened during a Run; never a patient, never a value of one."""

    __tablename__ = "run_events"
    __table_args__ = (
        CheckConstraint(_one_of("severity", EventSeverity), name="run_events_severity"),
        Index("run_events_run", "run_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"))
    occurred_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    severity: Mapped[str] = mapped_column(String(10))
    message: Mapped[str]
    round_number: Mapped[int | None]
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institutions.id"))


class ModelVersion(CentralBase):
    """Saved weights with the preprocessing they need; both commit together."""

    __tablename__ = "model_versions"
    __table_args__ = (
        CheckConstraint(_one_of("status", VersionStatus), name="model_versions_status"),
        Index(
            "model_versions_one_champion",
            text("(true)"),
            unique=True,
            postgresql_where=text("status = 'champion'"),
        ),
        CheckConstraint(_one_of("origin", VersionOrigin), name="model_versions_origin"),
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
    __table_args__ = (CheckConstraint(_one_of("action", PromotionAction), name="promotions_action"),)

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


class TriggerEvent(CentralBase):
    """That a trigger asked for a Run, or why it did not."""

    __tablename__ = "trigger_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('fired', 'skipped', 'failed')", name="trigger_events_outcome"),
        Index("trigger_events_trigger", "trigger_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    trigger_id: Mapped[int] = mapped_column(ForeignKey("training_triggers.id"))
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("training_runs.id"))


class SitePresence(CentralBase):
    """What a Site last said of itself when it was asked; one row per institution."""

    __tablename__ = "site_presence"
    __table_args__ = (CheckConstraint(_one_of("consent", Consent), name="site_presence_consent"),)

    institution_id: Mapped[int] = mapped_column(ForeignKey("institutions.id"), primary_key=True)
    flwr_node_id: Mapped[str] = mapped_column(String(20))
    online_since: Mapped[datetime]  # it has answered every question since
    last_seen_at: Mapped[datetime]
    usable_rows: Mapped[int]  # patients with a known cost, rounded down to tens
    new_rows: Mapped[
        int
    ]  # of these, entered since the last completed federated Run began; rounded down to tens
    software_version: Mapped[str] = mapped_column(String(50))
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    consent: Mapped[str] = mapped_column(String(10))

    institution: Mapped[Institution] = relationship(lazy="joined")


class ShadowComparison(CentralBase):
    """How the shadow version did beside the champion at one Site, on patients whose cost became known since."""

    __tablename__ = "shadow_comparisons"
    __table_args__ = (UniqueConstraint("champion_version_id", "shadow_version_id", "institution_id"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    champion_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    shadow_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    institution_id: Mapped[int] = mapped_column(ForeignKey("institutions.id"))
    counted_at: Mapped[datetime] = mapped_column(server_default=func.now())
    num_examples: Mapped[int]
    champion_error: Mapped[float]  # sum of absolute errors, USD
    shadow_error: Mapped[float]  # sum of absolute errors, USD
    difference: Mapped[float]  # sum of (shadow's minus champion's absolute error), USD
    difference_squared: Mapped[float]  # sum of its squares, USD squared


class AuditEvent(CentralBase):
    """Who did what, when, from where, with which outcome; never a patient's name or a value."""

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('ok', 'refused', 'failed')", name="audit_events_outcome"),
        Index("audit_events_time", "occurred_at"),
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


class FederationStatus(CentralBase):
    """One row: what the supervisor last said of SuperLink and the SuperNodes."""

    __tablename__ = "federation_status"
    __table_args__ = (
        CheckConstraint("id = 1", name="federation_status_single_row"),
        CheckConstraint("state IN ('starting', 'up', 'stopped')", name="federation_status_state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    state: Mapped[str] = mapped_column(String(20))
    runtime: Mapped[str] = mapped_column(String(20))  # warm or stock
    leader: Mapped[str]  # host:pid of the supervisor
    sites: Mapped[dict[str, Any]]  # institution code -> {"state": "starting" | "connected" | "down"}
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())


CENTRAL_APPEND_ONLY = (AuditEvent.__tablename__, Promotion.__tablename__)
