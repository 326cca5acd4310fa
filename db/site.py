"""Tables of one Site's database: patients, what was changed of them, predictions, and who looked at them."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    String,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The one expression that the trigram index serves; a search must use it to the letter.
PATIENT_NAME_SQL = "lower((last_name || ' ') || first_name)"
# What every index of the list is limited to; a query must say so too to use them.
PRESENT_SQL = "deleted_at IS NULL"
# The orders by cost: ascending, and (read backwards) descending, both with unknown costs at the end.
COST_UNKNOWN_LAST_SQL = "COALESCE(insurance_cost, 'Infinity'::numeric)"
COST_UNKNOWN_FIRST_SQL = "COALESCE(insurance_cost, '-1'::integer::numeric)"
# What the indexes by cost carry along: a filter that fits badly to the order, smokers from the cheapest on,
# then passes half a million index entries and not as many rows.
CARRIED_BY_COST = ("region", "smoker", "sex", "age", "bmi", "insurance_cost")
# What the index for filters carries along: all that a list is ordered by.
CARRIED_BY_FILTERS = ("id", "last_name", "first_name", "insurance_cost", "updated_at")


class SiteBase(DeclarativeBase):
    """Base of every site table; times carry their zone."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this attribute by name
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        str: Text,
    }


class Patient(SiteBase):
    """One patient of this institution."""

    __tablename__ = "patients"
    __table_args__ = (
        CheckConstraint("age BETWEEN 0 AND 120", name="patients_age"),
        CheckConstraint("sex IN ('female', 'male')", name="patients_sex"),
        CheckConstraint("bmi BETWEEN 10 AND 100", name="patients_bmi"),
        CheckConstraint("children BETWEEN 0 AND 30", name="patients_children"),
        CheckConstraint("smoker IN ('yes', 'no')", name="patients_smoker"),
        CheckConstraint(
            "region IN ('northeast', 'northwest', 'southeast', 'southwest')", name="patients_region"
        ),
        CheckConstraint("insurance_cost >= 0", name="patients_insurance_cost"),
        # One index for every order of the list; a deleted patient is in none.
        Index("patients_by_name", "last_name", "first_name", "id", postgresql_where=text(PRESENT_SQL)),
        Index("patients_by_age", "age", "id", postgresql_where=text(PRESENT_SQL)),
        Index(
            "patients_by_cost",
            text(COST_UNKNOWN_LAST_SQL),
            "id",
            postgresql_include=CARRIED_BY_COST,
            postgresql_where=text(PRESENT_SQL),
        ),
        Index(
            "patients_by_cost_down",
            text(COST_UNKNOWN_FIRST_SQL),
            "id",
            postgresql_include=CARRIED_BY_COST,
            postgresql_where=text(PRESENT_SQL),
        ),
        Index("patients_by_change", "updated_at", "id", postgresql_where=text(PRESENT_SQL)),
        # Few values first: PostgreSQL 18 skips over the columns that a filter does not name.
        Index(
            "patients_filters",
            "region",
            "smoker",
            "sex",
            "age",
            "bmi",
            postgresql_include=CARRIED_BY_FILTERS,
            postgresql_where=text(PRESENT_SQL),
        ),
        Index("patients_deleted", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
        Index(
            "patients_name_trigram",
            text(f"({PATIENT_NAME_SQL}) gin_trgm_ops"),
            postgresql_using="gin",
            postgresql_where=text(PRESENT_SQL),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("uuidv7()"))
    first_name: Mapped[str] = mapped_column(String(255))
    last_name: Mapped[str] = mapped_column(String(255))
    age: Mapped[int]  # years
    sex: Mapped[str] = mapped_column(String(10))
    bmi: Mapped[Decimal] = mapped_column(Numeric(6, 3))  # kg/m^2
    children: Mapped[int] = mapped_column(server_default=text("0"))
    smoker: Mapped[str] = mapped_column(String(3), server_default="no")
    region: Mapped[str] = mapped_column(String(50))
    insurance_cost: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))  # USD a year; NULL: not known
    # When a cost that was not known at first was entered; NULL: known from the start, or still not known.
    cost_entered_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]  # NULL: present
    row_version: Mapped[int] = mapped_column(server_default=text("1"))
    created_by: Mapped[int | None]  # medical_workers.id in the central database
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012


class PatientAction(StrEnum):
    """What happened to a patient's record."""

    ADDED = "added"
    IMPORTED = "imported"
    EDITED = "edited"
    DELETED = "deleted"
    RESTORED = "restored"


