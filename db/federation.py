"""Tables of the central database about the federation at work: its state, what Sites say, what happened in Runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.central import CentralBase, Institution
from db.states import Consent, EventSeverity, one_of


class RunEvent(CentralBase):
    """One plain sentence of what happened during a Run; never a patient, never a value of one."""

    __tablename__ = "run_events"
    __table_args__ = (
        CheckConstraint(one_of("severity", EventSeverity), name="run_events_severity"),
        Index("run_events_run", "run_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"))
    occurred_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    severity: Mapped[str] = mapped_column(String(10))
    message: Mapped[str]
    round_number: Mapped[int | None]
    institution_id: Mapped[int | None] = mapped_column(ForeignKey("institutions.id"))


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


class RunQueueState(CentralBase):
    """One row, once somebody has steered the queue: whether waiting Runs are held back, and which one is next."""

    __tablename__ = "run_queue"
    __table_args__ = (CheckConstraint("id = 1", name="run_queue_single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    paused_at: Mapped[datetime | None]  # NULL: the oldest waiting Run starts as soon as it can
    paused_by: Mapped[int | None] = mapped_column(ForeignKey("medical_workers.id"))
    next_run_id: Mapped[int | None] = mapped_column(ForeignKey("training_runs.id"))  # NULL: the oldest


class SitePresence(CentralBase):
    """What a Site last said of itself when it was asked; one row per institution."""

    __tablename__ = "site_presence"
    __table_args__ = (CheckConstraint(one_of("consent", Consent), name="site_presence_consent"),)

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
    bundle_sha256: Mapped[str | None] = mapped_column(String(64))  # of the hub's code; a Site says its own
    sites: Mapped[dict[str, Any]]  # institution code -> {"state": "starting" | "connected" | "down"}
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=func.now())
    certificate_expires_at: Mapped[
        datetime | None
    ]  # of SuperLink; NULL: it speaks plain text, on this machine only
