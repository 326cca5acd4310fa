"""Triggers, which ask for Runs without a person: add, edit, pause, delete and fire them, and why they did not fire."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from app.actor import Actor
from app.errors import NotFound
from app.permissions import Permission
from app.services import audit
from app.services.paging import LARGEST_ID, MAX_PAGE, Page, check_limit, integer_cursor, page_of
from app.services.run_queue import queue_state as queue_state  # what waits, beside what asks for it
from app.services.trigger_request import TriggerRequest, coming_up, read_trigger
from db.central import MedicalWorker, TrainingTrigger
from db.federation import TriggerEvent
from fl.triggers import SCHEDULE, NewData, TriggerSettings, fire_now, new_data, next_fire_at


@dataclass(frozen=True)
class EventView:
    """That a trigger fired, or why it did not."""

    id: int
    trigger_id: int
    trigger_name: str
    occurred_at: datetime
    outcome: str
    reason: str
    run_id: int | None


@dataclass(frozen=True)
class TriggerView:
    """A trigger and where it stands.

    Attributes
    ----------
    next_firings
        The next three times of an active schedule, in its own zone.
    last_event
        What it did last, or why it did nothing.
    """

    id: int
    name: str
    kind: str
    is_active: bool
    settings: TriggerSettings
    created_at: datetime
    created_by: str | None
    next_firings: tuple[datetime, ...]
    last_event: EventView | None

    @property
    def request(self) -> TriggerRequest:
        """The request that would make this trigger; what a form begins with."""
        return TriggerRequest(
            name=self.name,
            kind=self.kind,
            cron=self.settings.cron,
            timezone=self.settings.timezone,
            records=self.settings.records,
            only_if_new_data=self.settings.only_if_new_data,
            run_kind=self.settings.run.kind,
            num_rounds=self.settings.run.num_rounds,
            strategy=self.settings.run.strategy,
            run_settings=self.settings.run.settings,
        )


def list_triggers(
    *, central: Session, actor: Actor, cursor: str | None = None, limit: int = MAX_PAGE
) -> Page[TriggerView]:
    """List the triggers that were not deleted, the oldest first; raises `InvalidInput` for cursor and limit."""
    actor.require(Permission.TRAINING_CONTROL)
    query = _views().order_by(TrainingTrigger.id).limit(check_limit(limit) + 1)
    if cursor is not None:
        query = query.where(TrainingTrigger.id > integer_cursor(cursor))
    views = [_view(*row) for row in central.execute(query.execution_options(populate_existing=True))]
    return page_of(views, limit, lambda view: view.id)


def get_trigger(*, central: Session, actor: Actor, trigger_id: int) -> TriggerView:
    """Read one trigger; raises `NotFound`."""
    actor.require(Permission.TRAINING_CONTROL)
    query = _views().where(TrainingTrigger.id == trigger_id).execution_options(populate_existing=True)
    row = central.execute(query).one_or_none() if 0 < trigger_id <= LARGEST_ID else None
    if row is None:
        raise _no_trigger(trigger_id)
    return _view(*row)


def _views() -> Select[TrainingTrigger, str, TriggerEvent]:
    newest = select(func.max(TriggerEvent.id)).group_by(TriggerEvent.trigger_id)
    event = aliased(TriggerEvent)
    return (
        select(TrainingTrigger, MedicalWorker.name, event)
        .outerjoin(MedicalWorker, MedicalWorker.id == TrainingTrigger.created_by)
        .outerjoin(event, (event.trigger_id == TrainingTrigger.id) & event.id.in_(newest))
        .where(TrainingTrigger.deleted_at.is_(None))
    )


def new_patients(*, central: Session, actor: Actor) -> NewData:
    """Say how many new patients the hospitals have told of since the last training."""
    actor.require(Permission.TRAINING_CONTROL)
    return new_data(central)


def add_trigger(*, central: Session, actor: Actor, request: TriggerRequest) -> TriggerView:
    """Add a trigger, which is active at once.

    Raises
    ------
    InvalidInput
        Naming everything wrong with it.
    """
    actor.require(Permission.TRAINING_CONTROL)
    settings = read_trigger(central, request)
    trigger = TrainingTrigger(
        name=request.name.strip(),
        kind=request.kind,
        settings=settings.to_json(),
        created_by=actor.worker_id,
        next_fire_at=next_fire_at(request.kind, settings, datetime.now(UTC)),
    )
    central.add(trigger)
    central.flush()
    _note(central, actor, "trigger_added", trigger)
    return get_trigger(central=central, actor=actor, trigger_id=trigger.id)


def change_trigger(
    *, central: Session, actor: Actor, trigger_id: int, request: TriggerRequest
) -> TriggerView:
    """Replace what a trigger says; one that was paused stays paused.

    Raises
    ------
    InvalidInput
        Naming everything wrong with it.
    NotFound
        If there is no such trigger.
    """
    actor.require(Permission.TRAINING_CONTROL)
    trigger = _locked(central, trigger_id)
    settings = read_trigger(central, request)
    trigger.name, trigger.kind, trigger.settings = request.name.strip(), request.kind, settings.to_json()
    trigger.next_fire_at = (
        next_fire_at(request.kind, settings, datetime.now(UTC)) if trigger.is_active else None
    )
    _note(central, actor, "trigger_changed", trigger)
    return get_trigger(central=central, actor=actor, trigger_id=trigger.id)


def set_active(*, central: Session, actor: Actor, trigger_id: int, active: bool) -> TriggerView:
    """Pause a trigger or let it go on; what it missed while it was paused is not made up for."""
    actor.require(Permission.TRAINING_CONTROL)
    trigger = _locked(central, trigger_id)
    if trigger.is_active != active:
        settings = TriggerSettings.from_json(trigger.settings)
        trigger.is_active = active
        trigger.next_fire_at = next_fire_at(trigger.kind, settings, datetime.now(UTC)) if active else None
        _note(central, actor, "trigger_resumed" if active else "trigger_paused", trigger)
    return get_trigger(central=central, actor=actor, trigger_id=trigger.id)


def delete_trigger(*, central: Session, actor: Actor, trigger_id: int) -> None:
    """Delete a trigger; the Runs that it asked for, and why, stay on record."""
    actor.require(Permission.TRAINING_CONTROL)
    trigger = _locked(central, trigger_id)
    trigger.deleted_at, trigger.is_active, trigger.next_fire_at = func.now(), False, None
    _note(central, actor, "trigger_deleted", trigger)


def run_trigger(
    *, central: Session, actor: Actor, trigger_id: int, idempotency_key: str | None = None
) -> EventView:
    """Fire a trigger at once, also one that is paused; the answer says why if it did not.

    Parameters
    ----------
    idempotency_key
        A second request with the same key asks for no second Run and has the answer of the first.
    """
    actor.require(Permission.TRAINING_CONTROL)
    trigger = _locked(central, trigger_id)
    key = f"trigger-{trigger.id}-now-{idempotency_key or uuid.uuid4().hex}"[:100]
    event = fire_now(central, trigger, asked_by=actor.worker_id, name=actor.name, key=key)
    if event is None:
        newest = select(TriggerEvent).where(TriggerEvent.trigger_id == trigger.id)
        event = central.scalars(newest.order_by(TriggerEvent.id.desc()).limit(1)).one()
    else:
        _note(central, actor, "trigger_run", trigger, outcome=event.outcome, run_id=event.run_id)
    return _event_view(event, trigger.name)


def list_events(
    *,
    central: Session,
    actor: Actor,
    trigger_id: int | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[EventView]:
    """List what triggers did and why they did nothing, the newest first; of one trigger or of all."""
    actor.require(Permission.TRAINING_CONTROL)
    query = select(TriggerEvent, TrainingTrigger.name).join(
        TrainingTrigger, TrainingTrigger.id == TriggerEvent.trigger_id
    )
    if trigger_id is not None:
        if not 0 < trigger_id <= LARGEST_ID or central.get(TrainingTrigger, trigger_id) is None:
            raise _no_trigger(trigger_id)
        query = query.where(TriggerEvent.trigger_id == trigger_id)
    if cursor is not None:
        query = query.where(TriggerEvent.id < integer_cursor(cursor))
    rows = central.execute(query.order_by(TriggerEvent.id.desc()).limit(check_limit(limit) + 1)).all()
    return page_of([_event_view(*row) for row in rows], limit, lambda event: event.id)


def _locked(central: Session, trigger_id: int) -> TrainingTrigger:
    query = select(TrainingTrigger).where(
        TrainingTrigger.id == trigger_id, TrainingTrigger.deleted_at.is_(None)
    )
    query = query.with_for_update().execution_options(populate_existing=True)
    trigger = central.scalars(query).one_or_none() if 0 < trigger_id <= LARGEST_ID else None
    if trigger is None:
        raise _no_trigger(trigger_id)
    return trigger


def _no_trigger(trigger_id: int) -> NotFound:
    return NotFound(f"There is no trigger {trigger_id}.")


def _note(central: Session, actor: Actor, action: str, trigger: TrainingTrigger, **details: Any) -> None:
    target = f"trigger {trigger.id}"
    audit.record(central=central, actor=actor, action=action, target=target, details=details)
    central.flush()


def _view(trigger: TrainingTrigger, created_by: str | None, event: TriggerEvent | None) -> TriggerView:
    settings = TriggerSettings.from_json(trigger.settings)
    scheduled = trigger.is_active and trigger.kind == SCHEDULE
    return TriggerView(
        id=trigger.id,
        name=trigger.name,
        kind=trigger.kind,
        is_active=trigger.is_active,
        settings=settings,
        created_at=trigger.created_at,
        created_by=created_by,
        next_firings=coming_up(settings.cron, settings.timezone) if scheduled else (),
        last_event=_event_view(event, trigger.name) if event else None,
    )


def _event_view(event: TriggerEvent, trigger_name: str) -> EventView:
    return EventView(
        event.id,
        event.trigger_id,
        trigger_name,
        event.occurred_at,
        event.outcome,
        event.reason,
        event.run_id,
    )
