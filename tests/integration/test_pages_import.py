"""The import page: a file, its columns, what is wrong in it, and the import."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from app.services.tabular import write_excel
from db.site import AccessEvent, Patient
from tests.integration.page_scripts import has_key, opened, page_of, words

HEADER = "Surname,Given name,Age (years),Gender,BMI [kg/m2],Kids,Smoking status,Region,charges,Room\n"
GOOD = "Åström,Zoë,19,F,27.9,0,Y,SW,16884.924,3\nEk,Bo,64,M,30,2,N,NE,,4\n"


def _choose(app: AppTest, content: str | bytes, name: str = "patients.csv") -> AppTest:
    raw = content.encode() if isinstance(content, str) else content
    app.file_uploader[0].upload(name, raw).run()
    assert not app.exception
    return app


def _columns(app: AppTest) -> dict[str, Any]:
    return {box.label: box.value for box in app.selectbox}


def test_a_doctor_imports_a_file_and_the_same_again_adds_nobody(consortium: Any) -> None:
    app = _choose(page_of(consortium, "doctor", "patient_import"), HEADER + GOOD)
    assert _columns(app) == {
        "Last name": "Surname",
        "First name": "Given name",
        "Whole name in one column": "",
        "Age (years)": "Age (years)",
        "Sex": "Gender",
        "BMI (kg/m²)": "BMI [kg/m2]",
        "Children": "Kids",
        "Smoker": "Smoking status",
        "Region": "Region",
        "Insurance cost (USD a year)": "charges",
    }
    said = words(app)
    assert "For example 27.9 · 30" in said
    assert "“Room”" in said
    assert "The file is in order: 2 patients, 1 of them with a known cost." in said
    assert [metric.value for metric in app.metric] == ["2", "0", "0"]
    preview = app.dataframe[0].value
    assert preview["Name"].tolist() == ["Åström, Zoë", "Ek, Bo"]
    assert preview["Cost (USD a year)"].tolist() == ["$16,884.92", "not known yet"]
    app.button("import_confirmed").click().run()
    assert "patients.csv is imported" in words(app)
    assert "2 patients added." in words(app)
    with consortium.site("northeast") as site:
        assert site.scalar(select(func.count()).select_from(Patient)) == 2

    app.button("import_another").click().run()
    _choose(app, HEADER + GOOD)
    assert [metric.value for metric in app.metric] == ["0", "2", "0"]
    assert not has_key(app, "import_confirmed")
    assert "there is nothing to import" in words(app)


def test_a_wrong_file_lists_its_problems_and_a_corrected_one_is_taken(consortium: Any) -> None:
    app = _choose(page_of(consortium, "doctor", "patient_import"), HEADER + GOOD.replace("64", "640", 1))
    assert "1 problem in 1 of 2 rows" in words(app)
    assert not has_key(app, "import_confirmed")
    problems = app.dataframe[1].value
    assert problems[["Row", "Column"]].values.tolist() == [[3, "Age (years)"]]
    assert "640" in problems["Problem"][0]
    app.button("import_put_away").click().run()
    _choose(app, HEADER + GOOD)
    assert "The file is in order" in words(app)


def test_a_file_that_cannot_be_read_says_why_beside_the_field(consortium: Any) -> None:
    app = _choose(page_of(consortium, "doctor", "patient_import"), b"PK\x03\x04", "patients.xlsx")
    assert "The Excel file is damaged" in app.error[0].value
    assert app.file_uploader


def test_a_column_that_was_not_recognised_is_chosen_by_the_reader(consortium: Any) -> None:
    content = write_excel(
        ["Who", "Age", "Sex", "BMI", "Children", "Puffs", "Region"],
        [["Ek, Bo", 64, "M", 30.25, 2, True, "NE"]],
        sheet="Export",
    )
    app = _choose(page_of(consortium, "doctor", "patient_import"), content, "export.xlsx")
    assert "The columns are not complete yet" in app.warning[0].value
    assert "Smoker" in app.warning[0].value
    _box(app, "Smoker").set_value("Puffs").run()
    _box(app, "Whole name in one column").set_value("Who").run()
    assert "The file is in order: 1 patient" in words(app)
    preview = app.dataframe[0].value
    assert preview[["Name", "Smoker", "BMI (kg/m²)"]].values.tolist() == [["Ek, Bo", "Yes", "30.25"]]
    # Another page and back: nothing has to be done again.
    app.switch_page("../pages/model_card.py").run()
    app.switch_page("../pages/patient_import.py").run()
    assert _columns(app)["Smoker"] == "Puffs"
    app.button("import_confirmed").click().run()
    with consortium.site("northeast") as site:
        patient = site.scalars(select(Patient)).one()
    assert (patient.first_name, patient.last_name, patient.smoker) == ("Bo", "Ek", "yes")


def test_somebody_who_signs_in_afterwards_does_not_find_the_file(consortium: Any) -> None:
    app = _choose(page_of(consortium, "doctor", "patient_import"), HEADER + GOOD)
    assert "Åström" in str(app.dataframe[0].value)
    other = opened(consortium, "other_doctor", "pages/patient_import.py")
    other.session_state["import_file"] = app.session_state["import_file"]
    other.run()
    assert not other.dataframe
    assert other.file_uploader


def test_a_nurse_is_refused(consortium: Any) -> None:
    app = opened(consortium, "nurse", "pages/patient_import.py").run()
    assert "Your role does not include this" in app.error[0].value
    assert not app.file_uploader
    with consortium.site("northeast") as site:
        imported = select(func.count()).select_from(AccessEvent).where(AccessEvent.action.like("%import%"))
        assert site.scalar(imported) == 0


def _box(app: AppTest, label: str) -> Any:
    return next(box for box in app.selectbox if box.label == label)
