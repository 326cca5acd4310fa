"""Doctors and nurses at the list of patients: find, filter, order, restore, export."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from app.components.downloads import file_content
from app.components.patient_export import HEADINGS, export_rows
from app.components.patient_list_view import PatientListView
from app.databases import site_session
from app.permissions import Permission
from app.services import patient_records
from app.services.patient_query import PatientFilter, PatientSort
from app.services.tabular import read_table, write_csv, write_excel
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, page_of, words
from tests.integration.patient_pages import (
    address,
    at,
    column,
    events,
    names,
    record_of,
    table,
)


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


def test_an_export_is_made_and_recorded_when_asked_for_and_not_before(consortium: Consortium) -> None:
    consortium.add_patient("northeast", "Ann", "Lee", bmi=Decimal("27.5"))
    consortium.add_patient("northeast", "=1+1", "Ng", insurance_cost=None)
    consortium.add_patient("northeast", "Bob", "Old", age=80)
    app = at(page_of(consortium, "doctor", "patients"), age="-50", sort="-name")
    assert len(app.get("download_button")) == 2
    assert not events(consortium, "patients_exported")
    view = PatientListView(filter=PatientFilter(age_to=50), sort=PatientSort.NAME, descending=True)
    doctor = replace(
        consortium.actors["doctor"], session_id=app.session_state["auth_session_id"], address="192.0.2.7"
    )
    for write in (write_csv, partial(write_excel, sheet="Patients")):
        content = file_content(
            doctor,
            Permission.PATIENTS_EXPORT,
            lambda presses, write=write: write(HEADINGS, export_rows(presses, view)),
        )
        found = read_table(content, "patients")
        assert found.header[:3] == ("last_name", "first_name", "age")
        assert [cells[0] for _, cells in found.rows] == ["Ng", "Lee"]
        if write is write_csv:
            assert b"'=1+1" in content  # no spreadsheet runs it
        assert found.rows[1][1][4] == "27.5"
    recorded = events(consortium, "patients_exported")
    assert [event.address for event in recorded] == ["192.0.2.7"] * 2
    assert recorded[0].details["count"] == 2
