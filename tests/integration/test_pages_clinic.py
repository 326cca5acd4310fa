"""What doctors and nurses do: predict, save, find again, import patients; the model card."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from app.databases import central_session
from app.services import predictions
from db.central import ModelVersion
from db.site import AccessEvent, Patient, Prediction
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, page_of, words

AddModel = Callable[..., ModelVersion]
VALUES = {"age": 45, "sex": "male", "bmi": 31.5, "children": 2, "smoker": "yes", "region": "southeast"}


def fill(app: AppTest, prefix: str, **values: object) -> None:
    for name, value in {**VALUES, **values}.items():
        kind = {"sex": "segmented_control", "smoker": "segmented_control", "region": "selectbox"}.get(
            name, "number_input"
        )
        getattr(app, kind)(key=f"{prefix}_{name}").set_value(value)


def predicted(app: AppTest) -> str:
    return next(str(element.body) for element in app.html if "amount" in str(element.body))


def test_before_the_first_model_predict_says_so(consortium: Consortium) -> None:
    app = page_of(consortium, "doctor", "predict")
    assert "No model has been trained yet. An administrator starts the first training" in words(app)
    assert not app.number_input


def test_a_prediction_names_its_cost_and_its_version(consortium: Consortium, add_model: AddModel) -> None:
    add_model("v3")
    app = page_of(consortium, "nurse", "predict")
    fill(app, "predict")
    app.button(key="predict_submit").click().run()
    assert not app.exception
    with central_session() as central:
        expected = predictions.predict(central=central, actor=consortium.actors["nurse"], inputs=VALUES)
    assert f"${expected.predicted_cost:,.0f}" in predicted(app)
    assert "Model version v3" in words(app)
    assert "Age 45 years · Sex male · BMI 31.5 kg/m² · Children 2 · Smoker yes · Region southeast" in words(
        app
    )


def test_an_empty_form_names_every_field(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = page_of(consortium, "doctor", "predict")
    app.button(key="predict_submit").click().run()
    for label in ("Age", "Sex", "Body mass index (BMI)", "Children", "Smoker", "Region"):
        assert f"{label} is missing" in words(app)
    assert not any("amount" in str(element.body) for element in app.html)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("age", 121, "Age is '121'; expected a whole number from 0 to 120 (years)."),
        ("age", -1, "Age is '-1'"),
        ("bmi", 9.9, "Body mass index (BMI) is '9.9'"),
        ("bmi", 100.1, "Body mass index (BMI) is '100.1'"),
        ("children", -1, "Children is '-1'"),
    ],
)
def test_a_value_out_of_range_is_named_and_the_rest_is_kept(
    consortium: Consortium, add_model: AddModel, name: str, value: float, sentence: str
) -> None:
    add_model()
    app = page_of(consortium, "doctor", "predict")
    fill(app, "predict", **{name: value})
    app.button(key="predict_submit").click().run()
    assert sentence in words(app)
    assert app.selectbox(key="predict_region").value == "southeast"


def test_an_unusual_patient_gets_a_caution(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = page_of(consortium, "doctor", "predict")
    fill(app, "predict", age=80)
    app.button(key="predict_submit").click().run()
    assert "Age 80 is outside 18–64 years" in words(app)


def test_a_saved_prediction_is_in_the_history(consortium: Consortium, add_model: AddModel) -> None:
    add_model("v3")
    app = page_of(consortium, "doctor", "predict")
    fill(app, "predict")
    app.button(key="predict_submit").click().run()
    shown = predicted(app)
    app.button(key="predict_save").click().run()
    assert "Saved. You find it under History." in words(app)
    assert not has_key(app, "predict_save")
    app.switch_page("../pages/history.py").run()
    row = app.dataframe[0].value.iloc[0]
    assert row["Predicted (USD a year)"] in shown
    assert (row["Model"], row["By"], row["Age (years)"], row["Smoker"]) == ("v3", "The doctor", "45", "Yes")


def test_an_empty_history_says_what_to_do(consortium: Consortium) -> None:
    app = page_of(consortium, "doctor", "history")
    assert "No prediction has been saved yet" in words(app)


def test_the_history_of_another_hospital_stays_there(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = page_of(consortium, "other_doctor", "predict")
    fill(app, "predict")
    app.button(key="predict_submit").click().run()
    app.button(key="predict_save").click().run()
    assert "No prediction has been saved yet" in words(page_of(consortium, "doctor", "history"))


def test_predict_comes_filled_with_a_patients_values(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    patient_id = consortium.add_patient("northeast", "Ann", "Lee_*Ng*", age=61, smoker="yes")
    app = page_of(consortium, "doctor", "predict")
    app.query_params["patient"] = str(patient_id)
    app.run()
    assert "For **Lee_*Ng*, Ann**" in words(app)
    assert app.number_input(key="predict_age").value == 61
    app.button(key="predict_submit").click().run()
    app.button(key="predict_save").click().run()
    with consortium.site("northeast") as site:
        assert site.scalars(select(Prediction.patient_id)).one() == patient_id
        assert "patient_read" in site.scalars(select(AccessEvent.action)).all()


def test_another_hospitals_patient_does_not_exist_here(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    patient_id = consortium.add_patient("southwest", "Zoe", "Lee")
    app = page_of(consortium, "doctor", "predict")
    app.query_params["patient"] = str(patient_id)
    app.run()
    assert "There is no such patient in your hospital." in words(app)
    assert "Zoe" not in words(app)


def test_a_prediction_does_not_stay_for_the_next_patient(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    app = page_of(consortium, "doctor", "predict")
    fill(app, "predict")
    app.button(key="predict_submit").click().run()
    assert has_key(app, "predict_save")
    app.query_params["patient"] = str(patient_id)
    app.run()
    assert not has_key(app, "predict_save")


def test_a_nurse_has_no_import(consortium: Consortium) -> None:
    assert not page_of(consortium, "nurse", "patients").file_uploader


def test_a_file_with_problems_imports_nothing_and_lists_them_all(consortium: Consortium) -> None:
    app = page_of(consortium, "doctor", "patients")
    content = (
        b"age,sex,bmi,children,smoker,region,charges\n"
        b"19,female,27.9,0,yes,southwest,16884.92\n"
        b"190,female,27.9,0,yes,southwest,1\n"
        b"30,male,20,-1,no,mars,1\n"
    )
    app.file_uploader[0].set_value(("patients.csv", content, "text/csv")).run()
    assert "Nothing was imported: 3 problems found." in words(app)
    found = app.dataframe[-1].value
    assert list(zip(found["Row"], found["Column"], strict=True)) == [
        (3, "age"),
        (4, "children"),
        (4, "region"),
    ]
    assert not has_key(app, "patients_import_confirmed")
    assert _count_patients(consortium) == 0


def test_a_good_file_is_imported_whole(consortium: Consortium) -> None:
    app = page_of(consortium, "doctor", "patients")
    content = (
        b"first_name,last_name,age,sex,bmi,children,smoker,region,insurance_cost\n"
        b"Ann,Lee,19,female,27.9,0,yes,southwest,16884.92\n"
        b"Bob,Ng,33,male,22.7,0,no,northwest,\n"
    )
    app.file_uploader[0].set_value(("patients.csv", content, "text/csv")).run()
    assert "The file is in order: 2 patients, 1 of them with a known cost." in words(app)
    assert _count_patients(consortium) == 0
    app.button(key="patients_import_confirmed").click().run()
    assert not app.exception
    assert _count_patients(consortium) == 2
    assert list(app.dataframe[0].value["Name"]) == ["Lee, Ann", "Ng, Bob"]


def test_the_model_card_says_what_it_is_and_what_it_is_not_for(
    consortium: Consortium, add_model: AddModel
) -> None:
    metrics = {"institutions": {"northeast": {"num_examples": 60, "mae": 2800.0, "rmse": 4900.0, "r2": 0.81}}}
    add_model("v3", metrics=metrics)
    app = page_of(consortium, "nurse", "model_card")
    said = words(app)
    assert "**Version v3**" in said
    assert "1 hospital on 1,000 patients (round 3 of run" in said
    assert "What it must not be used for" in said
    assert {metric.label: metric.value.replace("\\", "") for metric in app.metric} == {
        "R²": "0.800",
        "MAE (USD a year)": "$3,000",
        "RMSE (USD a year)": "$5,000",
        "Rows trained on": "1,000",
    }
    assert app.table[0].value.iloc[0]["R²"] == "0.810"


def test_models_lists_versions_and_marks_the_one_in_use(consortium: Consortium, add_model: AddModel) -> None:
    add_model("v1")
    add_model("v2", status="candidate", r2=0.7, metrics={"decision": "Not better than v1."})
    app = page_of(consortium, "scientist", "models")
    listed = app.dataframe[0].value
    assert list(zip(listed["Version"], listed["Status"], strict=True)) == [
        ("v2", "Waiting for a decision"),
        ("v1", "In use"),
    ]
    assert "Version v1" in words(app)
    app.query_params["version"] = "v2"
    app.run()
    assert "Version v2" in words(app)
    assert "Not better than v1." in words(app)


def test_without_versions_models_says_where_the_first_comes_from(consortium: Consortium) -> None:
    assert "It starts on the Training page." in words(page_of(consortium, "admin", "models"))


def _count_patients(consortium: Consortium) -> int:
    with consortium.site("northeast") as site:
        return site.scalar(select(func.count()).select_from(Patient)) or 0
