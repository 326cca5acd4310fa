"""What doctors and nurses do with predictions: see them as they type, keep them, find them again, make many."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import streamlit as st
from sqlalchemy import func, select, update
from streamlit.testing.v1 import AppTest

from app.components.prediction_accuracy import accuracy_in_words
from app.components.prediction_downloads import DownloadFailed, _content
from app.components.prediction_table import export_headings, export_row
from app.databases import central_session, site_session
from app.permissions import Permission
from app.services import explanations, prediction_history
from app.services.prediction_history import MonthAccuracy
from app.services.tabular import read_table, write_csv
from db.central import ModelVersion
from db.site import AccessEvent, Patient, Prediction
from fl.intervals import Calibration, GroupInterval
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words

AddModel = Callable[..., ModelVersion]
VALUES = {"age": 45, "sex": "male", "bmi": 31.5, "children": 2, "smoker": "yes", "region": "southeast"}
KINDS = {"sex": "segmented_control", "smoker": "segmented_control", "region": "selectbox"}
CALIBRATED = {
    "calibration": Calibration(
        {
            "yes": GroupInterval(-4000.0, 6000.0, 100, all_patients=False),
            "no": GroupInterval(-2000.0, 3000.0, 400, all_patients=False),
        }
    ).to_json()
}
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    st.cache_data.clear()
    yield
    st.cache_data.clear()


def fill(app: AppTest, **values: object) -> AppTest:
    """Type values into the form and let the page answer; no button is pressed."""
    for name, value in values.items():
        kind = KINDS.get(name, "text_input")
        getattr(app, kind)(key=f"predict_{name}").set_value(value if name in KINDS else str(value))
    return app.run()


def predicted(app: AppTest) -> str | None:
    """Return the large number, None while there is none."""
    return next((str(part.body) for part in app.html if "amount" in str(part.body)), None)


def chart(app: AppTest, key: str) -> dict[str, Any]:
    """Return a chart as it is sent to the browser."""
    found = next(part for part in app.get("plotly_chart") if f"-{key}" in part.proto.id)
    drawn: dict[str, Any] = json.loads(found.proto.spec)
    return drawn


def listed(app: AppTest) -> list[list[str]]:
    """Return the cells of the history's table."""
    return [
        row["cells"] for table in app.get("bidi_component") for row in json.loads(table.proto.json)["rows"]
    ]


def saved(
    consortium: Consortium,
    patient_id: uuid.UUID | None,
    cost: str = "8000",
    *,
    days_ago: float = 1,
    person: str = "nurse",
    **columns: Any,
) -> None:
    """Put a prediction into the northeast's history."""
    with consortium.site("northeast") as site:
        site.add(
            Prediction(
                patient_id=patient_id,
                inputs=VALUES,
                predicted_cost=Decimal(cost),
                worker_id=consortium.workers[person].id,
                worker_name=consortium.workers[person].name,
                created_at=NOW - timedelta(days=days_ago),
                **{"model_version": "v1", **columns},
            )
        )
        site.commit()


def history_at(consortium: Consortium, person: str = "doctor", **address: str) -> AppTest:
    """Open the history as a copied address would."""
    app = page_of(consortium, person, "history")
    app.query_params.clear()
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def address_of(app: AppTest) -> dict[str, str]:
    """Return the query of the page's address."""
    query = {name: app.query_params[name] for name in app.query_params}
    return {name: value if isinstance(value, str) else value[0] for name, value in query.items()}


# Every role


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


# One prediction


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


# History


def test_an_empty_history_says_what_to_do(consortium: Consortium) -> None:
    said = words(page_of(consortium, "doctor", "history"))
    assert "No prediction has been saved yet" in said
    assert "No prediction can be checked yet" in said


