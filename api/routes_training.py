"""Starting, watching and cancelling Runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from api.dependencies import GuardedRoute, May
from api.schemas import errors
from api.schemas_training import RunAccepted, RunAnswer, RunRequest
from app.actor import Actor
from app.databases import central_session
from app.permissions import Permission
from app.services import monitoring, training

router = APIRouter(prefix="/training/runs", tags=["training"], route_class=GuardedRoute)
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
            idempotency_key=request.idempotency_key,
            seed=request.seed,
            resume_run_id=request.resume_run_id,
            start_version=request.start_version,
        )


@router.get("/{run_id}", response_model=RunAnswer, responses=errors(404, 422, 503))
def get_run(actor: Reader, run_id: int) -> Any:
    """Read one Run with its Rounds."""
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
