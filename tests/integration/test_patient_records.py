"""Adding, editing, deleting and restoring patients: the history, two editors at once, the time to undo."""

from __future__ import annotations

import threading
import time
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidInput, NotFound, PatientChanged, PermissionRefused
from app.services import patient_entry, patient_records, patients
from app.services.patient_entry import FIELD_LABELS
from db.site import AccessEvent, Patient, PatientChange
from fl.features import FEATURES
from tests.integration.conftest import Consortium

INPUTS: dict[str, object] = {
    "age": 40,
    "sex": "female",
    "bmi": 27.5,
    "children": 1,
    "smoker": "no",
    "region": "northeast",
}


@pytest.fixture
def ada(consortium: Consortium) -> uuid.UUID:
    """A patient whose cost is not known."""
    return consortium.add_patient("northeast", "Ada", "Lovelace", insurance_cost=None)


def edit(site: Session, actor: Any, patient_id: uuid.UUID, version: int, **values: Any) -> Patient:
    names = {"first_name": "Ada", "last_name": "Lovelace", "insurance_cost": None}
    entry = {name: values.pop(name, usual) for name, usual in names.items()}
    return patient_records.edit_patient(
        site=site,
        actor=actor,
        patient_id=patient_id,
        row_version=version,
        inputs={**INPUTS, **values},
        **entry,
    )


def actions(site: Session, patient_id: uuid.UUID) -> list[str]:
    query = select(PatientChange.action).where(PatientChange.patient_id == patient_id)
    return list(site.scalars(query.order_by(PatientChange.id)))


def test_an_edit_is_kept_with_who_when_and_each_field_from_what_to_what(
    consortium: Consortium, northeast: Session, ada: uuid.UUID
) -> None:
    nurse = consortium.actors["nurse"]
    before = patients.get_patient(site=northeast, actor=nurse, patient_id=ada).updated_at
    northeast.commit()
    edited = edit(
        northeast, nurse, ada, 1, last_name=" King ", bmi="31.2345", smoker="Y", insurance_cost="1234.5"
    )
    assert (edited.last_name, edited.bmi, edited.smoker) == ("King", Decimal("31.235"), "yes")
    assert (edited.row_version, edited.insurance_cost) == (2, Decimal("1234.50"))
    (change,) = patient_records.changes_of(site=northeast, actor=nurse, patient_id=ada).items
    assert (change.action, change.worker_id, change.worker_name) == ("edited", nurse.worker_id, "The nurse")
    assert change.changes == {
        "last_name": ["Lovelace", "King"],
        "bmi": [27.5, 31.235],
        "smoker": ["no", "yes"],
        "insurance_cost": [None, 1234.5],
    }
    assert change.occurred_at == edited.updated_at == edited.cost_entered_at
    assert edited.updated_at > before


@given(
    st.dictionaries(
        st.sampled_from(("bmi", "insurance_cost")),
        st.tuples(
            st.decimals(0, "9999999999.99", places=2) | st.none(),
            st.decimals(10, 100, places=3) | st.none(),
        ),
    )
)
def test_the_history_gives_back_the_very_decimals_that_the_record_held(changes: dict[str, Any]) -> None:
    recorded = patient_records.recorded_changes(changes)
    back = {
        field: tuple(None if value is None else Decimal(str(value)) for value in pair)
        for field, pair in recorded.items()
    }
    assert back == changes


def test_a_cost_is_dated_when_it_becomes_known_and_only_then(
    consortium: Consortium, northeast: Session, ada: uuid.UUID
) -> None:
    nurse = consortium.actors["nurse"]
    entered = edit(northeast, nurse, ada, 1, insurance_cost=500).cost_entered_at
    assert entered is not None
    northeast.commit()
    assert edit(northeast, nurse, ada, 2, insurance_cost=600).cost_entered_at == entered
    northeast.commit()
    assert edit(northeast, nurse, ada, 3, insurance_cost=None).cost_entered_at is None
    northeast.commit()
    again = edit(northeast, nurse, ada, 4, insurance_cost=600).cost_entered_at
    assert again is not None and again > entered
    known = consortium.add_patient("northeast", "Bea", "Known", insurance_cost=Decimal(5))
    changed = edit(northeast, nurse, known, 1, first_name="Bea", last_name="Known", insurance_cost=6)
    assert (changed.insurance_cost, changed.cost_entered_at) == (Decimal(6), None)


