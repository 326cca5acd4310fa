"""Saved predictions: found by whom, when, by what and for whom; beside the actual cost; an honest accuracy."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, PermissionRefused
from app.services import prediction_history
from app.services.prediction_history import PredictionFilter
from db.engines import engine_for
from db.site import AccessEvent, Patient, Prediction

VALUES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
Keep = Callable[..., uuid.UUID]


@pytest.fixture
def keep(northeast: Session, consortium: Any) -> Keep:
    """Insert a saved prediction and return its id."""

    def insert(patient_id: uuid.UUID | None = None, *, person: str = "doctor", **columns: Any) -> uuid.UUID:
        worker = consortium.actors[person]
        prediction = Prediction(
            **{
                "patient_id": patient_id,
                "inputs": VALUES,
                "predicted_cost": Decimal("5000.00"),
                "interval_low": Decimal("4000.00"),
                "interval_high": Decimal("8000.00"),
                "model_version": "v1",
                "worker_id": worker.worker_id,
                "worker_name": worker.name,
                "created_at": NOON,
                **columns,
            }
        )
        northeast.add(prediction)
        northeast.commit()
        return prediction.id

    return insert


def listed(site: Session, actor: Any, **wanted: Any) -> list[uuid.UUID]:
    page = prediction_history.history(site=site, actor=actor, filter=PredictionFilter(**wanted), limit=100)
    return [outcome.prediction.id for outcome in page.items]


def test_pages_go_on_and_back_while_predictions_are_added(
    consortium: Any, northeast: Session, keep: Keep
) -> None:
    doctor = consortium.actors["doctor"]
    # Three of the same instant: the id decides.
    ids = [keep(created_at=NOON + timedelta(hours=number // 3)) for number in range(8)]
    newest_first = ids[::-1]
    first = prediction_history.history(site=northeast, actor=doctor, limit=3)
    assert [one.prediction.id for one in first.items] == newest_first[:3]
    assert first.previous_cursor is None
    keep(created_at=NOON + timedelta(days=1))
    second = prediction_history.history(site=northeast, actor=doctor, limit=3, cursor=first.next_cursor)
    third = prediction_history.history(site=northeast, actor=doctor, limit=3, cursor=second.next_cursor)
    assert [one.prediction.id for one in (*second.items, *third.items)] == newest_first[3:]
    assert third.next_cursor is None
    back = prediction_history.history(site=northeast, actor=doctor, limit=3, cursor=third.previous_cursor)
    assert [one.prediction.id for one in back.items] == newest_first[3:6]
    begin = prediction_history.history(site=northeast, actor=doctor, limit=6, cursor=back.previous_cursor)
    assert (len(begin.items), begin.previous_cursor) == (6, None)
    for cursor in ("x", str(uuid.uuid4()), f"before-{uuid.uuid4()}"):
        with pytest.raises(InvalidInput):
            prediction_history.history(site=northeast, actor=doctor, cursor=cursor)


def test_filters_by_patient_person_and_version(consortium: Any, northeast: Session, keep: Keep) -> None:
    doctor = consortium.actors["doctor"]
    ada = consortium.add_patient("northeast", "Ada", "Lovelace")
    alan = consortium.add_patient("northeast", "Alan", "Turing")
    gone = consortium.add_patient("northeast", "Ada", "Gone", deleted_at=NOON)
    of_ada, of_alan = keep(ada), keep(alan, person="nurse", model_version="v2")
    of_gone, of_nobody = keep(gone, model_version="v2"), keep(None)
    everything = {of_ada, of_alan, of_gone, of_nobody}
    assert set(listed(northeast, doctor)) == everything
    for search in ("love", "LOVELACE, ada", "a lov", str(ada), f" {ada} "):
        assert listed(northeast, doctor, patient=search) == [of_ada], search
    assert listed(northeast, doctor, patient="100%") == []
    assert set(listed(northeast, doctor, patient="  ")) == everything
    assert listed(northeast, doctor, patient_id=alan) == [of_alan]
    assert listed(northeast, doctor, worker_id=consortium.actors["nurse"].worker_id) == [of_alan]
    assert set(listed(northeast, doctor, model_version="v2")) == {of_alan, of_gone}
    assert listed(northeast, doctor, model_version="v2", patient="turing") == [of_alan]


def test_a_name_that_many_patients_have_finds_the_same_predictions(
    consortium: Any, northeast: Session, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {
        keep(consortium.add_patient("northeast", "Ada", f"Lovelace {number}", insurance_cost=None))
        for number in range(3)
    }
    keep(consortium.add_patient("northeast", "Alan", "Turing"))
    doctor = consortium.actors["doctor"]
    assert set(listed(northeast, doctor, patient="lovelace")) == ids
    monkeypatch.setattr("app.services.prediction_query.FEW_PATIENTS", 2)
    assert set(listed(northeast, doctor, patient="lovelace")) == ids


def test_days_are_those_of_the_readers_zone(consortium: Any, northeast: Session, keep: Keep) -> None:
    doctor = consortium.actors["doctor"]
    # 23:30 on 9 March and 00:30 on 10 March in New York.
    late = keep(created_at=datetime(2026, 3, 10, 3, 30, tzinfo=UTC))
    early = keep(created_at=datetime(2026, 3, 10, 4, 30, tzinfo=UTC))
    ninth, tenth = date(2026, 3, 9), date(2026, 3, 10)
    new_york = {"zone": "America/New_York"}
    assert listed(northeast, doctor, since=tenth, until=tenth, **new_york) == [early]
    assert listed(northeast, doctor, since=ninth, until=ninth, **new_york) == [late]
    assert listed(northeast, doctor, since=tenth, until=tenth) == [early, late]
    assert listed(northeast, doctor, until=ninth) == []


def test_a_filter_that_cannot_be_is_refused_by_field(consortium: Any, northeast: Session) -> None:
    doctor = consortium.actors["doctor"]
    for field, wanted in (
        ("patient", {"patient": "x" * 101}),
        ("patient", {"patient": "\x00"}),
        ("worker_id", {"worker_id": 2**31}),
        ("model_version", {"model_version": "\x00"}),
        ("since", {"since": date(1, 1, 1)}),
        ("until", {"until": date.max}),
        ("until", {"since": date(2026, 3, 2), "until": date(2026, 3, 1)}),
        ("zone", {"zone": "../etc/passwd"}),
        ("zone", {"zone": "Mars/Olympus"}),
    ):
        with pytest.raises(InvalidInput) as refused:
            listed(northeast, doctor, **wanted)
        assert [problem.field for problem in refused.value.problems] == [field]


def test_the_error_is_known_once_the_actual_cost_is(consortium: Any, northeast: Session, keep: Keep) -> None:
    doctor = consortium.actors["doctor"]
    later = NOON + timedelta(days=30)
    patients = {
        "unknown": consortium.add_patient("northeast", "A", "Unknown", insurance_cost=None),
        "later": consortium.add_patient(
            "northeast", "B", "Later", insurance_cost=Decimal("4500.50"), cost_entered_at=later
        ),
        "outside": consortium.add_patient(
            "northeast", "C", "Outside", insurance_cost=Decimal("9000"), cost_entered_at=later
        ),
        "before": consortium.add_patient("northeast", "D", "Before", insurance_cost=Decimal("5000")),
    }
    kept = {name: keep(patient) for name, patient in patients.items()}
    kept["without interval"] = keep(patients["later"], interval_low=None, interval_high=None)
    kept["after"] = keep(patients["later"], created_at=later + timedelta(days=1))
    page = prediction_history.history(site=northeast, actor=doctor)
    found = {one.prediction.id: (one.error, one.covered, one.known_before) for one in page.items}
    assert {name: found[prediction] for name, prediction in kept.items()} == {
        "unknown": (None, None, False),
        "later": (Decimal("499.50"), True, False),
        "outside": (Decimal("-4000.00"), False, False),
        "before": (Decimal("0.00"), True, True),
        "without interval": (Decimal("499.50"), None, False),
        "after": (Decimal("499.50"), True, True),
    }
    assert set(listed(northeast, doctor, with_error=True)) == set(kept.values()) - {kept["unknown"]}
    assert {one.patient_name for one in page.items} >= {"Unknown, A", "Later, B"}


def test_of_a_deleted_patient_only_the_prediction_itself_is_shown(
    consortium: Any, northeast: Session, keep: Keep
) -> None:
    gone = consortium.add_patient("northeast", "Ada", "Gone", deleted_at=NOON)
    keep(gone)
    (outcome,) = prediction_history.history(site=northeast, actor=consortium.actors["doctor"]).items
    assert (outcome.patient_name, outcome.actual_cost, outcome.error) == (None, None, None)
    with pytest.raises(NotFound):
        prediction_history.predictions_of(site=northeast, actor=consortium.actors["doctor"], patient_id=gone)


def test_accuracy_counts_only_costs_that_came_later(consortium: Any, northeast: Session, keep: Keep) -> None:
    doctor = consortium.actors["doctor"]
    later = NOON + timedelta(days=90)

    def known(cost: int, entered: datetime | None = later, **columns: Any) -> uuid.UUID:
        return uuid.UUID(
            str(
                consortium.add_patient(
                    "northeast", "A", "B", insurance_cost=cost, cost_entered_at=entered, **columns
                )
            )
        )

    keep(known(4000))  # +1000, inside
    keep(known(8500))  # -3500, outside
    keep(known(6000), interval_low=None, interval_high=None)  # -1000
    keep(known(5000), model_version="v2")
    keep(known(4000), created_at=datetime(2026, 4, 2, tzinfo=UTC), interval_low=None, interval_high=None)
    # None of these counts: known from the start, entered before, unknown, deleted, of nobody.
    keep(known(1, None))
    keep(known(1, NOON - timedelta(days=1)))
    keep(consortium.add_patient("northeast", "A", "B", insurance_cost=None))
    keep(known(1, deleted_at=later))
    keep(None)
    march = prediction_history.accuracy_by_month(site=northeast, actor=doctor)
    assert [(one.month, one.model_version, one.count, one.covered_of) for one in march] == [
        (date(2026, 3, 1), "v1", 3, 2),
        (date(2026, 3, 1), "v2", 1, 1),
        (date(2026, 4, 1), "v1", 1, 0),
    ]
    first = march[0]
    assert first.mae == pytest.approx((1000 + 3500 + 1000) / 3)
    assert first.mean_error == pytest.approx((1000 - 3500 - 1000) / 3)
    assert (first.coverage, march[1].coverage, march[2].coverage) == (0.5, 1.0, None)


def test_months_begin_in_the_readers_zone(consortium: Any, northeast: Session, keep: Keep) -> None:
    doctor = consortium.actors["doctor"]
    at = datetime(2026, 4, 1, 2, tzinfo=UTC)
    keep(consortium.add_patient("northeast", "A", "B", cost_entered_at=at + timedelta(days=9)), created_at=at)
    for zone, month in (("UTC", 4), ("America/New_York", 3)):
        (found,) = prediction_history.accuracy_by_month(site=northeast, actor=doctor, zone=zone)
        assert found.month == date(2026, month, 1)
    with pytest.raises(InvalidInput):
        prediction_history.accuracy_by_month(site=northeast, actor=doctor, zone="nowhere")


def test_choices_name_everybody_once_by_the_last_name_they_had(
    consortium: Any, northeast: Session, keep: Keep
) -> None:
    doctor, nurse = consortium.actors["doctor"], consortium.actors["nurse"]
    nothing = prediction_history.history_choices(site=northeast, actor=doctor)
    assert (nothing.workers, nothing.versions) == ([], [])
    keep(person="nurse", worker_name="Old name")
    keep(person="nurse", created_at=NOON + timedelta(days=1), worker_name="New name")
    keep(model_version="v10", created_at=NOON + timedelta(days=2), worker_name="Zoe")
    keep(model_version="v2", worker_name="Yves")
    choices = prediction_history.history_choices(site=northeast, actor=doctor)
    assert choices.workers == [(nurse.worker_id, "New name"), (doctor.worker_id, "Zoe")]
    assert choices.versions == ["v10", "v1", "v2"]


def test_an_export_yields_everything_and_is_on_record_before_the_first_row(
    consortium: Any, northeast: Session, keep: Keep
) -> None:
    doctor = consortium.actors["doctor"]
    ada = consortium.add_patient("northeast", "Ada", "Lovelace")
    ids = [keep(ada, created_at=NOON + timedelta(minutes=number)) for number in range(5)]
    keep(model_version="v2")
    rows = prediction_history.history_for_export(
        site=northeast, actor=doctor, filter=PredictionFilter(patient="love", model_version="v1")
    )
    event = northeast.scalars(select(AccessEvent)).one()
    assert event.action == "predictions_exported"
    assert event.details == {"count": 5, "filters": ["patient", "model_version"]}
    assert [row.prediction.id for row in rows] == ids[::-1]
    for person in ("nurse", "admin", "scientist"):
        with pytest.raises(PermissionRefused):
            prediction_history.history_for_export(site=northeast, actor=consortium.actors[person])


def test_every_look_at_predictions_leaves_an_access_event(
    consortium: Any, northeast: Session, keep: Keep
) -> None:
    nurse = consortium.actors["nurse"]
    ada = consortium.add_patient("northeast", "Ada", "Lovelace")
    keep(ada)
    keep(ada)
    keep(None)
    prediction_history.history(site=northeast, actor=nurse, filter=PredictionFilter(zone="UTC"))
    of_ada = prediction_history.predictions_of(site=northeast, actor=nurse, patient_id=ada).items
    prediction_history.accuracy_by_month(site=northeast, actor=nurse)
    northeast.commit()
    assert len(of_ada) == 2
    events = northeast.scalars(select(AccessEvent).order_by(AccessEvent.id)).all()
    assert [(one.action, one.patient_id, one.worker_id) for one in events] == [
        ("predictions_listed", None, nurse.worker_id),
        ("predictions_listed", ada, nurse.worker_id),
        ("predictions_summarised", None, nurse.worker_id),
    ]
    assert events[0].details == {"count": 3, "patient_ids": [str(ada)], "filters": []}
    assert not any("lovelace" in str(one.details).lower() for one in events)


@pytest.mark.parametrize("person", ["admin", "scientist"])
def test_only_clinicians_see_predictions(consortium: Any, northeast: Session, person: str) -> None:
    asks = {"site": northeast, "actor": consortium.actors[person]}
    for ask in (
        prediction_history.history,
        prediction_history.history_choices,
        prediction_history.accuracy_by_month,
    ):
        with pytest.raises(PermissionRefused):
            ask(**asks)
    with pytest.raises(PermissionRefused):
        prediction_history.predictions_of(**asks, patient_id=uuid.uuid4())


def test_a_long_history_is_read_by_an_index_in_its_order(consortium: Any, northeast: Session) -> None:
    northeast.execute(
        text(
            "INSERT INTO predictions (inputs, predicted_cost, model_version, worker_id, worker_name, created_at)"
            " SELECT '{}', 1, 'v' || n % 40, n % 40, 'W', now() - n * interval '1 minute'"
            " FROM generate_series(1, 10000) AS n"
        )
    )
    northeast.commit()
    with consortium.site("northeast") as owner:
        owner.execute(text("ANALYZE predictions"))
        owner.commit()
    read: list[tuple[str, Any]] = []
    engine = engine_for(consortium.urls.app_sites["northeast"])

    def remember(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM predictions" in statement:
            read.append((statement, parameters))

    for wanted, index in (
        ({}, "predictions_time"),
        ({"patient_id": uuid.uuid4()}, "predictions_patient"),
        ({"worker_id": 7}, "predictions_worker"),
        ({"model_version": "v7"}, "predictions_version"),
    ):
        event.listen(engine, "before_cursor_execute", remember)
        try:
            listed(northeast, consortium.actors["doctor"], **wanted)
        finally:
            event.remove(engine, "before_cursor_execute", remember)
        statement, parameters = read.pop()
        plan = northeast.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
        lines = [line for (line,) in plan]
        assert any(index in line for line in lines), lines
        assert not any("Sort" in line for line in lines), lines


def test_a_purged_patients_predictions_stay(consortium: Any, northeast: Session, keep: Keep) -> None:
    ada = consortium.add_patient("northeast", "Ada", "Lovelace")
    kept = keep(ada)
    with consortium.site("northeast") as owner:
        owner.delete(owner.get_one(Patient, ada))
        owner.commit()
    (outcome,) = prediction_history.history(site=northeast, actor=consortium.actors["doctor"]).items
    assert (outcome.prediction.id, outcome.patient_name) == (kept, None)
