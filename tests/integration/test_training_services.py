"""Asking for a Run, cancelling it, and what the live page reads of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select, update
from sqlalchemy.orm import Session

from app.databases import central_session
from app.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from app.services import monitoring, training
from db.central import AuditEvent, Institution, SiteResult, TrainingRound, TrainingRun
from db.engines import engine_for
from db.federation import FederationStatus
from db.states import RoundStatus, RunStatus
from fl.settings import RunSettings


def test_a_run_waits_as_queued_with_its_settings(consortium: Any, central: Session) -> None:
    run = training.start_run(
        central=central,
        actor=consortium.actors["admin"],
        num_rounds=7,
        settings={"local_epochs": 2, "learning_rate": 1},
        seed=42,
    )
    central.commit()
    central.expire_all()
    assert (run.status, run.num_rounds, run.seed, run.current_round) == ("queued", 7, 42, 0)
    kept = RunSettings.from_json(run.settings)
    assert (kept.local_epochs, kept.learning_rate, kept.batch_size) == (2, 1.0, 32)


def test_the_same_key_returns_the_same_run_even_at_the_same_moment(consortium: Any) -> None:
    def press(_: int) -> int:
        with central_session() as session:
            return training.start_run(
                central=session, actor=consortium.actors["admin"], idempotency_key="one press"
            ).id

    with ThreadPoolExecutor(6) as pool:
        runs = set(pool.map(press, range(12)))
    assert len(runs) == 1
    with consortium.central() as central:
        assert central.scalar(select(func.count()).select_from(TrainingRun)) == 1
        events = central.scalars(select(AuditEvent.action)).all()
    assert events == ["run_started"]


def test_a_key_does_not_stand_for_two_different_runs(consortium: Any, central: Session) -> None:
    admin = consortium.actors["admin"]
    training.start_run(central=central, actor=admin, idempotency_key="k", num_rounds=2)
    with pytest.raises(Conflict, match="already used"):
        training.start_run(central=central, actor=admin, idempotency_key="k", num_rounds=3)


def test_without_a_key_each_request_is_a_run_with_a_seed_of_its_own(
    consortium: Any, central: Session
) -> None:
    admin = consortium.actors["admin"]
    runs = [training.start_run(central=central, actor=admin) for _ in range(2)]
    assert runs[0].id != runs[1].id
    assert runs[0].seed != runs[1].seed
    assert runs[0].num_rounds == 10


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({"num_rounds": 0}, ["num_rounds"]),
        ({"strategy": "x"}, ["strategy"]),
        ({"settings": {"local_epochs": 0, "batch_size": "big"}}, ["batch_size", "local_epochs"]),
        ({"settings": {"local_epochs": True}}, ["local_epochs"]),
        ({"settings": {"learning_rate": float("nan")}}, ["learning_rate"]),
        ({"settings": {"no_such": 1}}, ["no_such"]),
        ({"seed": -1}, ["seed"]),
        ({"idempotency_key": "\ud800"}, ["idempotency_key"]),
    ],
)
def test_everything_wrong_with_a_run_is_named(
    consortium: Any, central: Session, arguments: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        training.start_run(central=central, actor=consortium.actors["admin"], **arguments)
    assert sorted(problem.field for problem in refused.value.problems) == fields


def test_only_administrators_start_and_cancel(consortium: Any, central: Session) -> None:
    for person in ("scientist", "doctor", "nurse"):
        actor = consortium.actors[person]
        with pytest.raises(PermissionRefused):
            training.start_run(central=central, actor=actor)
        with pytest.raises(PermissionRefused):
            training.cancel_run(central=central, actor=actor, run_id=1)
    for call in (training.get_run, monitoring.run_progress):
        with pytest.raises(PermissionRefused):
            call(central=central, actor=consortium.actors["doctor"], run_id=1)


def test_a_queued_run_is_cancelled_at_once(consortium: Any, central: Session) -> None:
    admin = consortium.actors["admin"]
    run = training.start_run(central=central, actor=admin)
    cancelled = training.cancel_run(central=central, actor=admin, run_id=run.id)
    assert (cancelled.status, cancelled.cancel_requested_by) == ("cancelled", admin.worker_id)
    assert cancelled.finished_at is not None
    with pytest.raises(Conflict):
        training.cancel_run(central=central, actor=admin, run_id=run.id)


def test_a_running_run_is_asked_to_stop_and_a_second_press_changes_nothing(
    consortium: Any, central: Session
) -> None:
    admin = consortium.actors["admin"]
    run = training.start_run(central=central, actor=admin)
    run.status = RunStatus.TRAINING
    central.commit()
    asked = training.cancel_run(central=central, actor=admin, run_id=run.id)
    when = asked.cancel_requested_at
    assert (asked.status, asked.finished_at) == ("training", None)
    assert training.cancel_run(central=central, actor=admin, run_id=run.id).cancel_requested_at == when
    assert monitoring.stage_of(asked) == "Stopping"
    cancels = select(func.count()).select_from(AuditEvent).where(AuditEvent.action == "run_cancelled")
    assert central.scalar(cancels) == 1


def test_a_run_of_no_such_number_is_not_found(consortium: Any, central: Session) -> None:
    admin = consortium.actors["admin"]
    for run_id in (-1, 0, 12345, 2**31, 2**80):
        for call in (training.get_run, training.cancel_run, monitoring.run_progress):
            with pytest.raises(NotFound):
                call(central=central, actor=admin, run_id=run_id)


def test_runs_are_listed_newest_first_and_stay_put_when_one_is_added(
    consortium: Any, central: Session
) -> None:
    admin = consortium.actors["admin"]
    ids = [training.start_run(central=central, actor=admin).id for _ in range(4)]
    first = training.list_runs(central=central, actor=admin, limit=2)
    training.start_run(central=central, actor=admin)
    second = training.list_runs(central=central, actor=admin, limit=2, cursor=first.next_cursor)
    assert [run.id for run in (*first.items, *second.items)] == ids[::-1]
    assert second.next_cursor is None
    assert first.items[0].requester is not None
    assert first.items[0].requester.name == "The admin"


def _with_rounds(central: Session, actor: Any) -> TrainingRun:
    """Make a Run whose second Round one Site missed."""
    run = training.start_run(central=central, actor=actor, num_rounds=3)
    run.status, run.current_round, run.started_at = RunStatus.TRAINING, 2, run.requested_at
    sites = {row.code: row.id for row in central.scalars(select(Institution))}
    for number in (1, 2):
        central.add(
            TrainingRound(
                run_id=run.id,
                round_number=number,
                clients_participated=3 - number,
                aggregation_method="fedavg",
                status=RoundStatus.COMPLETED,
                loss=1.0 / number,
                mae=3000.0,
                rmse=5000.0,
                r2=0.5 * number,
                num_examples=100,
                started_at=run.requested_at,
                completed_at=run.requested_at + timedelta(seconds=2),
            )
        )
        for phase in ("train", "evaluate"):
            for code in ("northeast", "southwest"):
                late = (number, code, phase) == (2, "southwest", "train")
                if number == 2 and code == "southwest" and phase == "evaluate":
                    continue
                central.add(
                    SiteResult(
                        run_id=run.id,
                        round_number=number,
                        phase=phase,
                        institution_id=sites[code],
                        outcome="late" if late else "ok",
                        reason="No answer within 60 seconds." if late else None,
                        num_examples=None if late else 50,
                        r2=None if late else 0.6,
                        seconds=None if late else 0.25,
                    )
                )
    central.commit()
    return run


def test_progress_has_the_run_and_its_rounds(consortium: Any, central: Session) -> None:
    run = _with_rounds(central, consortium.actors["admin"])
    progress = monitoring.run_progress(central=central, actor=consortium.actors["scientist"], run_id=run.id)
    assert (progress.run.id, progress.run.status, progress.stage) == (run.id, "training", "Round 2 of 3")
    assert (progress.run.requested_by_name, progress.run.cancel_requested) == ("The admin", False)
    assert (progress.run.saved_round, progress.asked_sites) == (0, True)
    assert [(p.round_number, p.r2, p.clients_participated, p.seconds) for p in progress.rounds] == [
        (1, 0.5, 2, 2.0),
        (2, 1.0, 1, 2.0),
    ]
    assert progress.model_version is None


def test_progress_sees_what_another_process_committed_in_two_round_trips(
    consortium: Any, central: Session
) -> None:
    run = _with_rounds(central, consortium.actors["admin"])
    actor = consortium.actors["admin"]
    monitoring.run_progress(central=central, actor=actor, run_id=run.id)
    central.commit()
    with consortium.central() as server_app:
        server_app.execute(update(TrainingRun).values(status="evaluating", current_round=3))
        server_app.commit()
    statements: list[str] = []
    engine = engine_for(consortium.urls.app_central)

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        progress = monitoring.run_progress(central=central, actor=actor, run_id=run.id)
    finally:
        event.remove(engine, "before_cursor_execute", remember)
    assert (progress.run.status, progress.stage) == ("evaluating", "Evaluating the new model")
    assert len(statements) == 2


def test_progress_names_the_version_that_the_run_made(
    consortium: Any, central: Session, add_model: Any
) -> None:
    row = add_model("v9")
    progress = monitoring.run_progress(central=central, actor=consortium.actors["admin"], run_id=row.run_id)
    assert (progress.model_version, progress.stage) == ("v9", "Completed after 0 rounds")


def test_the_federation_is_down_without_a_fresh_heartbeat(consortium: Any, central: Session) -> None:
    assert monitoring.federation(central=central).state == "down"
    central.add(
        FederationStatus(
            state="up",
            runtime="warm",
            leader="host:1",
            sites={"northeast": {"state": "connected"}, "southwest": {"state": "starting"}},
        )
    )
    central.commit()
    view = monitoring.federation(central=central)
    assert (view.state, view.runtime) == ("up", "warm")
    assert [(site.code, site.name, site.state) for site in view.sites] == [
        ("northeast", "Northeast Hospital", "connected"),
        ("southwest", "Southwest Hospital", "starting"),
    ]
    central.execute(update(FederationStatus).values(heartbeat_at=func.now() - timedelta(seconds=11)))
    central.commit()
    stale = monitoring.federation(central=central)
    assert (stale.state, {site.state for site in stale.sites}) == ("down", {"down"})
    central.execute(update(FederationStatus).values(heartbeat_at=func.now(), state="starting"))
    central.commit()
    assert monitoring.federation(central=central).state == "starting"
