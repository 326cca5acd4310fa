"""Backups on record: what the commands made, for whoever asks when the last one was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import audit
from db.data_life import Backup


def record_backup(
    *,
    central: Session,
    started_at: datetime,
    folder: str,
    databases: Mapping[str, Mapping[str, Any]],
    error: str | None = None,
) -> Backup:
    """Keep that a backup was made or failed, with the size in bytes and SHA-256 of each database's file."""
    backup = Backup(
        started_at=started_at,
        folder=folder,
        status="failed" if error else "completed",
        databases={name: dict(facts) for name, facts in databases.items()},
        bytes=sum(int(facts["bytes"]) for facts in databases.values()),
        error=error,
    )
    central.add(backup)
    audit.record(
        central=central,
        actor=None,
        action="backup_made",
        outcome="failed" if error else "ok",
        details={"databases": len(databases)},
    )
    central.flush()
    return backup


def last_backup(*, central: Session) -> Backup | None:
    """Return the newest backup, failed or not; None if none was ever made."""
    return central.scalars(select(Backup).order_by(Backup.id.desc()).limit(1)).first()
