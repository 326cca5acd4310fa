"""Predicting with the model in use: the right number, the right version, quickly, and kept."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidInput, NoModelYet, NotFound, PermissionRefused
from app.services import models, predictions
from db.central import ModelVersion, VersionStatus
from db.engines import engine_for
from fl.features import encode
from fl.model import forward, initial_weights, unflatten

VALUES = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
AddModel = Callable[..., ModelVersion]


def test_the_number_is_the_networks_output_in_dollars(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    add_model("v3", seed=5)
    made = predictions.predict(central=central, actor=consortium.actors["nurse"], inputs=VALUES)
    scaled = (encode({name: [value] for name, value in VALUES.items()}) / 10.0).astype("float32")
    expected = float(forward(unflatten(initial_weights(5)), scaled)[0]) * 12000 + 13000
    assert float(made.predicted_cost) == pytest.approx(expected, abs=0.02)
    assert (made.model_version, made.inputs, made.cautions) == ("v3", VALUES, [])
    assert made.predicted_cost == made.predicted_cost.quantize(Decimal("0.01"))


def test_no_model_and_bad_values_have_their_errors(consortium: Any, central: Session) -> None:
    nurse = consortium.actors["nurse"]
    with pytest.raises(NoModelYet):
        predictions.predict(central=central, actor=nurse, inputs=VALUES)
    with pytest.raises(InvalidInput) as refused:
        predictions.predict(central=central, actor=nurse, inputs={"age": -1})
    assert len(refused.value.problems) == 6
    for person in ("admin", "scientist"):
        with pytest.raises(PermissionRefused):
            predictions.predict(central=central, actor=consortium.actors[person], inputs=VALUES)


def test_a_new_champion_is_used_at_once(consortium: Any, central: Session, add_model: AddModel) -> None:
    nurse = consortium.actors["nurse"]
    add_model("v1", seed=1)
    first = predictions.predict(central=central, actor=nurse, inputs=VALUES)
    with consortium.central() as other:
        other.execute(update(ModelVersion).values(status=VersionStatus.RETIRED))
        other.commit()
    add_model("v2", seed=2)
    central.commit()
    second = predictions.predict(central=central, actor=nurse, inputs=VALUES)
    assert (first.model_version, second.model_version) == ("v1", "v2")
    assert first.predicted_cost != second.predicted_cost


def test_weights_are_read_once_per_version(consortium: Any, central: Session, add_model: AddModel) -> None:
    add_model("once", seed=77)
    statements: list[str] = []
    engine = engine_for(consortium.urls.central)

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", remember)
    try:
        for _ in range(3):
            predictions.predict(central=central, actor=consortium.actors["nurse"], inputs=VALUES)
            central.commit()
    finally:
        event.remove(engine, "before_cursor_execute", remember)
    assert len(statements) == 4
    assert sum("model_versions.weights " in statement for statement in statements) == 1


def test_damaged_weights_and_other_columns_are_not_used(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    nurse = consortium.actors["nurse"]
    for number, (column, value) in enumerate(
        [
            ("weights", b"\x00" * 8),
            ("weights_sha256", "0" * 64),
            ("preprocessing", {"input_names": ["age"]}),
        ]
    ):
        with consortium.central() as other:
            other.execute(update(ModelVersion).values(status=VersionStatus.RETIRED))
            other.commit()
        add_model(f"bad{number}", **{column: value})
        central.commit()
        with pytest.raises(Conflict, match=f"Model bad{number} cannot be used"):
            predictions.predict(central=central, actor=nurse, inputs=VALUES)


def test_a_model_that_answers_no_number_is_a_named_error(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    row = add_model("broken")
    preprocessing = {**row.preprocessing, "target_scale": float("inf")}
    loaded = models.champion(central=central)
    model = type(loaded.model)(
        type(loaded.model.preprocessing).from_json(preprocessing), loaded.model.weights
    )
    with pytest.raises(Conflict, match="no usable cost"):
        predictions.predict_with(models.LoadedModel("broken", model, row), VALUES)


def test_a_prediction_takes_less_than_a_millisecond(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    add_model()
    loaded = models.champion(central=central)
    seconds = []
    for age in range(18, 65):
        began = time.perf_counter()
        values, problems = predictions.validate({**VALUES, "age": age})
        made = predictions.predict_with(loaded, values)
        seconds.append(time.perf_counter() - began)
        assert not problems
        assert made.predicted_cost > 0
    assert statistics.median(seconds) < 0.001


def test_saved_predictions_are_listed_newest_first_page_by_page(
    consortium: Any, central: Session, northeast: Session, add_model: AddModel
) -> None:
    add_model()
    doctor = consortium.actors["doctor"]
    patient = consortium.add_patient("northeast", "Ada", "Own")
    saved = []
    for age in range(20, 27):
        row = predictions.predict_and_save(
            central=central,
            site=northeast,
            actor=doctor,
            inputs={**VALUES, "age": age},
            patient_id=patient if age == 20 else None,
        )
        northeast.commit()
        saved.append(row.id)
    first = predictions.history(site=northeast, actor=doctor, limit=3)
    predictions.save(
        site=northeast,
        actor=doctor,
        prediction=predictions.predict(central=central, actor=doctor, inputs=VALUES),
    )
    northeast.commit()
    second = predictions.history(site=northeast, actor=doctor, limit=4, cursor=first.next_cursor)
    listed = [row.id for row in (*first.items, *second.items)]
    assert listed == saved[::-1]
    assert second.next_cursor is None
    oldest = second.items[-1]
    assert (oldest.patient_id, oldest.worker_name) == (patient, "The doctor")
    assert oldest.inputs == {**VALUES, "age": 20}


def test_saving_for_a_patient_of_nobody_is_not_found(
    consortium: Any, central: Session, northeast: Session, add_model: AddModel
) -> None:
    add_model()
    with pytest.raises(NotFound):
        predictions.predict_and_save(
            central=central,
            site=northeast,
            actor=consortium.actors["doctor"],
            inputs=VALUES,
            patient_id=uuid.uuid4(),
        )


def test_versions_are_listed_without_their_weights(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    for number in range(3):
        add_model(f"v{number}", status="candidate")
    scientist = consortium.actors["scientist"]
    first = models.list_versions(central=central, actor=scientist, limit=2)
    rest = models.list_versions(central=central, actor=scientist, limit=2, cursor=first.next_cursor)
    assert [row.version for row in (*first.items, *rest.items)] == ["v2", "v1", "v0"]
    assert "weights" not in vars(first.items[0])
    assert models.get_version(central=central, actor=scientist, version="v1").training_round == 3
    with pytest.raises(NotFound):
        models.get_version(central=central, actor=scientist, version="v9")
    with pytest.raises(PermissionRefused):
        models.list_versions(central=central, actor=consortium.actors["nurse"])
    for cursor in ("x", "-1", "99999999999", "²"):
        with pytest.raises(InvalidInput):
            models.list_versions(central=central, actor=scientist, cursor=cursor)
