"""Asking for a Run, cancelling it and reading it; the supervisor does the training."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, selectinload

from app.actor import Actor
from app.errors import Conflict, InvalidInput, NotFound
from app.permissions import Permission
from app.services import audit
from app.services.paging import LARGEST_ID, Page, check_limit, integer_cursor, page_of
from app.services.run_request import RunRequest, read_request, resume_request
from db.central import TrainingRun
from db.states import ENDED_STATUSES, RunKind, RunStatus
from fl.features import FieldProblem
from fl.settings import DEFAULT_ROUNDS

LONGEST_KEY = 100  # characters of an idempotency key
_LARGEST_SEED = 2**31 - 1


def start_run(
    *,
    central: Session,
    actor: Actor,
    kind: RunKind = RunKind.FEDERATED,
    num_rounds: int = DEFAULT_ROUNDS,
    strategy: str = "fedavg",
    settings: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
    seed: int | None = None,
    resume_run_id: int | None = None,
    start_version: str | None = None,
) -> TrainingRun:
    """Ask for a Run; it waits as queued until the supervisor takes it.

    Parameters
    ----------
    kind
        Only a federated Run has Rounds and a strategy; for the other kinds both are ignored.
    settings
        Settings of the Run that differ from the defaults of its strategy (`fl.settings.settings_for`).
    idempotency_key
        A second request with the same key returns the Run of the first.
    seed
        Makes the Run repeatable; chosen at random if not given.
    resume_run_id
        Go on with this failed or cancelled Run after its last saved Round, with its seed, strategy, settings and
        number of Rounds; none of them can be chosen anew.
    start_version
        Name of the version that an evaluation is of.

    Raises
    ------
    InvalidInput
        Naming every setting that is unknown or out of range.
    NotFound
        If there is no Run to resume.
    Conflict
        If the key was used for another request, or the Run cannot be resumed.
    """
    actor.require(Permission.TRAINING_CONTROL)
    problems = _check_key(idempotency_key)
    if resume_run_id is not None:
        problems += _check_resume(kind, settings, seed, start_version)
        request = resume_request(central, resume_run_id, problems)
    else:
        if seed is not None and not 0 <= seed <= _LARGEST_SEED:
            problems.append(FieldProblem("seed", f"The seed must be from 0 to {_LARGEST_SEED}."))
        request = read_request(
            central,
            kind=kind,
            num_rounds=num_rounds,
            strategy=strategy,
            settings=settings or {},
            seed=seed,
            start_version=start_version,
            problems=problems,
        )
    return _ask_for(central, actor, request, idempotency_key or uuid.uuid4().hex)


def problems_of(
    *,
    central: Session,
    actor: Actor,
    kind: RunKind,
    num_rounds: int,
    strategy: str,
    settings: Mapping[str, Any],
) -> list[FieldProblem]:
    """Return what `start_run` would refuse, so that a form can say it while it is filled in."""
    actor.require(Permission.TRAINING_CONTROL)
    try:
        read_request(
            central,
            kind=kind,
            num_rounds=num_rounds,
            strategy=strategy,
            settings=settings,
            seed=None,
            start_version=None,
            problems=[],
        )
    except InvalidInput as refused:
        return list(refused.problems)
    return []


def _ask_for(central: Session, actor: Actor, request: RunRequest, key: str) -> TrainingRun:
    inserted = central.scalar(
        insert(TrainingRun)
        .values(
            idempotency_key=key,
            requested_by=actor.worker_id,
            kind=request.kind,
            num_rounds=request.num_rounds,
            strategy=request.strategy,
            settings=request.settings.to_json(),
            seed=secrets.randbelow(_LARGEST_SEED) if request.seed is None else request.seed,
            resumed_from_id=request.resumed_from_id,
            start_version_id=request.start_version_id,
        )
        .on_conflict_do_nothing(index_elements=["idempotency_key"])
        .returning(TrainingRun.id)
    )
    run = central.scalars(select(TrainingRun).where(TrainingRun.idempotency_key == key)).one()
    if inserted is not None:
        audit.record(
            central=central,
            actor=actor,
            action="run_started",
            target=f"run {run.id}",
            details={
                "kind": request.kind,
                "num_rounds": request.num_rounds,
                "strategy": request.strategy,
                **request.details,
            },
        )
    elif not request.is_of(run):
        raise Conflict(
            f"This request was already used to start Run {run.id}, which is another one. "
            "Use a new idempotency key for another Run."
        )
    return run


def cancel_run(*, central: Session, actor: Actor, run_id: int) -> TrainingRun:
    """Cancel a Run: at once if it still waits, otherwise training stops as soon as it notices.

    Raises
    ------
    NotFound
        If there is no such Run.
    Conflict
        If it has ended.
    """
    actor.require(Permission.TRAINING_CONTROL)
    run = _find(central, run_id, lock=True)
    if run.status in ENDED_STATUSES:
        raise Conflict(f"Run {run.id} has already ended ({run.status}), so there is nothing to cancel.")
    if run.cancel_requested_at is not None:
        return run
    run.cancel_requested_at = func.now()
    run.cancel_requested_by = actor.worker_id
    if run.status == RunStatus.QUEUED:
        run.status = RunStatus.CANCELLED
        run.finished_at = func.now()
    audit.record(central=central, actor=actor, action="run_cancelled", target=f"run {run.id}")
    central.flush()
    central.refresh(run)
    return run


def get_run(*, central: Session, actor: Actor, run_id: int) -> TrainingRun:
    """Read one Run with its Rounds; raises `NotFound`."""
    actor.require(Permission.TRAINING_READ)
    return _find(central, run_id)


def list_runs(
    *, central: Session, actor: Actor, cursor: str | None = None, limit: int = 20
) -> Page[TrainingRun]:
    """List Runs, the newest first."""
    actor.require(Permission.TRAINING_READ)
    query = select(TrainingRun).order_by(TrainingRun.id.desc()).options(selectinload(TrainingRun.requester))
    if cursor is not None:
        query = query.where(TrainingRun.id < integer_cursor(cursor))
    rows = central.scalars(query.limit(check_limit(limit) + 1)).all()
    return page_of(rows, limit, lambda run: run.id)


def _find(central: Session, run_id: int, *, lock: bool = False) -> TrainingRun:
    query = (
        select(TrainingRun)
        .where(TrainingRun.id == run_id)
        .options(selectinload(TrainingRun.rounds), selectinload(TrainingRun.requester))
    )
    if lock:
        query = query.with_for_update(of=TrainingRun)
    run = central.scalars(query).one_or_none() if 0 < run_id <= LARGEST_ID else None
    if run is None:
        raise NotFound(f"There is no Run {run_id}.")
    return run


def _check_key(key: str | None) -> list[FieldProblem]:
    if key is None or (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        return []
    message = f"An idempotency key has 1 to {LONGEST_KEY} printable characters."
    return [FieldProblem("idempotency_key", message)]


def _check_resume(
    kind: RunKind, settings: Mapping[str, Any] | None, seed: int | None, start_version: str | None
) -> list[FieldProblem]:
    chosen = {"settings": settings, "seed": seed is not None, "start_version": start_version}
    problems = [
        FieldProblem(name, f"A resumed run keeps the {name} of the run that it goes on with.")
        for name, value in chosen.items()
        if value
    ]
    if kind != RunKind.FEDERATED:
        problems.append(FieldProblem("kind", "Only a federated run can be resumed."))
    return problems
