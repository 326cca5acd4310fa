"""Triggers, what they did, and the queue of Runs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends

from api.dependencies import Cursor, Limit, May
from api.routing import Routes
from api.schemas import Items, errors
from api.schemas_triggers import QueueAnswer, TriggerAnswer, TriggerBody, TriggerEventAnswer
from app.actor import Actor
from app.databases import central_session
from app.permissions import Permission
from app.services import run_queue, triggers
from app.services.trigger_request import TriggerRequest
from app.services.triggers import TriggerView

router = Routes("", "triggers")
Controller = Annotated[Actor, Depends(May(Permission.TRAINING_CONTROL))]
Reader = Annotated[Actor, Depends(May(Permission.TRAINING_READ))]


@router.get("/triggers", response_model=Items[TriggerAnswer], responses=errors(422, 503))
def list_triggers(actor: Controller, cursor: Cursor = None, limit: Limit = 25) -> Any:
    """List the triggers, the oldest first, when each fires next, and what it did last."""
    with central_session() as central:
        page = triggers.list_triggers(central=central, actor=actor, cursor=cursor, limit=limit)
    return {**vars(page), "items": [_answer(each) for each in page.items]}


@router.post("/triggers", status_code=201, response_model=TriggerAnswer, responses=errors(400, 413, 422, 503))
def add_trigger(actor: Controller, request: TriggerBody) -> Any:
    """Add a trigger, which is active at once."""
    with central_session() as central:
        return _answer(triggers.add_trigger(central=central, actor=actor, request=_request(request)))


@router.put("/triggers/{trigger_id}", response_model=TriggerAnswer, responses=errors(400, 404, 413, 422, 503))
def change_trigger(actor: Controller, trigger_id: int, request: TriggerBody) -> Any:
    """Replace what a trigger says; one that was paused stays paused."""
    with central_session() as central:
        return _answer(
            triggers.change_trigger(
                central=central, actor=actor, trigger_id=trigger_id, request=_request(request)
            )
        )


@router.delete("/triggers/{trigger_id}", status_code=204, responses=errors(404, 422, 503))
def delete_trigger(actor: Controller, trigger_id: int) -> None:
    """Delete a trigger; the Runs that it asked for, and why, stay on record."""
    with central_session() as central:
        triggers.delete_trigger(central=central, actor=actor, trigger_id=trigger_id)


@router.post("/triggers/{trigger_id}/pause", response_model=TriggerAnswer, responses=errors(404, 422, 503))
def pause_trigger(actor: Controller, trigger_id: int) -> Any:
    """Have a trigger fire no more until it is resumed."""
    with central_session() as central:
        return _answer(triggers.set_active(central=central, actor=actor, trigger_id=trigger_id, active=False))


@router.post("/triggers/{trigger_id}/resume", response_model=TriggerAnswer, responses=errors(404, 422, 503))
def resume_trigger(actor: Controller, trigger_id: int) -> Any:
    """Let a paused trigger go on; what it missed is not made up for."""
    with central_session() as central:
        return _answer(triggers.set_active(central=central, actor=actor, trigger_id=trigger_id, active=True))


@router.post(
    "/triggers/{trigger_id}/run",
    status_code=202,
    response_model=TriggerEventAnswer,
    responses=errors(404, 422, 503),
)
def run_trigger(actor: Controller, trigger_id: int) -> Any:
    """Fire a trigger at once; the answer says whether it did, and why not."""
    with central_session() as central:
        return triggers.run_trigger(central=central, actor=actor, trigger_id=trigger_id)


@router.get(
    "/triggers/{trigger_id}/events", response_model=Items[TriggerEventAnswer], responses=errors(404, 422, 503)
)
def list_trigger_events(actor: Controller, trigger_id: int, cursor: Cursor = None, limit: Limit = 20) -> Any:
    """List what a trigger did and why it did nothing, the newest first."""
    with central_session() as central:
        return triggers.list_events(
            central=central, actor=actor, trigger_id=trigger_id, cursor=cursor, limit=limit
        )


@router.get("/training/queue", response_model=QueueAnswer, responses=errors(503))
def get_queue(actor: Reader) -> Any:
    """List the Runs that wait, in the order in which they are started."""
    with central_session() as central:
        return run_queue.queue_state(central)


@router.post("/training/queue/pause", response_model=QueueAnswer, responses=errors(503))
def pause_queue(actor: Controller) -> Any:
    """Have no further Run started until the queue is resumed; one that is going on goes on."""
    with central_session() as central:
        return run_queue.pause_queue(central=central, actor=actor)


@router.post("/training/queue/resume", response_model=QueueAnswer, responses=errors(503))
def resume_queue(actor: Controller) -> Any:
    """Have Runs started again."""
    with central_session() as central:
        return run_queue.resume_queue(central=central, actor=actor)


@router.post(
    "/training/queue/{run_id}/front", response_model=QueueAnswer, responses=errors(404, 409, 422, 503)
)
def move_to_front(actor: Controller, run_id: int) -> Any:
    """Have a waiting Run started before the others; 409 if it does not wait any more."""
    with central_session() as central:
        return run_queue.move_to_front(central=central, actor=actor, run_id=run_id)


def _request(body: TriggerBody) -> TriggerRequest:
    return TriggerRequest(**dict(body))


def _answer(trigger: TriggerView) -> dict[str, Any]:
    return {**vars(trigger), **vars(trigger.request)}
