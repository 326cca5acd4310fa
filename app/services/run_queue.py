"""The Runs that wait to be started: in which order, who asked for them, and holding them back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.actor import Actor
from app.errors import Conflict, NotFound
from app.permissions import Permission
from app.services import audit
from app.services.paging import LARGEST_ID
from db.central import MedicalWorker, TrainingRun, TrainingTrigger
from db.federation import RunQueueState
from db.states import RunStatus
from fl.run_queue import waiting_runs

LONGEST_LIST = 100  # waiting Runs that are listed; more are only counted


@dataclass(frozen=True)
class WaitingRun:
    """A Run that waits to be started.

    Attributes
    ----------
    asked_by
        Name of the person, of the trigger, or of both.
    """

    id: int
    kind: str
    num_rounds: int
    strategy: str
    requested_at: datetime
    asked_by: str


@dataclass(frozen=True)
class QueueState:
    """Whether Runs are started, and which wait.

    Attributes
    ----------
    paused_at, paused_by
        Since when no Run is started and who wanted that; None if the queue goes on.
    waiting
        In the order in which they are started, at most 100.
    total
        How many wait.
    """

    paused_at: datetime | None
    paused_by: str | None
    waiting: tuple[WaitingRun, ...]
    total: int

    @property
    def is_paused(self) -> bool:
        """Whether no Run is started."""
        return self.paused_at is not None

    @property
    def sentence(self) -> str:
        """What people read: whether Runs are started, and how many wait."""
        many = f"{self.total:,} runs wait" if self.total != 1 else "One run waits"
        if self.is_paused:
            who = f" by {self.paused_by}" if self.paused_by else ""
            waiting = f" {many}." if self.total else ""
            return f"The queue was paused{who}: no run is started until it is resumed.{waiting}"
        if not self.total:
            return "No run waits."
        in_turn = ", one after the other" if self.total > 1 else ""
        return f"{many} to be started{in_turn}."


def queue_state(central: Session) -> QueueState:
    """Read the queue of Runs that wait to be started."""
    state = central.execute(
        select(RunQueueState.paused_at, MedicalWorker.name).outerjoin(
            MedicalWorker, MedicalWorker.id == RunQueueState.paused_by
        )
    ).first()
    query = (
        waiting_runs()
        .outerjoin(MedicalWorker, MedicalWorker.id == TrainingRun.requested_by)
        .outerjoin(TrainingTrigger, TrainingTrigger.id == TrainingRun.trigger_id)
        .with_only_columns(
            TrainingRun.id,
            TrainingRun.kind,
            TrainingRun.num_rounds,
            TrainingRun.strategy,
            TrainingRun.requested_at,
            MedicalWorker.name,
            TrainingTrigger.name,
        )
    )
    rows = central.execute(query.limit(LONGEST_LIST)).all()
    total = len(rows)
    if total == LONGEST_LIST:
        total = central.scalar(select(func.count()).where(TrainingRun.status == RunStatus.QUEUED)) or 0
    return QueueState(
        paused_at=state[0] if state else None,
        paused_by=state[1] if state and state[0] else None,
        waiting=tuple(WaitingRun(*row[:5], asked_by=asked_by(*row[5:])) for row in rows),
        total=total,
    )


def asked_by(worker: str | None, trigger: str | None) -> str:
    """Write who asked for a Run: a person, a trigger, or a person who fired a trigger."""
    by_trigger = f"trigger “{trigger}”" if trigger else None
    return ", ".join(part for part in (worker, by_trigger) if part) or "a rule"


def pause_queue(*, central: Session, actor: Actor) -> QueueState:
    """Have no further Run started until the queue is resumed; one that is going on goes on."""
    actor.require(Permission.TRAINING_CONTROL)
    if not queue_state(central).is_paused:
        _set(central, paused_at=func.now(), paused_by=actor.worker_id)
        audit.record(central=central, actor=actor, action="queue_paused")
    return queue_state(central)


def resume_queue(*, central: Session, actor: Actor) -> QueueState:
    """Have Runs started again."""
    actor.require(Permission.TRAINING_CONTROL)
    if queue_state(central).is_paused:
        _set(central, paused_at=None, paused_by=None)
        audit.record(central=central, actor=actor, action="queue_resumed")
    return queue_state(central)


def move_to_front(*, central: Session, actor: Actor, run_id: int) -> QueueState:
    """Have a waiting Run started before all others that wait.

    Raises
    ------
    NotFound
        If there is no such Run.
    Conflict
        If it does not wait any more.
    """
    actor.require(Permission.TRAINING_CONTROL)
    run = central.get(TrainingRun, run_id, with_for_update=True) if 0 < run_id <= LARGEST_ID else None
    if run is None:
        raise NotFound(f"There is no Run {run_id}.")
    if run.status != RunStatus.QUEUED:
        raise Conflict(
            f"Run {run.id} does not wait any more ({run.status}), so it has no place in the queue."
        )
    _set(central, next_run_id=run.id)
    audit.record(central=central, actor=actor, action="run_moved_to_front", target=f"run {run.id}")
    return queue_state(central)


def _set(central: Session, **values: Any) -> None:
    statement = insert(RunQueueState).values(id=1, **values)
    central.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
