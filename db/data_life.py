"""Tables about how long data live: erased patients, what is kept for how long, the jobs that did it, and backups."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, String, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.central import CentralBase
from db.site import SiteBase

JOB_STATES = "status IN ('running', 'completed', 'failed')"


class Erasure(SiteBase):
    """That a patient was erased: the id alone, so that a restored backup can be erased from again."""

    __tablename__ = "erasures"

    patient_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    erased_at: Mapped[datetime] = mapped_column(server_default=func.now())
    worker_id: Mapped[int]  # medical_workers.id in the central database
    worker_name: Mapped[str] = mapped_column(String(255))


class RetentionColumns:
    """One row: for how many days each kind of row is kept, and whether that is carried out every day."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, server_default=text("1"))
    days: Mapped[dict[str, Any]]  # kind -> days, or null: for ever
    daily: Mapped[bool]
    changed_by: Mapped[int]
    changed_by_name: Mapped[str] = mapped_column(String(255))
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RetentionJobColumns:
    """One time that old rows were archived and deleted, or that it failed."""

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(10), server_default=text("'running'"))
    requested_by: Mapped[int | None]  # NULL: the daily run
    requested_by_name: Mapped[str | None] = mapped_column(String(255))
    days: Mapped[dict[str, Any]]  # the settings at that time
    deleted: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))  # kind -> rows
    archive: Mapped[str | None] = mapped_column(String(255))  # folder of the archive; NULL: nothing was old
    error: Mapped[str | None] = mapped_column(Text)


class SiteRetention(RetentionColumns, SiteBase):
    """What an institution keeps for how long; set by its own administrator."""

    __tablename__ = "retention_settings"
    __table_args__ = (CheckConstraint("id = 1", name="retention_settings_single_row"),)


class SiteRetentionJob(RetentionJobColumns, SiteBase):
    """Retention jobs of an institution."""

    __tablename__ = "retention_jobs"
    __table_args__ = (CheckConstraint(JOB_STATES, name="retention_jobs_status"),)


class CentralRetention(RetentionColumns, CentralBase):
    """What the consortium keeps for how long."""

    __tablename__ = "retention_settings"
    __table_args__ = (CheckConstraint("id = 1", name="retention_settings_single_row"),)


class CentralRetentionJob(RetentionJobColumns, CentralBase):
    """Retention jobs of the consortium."""

    __tablename__ = "retention_jobs"
    __table_args__ = (CheckConstraint(JOB_STATES, name="retention_jobs_status"),)


class Backup(CentralBase):
    """One backup that was made, or that failed; the files lie in `folder` on the machine that made it."""

    __tablename__ = "backups"
    __table_args__ = (CheckConstraint("status IN ('completed', 'failed')", name="backups_status"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())
    folder: Mapped[str]
    status: Mapped[str] = mapped_column(String(10))
    databases: Mapped[dict[str, Any]]  # name -> {"bytes": …, "sha256": …}
    bytes: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None]
