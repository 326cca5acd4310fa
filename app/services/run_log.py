"""The log of a Run: plain sentences on what happened, as its ServerApp wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import NotFound
from app.permissions import Permission
from app.services.paging import LARGEST_ID
from db.central import Institution, TrainingRun
from db.federation import RunEvent
from db.states import EventSeverity


@dataclass(frozen=True)
class LogLine:
    """One event; `round_number` and `institution` where it is about one."""

    id: int
    occurred_at: datetime
    severity: str
    message: str
    round_number: int | None
    institution: str | None


@dataclass(frozen=True)
class RunLog:
    """The newest events of a Run, the newest first, how many there are, and how many are warnings or errors."""

    lines: list[LogLine]
    total: int
    troubles: int


def run_log(
    *, central: Session, actor: Actor, run_id: int, limit: int = 50, only_troubles: bool = False
) -> RunLog:
    """Read the newest events of a Run; raises `NotFound`."""
    actor.require(Permission.TRAINING_READ)
    if not 0 < run_id <= LARGEST_ID or central.get(TrainingRun, run_id) is None:
        raise NotFound(f"There is no Run {run_id}.")
    trouble = RunEvent.severity != EventSeverity.INFO
    total, troubles = central.execute(
        select(func.count(), func.count().filter(trouble)).where(RunEvent.run_id == run_id)
    ).one()
    if not total:
        return RunLog([], 0, 0)
    query = (
        select(
            RunEvent.id,
            RunEvent.occurred_at,
            RunEvent.severity,
            RunEvent.message,
            RunEvent.round_number,
            Institution.name,
        )
        .outerjoin(Institution, Institution.id == RunEvent.institution_id)
        .where(RunEvent.run_id == run_id)
        .order_by(RunEvent.id.desc())
        .limit(limit)
    )
    if only_troubles:
        query = query.where(trouble)
    return RunLog([LogLine(*row) for row in central.execute(query)], total, troubles)