def test_an_address_shows_its_part_of_the_history_and_sets_the_filters(consortium: Consortium) -> None:
    saved(consortium, consortium.add_patient("northeast", "Ann", "Lee"), days_ago=8)
    bob = consortium.add_patient("northeast", "Bob", "Ng", insurance_cost=None)
    saved(consortium, bob, days_ago=0.02, person="doctor")
    saved(consortium, None, days_ago=0.01, model_version="v2")
    doctor = consortium.workers["doctor"].id
    yesterday, last_week = (f"{NOW - timedelta(days=days):%Y-%m-%d}" for days in (1, 7))
    everybody = ["no patient", "Ng, Bob", "Lee, Ann"]
    shown: list[tuple[dict[str, str], list[str]]] = [
        ({}, everybody),
        ({"patient": "le"}, ["Lee, Ann"]),
        ({"by": str(doctor)}, ["Ng, Bob"]),
        ({"model": "v2"}, ["no patient"]),
        ({"from": yesterday}, ["no patient", "Ng, Bob"]),
        ({"to": last_week}, ["Lee, Ann"]),
        ({"known": "yes", "patient_id": str(bob)}, []),
        # What an address says wrongly is left out of it.
        (
            {"by": "99999999999", "model": "v9", "from": "soon", "to": "0001-01-01", "patient_id": "7"},
            everybody,
        ),
    ]
    app = page_of(consortium, "nurse", "history")
    for address, names in shown:
        app.query_params.clear()
        for name, value in address.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception
        assert [cells[0] for cells in listed(app)] == names, address
        assert app.selectbox(key="history_by").value == (
            doctor if "by" in address and names != everybody else None
        )
        assert app.text_input(key="history_patient").value == address.get("patient", "")


def test_a_filter_stands_in_the_address_and_what_fits_nothing_says_so(consortium: Consortium) -> None:
    saved(consortium, consortium.add_patient("northeast", "Ann", "Lee"))
    app = history_at(consortium)
    app.text_input(key="history_patient").set_value("zz").run()
    assert address_of(app) == {"patient": "zz"}
    assert "No prediction fits" in words(app)
    app.button(key="history_show_all").click().run()
    assert address_of(app) == {}
    assert app.text_input(key="history_patient").value == ""
    assert len(listed(app)) == 1


def test_a_long_history_is_read_in_pages_that_have_an_address(consortium: Consortium) -> None:
    for number in range(25):
        saved(consortium, None, str(1000 + number), days_ago=1 + number)
    app = history_at(consortium)
    first = [cells[2] for cells in listed(app)]
    assert (len(first), first[0]) == (20, "$1,000")
    app.button(key="history_next").click().run()
    second = [cells[2] for cells in listed(app)]
    assert second == ["$1,020", "$1,021", "$1,022", "$1,023", "$1,024"]
    assert "Page 2" in words(app)
    again = history_at(consortium, **address_of(app))
    assert [cells[2] for cells in listed(again)] == second
    app.button(key="history_previous").click().run()
    assert [cells[2] for cells in listed(app)] == first


def test_a_page_that_is_gone_leads_back_to_the_beginning(consortium: Consortium) -> None:
    saved(consortium, None)
    app = history_at(consortium, cursor="not a page")
    assert "Start again from its first page." in words(app)
    app.button(key="history_show_all").click().run()
    assert len(listed(app)) == 1


def test_an_error_appears_once_the_cost_is_known_and_counts_only_if_it_came_later(
    consortium: Consortium,
) -> None:
    later = consortium.add_patient("northeast", "Ann", "Later", insurance_cost=None)
    before = consortium.add_patient("northeast", "Bob", "Before", insurance_cost=Decimal(7000))
    for patient_id in (later, before):
        saved(consortium, patient_id, "8000", interval_low=Decimal(7000), interval_high=Decimal(9500))
    app = history_at(consortium)
    assert {cells[0]: cells[5] for cells in listed(app)} == {"Later, Ann": "–", "Before, Bob": "+$1,000*"}
    assert "No prediction can be checked yet" in words(app)
    with consortium.site("northeast") as site:
        known = {"insurance_cost": Decimal(9000), "cost_entered_at": NOW}
        site.execute(update(Patient).where(Patient.id == later).values(**known))
        site.commit()
    app = history_at(consortium)
    assert {cells[0]: cells[5] for cells in listed(app)} == {
        "Later, Ann": "−$1,000",
        "Before, Bob": "+$1,000*",
    }
    said = words(app).replace("\xa0", " ")
    assert "1 prediction could be checked against a cost that came in later." in said
    assert "1 of 1 actual costs (100 %) lay inside the interval that promises 90 %." in said
    (line,) = chart(app, "history_error")["data"]
    assert (line["y"], line["text"]) == ([1000.0], ["1"])
    kept, promised = chart(app, "history_coverage")["data"]
    assert (kept["y"], promised["y"]) == ([1.0], [0.9, 0.9])