def test_an_edit_that_changes_nothing_leaves_no_history(
    consortium: Consortium, northeast: Session, ada: uuid.UUID
) -> None:
    same = edit(northeast, consortium.actors["nurse"], ada, 1, bmi="27.5000")
    assert (same.row_version, actions(northeast, ada)) == (1, [])


def test_the_second_of_two_editors_is_shown_the_difference_and_nothing_is_overwritten(
    consortium: Consortium, ada: uuid.UUID
) -> None:
    nurse, doctor = consortium.actors["nurse"], consortium.actors["doctor"]
    with consortium.site("northeast") as first:
        edit(first, nurse, ada, 1, age=41, bmi=30)
        first.commit()
    with consortium.site("northeast") as second:
        with pytest.raises(PatientChanged) as refused:
            edit(second, doctor, ada, 1, age=42, bmi=30, insurance_cost=7)
        second.rollback()
    conflict = refused.value
    assert [(one.field, one.label, one.theirs, one.yours) for one in conflict.differences] == [
        ("age", "Age", 41, 42),
        ("insurance_cost", "Insurance cost", None, Decimal("7.00")),
    ]
    assert (conflict.current.row_version, conflict.current.bmi) == (2, Decimal(30))
    with consortium.site("northeast") as third:
        kept = third.get_one(Patient, ada)
        assert (kept.age, kept.insurance_cost, kept.row_version) == (41, None, 2)
        events = third.execute(select(AccessEvent.worker_id, AccessEvent.action)).all()
        assert (doctor.worker_id, "patient_edit_conflict") in events, "what was shown was read"
        chosen = edit(third, doctor, ada, conflict.current.row_version, age=42, bmi=30, insurance_cost=7)
        third.commit()
        assert (chosen.age, chosen.row_version) == (42, 3)
        assert actions(third, ada) == ["edited", "edited"]


def test_two_editors_who_want_the_same_have_no_conflict(consortium: Consortium, ada: uuid.UUID) -> None:
    for person in ("nurse", "doctor"):
        with consortium.site("northeast") as site:
            assert edit(site, consortium.actors[person], ada, 1, age=41).row_version == 2
            site.commit()


def test_of_two_edits_at_the_same_moment_the_later_waits_and_is_refused(
    consortium: Consortium, ada: uuid.UUID
) -> None:
    nurse, doctor = consortium.actors["nurse"], consortium.actors["doctor"]
    outcome: list[object] = []

    def second_edit() -> None:
        with consortium.site("northeast") as site:
            try:
                outcome.append(edit(site, doctor, ada, 1, age=42))
            except PatientChanged as error:
                outcome.append(error)

    with consortium.site("northeast") as first:
        edit(first, nurse, ada, 1, age=41)
        thread = threading.Thread(target=second_edit)
        thread.start()
        _wait_until_somebody_waits(first)
        assert outcome == []
        first.commit()
        thread.join(20)
    (conflict,) = outcome
    assert isinstance(conflict, PatientChanged)
    assert [(one.theirs, one.yours) for one in conflict.differences] == [(41, 42)]


def _wait_until_somebody_waits(site: Session) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if site.scalar(waiting):
            return
        time.sleep(0.01)
    raise AssertionError("the second edit does not wait for the first")


def test_a_bad_edit_names_every_field_and_changes_nothing(
    consortium: Consortium, northeast: Session, ada: uuid.UUID
) -> None:
    with pytest.raises(InvalidInput) as refused:
        edit(northeast, consortium.actors["nurse"], ada, 1, first_name="", age=-1, insurance_cost="much")
    assert [problem.field for problem in refused.value.problems] == ["age", "first_name", "insurance_cost"]
    typed = patient_entry.check_entry("", "Lovelace", {**INPUTS, "age": -1}, "much")
    assert typed == list(refused.value.problems)
    assert patient_entry.check_entry("Ada", "Lovelace", INPUTS, "") == []
    assert northeast.get_one(Patient, ada).row_version == 1


