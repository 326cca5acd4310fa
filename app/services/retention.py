"""How long a hospital or the consortium keeps what may be deleted: settings, a dry run, and the job that does it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, InvalidInput
from app.permissions import Permission
from app.services import archives
from app.services.audit_chain import Trail
from app.services.audit_reading import OpenTrail, record_in_trail
from app.services.retention_kinds import KIND_BY_NAME, RetentionKind, kinds_of
from db.data_life import CentralRetention, CentralRetentionJob, SiteRetention, SiteRetentionJob
from fl.features import FieldProblem

BATCH = 5_000  # rows between two commits
MOST_DAYS = 36_500
JOBS_SHOWN = 10
DAILY = timedelta(hours=24)
_LOCK = 7_215_403  # of several processes one deletes at a time

logger = logging.getLogger(__name__)

RetentionJob = CentralRetentionJob | SiteRetentionJob


@dataclass(frozen=True)
class RetentionSettings:
    """Days by kind (None: for ever), and whether it is carried out every day; `changed_*` None: never set."""

    days: dict[str, int | None]
    daily: bool
    changed_by: str | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True)
class DueRows:
    """What would go of one kind: how many rows, and the oldest of them."""

    kind: RetentionKind
    days: int | None
    rows: int
    oldest: datetime | None


def read_settings(session: Session, trail: Trail) -> RetentionSettings:
    """Return the settings; nothing is deleted until somebody has set a number of days."""
    table: Any = CentralRetention if trail == "central" else SiteRetention
    row = session.get(table, 1)
    kinds = [kind.name for kind in kinds_of(trail)]
    if row is None:
        return RetentionSettings(dict.fromkeys(kinds), False)
    return RetentionSettings(
        {name: row.days.get(name) for name in kinds}, row.daily, row.changed_by_name, row.changed_at
    )


def change_settings(
    trail: OpenTrail, *, actor: Actor, days: Mapping[str, int | None], daily: bool
) -> RetentionSettings:
    """Set how long each kind is kept; a kind that is not named stays as it is.

    Raises
    ------
    InvalidInput
        If a kind is unknown, or kept for a shorter time than it must be.
    """
    actor.require(Permission.RETENTION)
    problems = []
    for name, wanted in days.items():
        kind = KIND_BY_NAME.get(name)
        if kind is None or kind.trail != trail.kind:
            problems.append(FieldProblem(name[:40], "There is no such kind of data here."))
        elif wanted is not None and not kind.least <= wanted <= MOST_DAYS:
            problems.append(
                FieldProblem(name, f"{kind.label} are kept for at least {kind.least} days, or for ever.")
            )
    if problems:
        raise InvalidInput(problems)
    before = read_settings(trail.session, trail.kind)
    now = {**before.days, **days}
    table: Any = CentralRetention if trail.kind == "central" else SiteRetention
    row = trail.session.get(table, 1, with_for_update=True)
    if row is None:
        row = table(id=1)
        trail.session.add(row)
    row.days, row.daily = now, daily
    row.changed_by, row.changed_by_name, row.changed_at = actor.worker_id, actor.name, datetime.now(UTC)
    record_in_trail(trail, actor, "retention_changed", {"days": now, "daily": daily})
    trail.session.flush()
    return read_settings(trail.session, trail.kind)


def dry_run(trail: OpenTrail, *, actor: Actor) -> list[DueRows]:
    """Say exactly what a job would delete now; nothing is changed."""
    actor.require(Permission.RETENTION)
    settings = read_settings(trail.session, trail.kind)
    found = []
    for kind in kinds_of(trail.kind):
        days = settings.days[kind.name]
        if days is None:
            found.append(DueRows(kind, None, 0, None))
            continue
        query = text(f"SELECT count(*), min({kind.moment}) FROM {kind.found}")  # noqa: S608 - our own names  # nosec B608
        rows, oldest = trail.session.execute(query, {"before": _before(days)}).one()
        found.append(DueRows(kind, days, rows, oldest))
    return found


def list_jobs(trail: OpenTrail, *, actor: Actor) -> list[RetentionJob]:
    """Return the last jobs, the newest first."""
    actor.require(Permission.RETENTION)
    table: Any = _jobs(trail.kind)
    return list(trail.session.scalars(select(table).order_by(table.id.desc()).limit(JOBS_SHOWN)))


def run_now(trail: OpenTrail, *, actor: Actor) -> RetentionJob:
    """Archive and delete what is old, because somebody asks for it.

    Raises
    ------
    Conflict
        If another job is going on, nothing is set, or it failed; the job's row says why.
    """
    actor.require(Permission.RETENTION)
    owner = actor.institution_code if trail.kind == "site" else "central"
    trail.session.commit()
    job: RetentionJob | None = run_job(trail.session, trail.kind, owner or "central", actor=actor)
    if job is None:
        raise Conflict("Old data are being deleted already, or no number of days is set.")
    record_in_trail(
        trail,
        actor,
        "retention_ran",
        {"rows": dict(job.deleted)},
        "failed" if job.status == "failed" else "ok",
    )
    if job.status == "failed":
        trail.session.commit()
        raise Conflict(f"Not everything old was deleted: {job.error}")
    return job


def is_due(session: Session, trail: Trail) -> bool:
    """Tell whether the daily job is switched on and the last one began a day ago."""
    if not read_settings(session, trail).daily:
        return False
    table: Any = _jobs(trail)
    last = session.scalar(select(table.started_at).order_by(table.id.desc()).limit(1))
    return last is None or last <= datetime.now(UTC) - DAILY


def run_job(session: Session, trail: Trail, owner: str, *, actor: Actor | None) -> Any:
    """Archive and delete in batches, each in a transaction of its own; returns the job's row, None if there is none.

    Rows are on the disk before they are deleted, so a job that is killed loses nothing.
    """
    with session.get_bind().connect() as connection:  # type: ignore[union-attr]
        if not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
            return None
        connection.commit()
        try:
            with Session(bind=connection, expire_on_commit=False) as own:
                return _carry_out(own, connection, trail, owner, actor)
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
            connection.commit()


def _carry_out(own: Session, connection: Connection, trail: Trail, owner: str, actor: Actor | None) -> Any:
    days = read_settings(own, trail).days
    if not any(days.values()):
        return None
    table: Any = _jobs(trail)
    job = table(
        requested_by=actor.worker_id if actor else None,
        requested_by_name=actor.name if actor else None,
        days=days,
        deleted={},
    )
    own.add(job)
    own.commit()
    archive, deleted = archives.Archive(owner, job.id), {}
    try:
        for kind in kinds_of(trail):
            if (kept := days[kind.name]) is not None:
                deleted[kind.name] = _delete(own, kind, _before(kept), archive)
        job.archive, job.status = archive.finish(), "completed"
    except Exception as error:
        own.rollback()
        # The text of an error of the database may quote a row.
        logger.error("retention job %s of %s failed: %s", job.id, owner, type(error).__name__)
        job.status, job.error = (
            "failed",
            f"{type(error).__name__}; what was deleted until then is in the archive",
        )
        job.archive = archive.finish()
    job.deleted, job.finished_at = deleted, datetime.now(UTC)
    own.commit()
    return job


def _delete(own: Session, kind: RetentionKind, before: datetime, archive: archives.Archive) -> int:
    batch = text(
        f"SELECT {kind.key}::text, ({kind.archived})::text FROM {kind.found} ORDER BY {kind.key} LIMIT :most"  # noqa: S608  # nosec B608
    )
    deleted = 0
    while rows := own.execute(batch, {"before": before, "most": BATCH}).all():
        archive.keep(kind.name, (line for _, line in rows))
        for statement in kind.deletes:
            own.execute(text(statement), {"ids": [row_id for row_id, _ in rows]})
        own.commit()
        deleted += len(rows)
    return deleted


def _jobs(trail: Trail) -> Any:
    return CentralRetentionJob if trail == "central" else SiteRetentionJob


def _before(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)
