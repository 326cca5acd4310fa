"""In which order Runs that wait are started, and whether any is: what the supervisor obeys and people steer."""

from __future__ import annotations

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.central import TrainingRun
from db.federation import RunQueueState
from db.states import RunStatus


def waiting_runs() -> Select[TrainingRun]:
    """Return the query for the Runs that wait: the one that was moved to the front, then the oldest first."""
    moved_to_front = select(RunQueueState.next_run_id).scalar_subquery()
    return (
        select(TrainingRun)
        .where(TrainingRun.status == RunStatus.QUEUED)
        .order_by(func.coalesce(TrainingRun.id == moved_to_front, False).desc(), TrainingRun.id)
    )


def next_waiting(session: Session) -> TrainingRun | None:
    """Lock and return the Run that is to start next; None if none waits or the queue is paused."""
    paused = select(RunQueueState.id).where(RunQueueState.paused_at.is_not(None)).exists()
    query = waiting_runs().where(~paused).limit(1)
    return session.scalars(query.with_for_update(skip_locked=True, of=TrainingRun)).first()