def test_months_are_weighed_by_their_predictions() -> None:
    months = [
        MonthAccuracy(date(2026, 9, 1), "v1", 30, 1000.0, 500.0, 0.9, 20),
        MonthAccuracy(date(2026, 10, 1), "v2", 10, 3000.0, -3500.0, None, 0),
    ]
    said = accuracy_in_words(months).replace("\xa0", " ")
    assert "40 predictions could be checked" in said
    assert "off by $1,500 a year; taken together they were $500 too low." in said
    assert "18 of 20 actual costs (90 %)" in said
    assert "chance" not in said
    assert "chance plays a large part" in accuracy_in_words(months[1:])


def test_an_export_holds_every_prediction_of_the_filter_and_is_recorded(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "=Lee", insurance_cost=Decimal(5000))
    saved(consortium, patient_id, "8000.50", interval_low=Decimal(7000), interval_high=Decimal(9500))
    actor = page_actor(consortium, "doctor")
    with site_session(actor) as site:
        outcomes = list(prediction_history.history_for_export(site=site, actor=actor))
    content = write_csv(export_headings(), [export_row(outcome) for outcome in outcomes])
    table = read_table(content, "predictions.csv")
    row = dict(zip(table.header, table.rows[0][1], strict=True))
    assert row["Predicted (USD a year)"] == "8000.50"
    assert row["Error, predicted less actual (USD a year)"] == "3000.50"
    assert (row["Actual within interval"], row["Actual known before prediction"]) == ("no", "yes")
    assert row["Model version"] == "v1"
    with consortium.site("northeast") as site:
        assert "predictions_exported" in site.scalars(select(AccessEvent.action)).all()


def test_a_file_is_made_for_who_presses_then_and_an_ended_session_gets_none(consortium: Consortium) -> None:
    nurse, doctor = page_actor(consortium, "nurse"), page_actor(consortium, "doctor")
    assert (
        _content(doctor, Permission.PATIENTS_EXPORT, lambda presses: presses.name.encode()) == b"The doctor"
    )
    with pytest.raises(DownloadFailed, match="Your role does not include this"):
        _content(nurse, Permission.PATIENTS_EXPORT, lambda _: b"")
    with consortium.central() as central:
        central.execute(
            update(type(consortium.workers["doctor"]))
            .where(type(consortium.workers["doctor"]).id == doctor.worker_id)
            .values(is_active=False)
        )
        central.commit()
    with pytest.raises(DownloadFailed, match="session has ended"):
        _content(doctor, Permission.PATIENTS_EXPORT, lambda _: b"")


def page_actor(consortium: Consortium, person: str) -> Any:
    """Return who acts in a page that `person` has open."""
    from app.auth.sessions import actor_for_session, open_session

    with central_session() as central:
        session, _ = open_session(central, worker=consortium.workers[person])
        return actor_for_session(central, session_id=session.id, address=None)


# Batch

HEADER = b"Age;Gender;B.M.I.;kids;Smoker Y/N;region;weight\n"
GOOD = HEADER + b"19;F;27,9;0;Y;southwest;70\n95;M;22,7;0;N;northwest;80\n"


def with_file(app: AppTest, content: bytes) -> AppTest:
    return app.file_uploader[0].set_value(("many.csv", content, "text/csv")).run()


