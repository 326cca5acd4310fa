"""A candidate predicts beside the version in use, unseen; its errors are summed up at the Sites and judged."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from flwr.app import Message
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.databases import site_session
from app.services import batch, models, predictions
from db.central import Institution, ModelVersion, TrainingRun
from db.federation import RunEvent, ShadowComparison
from db.site import Patient, Prediction, ShadowPrediction
from db.states import RunStatus
from fl.messages import array_of, body_of, outgoing
from fl.recorder import RunRecorder
from fl.roster import Roster
from fl.settings import RunSettings
from fl.shadow_comparison import gather_shadow, read_sums
from fl.site_shadow import error_sums
from tests.integration.conftest import Consortium
from tests.integration.local_grid import LocalGrid, Misbehaviour, silent, spoil
from tests.integration.shadows import COLUMNS, INPUTS, AddModel, shadow_beside_the_champion

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.fixture
def two(consortium: Consortium, add_model: AddModel) -> tuple[float, float]:
    return shadow_beside_the_champion(consortium, add_model)


def _unseen(site: Session) -> list[tuple[float, str, float]]:
    """Return what each saved prediction said and what the shadow said of it."""
    query = select(Prediction.predicted_cost, ShadowPrediction.model_version, ShadowPrediction.predicted_cost)
    rows = site.execute(query.join(ShadowPrediction, ShadowPrediction.prediction_id == Prediction.id))
    return [(float(told), version, float(unseen)) for told, version, unseen in rows]


def test_the_api_keeps_what_the_shadow_says_and_answers_nothing_of_it(
    consortium: Consortium,
    api: TestClient,
    token_of: Callable[[str], dict[str, str]],
    two: tuple[float, float],
) -> None:
    answer = api.post("/predictions", json=INPUTS, headers=token_of("doctor"))
    assert answer.status_code == 200 and answer.json()["predicted_cost"] == two[0]
    assert "v2" not in answer.text and str(two[1]) not in answer.text and "shadow" not in answer.text
    with consortium.site("northeast") as site:
        assert _unseen(site) == [(two[0], "v2", two[1])]


def test_a_batch_of_patients_keeps_the_shadow_of_each(
    consortium: Consortium, central: Session, two: tuple[float, float]
) -> None:
    ages = {consortium.add_patient("northeast", "Ada", f"Number {age}", age=age): age for age in (20, 40, 60)}
    with site_session(consortium.actors["doctor"]) as site:
        batch.predict_patients(
            central=central, site=site, actor=consortium.actors["doctor"], patient_ids=list(ages)
        )
    with consortium.site("northeast") as site:
        rows = site.execute(
            select(Prediction.patient_id, ShadowPrediction.predicted_cost).join(
                ShadowPrediction, ShadowPrediction.prediction_id == Prediction.id
            )
        ).all()
    loaded = models.champion(central=central).shadow
    assert loaded is not None and loaded.version == "v2"
    expected = {
        patient: round(float(loaded.model.predict({**COLUMNS, "age": [age]})[0]), 2)
        for patient, age in ages.items()
    }
    assert {patient: float(cost) for patient, cost in rows} == expected
    assert len(set(expected.values())) == 3


def test_without_a_shadow_nothing_is_kept(
    consortium: Consortium, central: Session, northeast: Session, add_model: AddModel
) -> None:
    add_model("v1")
    doctor = consortium.actors["doctor"]
    predictions.predict_and_save(central=central, site=northeast, actor=doctor, inputs=INPUTS)
    patient = consortium.add_patient("northeast", "Ada", "Lovelace")
    batch.predict_patients(central=central, site=northeast, actor=doctor, patient_ids=[patient])
    assert northeast.scalars(select(ShadowPrediction)).all() == []


def test_a_shadow_that_gives_no_cost_or_is_damaged_disturbs_nobody(
    consortium: Consortium, central: Session, northeast: Session, two: tuple[float, float]
) -> None:
    doctor = consortium.actors["doctor"]
    with consortium.central() as other:
        row = other.scalars(select(ModelVersion).where(ModelVersion.version == "v2")).one()
        row.preprocessing = {**row.preprocessing, "target_mean": 1e12}
        row.rmse = 1.0
        other.commit()
    saved = predictions.predict_and_save(central=central, site=northeast, actor=doctor, inputs=INPUTS)
    assert float(saved.predicted_cost) == two[0]
    with consortium.central() as other:
        row = other.scalars(select(ModelVersion).where(ModelVersion.version == "v2")).one()
        row.weights, row.rmse = b"abcd", 2.0
        other.commit()
    predictions.predict_and_save(central=central, site=northeast, actor=doctor, inputs=INPUTS)
    assert northeast.scalars(select(ShadowPrediction)).all() == []


def _predicted(
    site: Session,
    number: int,
    *,
    told: float,
    unseen: float,
    actual: float | None,
    patient: uuid.UUID | None = None,
    entered: datetime | None = NOON,
    champion: str = "v1",
    of: str = "v2",
    at: datetime = NOON - timedelta(days=1),
) -> uuid.UUID:
    """Add a patient whose cost was entered `number` minutes after noon, with a prediction of both versions."""
    if patient is None:
        row = Patient(
            first_name="P",
            last_name=f"{number}",
            **{**INPUTS, "bmi": Decimal("27.5")},
            insurance_cost=None if actual is None else Decimal(str(actual)),
            cost_entered_at=None if entered is None else entered + timedelta(minutes=number),
        )
        site.add(row)
        site.flush()
        patient = row.id
    prediction = Prediction(
        patient_id=patient,
        inputs=INPUTS,
        predicted_cost=Decimal(str(told)),
        model_version=champion,
        worker_id=1,
        worker_name="w",
        created_at=at,
    )
    site.add(prediction)
    site.flush()
    site.add(
        ShadowPrediction(prediction_id=prediction.id, model_version=of, predicted_cost=Decimal(str(unseen)))
    )
    return patient


def _ask(consortium: Consortium, **changes: str) -> dict[str, Any]:
    grid = LocalGrid({"northeast": consortium.urls.train_sites["northeast"]})
    fields = {"champion": "v1", "shadow": "v2", **changes}
    (reply,) = grid.pull_messages(grid.push_messages([Message(outgoing(fields), 1, "query.shadow")]))
    body = body_of(reply)
    assert body["outcome"] == "ok", body["reason"]
    return body


def test_a_site_sums_the_errors_of_both_on_patients_whose_cost_came_later(consortium: Consortium) -> None:
    """Ten count, with errors of 100 and 40; of all that does not count, each alone would spoil the sums."""
    with consortium.site("northeast") as site:
        for number in range(9):
            _predicted(site, number, told=5100, unseen=5040, actual=5000)
        # Of several predictions for one patient, the last before the cost was known.
        twice = _predicted(site, 9, told=9999, unseen=1, actual=5000, at=NOON - timedelta(days=9))
        _predicted(site, 9, told=4900, unseen=5040, actual=None, patient=twice)
        spoiled: dict[str, Any] = {"told": 1e6, "unseen": 1, "actual": 5000}
        _predicted(site, 1, **spoiled, entered=None)  # known from the start
        _predicted(site, 2, **spoiled, at=NOON + timedelta(days=1))  # predicted after it was known
        _predicted(site, 3, **{**spoiled, "actual": None})
        _predicted(site, 4, **spoiled, champion="v0")
        _predicted(site, 5, **spoiled, of="v3")
        deleted = _predicted(site, 6, **spoiled)
        site.get_one(Patient, deleted).deleted_at = NOON
        site.commit()
    body = _ask(consortium)
    assert body["num_examples"] == 10
    np.testing.assert_allclose(array_of(body["errors"], "<f8"), [1000, 400, -600, 10 * 60.0**2])


def test_of_fewer_than_ten_nothing_is_said_and_then_only_of_whole_tens(consortium: Consortium) -> None:
    with consortium.site("northeast") as site:
        for number in range(9):
            _predicted(site, number, told=5100, unseen=5040, actual=5000)
        site.commit()
        body = _ask(consortium)
        assert body["num_examples"] == 0 and not array_of(body["errors"], "<f8").any()
        for number in range(9, 15):
            _predicted(site, number, told=5100 + 1000 * (number >= 10), unseen=5040, actual=5000)
        site.commit()
    body = _ask(consortium)
    assert body["num_examples"] == 10
    # Only the ten whose costs were entered first.
    np.testing.assert_allclose(array_of(body["errors"], "<f8"), [1000, 400, -600, 36000])
    assert _ask(consortium, shadow="v9")["num_examples"] == 0


def _roster(consortium: Consortium, grid: LocalGrid) -> Roster:
    with consortium.central() as central:
        run = TrainingRun(
            idempotency_key=str(uuid.uuid4()),
            num_rounds=1,
            strategy="fedavg",
            settings=RunSettings(round_time_limit=1.0).to_json(),
            seed=1,
            status=RunStatus.EVALUATING,
        )
        central.add(run)
        central.commit()
        run_id = run.id
    recorder = RunRecorder(consortium.urls.app_central, run_id)
    return Roster(grid, recorder.plan(), recorder, grid.binding)


def _kept(consortium: Consortium) -> dict[str, tuple[int, float, float, float, float]]:
    with consortium.central() as central:
        rows = central.execute(
            select(Institution.code, ShadowComparison).join(
                Institution, Institution.id == ShadowComparison.institution_id
            )
        ).all()
    return {
        code: (
            row.num_examples,
            row.champion_error,
            row.shadow_error,
            row.difference,
            row.difference_squared,
        )
        for code, row in rows
    }


def _ten_at(consortium: Consortium, code: str, unseen: float) -> None:
    with consortium.site(code) as site:
        for number in range(10):
            _predicted(site, number, told=5100, unseen=unseen, actual=5000)
        site.commit()


def test_a_run_gathers_what_every_site_tells_and_a_later_one_replaces_it(
    consortium: Consortium, two: tuple[float, float]
) -> None:
    _ten_at(consortium, "northeast", 5040)
    _ten_at(consortium, "southwest", 5300)
    grid = LocalGrid(consortium.urls.train_sites)
    gather_shadow(_roster(consortium, grid))
    assert _kept(consortium) == {
        "northeast": (10, 1000, 400, -600, 36000),
        "southwest": (10, 1000, 3000, 2000, 400000),
    }
    _ten_at(consortium, "northeast", 5100)
    with consortium.central() as central:
        central.execute(TrainingRun.__table__.update().values(status="completed", finished_at=NOON))
        central.commit()
    gather_shadow(_roster(consortium, grid))
    assert _kept(consortium)["northeast"] == (20, 2000, 1400, -600, 36000)
    with consortium.central() as central:
        said = central.scalars(select(RunEvent.message).order_by(RunEvent.id.desc())).first()
    assert said is not None and "compared with v1 on 30 patients" in said


@pytest.mark.parametrize(
    "misbehaviour",
    [
        silent,
        spoil(num_examples=3),
        spoil(num_examples=-10),
        spoil(errors=b""),
        spoil(errors=np.array([1000.0, 400.0, 600.0, 36000.0])),
        spoil(errors=np.array([1000.0, 400.0, -600.0, 1.0])),
        spoil(errors=np.array([math.nan] * 4)),
        spoil(outcome="failed"),
    ],
)
def test_a_site_that_is_silent_or_tells_nonsense_harms_neither_the_run_nor_the_others(
    consortium: Consortium, two: tuple[float, float], misbehaviour: Misbehaviour
) -> None:
    _ten_at(consortium, "northeast", 5040)
    _ten_at(consortium, "southwest", 5300)
    grid = LocalGrid(consortium.urls.train_sites, misbehave={("northeast", "query.shadow"): misbehaviour})
    gather_shadow(_roster(consortium, grid))
    assert list(_kept(consortium)) == ["southwest"]


def test_without_a_shadow_no_site_is_asked(consortium: Consortium, add_model: AddModel) -> None:
    add_model("v1")
    grid = LocalGrid(consortium.urls.train_sites)
    gather_shadow(_roster(consortium, grid))
    assert grid.sent == []


def test_sums_that_a_site_makes_are_read_again_as_they_are() -> None:
    generator = np.random.default_rng(1)
    told, unseen, actual = generator.uniform(0, 50000, size=(3, 57))
    made = error_sums(told, unseen, actual)
    read = read_sums({**made, "errors": made["errors"].tobytes()})
    assert read["num_examples"] == 50
    by_hand = [abs(unseen[i] - actual[i]) - abs(told[i] - actual[i]) for i in range(50)]
    assert read["difference"] == pytest.approx(sum(by_hand))
    assert read["difference_squared"] == pytest.approx(sum(value**2 for value in by_hand))
