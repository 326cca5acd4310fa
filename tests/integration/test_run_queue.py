"""The Runs that wait: one at a time, in order, held back or moved to the front, as supervisor and people see them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.databases import central_session
from app.errors import Conflict, NotFound, PermissionRefused
from app.services import run_queue, training, triggers
from app.services.trigger_request import TriggerRequest
from db.central import AuditEvent, TrainingRun
from db.states import RunStatus
from fl.run_queue import next_waiting
from tests.integration.conftest import Consortium


def start(consortium: Consortium) -> int:
    with central_session() as central:
        return training.start_run(central=central, actor=consortium.actors["admin"], num_rounds=2).id


def begin_next(consortium: Consortium) -> int | None:
    """Take the next Run as the supervisor does; the database refuses a second that runs."""
    with consortium.central() as central, central.begin():
        run = next_waiting(central)
        if run is None:
            return None
        run.status, run.started_at = RunStatus.STARTING, func.now()
        return run.id


def test_two_presses_at_once_and_one_during_a_run_wait_and_are_started_one_after_the_other(
    consortium: Consortium, central: Session
) -> None:
    with ThreadPoolExecutor(2) as pool:
        pressed = sorted(pool.map(start, [consortium] * 2))
    assert begin_next(consortium) == pressed[0]
    during = start(consortium)
    state = triggers.queue_state(central)
    assert [run.id for run in state.waiting] == [pressed[1], during]
    assert {run.asked_by for run in state.waiting} == {"The admin"}
    assert state.sentence == "2 runs wait to be started, one after the other."
    with consortium.central() as session, session.begin():
        end = {"status": "completed", "finished_at": func.now()}
        session.execute(update(TrainingRun).where(TrainingRun.id == pressed[0]).values(end))
    assert begin_next(consortium) == pressed[1]


def test_a_run_that_waits_can_be_cancelled(consortium: Consortium, central: Session) -> None:
    first, second = start(consortium), start(consortium)
    training.cancel_run(central=central, actor=consortium.actors["admin"], run_id=first)
    assert [run.id for run in triggers.queue_state(central).waiting] == [second]
    assert triggers.queue_state(central).sentence == "One run waits to be started."


def test_no_run_is_started_while_the_queue_is_paused(consortium: Consortium, central: Session) -> None:
    admin = consortium.actors["admin"]
    assert triggers.queue_state(central).sentence == "No run waits."
    run_queue.pause_queue(central=central, actor=admin)
    run_queue.pause_queue(central=central, actor=admin)
    central.commit()
    run_id = start(consortium)
    assert begin_next(consortium) is None
    state = triggers.queue_state(central)
    assert state.is_paused and state.paused_at is not None
    assert state.sentence == (
        "The queue was paused by The admin: no run is started until it is resumed. One run waits."
    )
    run_queue.resume_queue(central=central, actor=admin)
    central.commit()
    assert begin_next(consortium) == run_id
    kept = central.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert kept == ["queue_paused", "run_started", "queue_resumed"]


def test_a_run_moved_to_the_front_is_next(consortium: Consortium, central: Session) -> None:
    admin = consortium.actors["admin"]
    runs = [start(consortium) for _ in range(3)]
    state = run_queue.move_to_front(central=central, actor=admin, run_id=runs[2])
    assert [run.id for run in state.waiting] == [runs[2], runs[0], runs[1]]
    central.commit()
    assert begin_next(consortium) == runs[2]
    with pytest.raises(Conflict, match="does not wait any more"):
        run_queue.move_to_front(central=central, actor=admin, run_id=runs[2])
    with pytest.raises(NotFound):
        run_queue.move_to_front(central=central, actor=admin, run_id=99_999)
    assert [run.id for run in triggers.queue_state(central).waiting] == runs[:2]


def test_the_queue_says_which_trigger_asked(consortium: Consortium, central: Session) -> None:
    admin = consortium.actors["admin"]
    made = triggers.add_trigger(central=central, actor=admin, request=TriggerRequest("Saved", "manual"))
    triggers.run_trigger(central=central, actor=admin, trigger_id=made.id)
    [waiting] = triggers.queue_state(central).waiting
    assert waiting.asked_by == "The admin, trigger “Saved”"
    assert run_queue.asked_by(None, "Nightly") == "trigger “Nightly”"


def test_only_those_who_steer_the_training_steer_the_queue(consortium: Consortium, central: Session) -> None:
    scientist, run_id = consortium.actors["scientist"], start(consortium)
    for attempt in (
        lambda: run_queue.pause_queue(central=central, actor=scientist),
        lambda: run_queue.resume_queue(central=central, actor=scientist),
        lambda: run_queue.move_to_front(central=central, actor=scientist, run_id=run_id),
    ):
        with pytest.raises(PermissionRefused):
            attempt()
    assert not triggers.queue_state(central).is_paused
