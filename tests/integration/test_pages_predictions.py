"""One prediction: who may make it, the answer while one types, what explains it, and what is saved."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
import streamlit as st
from sqlalchemy import select

from app.databases import central_session
from app.services import explanations
from db.site import AccessEvent, Prediction
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words
from tests.integration.prediction_pages import (
    CALIBRATED,
    VALUES,
    AddModel,
    chart,
    fill,
    history_at,
    listed,
    predicted,
    saved,
)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    st.cache_data.clear()
    yield
    st.cache_data.clear()


@pytest.mark.parametrize("name", ["predict", "history", "batch"])
@pytest.mark.parametrize("person", ["scientist", "admin"])
def test_who_may_see_no_patient_may_not_predict(consortium: Consortium, person: str, name: str) -> None:
    app = opened(consortium, person, f"pages/{name}.py").run()
    assert [error.value.replace("\\", "") for error in app.error] == [
        "Your role does not include this. Ask an administrator if you need it."
    ]
    assert not app.title


def test_a_nurse_predicts_and_reads_the_history_but_neither_exports_nor_makes_batches(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model()
    saved(consortium, consortium.add_patient("northeast", "Ann", "Lee"))
    app = fill(page_of(consortium, "nurse", "predict"), **VALUES)
    assert predicted(app)
    app = history_at(consortium, "nurse")
    assert [cells[0] for cells in listed(app)] == ["Lee, Ann"]
    assert not app.get("download_button")
    refused = opened(consortium, "nurse", "pages/batch.py").run()
    assert "Your role does not include this" in words(refused)
    assert len(history_at(consortium, "doctor").get("download_button")) == 2


@pytest.mark.parametrize("name", ["predict", "batch"])
def test_before_the_first_model_a_page_says_what_is_missing(consortium: Consortium, name: str) -> None:
    app = page_of(consortium, "doctor", name)
    assert "No model has been trained yet. An administrator starts the first training" in words(app)
    assert not app.text_input


def test_the_answer_comes_with_the_sixth_value_and_without_a_button(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v3", metrics=CALIBRATED)
    app = page_of(consortium, "nurse", "predict")
    assert "Still to fill in: Age (years), Sex, BMI (kg/m²), Children, Smoker, Region." in words(app)
    assert "is missing" not in words(app)
    fill(app, **{name: value for name, value in VALUES.items() if name != "region"})
    assert "Still to fill in: Region." in words(app)
    assert predicted(app) is None
    fill(app, region="southeast")
    with central_session() as central:
        expected, _ = explanations.explain(central=central, actor=consortium.actors["nurse"], inputs=VALUES)
    assert f"${expected.predicted_cost:,.0f}" in str(predicted(app))
    low, high = expected.predicted_cost - 4000, expected.predicted_cost + 6000
    assert f"Nine in ten such patients cost between ${low:,.0f} and ${high:,.0f} a year." in words(app)
    assert "Age 45 years · Sex male · BMI 31.5 kg/m² · Children 2 · Smoker yes · Region southeast" in words(
        app
    )
    assert "model version v3" in words(app)


def test_a_changed_value_changes_the_answer(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    before = predicted(app)
    fill(app, age=60)
    assert predicted(app) not in (None, before)


def test_a_version_without_calibration_says_that_it_cannot_say_how_far_off_it_is(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v1")
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    assert "model version v1 came without a measured interval." in words(app)
    assert "Nine in ten" not in words(app)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("age", "121", "Age is '121'; expected a whole number from 0 to 120 (years)."),
        ("bmi", "9.9", "Body mass index (BMI) is '9.9'"),
        ("children", "-1", "Children is '-1'"),
    ],
)
def test_a_wrong_value_is_named_and_the_old_answer_goes(
    consortium: Consortium, add_model: AddModel, name: str, value: str, sentence: str
) -> None:
    add_model()
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    assert predicted(app)
    fill(app, **{name: value})
    assert sentence in words(app)
    assert "Please correct the marked field" in words(app)
    assert predicted(app) is None
    assert not app.get("plotly_chart")
    assert not has_key(app, "predict_save")
    assert app.selectbox(key="predict_region").value == "southeast"
    fill(app, **VALUES)
    assert predicted(app)


def test_unusual_values_have_a_caution_beside_the_cost(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = fill(page_of(consortium, "doctor", "predict"), **{**VALUES, "age": 95, "bmi": 70})
    cautions = [warning.value.replace("\\", "") for warning in app.warning]
    assert [caution.split(",")[0] for caution in cautions] == [
        "Age 95 is outside 18–64 years",
        "Body mass index (BMI) 70 is outside 15.5–54 kg/m²",
    ]


def test_the_steps_of_the_chart_lead_from_the_average_to_the_predicted_cost(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model()
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    with central_session() as central:
        cost, why = explanations.explain(central=central, actor=consortium.actors["doctor"], inputs=VALUES)
    bars, ends = chart(app, "predict_contributions")["data"]
    assert len(bars["y"]) == 6
    assert ends["x"][0] == pytest.approx(why.base_cost)
    assert ends["x"][1] == pytest.approx(float(cost.predicted_cost), abs=0.01)
    assert [abs(move) for move in bars["x"]] == sorted((abs(move) for move in bars["x"]), reverse=True)
    for move, text, hatch in zip(bars["x"], bars["text"], bars["marker"]["pattern"]["shape"], strict=True):
        assert (text[0] == "+", hatch == "") == (move >= 0, move >= 0), (
            "up and down are told apart without colour"
        )


def test_what_would_change_the_cost_is_what_the_model_predicts_then(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model()
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    with central_session() as central:
        _, why = explanations.explain(central=central, actor=consortium.actors["doctor"], inputs=VALUES)
    table = app.table[0].value
    assert list(table["If the patient"])[:2] == ["stops smoking", "reaches BMI 25"]
    assert [cell.replace("\\", "") for cell in table["Predicted"]] == [
        f"${one.cost:,.0f}" for one in why.what_ifs
    ]
    assert "it is not a promise" in words(app)
    fill(app, smoker="no", bmi=22)
    assert not app.table
    assert "Neither smoking nor a body mass index above 25" in words(app)


def test_too_few_known_costs_are_not_compared_with(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    consortium.add_patient("northeast", "Ann", "Lee")
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    assert "1 patient of your hospital with a known cost: too few to compare with." in words(app)


def test_the_cost_is_placed_among_the_own_hospitals_known_costs(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model(metrics=CALIBRATED)
    for number in range(20):
        consortium.add_patient("northeast", "Ann", f"Lee{number}", insurance_cost=Decimal(1000))
    consortium.add_patient("southwest", "Zoe", "Ng", insurance_cost=Decimal(90_000))
    consortium.add_patient("northeast", "Una", "Known", insurance_cost=None)
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    with central_session() as central:
        expected, _ = explanations.explain(central=central, actor=consortium.actors["doctor"], inputs=VALUES)
    assert "is more than nearly all of the 20 patients with a known cost had." in words(app)
    drawn = chart(app, "predict_standing")
    interval, bars, mark = drawn["data"]
    assert sum(bars["y"]) == 20
    assert mark["x"][0] == pytest.approx(float(expected.predicted_cost))
    assert expected.interval is not None
    assert (interval["x"][0], interval["x"][-1]) == tuple(float(end) for end in expected.interval)
    assert drawn["layout"]["xaxis"]["range"][1] > interval["x"][-1], "the interval is drawn to its end"


def test_what_is_saved_is_what_stood_on_the_screen_and_stands_in_the_history(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v3", metrics=CALIBRATED)
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    shown = str(predicted(app))
    # The age is typed over at the moment of the press.
    app.text_input(key="predict_age").set_value("20")
    app.button(key="predict_save").click().run()
    assert has_key(app, "predict_save"), "the other age is another prediction, not saved yet"
    fill(app, **VALUES)
    assert "Saved to history." in words(app)
    assert not has_key(app, "predict_save")
    with consortium.site("northeast") as site:
        kept = site.scalars(select(Prediction)).one()
    assert kept.inputs == VALUES
    assert f"${kept.predicted_cost:,.0f}" in shown
    app.switch_page("../pages/history.py").run()
    (row,) = listed(app)
    assert (row[0], row[4], row[6], row[7]) == ("no patient", "not known yet", "v3", "The doctor")
    assert row[2] in shown


def test_the_history_of_another_hospital_stays_there(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = fill(page_of(consortium, "other_doctor", "predict"), **VALUES)
    app.button(key="predict_save").click().run()
    assert "No prediction has been saved yet" in words(page_of(consortium, "doctor", "history"))


def test_predict_comes_filled_with_a_patients_values_and_saves_for_them(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model()
    patient_id = consortium.add_patient("northeast", "Ann", "Lee_*Ng*", age=61, smoker="yes")
    app = page_of(consortium, "doctor", "predict")
    app.query_params["patient"] = str(patient_id)
    app.run()
    assert "For **Lee_*Ng*, Ann**" in words(app)
    assert (app.text_input(key="predict_age").value, app.text_input(key="predict_bmi").value) == (
        "61",
        "27.5",
    )
    assert predicted(app)
    app.button(key="predict_save").click().run()
    with consortium.site("northeast") as site:
        assert site.scalars(select(Prediction.patient_id)).one() == patient_id
        assert "patient_read" in site.scalars(select(AccessEvent.action)).all()
    app.button(key="predict_other").click().run()
    assert app.text_input(key="predict_age").value == ""
    assert predicted(app) is None


def test_another_hospitals_patient_does_not_exist_here(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    patient_id = consortium.add_patient("southwest", "Zoe", "Lee")
    app = page_of(consortium, "doctor", "predict")
    app.query_params["patient"] = str(patient_id)
    app.run()
    assert "There is no such patient in your hospital." in words(app)
    assert "Zoe" not in words(app)
    assert predicted(app) is None


def test_a_prediction_does_not_stay_for_the_next_patient(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    patient_id = consortium.add_patient("northeast", "Ann", "Lee", age=20)
    app = fill(page_of(consortium, "doctor", "predict"), **VALUES)
    before = predicted(app)
    app.query_params["patient"] = str(patient_id)
    app.run()
    assert predicted(app) not in (None, before)
    assert "Age 20 years" in words(app)
