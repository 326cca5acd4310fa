"""Doctors and nurses at one record: add, edit with others, delete, and what was predicted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from db.site import Patient, PatientChange, Prediction
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, page_of, words
from tests.integration.patient_pages import (
    RECORD,
    TYPED,
    at,
    count_of,
    edited_by,
    fill,
    followed,
    names,
    record_of,
    stored,
)


def test_problems_appear_as_one_types_and_all_of_them_at_save(consortium: Consortium) -> None:
    app = at(page_of(consortium, "nurse", "patient"), new="yes")
    fill(app, "patient_form_new_0", first_name="Ann", age="333")
    app.run()
    assert "Age is '333'; expected a whole number from 0 to 120 (years)." in words(app)
    assert "Last name is missing." not in words(app)
    app.button(key="patient_save").click().run()
    for problem in (
        "Last name is missing.",
        "Sex is missing",
        "Region is missing",
        "Please correct the fields",
    ):
        assert problem in words(app)
    fill(app, "patient_form_new_0", last_name="Lee", **TYPED)
    app.run()
    assert "is missing" not in words(app)
    app.button(key="patient_save").click().run()
    assert not app.exception
    assert "Lee, Ann was added." in words(app)
    with consortium.site("northeast") as site:
        patient = site.scalars(select(Patient)).one()
        assert (patient.age, patient.bmi, patient.insurance_cost) == (45, Decimal("31.5"), None)
        assert site.scalars(select(PatientChange.action)).all() == ["added"]


def test_a_cost_may_be_typed_as_it_is_written(consortium: Consortium) -> None:
    app = at(page_of(consortium, "nurse", "patient"), new="yes")
    cost = {"insurance_cost": "$13,270.42"}
    fill(app, "patient_form_new_0", first_name="Ann", last_name="Lee", **TYPED, **cost)
    app.button(key="patient_save").click().run()
    with consortium.site("northeast") as site:
        assert site.scalars(select(Patient.insurance_cost)).one() == Decimal("13270.42")


def test_a_possible_duplicate_is_pointed_out_before_adding(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", age=45)
    app = at(page_of(consortium, "nurse", "patient"), new="yes")
    fill(app, "patient_form_new_0", first_name=" ANN", last_name="lee", **TYPED)
    app.button(key="patient_save").click().run()
    assert "A patient of this name and age is on record already." in words(app)
    assert count_of(consortium) == 1
    fill(app, "patient_form_new_0", age="46")  # no longer alike, but nobody pressed Save
    app.run()
    assert (count_of(consortium), has_key(app, "patient_add_anyway")) == (1, False)
    fill(app, "patient_form_new_0", age="45")
    app.button(key="patient_save").click().run()
    app.button(key="patient_add_anyway").click().run()
    assert not app.exception
    assert count_of(consortium) == 2


def test_an_edit_stands_in_the_history_in_words(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee", insurance_cost=None)
    app = record_of(consortium, "nurse", patient_id, edit="yes")
    fill(app, f"patient_form_{patient_id}_1", bmi="28.25", smoker="yes", insurance_cost="1234.5")
    app.button(key="patient_save").click().run()
    assert "Lee, Ann is saved." in words(app)
    changes = app.table[1].value.iloc[0]
    what = changes["What"].replace("\\", "").replace("\N{NO-BREAK SPACE}", " ").replace("**", "")
    assert what == ("BMI: 27.5 kg/m² → 28.25 kg/m²; Smoker: No → Yes; Known cost: not known yet → $1,234.50")
    assert changes["Who"] == "The nurse"


def test_saving_without_a_change_leaves_no_history(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee", bmi=Decimal("27.345"))
    app = record_of(consortium, "nurse", patient_id, edit="yes")
    app.button(key="patient_save").click().run()
    assert "Unchanged since it was put on record." in words(app)
    assert stored(consortium, patient_id).row_version == 1


@pytest.mark.parametrize(
    ("button", "age", "children", "bmi"),
    [
        ("theirs", 50, 1, Decimal("30")),
        ("yours", 60, 3, Decimal("27.5")),
        ("save", 60, 3, Decimal("30")),
    ],
)
def test_the_second_of_two_editors_sees_both_versions_and_chooses(
    consortium: Consortium, button: str, age: int, children: int, bmi: Decimal
) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    app = record_of(consortium, "doctor", patient_id, edit="yes")
    edited_by(consortium, "nurse", patient_id, 1, inputs={"age": 50, "bmi": 30})
    fill(app, f"patient_form_{patient_id}_1", age="60", children="3")
    app.button(key="patient_save").click().run()
    at(app, patient=str(patient_id), edit="yes")
    assert "**The nurse** changed this patient while you were editing" in words(app)
    assert stored(consortium, patient_id).age == 50
    age_choice = app.segmented_control(key="patient_conflict_2_age")
    assert (age_choice.label.replace("\\", ""), age_choice.value) == ("**Age** · before: 40 years", None)
    assert app.segmented_control(key="patient_conflict_2_bmi").value == "theirs"
    assert app.button(key="patient_conflict_2_save").disabled
    if button == "save":
        age_choice.set_value("yours")
        app.segmented_control(key="patient_conflict_2_children").set_value("yours").run()
    app.button(key=f"patient_conflict_2_{button}").click().run()
    assert not app.exception
    now = stored(consortium, patient_id)
    assert (now.age, now.children, now.bmi) == (age, children, bmi)
    assert not has_key(app, "patient_save")


def test_a_form_opened_before_somebody_saved_never_overwrites_them_silently(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    app = record_of(consortium, "doctor", patient_id, edit="yes")
    edited_by(consortium, "nurse", patient_id, 1, inputs={"age": 50})
    app.run()  # nothing was typed yet, so the form follows the record
    assert app.text_input(key=f"patient_form_{patient_id}_2_age").value == "50"
    app.button(key="patient_save").click().run()
    assert stored(consortium, patient_id).age == 50


def test_what_was_typed_outlasts_a_change_of_page_until_it_is_discarded(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    app = record_of(consortium, "nurse", patient_id, edit="yes")
    fill(app, f"patient_form_{patient_id}_1", children="nine")
    app.run()
    at(app.switch_page("../pages/patients.py").run())
    assert "You have unsaved changes to **Lee, Ann**." in words(app)
    app.button(key=f"unsaved_continue_{patient_id}").click().run()
    followed(app, "patient", patient=str(patient_id), edit="yes")
    assert app.text_input(key=f"patient_form_{patient_id}_1_children").value == "nine"
    assert "Children is 'nine'" in words(app)
    app.button(key="patient_cancel").click().run()
    assert "unsaved" not in words(app)
    at(app, patient=str(patient_id), edit="yes")
    assert app.text_input(key=f"patient_form_{patient_id}_1_children").value == "1"


def test_deleting_asks_once_and_can_be_undone(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    app = record_of(consortium, "doctor", patient_id)
    app.button(key="patient_delete").click().run()
    assert stored(consortium, patient_id).deleted_at is None
    app.button(key="patient_delete_confirmed").click().run()
    assert not app.exception
    assert stored(consortium, patient_id).deleted_at is not None
    assert "**Lee, Ann** was deleted." in words(app)
    assert "No patients yet" in words(app)
    followed(app, "patients")
    app.button(key="patients_undo").click().run()
    assert "Lee, Ann is restored." in words(app)
    assert names(app) == ["Lee, Ann"]


@pytest.mark.parametrize("asked", ["nonsense", "0199c2f4-1111-7000-8000-000000000001", "other"])
def test_an_address_of_no_patient_of_this_hospital_says_so(consortium: Consortium, asked: str) -> None:
    elsewhere = consortium.add_patient("southwest", "Zoe", "Lee")
    app = at(page_of(consortium, "doctor", "patient"), patient=str(elsewhere) if asked == "other" else asked)
    assert not app.exception
    assert len(app.error) == 1
    assert "Zoe" not in words(app)


def test_a_patients_predictions_stand_beside_what_they_really_cost(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee", insurance_cost=None)
    with consortium.site("northeast") as site:
        site.add(
            Prediction(
                patient_id=patient_id,
                inputs=RECORD,
                predicted_cost=Decimal(6000),
                interval_low=Decimal(4000),
                interval_high=Decimal(9000),
                model_version="v3",
                worker_id=consortium.workers["nurse"].id,
                worker_name="The nurse",
            )
        )
        site.commit()
    row = record_of(consortium, "doctor", patient_id).table[-1].value.iloc[0]
    assert (row["Actual"], row["Error"].replace("\\", "")) == ("not known yet", "–")
    edited_by(consortium, "nurse", patient_id, 1, insurance_cost="4500")
    row = record_of(consortium, "doctor", patient_id).table[-1].value.iloc[0].str.replace("\\", "")
    assert (row["Predicted (USD a year)"], row["90 % interval"]) == ("$6,000", "$4,000 – $9,000")
    assert (row["Actual"], row["Error"]) == ("$4,500", "+$1,500, inside")
