"""The list of Runs: what each was for, how it went, and who asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.actor import Actor
from app.permissions import Permission
from app.services.metrics import finite
from app.services.paging import Page, check_limit, integer_cursor, page_of
from db.central import MedicalWorker, ModelVersion, TrainingRound, TrainingRun, TrainingTrigger
from db.states import RUNNING_STATUSES

SPARK_POINTS = 40


@dataclass(frozen=True)
class RunLine:
    """One line of the list of Runs.

    Attributes
    ----------
    r2
        R2 on all held-out patients by Round; of a long Run some forty of its Rounds.
    last_r2
        After the last evaluated Round.
    requested_by, trigger
        Names of the person and of the trigger that asked; one of them is None.
    version
        That the Run made.
    start_version
        That it started from, or that it evaluated.
    """

    id: int
    kind: str
    status: str
    strategy: str
    num_rounds: int
    current_round: int
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    requested_by: str | None
    trigger: str | None
    resumed_from_id: int | None
    version: str | None
    start_version: str | None
    r2: list[float]
    last_r2: float | None


def run_lines(
    *,
    central: Session,
    actor: Actor,
    kind: str | None = None,
    cursor: str | None = None,
    limit: int = 20,
    ids: Sequence[int] | None = None,
) -> Page[RunLine]:
    """List Runs, the newest first, in two round trips.

    Parameters
    ----------
    kind
        Only Runs of this kind.
    ids
        Only these Runs.
    """
    actor.require(Permission.TRAINING_READ)
    made, start = aliased(ModelVersion), aliased(ModelVersion)
    query = (
        select(
            TrainingRun.id,
            TrainingRun.kind,
            TrainingRun.status,
            TrainingRun.strategy,
            TrainingRun.num_rounds,
            TrainingRun.current_round,
            TrainingRun.requested_at,
            TrainingRun.started_at,
            TrainingRun.finished_at,
            MedicalWorker.name.label("requested_by"),
            TrainingTrigger.name.label("trigger"),
            TrainingRun.resumed_from_id,
            select(func.max(made.version)).where(made.run_id == TrainingRun.id).label("version"),
            select(start.version).where(start.id == TrainingRun.start_version_id).label("start_version"),
        )
        .outerjoin(MedicalWorker, MedicalWorker.id == TrainingRun.requested_by)
        .outerjoin(TrainingTrigger, TrainingTrigger.id == TrainingRun.trigger_id)
        .order_by(TrainingRun.id.desc())
    )
    if kind is not None:
        query = query.where(TrainingRun.kind == kind)
    if ids is not None:
        query = query.where(TrainingRun.id.in_(ids))
    if cursor is not None:
        query = query.where(TrainingRun.id < integer_cursor(cursor))
    rows = central.execute(query.limit(check_limit(limit) + 1)).all()
    page = page_of(rows, limit, lambda row: row[0])
    sparks = _sparks(central, [row[0] for row in page.items])
    lines = [_line(row._asdict(), sparks.get(row.id, [])) for row in page.items]
    return Page(lines, page.next_cursor)


def _line(row: Mapping[str, Any], r2: list[float]) -> RunLine:
    return RunLine(**row, r2=r2, last_r2=r2[-1] if r2 else None)


def running_run(*, central: Session, actor: Actor) -> int | None:
    """Return the id of the Run that is at work, or None."""
    actor.require(Permission.TRAINING_READ)
    return central.scalar(select(TrainingRun.id).where(TrainingRun.status.in_(RUNNING_STATUSES)))


def _sparks(central: Session, run_ids: Sequence[int]) -> dict[int, list[float]]:
    """Return R2 by Round of each Run: every n-th Round, and the last that was evaluated."""
    evaluated = (
        select(
            TrainingRound.run_id,
            TrainingRound.round_number,
            TrainingRound.r2,
            func.max(TrainingRound.round_number).over(partition_by=TrainingRound.run_id).label("last"),
        )
        .where(TrainingRound.run_id.in_(run_ids), TrainingRound.r2.is_not(None))
        .subquery()
    )
    number, last = evaluated.c.round_number, evaluated.c.last
    rows = central.execute(
        select(evaluated.c.run_id, evaluated.c.r2)
        .where((number % (last // SPARK_POINTS + 1) == 0) | (number == last) | (number == 1))
        .order_by(evaluated.c.run_id, number)
    )
    sparks: dict[int, list[float]] = {}
    for run_id, r2 in rows:
        if (value := finite(r2)) is not None:
            sparks.setdefault(run_id, []).append(value)
    return sparks
