"""How long data are kept: of the own hospital for its administrator, of the consortium for the consortium's."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends

from api.dependencies import May
from api.routing import Routes
from api.schemas import errors
from api.schemas_retention import RetentionAnswer, RetentionJobAnswer, RetentionRequest
from app.actor import Actor
from app.permissions import Permission
from app.services import retention
from app.services.audit_reading import OpenTrail, trail_opened

router = Routes("/retention", "retention")
Keeper = Annotated[Actor, Depends(May(Permission.RETENTION))]


@router.get("", response_model=RetentionAnswer, responses=errors(503))
def get_retention(actor: Keeper) -> Any:
    """Read how long each kind is kept, what would be deleted now, and the last jobs."""
    with trail_opened(actor) as trail:
        return _answer(trail, actor)


@router.put("", response_model=RetentionAnswer, responses=errors(400, 413, 422, 503))
def change_retention(actor: Keeper, request: RetentionRequest) -> Any:
    """Set how long each kind is kept; nothing is deleted by that alone."""
    with trail_opened(actor) as trail:
        retention.change_settings(trail, actor=actor, days=request.days, daily=request.daily)
        return _answer(trail, actor)


@router.post("/run", response_model=RetentionJobAnswer, responses=errors(409, 503))
def run_retention(actor: Keeper) -> Any:
    """Archive and delete now what is old; 409 if that is going on already, or nothing is set."""
    with trail_opened(actor) as trail:
        return retention.run_now(trail, actor=actor)


def _answer(trail: OpenTrail, actor: Actor) -> dict[str, Any]:
    due = retention.dry_run(trail, actor=actor)
    settings = retention.read_settings(trail.session, trail.kind)
    return {
        **vars(settings),
        "due": [
            {**vars(one), "kind": one.kind.name, "label": one.kind.label, "least": one.kind.least}
            for one in due
        ],
        "jobs": retention.list_jobs(trail, actor=actor),
    }
