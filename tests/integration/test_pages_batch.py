"""Many predictions at once: a file with any headings, or a selection of the own patients, predicted once."""

from __future__ import annotations

from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from app.databases import central_session
from app.services import explanations
from db.site import Prediction
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words
from tests.integration.prediction_pages import CALIBRATED, AddModel, history_at, listed

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
    assert "Nothing was predicted: 3 problems in " in words(app)
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
