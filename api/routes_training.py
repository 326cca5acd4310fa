"""Starting, watching and cancelling Runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query

from api.dependencies import Cursor, Limit, May
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_training import (
    ComparisonAnswer,
    RunAccepted,
    RunAnswer,
    RunLineAnswer,
    RunLogAnswer,
    RunRequest,
)
from app.actor import Actor
from app.databases import central_read_session, central_session
from app.errors import NotFound
from app.permissions import Permission
from app.services import monitoring, run_compare, run_list, run_log, training
from db.states import RunKind

router = Routes("/training/runs", "training")
Controller = Annotated[Actor, Depends(May(Permission.TRAINING_CONTROL))]
Reader = Annotated[Actor, Depends(May(Permission.TRAINING_READ))]


@router.post("", status_code=202, response_model=RunAccepted, responses=errors(400, 404, 409, 413, 422, 503))
def start_run(actor: Controller, request: RunRequest) -> Any:
    """Ask for a Run; it waits as queued until the federation takes it."""
    with central_session() as central:
        return training.start_run(
            central=central,
            actor=actor,
            kind=request.kind,
            num_rounds=request.num_rounds,
            strategy=request.strategy,
            settings=request.settings,
            seed=request.seed,
            resume_run_id=request.resume_run_id,
            start_version=request.start_version,
        )


@router.get("", response_model=Items[RunLineAnswer], responses=errors(422, 503))
def list_runs(
    actor: Reader,
    kind: Annotated[RunKind | None, Query(description="only Runs of this kind")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> Any:
    """List Runs, the newest first."""
    with central_session() as central:
        return run_list.run_lines(central=central, actor=actor, kind=kind, cursor=cursor, limit=limit)


@router.get("/compare", response_model=ComparisonAnswer, responses=errors(404, 422, 503))
def compare_runs(
    actor: Reader,
    run: Annotated[
        list[int],
        Query(min_length=1, max_length=run_compare.MAX_COMPARED, description="ids of the Runs"),
    ],
) -> Any:
    """Read Runs beside each other, with the settings that differ."""
    with central_session() as central:
        return run_compare.compare_runs(central=central, actor=actor, run_ids=run)


@router.get("/{run_id}/events", response_model=RunLogAnswer, responses=errors(404, 422, 503))
def run_events(
    actor: Reader,
    run_id: int,
    only_troubles: Annotated[bool, Query(description="only warnings and errors")] = False,
    limit: Limit = 50,
) -> Any:
    """Read the newest sentences of a Run's log."""
    with central_session() as central:
        return run_log.run_log(
            central=central, actor=actor, run_id=run_id, limit=limit, only_troubles=only_troubles
        )


@router.get("/{run_id}", response_model=RunAnswer, responses=errors(404, 422, 503))
def get_run(actor: Reader, run_id: int) -> Any:
    """Read one Run with its Rounds."""
    try:
        with central_read_session() as central:
            progress = monitoring.run_progress(central=central, actor=actor, run_id=run_id)
    except NotFound:  # another process may have started it a moment ago
        with central_session() as central:
            progress = monitoring.run_progress(central=central, actor=actor, run_id=run_id)
    return {**vars(progress.run), "rounds": progress.rounds, "model_version": progress.model_version}


@router.post(
    "/{run_id}/cancel", status_code=202, response_model=RunAccepted, responses=errors(404, 409, 422, 503)
)
def cancel_run(actor: Controller, run_id: int) -> Any:
    """Cancel a Run; 409 if it has ended."""
    with central_session() as central:
        return training.cancel_run(central=central, actor=actor, run_id=run_id)