def test_a_deleted_patient_is_nowhere_and_comes_back_as_they_were(
    consortium: Consortium, northeast: Session, ada: uuid.UUID
) -> None:
    doctor = consortium.actors["doctor"]
    edit(northeast, doctor, ada, 1, insurance_cost=500)
    patient_records.delete_patient(site=northeast, actor=doctor, patient_id=ada)
    northeast.commit()
    assert patients.list_patients(site=northeast, actor=doctor).items == []
    assert patients.count_patients(site=northeast, actor=doctor) == 0
    assert patients.cost_distribution(site=northeast, actor=doctor).count == 0
    assert list(patients.patients_for_export(site=northeast, actor=doctor)) == []
    for refused in (
        lambda: patients.get_patient(site=northeast, actor=doctor, patient_id=ada),
        lambda: patient_records.changes_of(site=northeast, actor=doctor, patient_id=ada),
        lambda: patient_records.delete_patient(site=northeast, actor=doctor, patient_id=ada),
        lambda: edit(northeast, doctor, ada, 3),
    ):
        with pytest.raises(NotFound):
            refused()
    duplicates = patient_records.possible_duplicates(
        site=northeast, actor=doctor, first_name="Ada", last_name="Lovelace", age=40
    )
    assert duplicates == []
    deleted = patient_records.recently_deleted(site=northeast, actor=doctor).items
    assert [patient.id for patient in deleted] == [ada]
    back = patient_records.restore_patient(site=northeast, actor=doctor, patient_id=ada)
    assert (back.insurance_cost, back.deleted_at) == (Decimal("500.00"), None)
    assert patients.count_patients(site=northeast, actor=doctor) == 1
    changes = patient_records.changes_of(site=northeast, actor=doctor, patient_id=ada).items
    assert [change.action for change in changes] == ["restored", "deleted", "edited"]
    with pytest.raises(Conflict):
        patient_records.restore_patient(site=northeast, actor=doctor, patient_id=ada)
    with pytest.raises(NotFound):
        patient_records.restore_patient(site=northeast, actor=doctor, patient_id=uuid.uuid4())


def test_deleting_can_be_undone_for_thirty_days(
    consortium: Consortium, northeast: Session, ada: uuid.UUID
) -> None:
    doctor = consortium.actors["doctor"]
    patient_records.delete_patient(site=northeast, actor=doctor, patient_id=ada)
    since = text("UPDATE patients SET deleted_at = now() - CAST(:since AS interval)")
    northeast.execute(since, {"since": "30 days 1 minute"})
    assert patient_records.recently_deleted(site=northeast, actor=doctor).items == []
    with pytest.raises(Conflict, match="more than 30 days ago"):
        patient_records.restore_patient(site=northeast, actor=doctor, patient_id=ada)
    northeast.execute(since, {"since": "29 days 23 hours"})
    assert patient_records.recently_deleted(site=northeast, actor=doctor).items != []
    assert patient_records.restore_patient(site=northeast, actor=doctor, patient_id=ada).id == ada


def test_possible_duplicates_have_the_same_name_and_age(consortium: Consortium, northeast: Session) -> None:
    nurse = consortium.actors["nurse"]
    same = [
        consortium.add_patient("northeast", "Anna Maria", "van Dyck", age=40),
        consortium.add_patient("northeast", "annamaria", "VAN DYCK", age=40),
    ]
    consortium.add_patient("northeast", "Anna Maria", "van Dyck", age=41)
    consortium.add_patient("northeast", "Anna", "van Dyck", age=40)

    def found(first_name: str, last_name: str, age: object) -> list[uuid.UUID]:
        listed = patient_records.possible_duplicates(
            site=northeast, actor=nurse, first_name=first_name, last_name=last_name, age=age
        )
        return [patient.id for patient in listed]

    assert found(" anna  maria", "Vandyck ", "40") == same
    for entry in (("Anna Maria", "van Dyck", 39), ("", "van Dyck", 40), ("Anna", "", 40), ("A", "B", None)):
        assert found(*entry) == []
    assert found("A\x00", "B", 40) == found("A", "B", "forty") == []