def test_a_file_is_predicted_once_its_columns_are_known(consortium: Consortium, add_model: AddModel) -> None:
    add_model("v3", metrics=CALIBRATED)
    app = with_file(page_of(consortium, "doctor", "batch"), GOOD)
    assert not app.exception
    chosen = [box.value for box in app.selectbox]
    assert chosen == ["Age", "Gender", "B.M.I.", "kids", "Smoker Y/N", "region"]
    app.button(key="batch_predict_file").click().run()
    assert "2 patients predicted with model version v3." in words(app)
    table = app.dataframe[-1].value
    assert list(table["Row"]) == [2, 3]
    assert list(table["Caution"].str.startswith("Age 95")) == [False, True]
    with central_session() as central:
        inputs = {
            "age": 19,
            "sex": "female",
            "bmi": 27.9,
            "children": 0,
            "smoker": "yes",
            "region": "southwest",
        }
        first, _ = explanations.explain(central=central, actor=consortium.actors["doctor"], inputs=inputs)
    assert table["Predicted (USD a year)"][0] == f"${first.predicted_cost:,.0f}"
    result = app.session_state["batch_result"][1]
    app.run()
    assert app.session_state["batch_result"][1] is result, "a rerun predicts nothing again"
    assert "2 patients predicted" in words(app)
    assert len(app.get("download_button")) == 2


def test_a_result_does_not_stand_beside_other_columns(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = with_file(page_of(consortium, "doctor", "batch"), GOOD)
    app.button(key="batch_predict_file").click().run()
    app.selectbox[2].set_value("weight").run()
    assert "2 patients predicted" not in words(app)
    assert has_key(app, "batch_predict_file")
    with_file(app, GOOD.replace(b"B.M.I.", b"Index"))
    assert "Choose the column of: BMI (kg/m²)." in words(app)
    assert not has_key(app, "batch_predict_file")


def test_every_problem_of_a_file_is_listed_and_nothing_predicted(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model()
    app = with_file(page_of(consortium, "doctor", "batch"), GOOD + b"190;M;20;-1;N;mars;80\n")
    assert "Nothing was predicted: 3 problems found." in words(app)
    found = app.dataframe[-1].value
    assert list(zip(found["Row"], found["Column"], strict=True)) == [(4, "Age"), (4, "kids"), (4, "region")]
    assert not has_key(app, "batch_predict_file")


def test_a_file_that_is_no_table_says_so(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    assert "is a PDF" in words(with_file(page_of(consortium, "doctor", "batch"), b"%PDF-1.7 nothing"))


def test_the_patients_of_an_address_are_predicted_and_saved(
    consortium: Consortium, add_model: AddModel
) -> None:
    add_model("v3", metrics=CALIBRATED)
    ann = consortium.add_patient("northeast", "Ann", "Lee", insurance_cost=None)
    consortium.add_patient("northeast", "Bob", "Ng")
    consortium.add_patient("southwest", "Zoe", "Lee", insurance_cost=None)
    app = page_of(consortium, "doctor", "batch")
    assert app.file_uploader
    app = opened(consortium, "doctor").run()
    app.query_params["cost"] = "unknown"
    app.switch_page("../pages/batch.py")
    app.query_params["cost"] = "unknown"
    app.run()
    assert "**1 patient** will be predicted" in words(app)
    app.button(key="batch_predict_patients").click().run()
    assert "Each of these predictions was saved to the history." in words(app)
    assert list(app.dataframe[-1].value["Patient"]) == ["Lee, Ann"]
    app.run()
    with consortium.site("northeast") as site:
        assert site.scalars(select(Prediction.patient_id)).all() == [ann]
        assert site.scalar(select(func.count()).select_from(Prediction)) == 1, "a rerun saves nothing again"
    assert [cells[0] for cells in listed(history_at(consortium))] == ["Lee, Ann"]


def test_a_selection_that_holds_nobody_says_so(consortium: Consortium, add_model: AddModel) -> None:
    add_model()
    app = page_of(consortium, "doctor", "batch")
    app.segmented_control(key="batch_source").set_value("patients").run()
    assert "No patients fit" in words(app)
    assert not has_key(app, "batch_predict_patients")