class PatientChange(SiteBase):
    """One change of one patient's record: who, when, and which field from what to what."""

    __tablename__ = "patient_changes"
    __table_args__ = (
        CheckConstraint(
            "action IN ('added', 'imported', 'edited', 'deleted', 'restored')", name="patient_changes_action"
        ),
        Index("patient_changes_patient", "patient_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    patient_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("patients.id", ondelete="CASCADE"))
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worker_id: Mapped[int]  # medical_workers.id in the central database
    worker_name: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(20))
    # Field -> [value before, value after], as JSON; empty unless the action is `edited` or `imported`.
    changes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


class Prediction(SiteBase):
    """One saved prediction with everything needed to trace it."""

    __tablename__ = "predictions"
    __table_args__ = (
        # The history, whole and by each of its filters, the newest first.
        Index("predictions_time", text("created_at DESC"), text("id DESC")),
        Index("predictions_patient", "patient_id", text("created_at DESC"), text("id DESC")),
        Index("predictions_worker", "worker_id", text("created_at DESC"), text("id DESC")),
        Index("predictions_version", "model_version", text("created_at DESC"), text("id DESC")),
        CheckConstraint(
            "(interval_low IS NULL) = (interval_high IS NULL) AND interval_low <= interval_high",
            name="predictions_interval",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("uuidv7()"))
    patient_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("patients.id", ondelete="SET NULL"))
    inputs: Mapped[dict[str, Any]]  # the six features as validated
    predicted_cost: Mapped[Decimal] = mapped_column(Numeric(12, 2))  # USD a year
    # USD a year; where nine in ten costs of such patients lie. NULL: the version has no calibration.
    interval_low: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    interval_high: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    model_version: Mapped[str] = mapped_column(String(50))
    worker_id: Mapped[int]  # medical_workers.id in the central database
    worker_name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ShadowPrediction(SiteBase):
    """What the shadow version said of a saved prediction; shown to nobody, compared once the cost is known."""

    __tablename__ = "shadow_predictions"

    prediction_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True
    )
    model_version: Mapped[str] = mapped_column(String(50))
    predicted_cost: Mapped[Decimal] = mapped_column(Numeric(12, 2))  # USD a year


class Participation(SiteBase):
    """One row: whether this institution takes part in Runs, decided by its own administrator."""

    __tablename__ = "participation"
    __table_args__ = (
        CheckConstraint("id = 1", name="participation_single_row"),
        CheckConstraint("consent IN ('open', 'paused', 'approval')", name="participation_consent"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    consent: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str | None]
    changed_by: Mapped[int]  # medical_workers.id in the central database
    changed_by_name: Mapped[str] = mapped_column(String(255))
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RunApproval(SiteBase):
    """A Run that asked this Site, and what the institution's administrator decided of its settings."""

    __tablename__ = "run_approvals"
    __table_args__ = (
        CheckConstraint("decision IN ('waiting', 'approved', 'refused')", name="run_approvals_decision"),
        CheckConstraint(
            "(decision = 'waiting') = (decided_at IS NULL)", name="run_approvals_decided_has_time"
        ),
    )

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # training_runs.id, central
    settings_sha256: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    decision: Mapped[str] = mapped_column(String(10), server_default=text("'waiting'"))
    decided_by: Mapped[int | None]  # medical_workers.id in the central database
    decided_by_name: Mapped[str | None] = mapped_column(String(255))
    decided_at: Mapped[datetime | None]


class AccessEvent(SiteBase):
    """Who read or wrote which patient, with which outcome; never the values; never changed afterwards."""

    __tablename__ = "access_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('ok', 'refused', 'failed')", name="access_events_outcome"),
        Index("access_events_time", "occurred_at"),
        Index("access_events_patient", "patient_id", "occurred_at"),
        Index(
            "access_events_patients",
            text("(details -> 'patient_ids')"),
            postgresql_using="gin",
            postgresql_where=text("details ? 'patient_ids'"),
        ),
        Index("access_events_worker", "worker_id", "id"),
        Index("access_events_action", "action", "id"),
        Index("access_events_not_ok", "outcome", "id", postgresql_where=text("outcome <> 'ok'")),
        Index("access_events_request", "request_id", postgresql_where=text("request_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worker_id: Mapped[int | None]  # NULL: nobody asked, as for the daily housekeeping
    action: Mapped[str] = mapped_column(String(100))
    patient_id: Mapped[uuid.UUID | None]
    address: Mapped[str | None] = mapped_column(String(64))  # of the network that the request came from
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    role: Mapped[str | None] = mapped_column(
        String(50)
    )  # NULL: nobody asked, or written before roles were kept
    outcome: Mapped[str] = mapped_column(String(20), server_default=text("'ok'"))
    request_id: Mapped[str | None] = mapped_column(String(64))  # of the HTTP request or the page's rerun


SITE_APPEND_ONLY = (AccessEvent.__tablename__,)