def test_every_read_and_write_says_who_what_when_and_from_where_but_no_name_and_no_value(
    consortium: Consortium, northeast: Session
) -> None:
    doctor = consortium.actors["doctor"]
    call = {"site": northeast, "actor": doctor}
    added = patient_records.add_patient(
        **call, first_name="Ada", last_name="Lovelace", inputs=INPUTS, insurance_cost=4321
    )
    one = {**call, "patient_id": added.id}
    wanted = patients.PatientFilter(search="lovelace", bmi_from=27.5)
    patients.list_patients(**call)
    patients.list_patients(**call, filter=wanted)
    patients.count_patients(**call, filter=wanted)
    patients.get_patient(**one)
    patients.cost_distribution(**call)
    list(patients.patients_for_export(**call, filter=wanted))
    patient_records.possible_duplicates(**call, first_name="Ada", last_name="Lovelace", age=40)
    edit(northeast, doctor, added.id, 1, insurance_cost=1234)
    patient_records.changes_of(**one)
    patient_records.delete_patient(**one)
    patient_records.recently_deleted(**call)
    patient_records.restore_patient(**one)
    northeast.commit()
    events = northeast.scalars(select(AccessEvent).order_by(AccessEvent.id)).all()
    of_one, of_many = added.id, None
    assert [(event.action, event.patient_id) for event in events] == [
        ("patient_added", of_one),
        ("patients_listed", of_many),
        ("patients_searched", of_many),
        ("patients_counted", of_many),
        ("patient_read", of_one),
        ("cost_distribution_read", of_many),
        ("patients_exported", of_many),
        ("possible_duplicates_searched", of_many),
        ("patient_edited", of_one),
        ("patient_history_read", of_one),
        ("patient_deleted", of_one),
        ("deleted_patients_listed", of_many),
        ("patient_restored", of_one),
    ]
    now = northeast.execute(select(func.now())).scalar_one()
    for event in events:
        assert (event.worker_id, event.address) == (doctor.worker_id, "192.0.2.1")
        assert abs((now - event.occurred_at).total_seconds()) < 60
    for action in ("patients_listed", "patients_searched", "possible_duplicates_searched"):
        (event,) = (event for event in events if event.action == action)
        assert event.details["patient_ids"] == [str(added.id)]
    kept = repr([event.details for event in events]).lower().replace(str(added.id), "")
    for secret in ("ada", "lovelace", "4321", "1234", "27.5"):
        assert secret not in kept


def test_only_who_may_changes_patients(consortium: Consortium, northeast: Session, ada: uuid.UUID) -> None:
    entry = {"first_name": "A", "last_name": "B", "inputs": INPUTS}
    calls = {
        "add": lambda actor: patient_records.add_patient(site=northeast, actor=actor, **entry),
        "edit": lambda actor: edit(northeast, actor, ada, 1),
        "history": lambda actor: patient_records.changes_of(site=northeast, actor=actor, patient_id=ada),
        "duplicates": lambda actor: patient_records.possible_duplicates(
            site=northeast, actor=actor, first_name="A", last_name="B", age=40
        ),
        "delete": lambda actor: patient_records.delete_patient(site=northeast, actor=actor, patient_id=ada),
        "deleted": lambda actor: patient_records.recently_deleted(site=northeast, actor=actor),
        "restore": lambda actor: patient_records.restore_patient(site=northeast, actor=actor, patient_id=ada),
    }
    for person, refused in (
        ("nurse", {"delete", "deleted", "restore"}),
        ("doctor", set()),
        ("scientist", set(calls)),
        ("admin", set(calls)),
    ):
        for name, call in calls.items():
            if name in refused:
                with pytest.raises(PermissionRefused):
                    call(consortium.actors[person])
            else:
                call(consortium.actors[person])


def test_every_field_that_people_fill_in_has_a_label() -> None:
    assert [*FIELD_LABELS] == [
        "first_name",
        "last_name",
        *(feature.name for feature in FEATURES),
        "insurance_cost",
    ]
