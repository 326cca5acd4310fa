"""Tables of one Site's database: the institution's patients, its predictions, and who looked at them."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
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
        Index("patients_keyset", "last_name", "first_name", "id"),
        Index(
            "patients_name_trigram",
            text(f"({PATIENT_NAME_SQL}) gin_trgm_ops"),
            postgresql_using="gin",
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
    row_version: Mapped[int] = mapped_column(server_default=text("1"))
    created_by: Mapped[int | None]  # medical_workers.id in the central database
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012


class Prediction(SiteBase):
    """One saved prediction with everything needed to trace it."""

    __tablename__ = "predictions"
    __table_args__ = (
        Index("predictions_time", text("created_at DESC"), text("id DESC")),
        Index("predictions_patient", "patient_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("uuidv7()"))
    patient_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("patients.id", ondelete="SET NULL"))
    inputs: Mapped[dict[str, Any]]  # the six features as validated
    predicted_cost: Mapped[Decimal] = mapped_column(Numeric(12, 2))  # USD a year
    model_version: Mapped[str] = mapped_column(String(50))
    worker_id: Mapped[int]  # medical_workers.id in the central database
    worker_name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AccessEvent(SiteBase):
    """Who read or wrote which patient; never the values; never changed afterwards."""

    __tablename__ = "access_events"
    __table_args__ = (Index("access_events_time", "occurred_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worker_id: Mapped[int]
    action: Mapped[str] = mapped_column(String(100))
    patient_id: Mapped[uuid.UUID | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


SITE_APPEND_ONLY = (AccessEvent.__tablename__,)
