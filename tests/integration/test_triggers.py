"""Triggers over a real database: when they ask for a Run, when not and why, and never twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, PermissionRefused
from app.services import triggers
from app.services.trigger_request import TriggerRequest
from db.central import AuditEvent, Institution, TrainingRun, TrainingTrigger
from db.federation import RunEvent, SitePresence, TriggerEvent
from fl.settings import RunSettings
from fl.triggers import evaluate_triggers
from tests.integration.conftest import Consortium

NIGHTLY = TriggerRequest("Nightly", "schedule", cron="0 3 * * *", timezone="Europe/Berlin", num_rounds=4)
BY_RECORDS = TriggerRequest("By patients", "new_records", records=200)
MANUAL = TriggerRequest(
    "Saved", "manual", num_rounds=2, strategy="fedprox", run_settings={"proximal_mu": 0.5}
)
AT_THREE = datetime(2026, 11, 24, 2, tzinfo=UTC)  # 03:00 in Berlin

Add = Callable[..., int]


@pytest.fixture
def add(consortium: Consortium) -> Add:
    """Add a trigger; a schedule is next due at 03:00 in Berlin."""

    def add_one(request: TriggerRequest, due: datetime | None = AT_THREE, **changes: Any) -> int:
        wanted = TriggerRequest(**{**vars(request), **changes})
        with consortium.central() as central:
            made = triggers.add_trigger(central=central, actor=consortium.actors["admin"], request=wanted)
            if wanted.kind == "schedule":
                central.execute(
                    update(TrainingTrigger).where(TrainingTrigger.id == made.id).values(next_fire_at=due)
                )
            central.commit()
            return made.id

    return add_one


def evaluate(consortium: Consortium, now: datetime) -> list[tuple[str, str]]:
    with consortium.central() as central, central.begin():
        return [(event.outcome, event.reason) for event in evaluate_triggers(central, now)]


def runs(consortium: Consortium) -> list[TrainingRun]:
    with consortium.central() as central:
        return list(central.scalars(select(TrainingRun).order_by(TrainingRun.id)))


def end_runs(consortium: Consortium, status: str = "completed", finished: datetime | None = None) -> None:
    when = finished or datetime.now(UTC)
    error = "It failed." if status == "failed" else None
    with consortium.central() as central, central.begin():
        central.execute(
            update(TrainingRun).values(status=status, started_at=when, finished_at=when, error=error)
        )


def tell(consortium: Consortium, new_rows: dict[str, int], consent: str = "open") -> None:
    """Have the hospitals have told just now how many patients are new."""
    with consortium.central() as central, central.begin():
        central.execute(delete(SitePresence))
        ids = dict(central.execute(select(Institution.code, Institution.id)).all())
        for code, rows in new_rows.items():
            central.add(
                SitePresence(
                    institution_id=ids[code],
                    flwr_node_id="1",
                    online_since=datetime.now(UTC),
                    last_seen_at=datetime.now(UTC),
                    usable_rows=rows,
                    new_rows=rows,
                    software_version="0.1.0",
                    bundle_sha256="0" * 64,
                    consent=consent,
                )
            )


def test_a_schedule_asks_for_its_run_once_and_then_looks_forward_to_the_next_day(
    consortium: Consortium, add: Add
) -> None:
    trigger_id = add(NIGHTLY, run_settings={"local_epochs": 2}, strategy="scaffold")
    assert evaluate(consortium, AT_THREE - timedelta(seconds=1)) == []
    scheduled = "Scheduled for 24 Nov 2026, 03:00 CET."
    assert evaluate(consortium, AT_THREE + timedelta(seconds=1)) == [("fired", scheduled)]
    assert evaluate(consortium, AT_THREE + timedelta(seconds=3)) == []
    [run] = runs(consortium)
    assert (run.trigger_id, run.requested_by, run.status) == (trigger_id, None, "queued")
    assert run.idempotency_key == f"trigger-{trigger_id}-2026-11-24T02:00:00Z"
    assert (run.kind, run.num_rounds, run.strategy) == ("federated", 4, "scaffold")
    settings = RunSettings.from_json(run.settings)
    assert (settings.local_epochs, settings.optimizer) == (2, "sgd")  # chosen, and the strategy's own default
    with consortium.central() as central:
        trigger = central.get_one(TrainingTrigger, trigger_id)
        assert trigger.next_fire_at == AT_THREE + timedelta(days=1)
        assert central.scalars(select(RunEvent.message)).all() == [f"Trigger “Nightly”: {scheduled}"]


def test_times_missed_while_nothing_ran_are_made_up_for_once(consortium: Consortium, add: Add) -> None:
    add(NIGHTLY)
    late = AT_THREE + timedelta(days=3, hours=2)
    words = "Scheduled for 24 Nov 2026, 03:00 CET and later, when the training service was not running."
    assert evaluate(consortium, late) == [("fired", f"{words} Made up for once.")]
    assert evaluate(consortium, late + timedelta(seconds=2)) == []
    assert len(runs(consortium)) == 1
    end_runs(consortium)
    assert evaluate(consortium, AT_THREE + timedelta(days=4)) == [
        ("fired", "Scheduled for 28 Nov 2026, 03:00 CET.")
    ]


def test_a_single_missed_time_says_so_too(consortium: Consortium, add: Add) -> None:
    add(NIGHTLY)
    [(outcome, reason)] = evaluate(consortium, AT_THREE + timedelta(hours=5))
    assert outcome == "fired" and "03:00 CET, when the training service" in reason


@pytest.mark.parametrize("status", ["queued", "training"])
def test_a_trigger_whose_run_has_not_ended_does_not_pile_up(
    consortium: Consortium, add: Add, status: str
) -> None:
    add(NIGHTLY)
    evaluate(consortium, AT_THREE)
    with consortium.central() as central, central.begin():
        central.execute(update(TrainingRun).values(status=status))
    [(outcome, reason)] = evaluate(consortium, AT_THREE + timedelta(days=1))
    assert outcome == "skipped"
    assert reason == (
        f"Scheduled for 25 Nov 2026, 03:00 CET. Run {runs(consortium)[0].id}, which this trigger asked for before, "
        "has not ended yet."
    )
    assert len(runs(consortium)) == 1


def test_only_if_there_is_new_data(consortium: Consortium, add: Add) -> None:
    add(NIGHTLY, only_if_new_data=True)
    [(outcome, reason)] = evaluate(consortium, AT_THREE)
    assert outcome == "skipped" and "has told yet how many" in reason
    tell(consortium, {"northeast": 0, "southwest": 0})
    [(outcome, reason)] = evaluate(consortium, AT_THREE + timedelta(days=1))
    assert outcome == "skipped" and reason.endswith(
        "told of new patients with a known cost since the last training."
    )
    tell(consortium, {"northeast": 10, "southwest": 0})
    [(outcome, _)] = evaluate(consortium, AT_THREE + timedelta(days=2))
    assert outcome == "fired"


def test_new_patients_fire_once_they_are_enough_and_each_reason_is_kept_once(
    consortium: Consortium, add: Add
) -> None:
    add(BY_RECORDS)
    now = datetime.now(UTC)
    fewer = ("skipped", "Hospitals have told of fewer than 200 new patients since the last training.")
    assert evaluate(consortium, now) == [fewer]
    tell(consortium, {"northeast": 100, "southwest": 90})
    assert evaluate(consortium, now) == []
    tell(consortium, {"northeast": 100, "southwest": 110})
    words = "At least 210 new patients since the last training; 200 were awaited."
    assert evaluate(consortium, now) == [("fired", words)]
    [(outcome, reason)] = evaluate(consortium, now)
    assert outcome == "skipped" and "has not ended yet" in reason
    assert evaluate(consortium, now) == []
    end_runs(consortium)
    # What hospitals told before the training ended says nothing of what is new since.
    assert evaluate(consortium, now) == [fewer]
    tell(consortium, {"northeast": 200})
    assert [outcome for outcome, _ in evaluate(consortium, now)] == ["fired"]
    assert len(runs(consortium)) == 2


def test_neither_hospitals_that_paused_nor_those_that_left_count(consortium: Consortium, add: Add) -> None:
    add(BY_RECORDS)
    tell(consortium, {"northeast": 300}, consent="paused")
    assert [outcome for outcome, _ in evaluate(consortium, datetime.now(UTC))] == ["skipped"]
    tell(consortium, {"northeast": 300})
    with consortium.central() as central, central.begin():
        central.execute(update(Institution).where(Institution.code == "northeast").values(is_active=False))
    assert evaluate(consortium, datetime.now(UTC)) == []
    assert runs(consortium) == []


@pytest.mark.parametrize(("status", "word"), [("failed", "failed"), ("cancelled", "was cancelled")])
def test_a_run_for_new_patients_that_failed_is_asked_for_again_after_an_hour(
    consortium: Consortium, add: Add, status: str, word: str
) -> None:
    add(BY_RECORDS)
    tell(consortium, {"northeast": 300})
    now = datetime.now(UTC)
    evaluate(consortium, now)
    end_runs(consortium, status, now)
    [(outcome, reason)] = evaluate(consortium, now + timedelta(minutes=59))
    assert outcome == "skipped" and f"{word}; another is asked for an hour after that" in reason
    assert [outcome for outcome, _ in evaluate(consortium, now + timedelta(minutes=61))] == ["fired"]


def test_two_supervisors_at_once_ask_for_one_run(consortium: Consortium, add: Add) -> None:
    add(NIGHTLY)
    tell(consortium, {"northeast": 300})
    add(BY_RECORDS)
    both = threading.Barrier(2)
    fired: list[str] = []

    def look() -> None:
        with consortium.central() as central, central.begin():
            both.wait(10)
            fired.extend(e.reason for e in evaluate_triggers(central, AT_THREE) if e.outcome == "fired")

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(fired) == 2 and len(runs(consortium)) == 2


def test_the_key_alone_keeps_a_scheduled_time_from_firing_twice(consortium: Consortium, add: Add) -> None:
    """As if a supervisor had stopped between asking for the Run and noting when the schedule comes up next."""
    trigger_id = add(NIGHTLY)
    evaluate(consortium, AT_THREE)
    end_runs(consortium)
    with consortium.central() as central, central.begin():
        central.execute(update(TrainingTrigger).values(next_fire_at=AT_THREE))
    assert evaluate(consortium, AT_THREE + timedelta(seconds=2)) == []
    assert [run.trigger_id for run in runs(consortium)] == [trigger_id]


def test_a_trigger_that_somebody_holds_is_left_to_them(consortium: Consortium, add: Add) -> None:
    trigger_id = add(NIGHTLY)
    with consortium.central() as holder, holder.begin():
        holder.get_one(TrainingTrigger, trigger_id, with_for_update=True)
        assert evaluate(consortium, AT_THREE) == []
    assert len(evaluate(consortium, AT_THREE)) == 1


def test_one_that_cannot_be_carried_out_is_paused_and_keeps_no_other_from_firing(
    consortium: Consortium, add: Add
) -> None:
    broken, whole = add(NIGHTLY), add(NIGHTLY, name="Whole")
    with consortium.central() as central, central.begin():
        central.execute(
            update(TrainingTrigger).where(TrainingTrigger.id == broken).values(settings={"cron": "?"})
        )
    outcomes = [outcome for outcome, _ in evaluate(consortium, AT_THREE)]
    assert outcomes == ["failed", "fired"]
    with consortium.central() as central:
        assert not central.get_one(TrainingTrigger, broken).is_active
        assert central.get_one(TrainingTrigger, whole).is_active


def test_one_that_starts_from_the_model_in_use_waits_until_there_is_one(
    consortium: Consortium, add: Add, add_model: Callable[..., Any]
) -> None:
    champion = add_model()
    add(NIGHTLY, run_settings={"start_from": "champion"})
    evaluate(consortium, AT_THREE)
    asked = runs(consortium)[-1]
    assert asked.start_version_id == champion.id
    end_runs(consortium)
    with consortium.central() as central, central.begin():
        central.execute(update(type(champion)).values(status="retired"))
    [(outcome, reason)] = evaluate(consortium, AT_THREE + timedelta(days=1))
    assert outcome == "skipped" and reason.endswith("none is in use.")


def test_pausing_editing_and_deleting(consortium: Consortium, central: Session, add: Add) -> None:
    admin = consortium.actors["admin"]
    trigger_id = add(NIGHTLY)
    paused = triggers.set_active(central=central, actor=admin, trigger_id=trigger_id, active=False)
    assert not paused.is_active and paused.next_firings == ()
    central.commit()
    assert evaluate(consortium, AT_THREE) == []
    resumed = triggers.set_active(central=central, actor=admin, trigger_id=trigger_id, active=True)
    assert len(resumed.next_firings) == 3 and resumed.next_firings[0] > datetime.now(UTC)
    assert str(resumed.next_firings[0].tzinfo) == "Europe/Berlin"
    changed = triggers.change_trigger(
        central=central, actor=admin, trigger_id=trigger_id, request=TriggerRequest(**{**vars(BY_RECORDS)})
    )
    assert (changed.name, changed.kind, changed.settings.records) == ("By patients", "new_records", 200)
    assert changed.next_firings == () and changed.request == BY_RECORDS
    triggers.delete_trigger(central=central, actor=admin, trigger_id=trigger_id)
    assert triggers.list_triggers(central=central, actor=admin).items == []
    with pytest.raises(NotFound):
        triggers.set_active(central=central, actor=admin, trigger_id=trigger_id, active=True)
    kept = central.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert kept == [f"trigger_{what}" for what in ("added", "paused", "resumed", "changed", "deleted")]


def test_a_saved_start_fires_by_its_button_alone_and_once_a_press(
    consortium: Consortium, central: Session, add: Add
) -> None:
    admin = consortium.actors["admin"]
    trigger_id = add(MANUAL)
    assert evaluate(consortium, AT_THREE) == []
    press = {"central": central, "actor": admin, "trigger_id": trigger_id}
    first = triggers.run_trigger(**press, idempotency_key="one press")
    assert (first.outcome, first.reason) == ("fired", "The admin asked for it.")
    again = triggers.run_trigger(**press, idempotency_key="another press")
    assert again.outcome == "skipped" and "has not ended yet" in again.reason
    central.commit()
    [run] = runs(consortium)
    assert (run.id, run.requested_by, run.trigger_id) == (first.run_id, admin.worker_id, trigger_id)
    assert (run.strategy, run.settings["proximal_mu"]) == ("fedprox", 0.5)
    end_runs(consortium)
    assert triggers.run_trigger(**press, idempotency_key="one press").id == again.id
    assert triggers.run_trigger(**press).outcome == "fired"


def test_the_history_is_read_page_by_page(consortium: Consortium, central: Session, add: Add) -> None:
    admin = consortium.actors["admin"]
    one, other = add(MANUAL), add(MANUAL, name="Other")
    for trigger_id in (one, one, other):
        triggers.run_trigger(central=central, actor=admin, trigger_id=trigger_id)
    page = triggers.list_events(central=central, actor=admin, limit=2)
    assert [(event.trigger_name, event.outcome) for event in page.items] == [
        ("Other", "fired"),
        ("Saved", "skipped"),
    ]
    rest = triggers.list_events(central=central, actor=admin, limit=2, cursor=page.next_cursor)
    assert [event.outcome for event in rest.items] == ["fired"] and rest.next_cursor is None
    assert len(triggers.list_events(central=central, actor=admin, trigger_id=other).items) == 1
    assert central.scalar(select(TriggerEvent.run_id).where(TriggerEvent.trigger_id == other)) is not None
    with pytest.raises(NotFound):
        triggers.list_events(central=central, actor=admin, trigger_id=99_999)


def test_everything_wrong_is_named(consortium: Consortium, central: Session) -> None:
    wrong: list[tuple[TriggerRequest, list[str]]] = [
        (TriggerRequest(" ", "schedule", cron="x", timezone="Berlin"), ["name", "cron", "timezone"]),
        (TriggerRequest("N\n", "when I want"), ["kind"]),
        (TriggerRequest("a" * 101, "manual"), ["name"]),
        (TriggerRequest("N", "new_records", records=9), ["records"]),
        (TriggerRequest("N", "new_records", records=20, run_kind="cohort"), ["run_kind"]),
        (TriggerRequest("N", "manual", run_kind="evaluation"), ["run_kind"]),
        (TriggerRequest("N", "manual", num_rounds=0, strategy="x"), ["num_rounds", "strategy"]),
        (TriggerRequest("N", "manual", run_settings={"local_epochs": 0}), ["local_epochs"]),
        (TriggerRequest("N", "manual", run_settings={"start_from": "champion"}), ["start_from"]),
    ]
    for request, fields in wrong:
        with pytest.raises(InvalidInput) as refused:
            triggers.add_trigger(central=central, actor=consortium.actors["admin"], request=request)
        assert [problem.field for problem in refused.value.problems] == fields
    assert central.scalars(select(TrainingTrigger)).all() == []


def test_only_those_who_steer_the_training_may(consortium: Consortium, central: Session, add: Add) -> None:
    trigger_id = add(MANUAL)
    who: dict[str, Any] = {"central": central, "actor": consortium.actors["scientist"]}
    for attempt in (
        lambda: triggers.list_triggers(**who),
        lambda: triggers.list_events(**who),
        lambda: triggers.new_patients(**who),
        lambda: triggers.add_trigger(**who, request=MANUAL),
        lambda: triggers.change_trigger(**who, trigger_id=trigger_id, request=MANUAL),
        lambda: triggers.set_active(**who, trigger_id=trigger_id, active=False),
        lambda: triggers.delete_trigger(**who, trigger_id=trigger_id),
        lambda: triggers.run_trigger(**who, trigger_id=trigger_id),
    ):
        with pytest.raises(PermissionRefused):
            attempt()
    assert runs(consortium) == []
