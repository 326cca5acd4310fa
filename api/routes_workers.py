"""The people who sign in, for those who look after them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request

from api.dependencies import Cursor, Limit, May
from api.links import answered_link
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_workers import (
    AddedWorkerAnswer,
    EndedAnswer,
    LinkAnswer,
    WorkerAnswer,
    WorkerChange,
    WorkerRequest,
)
from app.actor import Actor
from app.databases import central_session
from app.permissions import Permission
from app.services import one_time_links, worker_changes, worker_list, worker_sessions
from app.services.paging import LARGEST_ID
from app.services.worker_list import WorkerFilter
from db.states import Role

router = Routes("/workers", "workers")
Administrator = Annotated[Actor, Depends(May(Permission.WORKERS_MANAGE))]
WorkerId = Annotated[int, Path(ge=1, le=LARGEST_ID)]


@router.get("", response_model=Items[WorkerAnswer], responses=errors(422, 503))
def list_workers(
    actor: Administrator,
    search: Annotated[str | None, Query(max_length=100, description="part of name or e-mail address")] = None,
    role: Annotated[Role | None, Query(description="only people of this role")] = None,
    institution: Annotated[
        str | None,
        Query(
            max_length=50, pattern="^[a-z0-9_-]*$", description="code; `-` for people of the whole consortium"
        ),
    ] = None,
    state: Annotated[
        Literal["active", "locked", "deactivated", "without_password"] | None,
        Query(description="only people in this state"),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Any:
    """List the people whom the caller looks after by name; an institution's administrator sees only its own."""
    chosen = WorkerFilter(search=search, role=role, institution=institution, state=state)
    with central_session() as central:
        return worker_list.list_workers(
            central=central, actor=actor, filter=chosen, cursor=cursor, limit=limit
        )


@router.post("", status_code=201, response_model=AddedWorkerAnswer, responses=errors(400, 409, 413, 422, 503))
def add_worker(actor: Administrator, request: Request, person: WorkerRequest) -> Any:
    """Add a person, with a one-time link for their first password."""
    with central_session() as central:
        added = worker_changes.add_worker(
            central=central,
            actor=actor,
            name=person.name,
            email=person.email,
            role=person.role,
            institution=person.institution,
        )
    return {"worker": added.worker, "link": answered_link(request, added.link)}


@router.get("/{worker_id}", response_model=WorkerAnswer, responses=errors(404, 422, 503))
def read_worker(actor: Administrator, worker_id: WorkerId) -> Any:
    """Read one person."""
    with central_session() as central:
        return worker_list.read_worker(central=central, actor=actor, worker_id=worker_id)


@router.patch("/{worker_id}", response_model=WorkerAnswer, responses=errors(400, 404, 409, 413, 422, 503))
def change_worker(actor: Administrator, worker_id: WorkerId, change: WorkerChange) -> Any:
    """Change name, role, institution or activity; 409 if somebody changed the person since."""
    with central_session() as central:
        return worker_changes.change_worker(
            central=central, actor=actor, worker_id=worker_id, **change.model_dump()
        )


@router.post(
    "/{worker_id}/reset-link",
    status_code=201,
    response_model=LinkAnswer,
    responses=errors(404, 409, 422, 503),
)
def make_reset_link(actor: Administrator, request: Request, worker_id: WorkerId) -> Any:
    """Make a one-time link for a new password, answered this once; an earlier link stops working."""
    with central_session() as central:
        link = one_time_links.make_link(central=central, actor=actor, worker_id=worker_id)
    return answered_link(request, link)


@router.post("/{worker_id}/end-sessions", response_model=EndedAnswer, responses=errors(404, 422, 503))
def end_sessions(actor: Administrator, worker_id: WorkerId) -> EndedAnswer:
    """End every session and token of a person at once."""
    with central_session() as central:
        ended = worker_sessions.end_sessions_of(central=central, actor=actor, worker_id=worker_id)
    return EndedAnswer(ended=ended)
