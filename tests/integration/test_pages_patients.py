"""Doctors and nurses at the list of patients and at one record: find, add, edit, delete, restore, export."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from streamlit.testing.v1 import AppTest

from app.auth.sessions import open_session
from app.components.patient_export import as_csv, as_excel, export_file
from app.components.patient_list_view import PatientListView
from app.databases import central_session, site_session
from app.errors import FedcostError
from app.services import patient_records
from app.services.patient_query import PatientFilter, PatientSort
from app.services.tabular import read_table
from db.central import AuditEvent
from db.site import AccessEvent, Patient, PatientChange, Prediction
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words

RECORD = {"age": 40, "sex": "female", "bmi": 27.5, "children": 1, "smoker": "no", "region": "northeast"}
TYPED = {"age": "45", "sex": "male", "bmi": "31.5", "children": "2", "smoker": "yes", "region": "southeast"}
KINDS = {"sex": "segmented_control", "smoker": "segmented_control", "region": "selectbox"}


def at(app: AppTest, **address: str) -> AppTest:
    """Follow an address to the page that is open."""
    for name in list(app.query_params):
        del app.query_params[name]
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def followed(app: AppTest, page: str, **address: str) -> AppTest:
    """Let a script that switched the page by itself go on there: AppTest goes back to the page before."""
    return at(app.switch_page(f"../pages/{page}.py"), **address)


def address(app: AppTest) -> dict[str, str]:
    return {name: value[0] if isinstance(value, list) else value for name, value in app.query_params.items()}


def table(app: AppTest) -> dict[str, Any]:
    """Return what the table of patients shows."""
    drawn = [
        part for part in app.get("bidi_component") if part.proto.component_name == "fedcost_patient_table"
    ]
    return json.loads(drawn[0].proto.json) if drawn else {"rows": []}


def names(app: AppTest) -> list[str]:
    return [row["cells"][0] for row in table(app)["rows"]]


def column(app: AppTest, label: str) -> list[str]:
    shown = table(app)
    place = [column["label"] for column in shown["columns"]].index(label)
    return [row["cells"][place] for row in shown["rows"]]


def fill(app: AppTest, prefix: str, **values: str) -> None:
    for name, value in values.items():
        getattr(app, KINDS.get(name, "text_input"))(key=f"{prefix}_{name}").set_value(value)


def record_of(consortium: Consortium, person: str, patient_id: uuid.UUID, **more: str) -> AppTest:
    return at(page_of(consortium, person, "patient"), patient=str(patient_id), **more)


def edited_by(
    consortium: Consortium, person: str, patient_id: uuid.UUID, version: int, **changes: Any
) -> None:
    """Change a record as another person does meanwhile."""
    actor = consortium.actors[person]
    entry = {"first_name": "Ann", "last_name": "Lee", "insurance_cost": "5000", **changes}
    inputs = {**RECORD, **entry.pop("inputs", {})}
    with site_session(actor) as site:
        patient_records.edit_patient(
            site=site, actor=actor, patient_id=patient_id, row_version=version, inputs=inputs, **entry
        )


def events(consortium: Consortium, action: str) -> Sequence[AccessEvent]:
    with consortium.site("northeast") as site:
        return site.scalars(select(AccessEvent).where(AccessEvent.action == action)).all()


def stored(consortium: Consortium, patient_id: uuid.UUID) -> Patient:
    with consortium.site("northeast") as site:
        patient = site.get(Patient, patient_id)
        assert patient is not None
        return patient


def test_the_list_holds_the_own_hospitals_patients_in_pages(consortium: Consortium) -> None:
    for number in range(30):
        consortium.add_patient("northeast", "Ann", f"Lee{number:02}")
    consortium.add_patient("southwest", "Zoe", "Lee")
    app = page_of(consortium, "nurse", "patients")
    assert "**30 patients**" in words(app)
    assert "Page 1 of 2" in words(app)
    first = names(app)
    assert (first[0], len(first)) == ("Lee00, Ann", 25)
    app.button(key="patients_next").click().run()
    assert names(app) == [f"Lee{number:02}, Ann" for number in range(25, 30)]
    assert address(app)["page"] == "2"
    assert app.button(key="patients_next").disabled
    app.button(key="patients_previous").click().run()
    assert names(app) == first
    assert "Page 1 of 2" in words(app)


def test_an_unknown_cost_is_called_not_known_yet(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", insurance_cost=None)
    consortium.add_patient("northeast", "Bob", "Lee", insurance_cost=Decimal("13270.42"))
    app = page_of(consortium, "nurse", "patients")
    assert column(app, "Known cost") == ["not known yet", "$13,270"]


def test_a_search_begins_on_the_first_page_and_stands_in_the_address(consortium: Consortium) -> None:
    for number in range(30):
        consortium.add_patient("northeast", "Ann", f"Lee{number:02}")
    consortium.add_patient("northeast", "Ann", "O'Neil")
    app = page_of(consortium, "nurse", "patients")
    app.button(key="patients_next").click().run()
    app.text_input(key="patients_search").set_value("o'nei").run()
    assert names(app) == ["O'Neil, Ann"]
    assert address(app) == {"q": "o'nei"}
    app.text_input(key="patients_search").set_value("nobody").run()
    assert "Nobody matches" in words(app)
    app.button(key="patients_clear_empty").click().run()
    assert "**31 patients**" in words(app)
    assert (address(app), app.text_input(key="patients_search").value) == ({}, "")


def test_an_address_sets_every_field_and_the_list(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", age=35, smoker="yes", insurance_cost=None)
    consortium.add_patient("northeast", "Bob", "Lee", age=44, smoker="yes", insurance_cost=None)
    for leaves_out in ({"age": 46}, {"bmi": Decimal(31)}, {"smoker": "no"}, {"insurance_cost": Decimal(1)}):
        consortium.add_patient(
            "northeast", "Cleo", "Lee", **{"age": 40, "smoker": "yes", "insurance_cost": None, **leaves_out}
        )
    consortium.add_patient("northeast", "Dan", "Ng", age=40, smoker="yes", insurance_cost=None)
    said = {"q": "lee", "smoker": "yes", "age": "30-45", "bmi": "-30", "cost": "unknown", "sort": "-age"}
    app = at(page_of(consortium, "doctor", "patients"), **said)
    assert names(app) == ["Lee, Bob", "Lee, Ann"]
    assert app.text_input(key="patients_search").value == "lee"
    assert app.segmented_control(key="patients_smoker").value == "yes"
    assert (app.text_input(key="patients_age_from").value, app.text_input(key="patients_age_to").value) == (
        "30",
        "45",
    )
    assert app.text_input(key="patients_bmi_to").value == "30"
    assert app.toggle(key="patients_cost_unknown").value is True
    assert app.selectbox(key="patients_order").value == (PatientSort.AGE, True)
    assert "Filters active: **4**" in words(app)
    assert address(app) == said
    # Back to what stood in the address before, as the browser's button does.
    at(app)
    assert len(names(app)) == 7
    assert app.segmented_control(key="patients_smoker").value is None


def test_filters_set_the_address_and_are_let_go_one_by_one_or_all(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", age=35, smoker="yes")
    consortium.add_patient("northeast", "Bob", "Lee", age=60, smoker="yes")
    consortium.add_patient("northeast", "Cleo", "Lee", age=60)
    app = page_of(consortium, "nurse", "patients")
    app.segmented_control(key="patients_smoker").set_value("yes").run()
    app.text_input(key="patients_age_from").set_value("50").run()
    assert names(app) == ["Lee, Bob"]
    assert address(app) == {"smoker": "yes", "age": "50-"}
    app.button(key="patients_without_smoker").click().run()
    assert names(app) == ["Lee, Bob", "Lee, Cleo"]
    assert app.segmented_control(key="patients_smoker").value is None
    app.button(key="patients_clear").click().run()
    assert (len(names(app)), address(app)) == (3, {})
    assert app.text_input(key="patients_age_from").value == ""


def test_a_range_the_wrong_way_round_is_told_and_left_out(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", age=35)
    app = page_of(consortium, "nurse", "patients")
    app.text_input(key="patients_age_from").set_value("50").run()
    app.text_input(key="patients_age_to").set_value("20").run()
    assert "Age from 50 to 20: the first must not be the larger one." in words(app)
    assert names(app) == ["Lee, Ann"]
    assert app.text_input(key="patients_age_from").value == "50"


def test_a_badly_formed_address_is_told_and_the_rest_of_it_shown(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee")
    consortium.add_patient("northeast", "Bob", "Ng")
    app = at(
        page_of(consortium, "doctor", "patients"),
        q="lee", age="abc", smoker="$x$", sort="height", cursor="nonsense", page="-1",
    )  # fmt: skip
    assert not app.exception
    assert names(app) == ["Lee, Ann"]
    said = words(app)
    assert "Age: “abc” is not a range such as 30-45." in said
    assert "Smoker: “$x$” is not one of no, yes." in said
    assert "That page of the list no longer exists; this is the first one." in said


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ((PatientSort.NAME, True), "Ng, Bob"),
        ((PatientSort.AGE, False), "Ng, Bob"),
        ((PatientSort.AGE, True), "Lee, Ann"),
        ((PatientSort.COST, False), "Lee, Ann"),
        ((PatientSort.COST, True), "Ng, Bob"),
        ((PatientSort.CHANGED, True), "Ng, Bob"),
        ((PatientSort.CHANGED, False), "Lee, Ann"),
    ],
)
def test_the_list_is_ordered_both_ways(
    consortium: Consortium, order: tuple[PatientSort, bool], first: str
) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", age=50, insurance_cost=Decimal(100))
    consortium.add_patient("northeast", "Bob", "Ng", age=20, insurance_cost=Decimal(900))
    app = page_of(consortium, "nurse", "patients")
    app.selectbox(key="patients_order").set_value(order).run()
    assert names(app)[0] == first
    assert table(app)["sorted"] == {"key": order[0].value, "descending": order[1]}
    assert address(app) == {"sort": f"{'-' if order[1] else ''}{order[0].value}"}


def test_a_hospital_without_patients_is_told_what_to_do(consortium: Consortium) -> None:
    assert "Add the first one, or let a doctor import a file." in words(
        page_of(consortium, "nurse", "patients")
    )
    app = page_of(consortium, "doctor", "patients")
    assert "Add the first one, or import a file." in words(app)
    assert has_key(app, "patients_add")


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
    assert _count(consortium) == 1
    fill(app, "patient_form_new_0", age="46")  # no longer alike, but nobody pressed Save
    app.run()
    assert (_count(consortium), has_key(app, "patient_add_anyway")) == (1, False)
    fill(app, "patient_form_new_0", age="45")
    app.button(key="patient_save").click().run()
    app.button(key="patient_add_anyway").click().run()
    assert not app.exception
    assert _count(consortium) == 2


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


def test_a_deleted_patient_is_restored_from_the_list_of_the_deleted(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    consortium.add_patient("northeast", "Bob", "Lee")
    actor = consortium.actors["doctor"]
    with site_session(actor) as site:
        patient_records.delete_patient(site=site, actor=actor, patient_id=patient_id)
    app = at(page_of(consortium, "doctor", "patients"), q="lee")
    assert names(app) == ["Lee, Bob"]
    app.button(key="patients_show_deleted").click().run()
    assert address(app) == {"q": "lee", "deleted": "yes"}
    app.button(key=f"patients_restore_{patient_id}").click().run()
    assert "Nobody was deleted lately" in words(app)
    app.button(key="patients_back").click().run()
    assert names(app) == ["Lee, Ann", "Lee, Bob"]


def test_a_nurse_neither_deletes_restores_nor_exports(consortium: Consortium) -> None:
    patient_id = consortium.add_patient("northeast", "Ann", "Lee")
    app = at(page_of(consortium, "nurse", "patients"), deleted="yes")
    assert names(app) == ["Lee, Ann"]
    assert not has_key(app, "patients_show_deleted")
    assert not app.get("download_button")
    assert "Predict for these patients" not in [link.proto.label for link in app.get("page_link")]
    app = record_of(consortium, "nurse", patient_id)
    assert has_key(app, "patient_edit")
    assert not has_key(app, "patient_delete")


@pytest.mark.parametrize("person", ["scientist", "admin"])
@pytest.mark.parametrize("page", ["patients", "patient"])
def test_nobody_else_sees_a_patient(consortium: Consortium, person: str, page: str) -> None:
    consortium.add_patient("northeast", "Ann", "Lee")
    app = opened(consortium, person, f"pages/{page}.py").run()
    assert "Your role does not include this" in words(app)
    assert "Lee" not in words(app)
    assert not table(app)["rows"]


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


def test_an_export_is_made_and_recorded_when_asked_for_and_not_before(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", bmi=Decimal("27.5"))
    consortium.add_patient("northeast", "=1+1", "Ng", insurance_cost=None)
    consortium.add_patient("northeast", "Bob", "Old", age=80)
    app = at(page_of(consortium, "doctor", "patients"), age="-50", sort="-name")
    assert len(app.get("download_button")) == 2
    assert not events(consortium, "patients_exported")
    view = PatientListView(filter=PatientFilter(age_to=50), sort=PatientSort.NAME, descending=True)
    for kind in (as_csv, as_excel):
        content = export_file(app.session_state["auth_session_id"], "192.0.2.7", view, kind)
        found = read_table(content, "patients")
        assert found.header[:3] == ("last_name", "first_name", "age")
        assert [cells[0] for _, cells in found.rows] == ["Ng", "Lee"]
        if kind is as_csv:
            assert b"'=1+1" in content  # no spreadsheet runs it
        assert found.rows[1][1][4] == "27.5"
    recorded = events(consortium, "patients_exported")
    assert [event.address for event in recorded] == ["192.0.2.7"] * 2
    assert recorded[0].details["count"] == 2


def test_who_may_no_longer_export_gets_no_file(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee")
    with central_session() as central:
        session, _ = open_session(central, worker=consortium.workers["nurse"])
    for session_id in (session.id, uuid.uuid4()):
        with pytest.raises(FedcostError):
            export_file(session_id, None, PatientListView(), as_csv)
    assert not events(consortium, "patients_exported")
    with consortium.central() as central:
        refusals = central.scalars(select(AuditEvent).where(AuditEvent.outcome == "refused")).all()
    assert len(refusals) == 1


def _count(consortium: Consortium) -> int:
    with consortium.site("northeast") as site:
        return site.scalar(select(func.count()).select_from(Patient)) or 0
