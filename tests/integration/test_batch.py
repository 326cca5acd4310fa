"""Predicting many patients at once: the same numbers as one by one, all of them or none, kept and on record."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NoModelYet, NotFound, PermissionRefused
from app.services import batch, predictions
from app.services.import_mapping import guess_mapping
from app.services.patient_query import PatientFilter
from app.services.tabular import read_table
from db.central import ModelVersion
from db.cohort import generate
from db.site import AccessEvent, Prediction
from fl.features import FEATURE_NAMES
from fl.intervals import Calibration, GroupInterval

AddModel = Callable[..., ModelVersion]
CALIBRATION = Calibration({"no": GroupInterval(-1000.0, 2500.5, 100, False), "yes": None})
ROW = {"age": 40, "sex": "male", "bmi": 27.5, "children": 2, "smoker": "no", "region": "northeast"}
FILE = """Patient;Age;Gender;BMI;Children;Smoker;Region
A;40;M;27,5;2;N;northeast
B;95;F;33,1;0;Y;SW

C;18;female;70,25;9;no;south-east
"""


def checked(text: str) -> batch.BatchCheck:
    table = read_table(text.encode(), "patients.csv")
    return batch.check_batch(table, guess_mapping(table.header))


def csv_of(size: int) -> bytes:
    cohort = generate(size, seed=8)
    columns = [getattr(cohort, name).tolist() for name in FEATURE_NAMES]
    lines = [",".join(FEATURE_NAMES), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    return "\n".join(lines).encode()


def test_a_messy_file_gets_the_same_costs_as_one_by_one(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    add_model(metrics={"calibration": CALIBRATION.to_json()})
    doctor = consortium.actors["doctor"]
    result = batch.predict_batch(central=central, actor=doctor, check=checked(FILE))
    assert (len(result), result.model_version) == (3, "v1")
    assert result.rows.tolist() == [2, 3, 5]
    for number in range(3):
        values = {name: result.columns[name][number].item() for name in FEATURE_NAMES}
        one = predictions.predict(central=central, actor=doctor, inputs=values)
        assert result.cost[number] == pytest.approx(float(one.predicted_cost), abs=0.011)
        assert result.cautions[number] == " ".join(one.cautions)
        ends = (result.low[number], result.high[number])
        if one.interval is None:
            assert np.isnan(ends).all()
        else:
            assert ends == pytest.approx([float(end) for end in one.interval], abs=0.011)
    assert (result.columns["sex"].tolist(), result.columns["bmi"].tolist()) == (
        ["male", "female", "female"],
        [27.5, 33.1, 70.25],
    )
    records = list(result.records())
    assert len(records[0]) == len(result.headings()) == 11
    assert records[0][:7] == (2, 40, "male", 27.5, 2, "no", "northeast")
    assert records[1][8:10] == (None, None)
    assert "kg/m²" in result.headings()[3]


def test_all_that_is_wrong_is_listed_by_row_and_column_and_nothing_is_predicted(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    add_model()
    wrong = FILE.replace("40;M", "forty;X").replace("95;F", "200;F") + "D;40;M\n"
    check = checked(wrong)
    assert [(problem.row, problem.column) for problem in check.problems] == [
        (2, "Age"),
        (2, "Gender"),
        (3, "Age"),
        (6, None),
    ]
    assert "'forty'" in check.problems[0].message
    with pytest.raises(InvalidInput) as refused:
        batch.predict_batch(central=central, actor=consortium.actors["doctor"], check=check)
    assert refused.value.problems[2].message.startswith("Row 3: Age is '200'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,sex,bmi,children,smoker\n40,male,27.5,2,no\n", "No column is Region"),
        ("age,sex,bmi,children,smoker,region\n", "no patients"),
    ],
)
def test_a_file_without_a_column_or_without_patients_is_refused(text: str, message: str) -> None:
    check = checked(text)
    assert len(check) == 0
    assert any(message in problem.message for problem in check.problems)


def test_rows_of_the_api_name_every_wrong_value(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    doctor = consortium.actors["doctor"]
    with pytest.raises(NoModelYet):
        batch.predict_rows(central=central, actor=doctor, rows=[ROW])
    add_model()
    rows = [ROW, {**ROW, "age": True, "smoker": None}, {"age": 1}, {**ROW, "bmi": [1]}]
    with pytest.raises(InvalidInput) as refused:
        batch.predict_rows(central=central, actor=doctor, rows=rows)
    assert [problem.field for problem in refused.value.problems] == [
        "rows.1.age",
        "rows.1.smoker",
        *(f"rows.2.{name}" for name in FEATURE_NAMES if name != "age"),
        "rows.3.bmi",
    ]
    result = batch.predict_rows(central=central, actor=doctor, rows=[ROW, {**ROW, "age": 41}])
    assert (result.rows.tolist(), result.columns["age"].tolist()) == ([1, 2], [40, 41])
    for none_or_too_many in ([], [ROW] * (batch.MAX_ROWS + 1)):
        with pytest.raises(InvalidInput) as size:
            batch.predict_rows(central=central, actor=doctor, rows=none_or_too_many)
        assert size.value.problems[0].field == "rows"


def test_a_selection_of_patients_is_kept_in_the_history_and_in_the_access_log(
    consortium: Any, central: Session, northeast: Session, add_model: AddModel
) -> None:
    add_model(metrics={"calibration": CALIBRATION.to_json()})
    doctor = consortium.actors["doctor"]
    names = [('Q"uote', "Comma, Inc"), ("Ada", "Lovelace"), ("Åsa", "Zeta")]
    patients = [
        consortium.add_patient("northeast", first, last, age=30 + number, smoker=("no", "yes", "no")[number])
        for number, (first, last) in enumerate(names)
    ]
    consortium.add_patient("northeast", "Not", "Meant", age=80)
    consortium.add_patient("northeast", "Ada", "Gone", age=30, deleted_at=datetime.now(UTC))
    told: list[float] = []
    result = batch.predict_patients(
        central=central,
        site=northeast,
        actor=doctor,
        filter=PatientFilter(age_to=70),
        progress=told.append,
    )
    northeast.commit()
    assert result.patient_ids == patients
    assert result.patient_names == ['Comma, Inc, Q"uote', "Lovelace, Ada", "Zeta, Åsa"]
    assert next(result.records())[0] == 'Comma, Inc, Q"uote'
    assert told == sorted(told)
    assert told[-1] == 1.0
    kept = {one.patient_id: one for one in northeast.scalars(select(Prediction))}
    assert set(kept) == set(patients)
    for number, patient in enumerate(patients):
        one = kept[patient]
        assert one.predicted_cost == Decimal(f"{result.cost[number]:.2f}")
        assert one.inputs == {name: result.columns[name][number].item() for name in FEATURE_NAMES}
        assert (one.model_version, one.worker_id, one.worker_name) == ("v1", doctor.worker_id, doctor.name)
        if one.inputs["smoker"] == "yes":
            assert (one.interval_low, one.interval_high) == (None, None)
        else:
            assert one.interval_high == one.predicted_cost + Decimal("2500.50")
    events = northeast.scalars(select(AccessEvent).order_by(AccessEvent.id)).all()
    assert events[0].action == "patients_predicted"
    assert events[0].details == {"count": 3, "filters": ["age_to"]}
    assert {(one.action, one.patient_id, one.details["prediction_id"]) for one in events[1:]} == {
        ("prediction_saved", patient, str(kept[patient].id)) for patient in patients
    }
    assert {(one.worker_id, one.address) for one in events} == {(doctor.worker_id, "192.0.2.1")}


def test_a_list_of_patients_keeps_its_order_and_is_all_or_none(
    consortium: Any, central: Session, northeast: Session, add_model: AddModel
) -> None:
    add_model()
    doctor = consortium.actors["doctor"]
    zeta = consortium.add_patient("northeast", "A", "Zeta")
    alpha = consortium.add_patient("northeast", "B", "Alpha")
    gone = consortium.add_patient("northeast", "C", "Gone", deleted_at=datetime.now(UTC))
    asks: dict[str, Any] = {"central": central, "site": northeast, "actor": doctor}
    result = batch.predict_patients(**asks, patient_ids=[zeta, alpha, zeta])
    assert result.patient_ids == [zeta, alpha]
    northeast.rollback()
    for unknown in (gone, uuid.uuid4()):
        with pytest.raises(NotFound):
            batch.predict_patients(**asks, patient_ids=[zeta, unknown])
    for wanted in (
        {},
        {"patient_ids": []},
        {"patient_ids": [zeta], "filter": PatientFilter()},
        {"filter": PatientFilter(age_from=99)},
        {"filter": PatientFilter(age_from=999)},
    ):
        with pytest.raises(InvalidInput):
            batch.predict_patients(**asks, **wanted)
    assert northeast.scalar(select(func.count()).select_from(Prediction)) == 0


def test_two_selections_may_be_predicted_in_one_transaction(
    consortium: Any, central: Session, northeast: Session, add_model: AddModel
) -> None:
    add_model()
    patient = consortium.add_patient("northeast", "A", "Zeta")
    for _ in range(2):
        batch.predict_patients(
            central=central, site=northeast, actor=consortium.actors["doctor"], patient_ids=[patient]
        )
    northeast.commit()
    assert northeast.scalar(select(func.count()).select_from(Prediction)) == 2


@pytest.mark.parametrize("person", ["nurse", "admin", "scientist"])
def test_only_doctors_predict_many_at_once(
    consortium: Any, central: Session, northeast: Session, add_model: AddModel, person: str
) -> None:
    add_model()
    actor = consortium.actors[person]
    with pytest.raises(PermissionRefused):
        batch.predict_batch(central=central, actor=actor, check=checked(FILE))
    with pytest.raises(PermissionRefused):
        batch.predict_rows(central=central, actor=actor, rows=[ROW])
    with pytest.raises(PermissionRefused):
        batch.predict_patients(central=central, site=northeast, actor=actor, filter=PatientFilter())


def test_twenty_thousand_rows_take_a_second_of_processor_time(
    consortium: Any, central: Session, add_model: AddModel
) -> None:
    add_model(metrics={"calibration": CALIBRATION.to_json()})
    told: list[float] = []
    content = csv_of(20_000)
    began = time.thread_time()
    table = read_table(content, "patients.csv")
    check = batch.check_batch(table, guess_mapping(table.header))
    result = batch.predict_batch(
        central=central, actor=consortium.actors["doctor"], check=check, progress=told.append
    )
    seconds = time.thread_time() - began
    assert len(result) == 20_000
    assert told == [0.5, 1.0]
    # A fifth of what 100,000 rows may take, which `make bench-predict` measures.
    assert seconds < 1.0
