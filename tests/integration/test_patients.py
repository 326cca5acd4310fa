"""Patients of the own institution: pages, search, adding, and who may."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.databases import site_session
from app.errors import InvalidInput, NotFound, PermissionRefused
from app.services import patient_records, patients
from app.services.patient_query import PatientFilter
from db.site import AccessEvent, Patient

VALUES = {"age": "40", "sex": "F", "bmi": "27.4567", "children": 2, "smoker": "no", "region": "northeast"}


def _names(page: Any) -> list[str]:
    return [f"{patient.first_name} {patient.last_name}" for patient in page.items]


def _all_pages(site: Session, actor: Any, **kwargs: Any) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = patients.list_patients(site=site, actor=actor, cursor=cursor, **kwargs)
        names += _names(page)
        cursor = page.next_cursor
        if cursor is None:
            return names


def test_pages_cover_everybody_once_in_the_order_of_names(consortium: Any, northeast: Session) -> None:
    people = [(f"F{i % 3}", f"L{i % 4}") for i in range(23)]
    for first, last in people:
        consortium.add_patient("northeast", first, last)
    doctor = consortium.actors["doctor"]
    expected = [f"{first} {last}" for last, first in sorted((last, first) for first, last in people)]
    assert _all_pages(northeast, doctor, limit=5) == expected
    assert _all_pages(northeast, doctor, limit=23) == expected
    assert patients.count_patients(site=northeast, actor=doctor) == 23


def test_a_page_is_stable_when_patients_are_added_between(consortium: Any, northeast: Session) -> None:
    for letter in "BDFH":
        consortium.add_patient("northeast", "X", letter)
    doctor = consortium.actors["doctor"]
    first = patients.list_patients(site=northeast, actor=doctor, limit=2)
    consortium.add_patient("northeast", "X", "A")
    consortium.add_patient("northeast", "X", "E")
    second = patients.list_patients(site=northeast, actor=doctor, cursor=first.next_cursor, limit=10)
    assert (_names(first), _names(second)) == (["X B", "X D"], ["X E", "X F", "X H"])


def test_a_cursor_carries_no_name(consortium: Any, northeast: Session) -> None:
    ids = [consortium.add_patient("northeast", "Ada", f"Lovelace{i}") for i in range(2)]
    page = patients.list_patients(site=northeast, actor=consortium.actors["doctor"], limit=1)
    assert page.next_cursor == str(ids[0])


@pytest.fixture
def oddly_named(consortium: Any) -> None:
    for first, last in (
        ("Ada", "O'Neill"),
        ("100%", "Sure"),
        ("Snake_Case", "Person"),
        ("SnakeXCase", "Person"),
        ("Back\\slash", "Person"),
        ("Zoë", "Åström"),
        ("Ольга", "Иванова"),
        ("Jane", "Miller"),
        ("Janet", "Millerson"),
    ):
        consortium.add_patient("northeast", first, last)


@pytest.mark.usefixtures("oddly_named")
def test_search_takes_every_character_for_itself(consortium: Any, northeast: Session) -> None:
    doctor = consortium.actors["doctor"]
    for search, expected in {
        "o'neill": ["Ada O'Neill"],
        "'": ["Ada O'Neill"],
        "%": ["100% Sure"],
        "_": ["Snake_Case Person"],
        "snake_case": ["Snake_Case Person"],
        "\\": ["Back\\slash Person"],
        "back\\slash": ["Back\\slash Person"],
        "ZOË": ["Zoë Åström"],
        "åström": ["Zoë Åström"],
        "ИВАН": ["Ольга Иванова"],
        "jane miller": ["Jane Miller", "Janet Millerson"],
        "Miller, Jane": ["Jane Miller", "Janet Millerson"],
        "millerson": ["Janet Millerson"],
        "x; DROP TABLE patients": [],
        "😀": [],
        "   ": None,
    }.items():
        found = _all_pages(northeast, doctor, filter=PatientFilter(search=search), limit=1)
        count = patients.count_patients(site=northeast, actor=doctor, filter=PatientFilter(search=search))
        if expected is None:
            assert len(found) == count == 9, search
        else:
            assert found == expected, search
            assert count == len(expected), search


def test_unacceptable_searches_cursors_and_limits_are_named(consortium: Any, northeast: Session) -> None:
    doctor = consortium.actors["doctor"]
    for arguments, field in (
        ({"filter": PatientFilter(search="x" * 101)}, "search"),
        ({"filter": PatientFilter(search="a\x00b")}, "search"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": str(uuid.uuid4())}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
    ):
        with pytest.raises(InvalidInput) as refused:
            patients.list_patients(site=northeast, actor=doctor, **arguments)
        assert [problem.field for problem in refused.value.problems] == [field]


def test_only_the_own_institution_is_reached(consortium: Any) -> None:
    own = consortium.add_patient("northeast", "Ada", "Own")
    foreign = consortium.add_patient("southwest", "Bea", "Foreign")
    for person, code, mine, theirs in (
        ("doctor", "northeast", own, foreign),
        ("other_doctor", "southwest", foreign, own),
    ):
        actor = consortium.actors[person]
        with site_session(actor) as site:
            assert site.scalar(select(func.current_database())).endswith(code)
            assert patients.get_patient(site=site, actor=actor, patient_id=mine).id == mine
            with pytest.raises(NotFound):
                patients.get_patient(site=site, actor=actor, patient_id=theirs)


def test_a_person_without_institution_reaches_no_site(consortium: Any) -> None:
    for person in ("admin", "scientist"):
        with pytest.raises(PermissionRefused), site_session(consortium.actors[person]):
            pass


def test_roles_are_asked_by_the_service_too(consortium: Any, northeast: Session) -> None:
    for person in ("admin", "scientist"):
        actor = consortium.actors[person]
        for call in (
            lambda actor=actor: patients.list_patients(site=northeast, actor=actor),
            lambda actor=actor: patients.count_patients(site=northeast, actor=actor),
            lambda actor=actor: patients.get_patient(site=northeast, actor=actor, patient_id=uuid.uuid4()),
            lambda actor=actor: patient_records.add_patient(
                site=northeast, actor=actor, first_name="A", last_name="B", inputs=VALUES
            ),
        ):
            with pytest.raises(PermissionRefused):
                call()


def test_adding_a_patient_keeps_who_and_what(consortium: Any, northeast: Session) -> None:
    nurse = consortium.actors["nurse"]
    added = patient_records.add_patient(
        site=northeast,
        actor=nurse,
        first_name="  Ada  Mary ",
        last_name="Lovelace",
        inputs=VALUES,
        insurance_cost="1234.565",
    )
    northeast.commit()
    patient = patients.get_patient(site=northeast, actor=nurse, patient_id=added.id)
    assert (patient.first_name, patient.sex, patient.bmi) == ("Ada Mary", "female", Decimal("27.457"))
    assert (patient.insurance_cost, patient.created_by) == (Decimal("1234.57"), nurse.worker_id)
    events = northeast.scalars(select(AccessEvent).order_by(AccessEvent.id)).all()
    assert [(event.action, event.patient_id) for event in events] == [
        ("patient_added", added.id),
        ("patient_read", added.id),
    ]
    assert "Lovelace" not in repr([event.details for event in events])


def test_a_bad_patient_names_every_field_and_adds_nothing(consortium: Any, northeast: Session) -> None:
    with pytest.raises(InvalidInput) as refused:
        patient_records.add_patient(
            site=northeast,
            actor=consortium.actors["doctor"],
            first_name=" ",
            last_name="a\x00b",
            inputs={**VALUES, "age": 121, "smoker": "perhaps"},
            insurance_cost="-1",
        )
    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["age", "smoker", "first_name", "last_name", "insurance_cost"]
    assert northeast.scalar(select(func.count()).select_from(Patient)) == 0
