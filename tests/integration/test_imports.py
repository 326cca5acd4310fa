"""Importing a checked file: whole or not at all, and nobody twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.databases import site_session
from app.errors import InvalidInput, PermissionRefused
from app.services.imports import (
    ImportCheck,
    ImportComparison,
    ImportResult,
    PatientRow,
    check_file,
    compare_with_record,
    import_patients,
)
from app.services.patient_records import delete_patient, edit_patient
from db.site import AccessEvent, Patient, PatientChange
from fl.features import FEATURE_NAMES

HEADER = "age,sex,bmi,children,smoker,region,charges,first_name,last_name\n"
ZOE = "19,female,27.9,0,yes,southwest,16884.924,Zoë,Åström\n"
BO = "64,m,30,2,no,NE,,Bo,Ek\n"


def _count(site: Session) -> int | None:
    return site.scalar(select(func.count()).select_from(Patient))


def _checked(*lines: str, header: str = HEADER) -> ImportCheck:
    check = check_file((header + "".join(lines)).encode())
    assert check.problems == []
    return check


def _import(consortium: Any, *lines: str, header: str = HEADER) -> ImportResult:
    doctor = consortium.actors["doctor"]
    with site_session(doctor) as site:
        return import_patients(site=site, actor=doctor, check=_checked(*lines, header=header))


def _costs(consortium: Any) -> Counter[Decimal | None]:
    with consortium.site("northeast") as site:
        return Counter(site.scalars(select(Patient.insurance_cost)))


def test_a_good_file_is_imported_with_its_names_and_costs(consortium: Any, northeast: Session) -> None:
    doctor = consortium.actors["doctor"]
    told: list[float] = []
    result = import_patients(site=northeast, actor=doctor, check=_checked(ZOE, BO), progress=told.append)
    northeast.commit()
    assert result == ImportResult(added=2, already_there=0, costs_filled=0)
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert told == sorted(told)
    rows = northeast.scalars(select(Patient).order_by(Patient.age)).all()
    assert [(row.first_name, row.last_name) for row in rows] == [("Zoë", "Åström"), ("Bo", "Ek")]
    assert [row.insurance_cost for row in rows] == [Decimal("16884.92"), None]
    assert [row.cost_entered_at for row in rows] == [None, None]
    assert (rows[1].sex, rows[1].region, rows[1].created_by) == ("male", "northeast", doctor.worker_id)
    event = northeast.scalars(select(AccessEvent)).one()
    assert (event.action, event.address) == ("patients_imported", "192.0.2.1")
    assert event.details == {"count": 2, "already_there": 0, "costs_filled": 0}
    changes = northeast.scalars(select(PatientChange)).all()
    assert {change.patient_id for change in changes} == {row.id for row in rows}
    assert {(change.action, change.worker_name) for change in changes} == {("imported", doctor.name)}
    assert [change.changes for change in changes] == [{}, {}]


def test_a_file_with_one_bad_row_imports_nothing(consortium: Any, northeast: Session) -> None:
    check = check_file((HEADER + ZOE + "200,male,30,2,no,NE,,C,D\n").encode())
    for use in (import_patients, compare_with_record):
        with pytest.raises(InvalidInput) as refused:
            use(site=northeast, actor=consortium.actors["doctor"], check=check)
        assert "Row 3: Age is '200'" in str(refused.value)
        with pytest.raises(InvalidInput, match="no patients"):
            use(site=northeast, actor=consortium.actors["doctor"], check=ImportCheck())
    assert _count(northeast) == 0


def test_a_row_that_the_database_refuses_leaves_nothing_behind(consortium: Any) -> None:
    good = _checked(ZOE).rows[0]
    doctor = consortium.actors["doctor"]
    # The first is refused when it is added, the second already on its way there.
    for inputs in ({**good.inputs, "age": 999}, {**good.inputs, "age": "many"}):
        bad = PatientRow(3, inputs, good.insurance_cost, "C", "D")
        with pytest.raises(DBAPIError) as refused, site_session(doctor) as site:
            import_patients(site=site, actor=doctor, check=ImportCheck(rows=[good] * 2000 + [bad]))
        assert refused.value.hide_parameters
    with site_session(doctor) as site:
        assert _count(site) == 0
        assert site.scalar(select(func.count()).select_from(PatientChange)) == 0


def test_a_reader_who_leaves_while_it_goes_on_leaves_nothing_behind(consortium: Any) -> None:
    class Left(BaseException):
        """What Streamlit raises in a script that is to be stopped."""

    def leave(share: float) -> None:
        if share == 1.0:
            raise Left

    doctor = consortium.actors["doctor"]
    with pytest.raises(Left), site_session(doctor) as site:
        import_patients(site=site, actor=doctor, check=_checked(ZOE, BO), progress=leave)
    with site_session(doctor) as site:
        assert _count(site) == 0
    assert _import(consortium, ZOE, BO).added == 2


def test_only_doctors_import(consortium: Any, northeast: Session) -> None:
    for person in ("nurse", "admin", "scientist"):
        for use in (import_patients, compare_with_record):
            with pytest.raises(PermissionRefused):
                use(site=northeast, actor=consortium.actors[person], check=_checked(ZOE))


def test_the_same_file_again_adds_nobody(consortium: Any) -> None:
    assert _import(consortium, ZOE, BO) == ImportResult(2, 0, 0)
    assert _import(consortium, ZOE, BO) == ImportResult(0, 2, 0)
    upper_case = (ZOE + BO).upper().replace("ZOË", "zoë")
    assert _import(consortium, upper_case, header=HEADER) == ImportResult(0, 2, 0)
    assert _import(consortium, ZOE, BO, ZOE.replace("Zoë", "Eva")) == ImportResult(1, 2, 0)
    with consortium.site("northeast") as site:
        assert _count(site) == 3
        assert site.scalar(select(func.count()).select_from(PatientChange)) == 3


def test_two_people_alike_stay_two(consortium: Any) -> None:
    assert _import(consortium, ZOE, ZOE) == ImportResult(2, 0, 0)
    assert _import(consortium, ZOE, ZOE) == ImportResult(0, 2, 0)
    assert _import(consortium, ZOE) == ImportResult(0, 1, 0)
    assert _import(consortium, ZOE, ZOE, ZOE) == ImportResult(1, 2, 0)


def test_one_other_value_makes_another_patient(consortium: Any) -> None:
    _import(consortium, ZOE)
    for other in ("20,", "19,male,", "19,female,27.901,", "19,female,27.9,1,", "19,female,27.9,0,no,"):
        changed = other + ZOE.split(",", other.count(","))[-1]
        assert _import(consortium, changed) == ImportResult(1, 0, 0), changed


def test_a_cost_that_was_not_known_is_filled_in_and_dated_and_one_on_record_stays(consortium: Any) -> None:
    _import(consortium, ZOE, BO)
    with consortium.site("northeast") as site:
        before = site.scalars(select(Patient).where(Patient.last_name == "Ek")).one()
    priced = BO.replace("NE,,", "NE,1234.50,")
    dearer = ZOE.replace("16884.924", "9")
    assert _import(consortium, priced, dearer) == ImportResult(0, 2, 1)
    assert _import(consortium, priced, dearer) == ImportResult(0, 2, 0)
    assert _import(consortium, BO) == ImportResult(0, 1, 0)
    assert _costs(consortium) == Counter([Decimal("1234.50"), Decimal("16884.92")])
    with consortium.site("northeast") as site:
        filled = site.get_one(Patient, before.id)
        assert filled.cost_entered_at is not None
        assert filled.row_version == before.row_version + 1
        assert filled.updated_at > before.updated_at
        query = select(PatientChange).where(PatientChange.patient_id == before.id).order_by(PatientChange.id)
        added, change = site.scalars(query)
        assert (added.changes, change.changes) == ({}, {"insurance_cost": [None, 1234.5]})
        assert change.action == "imported"


@pytest.mark.parametrize(
    ("on_record", "in_file", "expected", "filled"),
    [
        ([1, None], [1, 2], [1, 2], 1),
        ([1, None], [2, 1], [1, 2], 1),
        ([None, None], [1, None], [1, None], 1),
        ([None], [1, 2], [1, 2], 1),
        ([None], [None, 1], [None, 1], 0),
        ([1, 2], [None, 1], [1, 2], 0),
        ([1, 2, None], [3], [1, 2, 3], 1),
        ([1, 2], [3, 4, 5], [1, 2, 5], 0),
    ],
)
def test_costs_of_people_alike_are_paired_so_that_least_changes(
    consortium: Any,
    on_record: list[int | None],
    in_file: list[int | None],
    expected: list[int | None],
    filled: int,
) -> None:
    def lines(costs: Iterable[int | None]) -> list[str]:
        return [BO.replace("NE,,", f"NE,{'' if cost is None else cost},") for cost in costs]

    _import(consortium, *lines(on_record))
    assert _import(consortium, *lines(in_file)).costs_filled == filled
    assert _costs(consortium) == Counter(None if cost is None else Decimal(cost) for cost in expected)
    if expected != [1, 2, 5]:
        again = _import(consortium, *lines(in_file))
        assert (again.added, again.costs_filled) == (0, 0)


def test_a_deleted_patient_is_not_on_record_and_another_hospitals_neither(consortium: Any) -> None:
    doctor = consortium.actors["doctor"]
    _import(consortium, ZOE)
    with site_session(doctor) as site:
        patient = site.scalars(select(Patient)).one()
        delete_patient(site=site, actor=doctor, patient_id=patient.id)
    assert _import(consortium, ZOE) == ImportResult(1, 0, 0)
    other = consortium.actors["other_doctor"]
    with site_session(other) as site:
        assert import_patients(site=site, actor=other, check=_checked(ZOE)).added == 1


def test_nameless_rows_get_a_name_that_follows_from_their_values(consortium: Any) -> None:
    header = "age,sex,bmi,children,smoker,region,charges\n"
    rows = ["19,female,27.9,0,yes,southwest,\n", "64,m,30,2,no,NE,5\n"]
    assert _import(consortium, *rows, rows[1], header=header) == ImportResult(3, 0, 0)
    with consortium.site("northeast") as site:
        names = site.execute(select(Patient.last_name, Patient.first_name).order_by(Patient.age)).all()
    assert [name[0] for name in names] == ["Imported"] * 3
    assert names[1] == names[2] != names[0]
    assert names[0][1].startswith("patient ")
    # In another order, with a row more in front, and with the cost that was missing.
    priced = rows[0].replace("southwest,", "southwest,7")
    again = _import(consortium, "30,m,30,2,no,NE,5\n", rows[1], priced, rows[1], header=header)
    assert again == ImportResult(1, 3, 1)
    # A row without a name is never taken for somebody with one.
    consortium.add_patient("northeast", "Ann", "Lee", age=50)
    named = "50,female,27.5,1,no,northeast,5000\n"
    assert _import(consortium, named, header=header) == ImportResult(1, 0, 0)


def test_the_comparison_says_what_the_import_then_does(consortium: Any) -> None:
    doctor = consortium.actors["doctor"]
    _import(consortium, ZOE, BO)
    lines = [
        ZOE.replace("16884.924", "1"),
        BO.replace("NE,,", "NE,2,"),
        ZOE.replace("19,", "20,", 1),
        *[BO.replace("Bo,", "Ada,")] * 2,
    ]
    check = _checked(*lines)
    with site_session(doctor) as site:
        found = compare_with_record(site=site, actor=doctor, check=check)
        # In the same transaction the import starts from the beginning.
        result = import_patients(site=site, actor=doctor, check=check)
    assert found == ImportComparison(
        new=3, already_there=2, costs_to_fill=1, costs_different=1, repeated=1, known_names=[4]
    )
    assert result == ImportResult(3, 2, 1)
    with consortium.site("northeast") as site:
        event = site.scalars(select(AccessEvent).where(AccessEvent.action == "import_compared")).one()
        assert event.details == {"rows": 5, "already_there": 2}
        assert set(site.scalars(text("SELECT relname FROM pg_class WHERE relname LIKE 'import_%'"))) == set()


def test_two_doctors_with_the_same_file_at_the_same_time_double_nobody(consortium: Any) -> None:
    doctor = consortium.actors["doctor"]
    check = _checked(*[ZOE.replace("19,", f"{age},", 1) for age in range(20, 90)])
    first_is_inside, results = threading.Event(), []

    def slowly(share: float) -> None:
        if share > 0.2:
            first_is_inside.set()
            time.sleep(0.3)

    def run(progress: Any) -> None:
        with site_session(doctor) as site:
            results.append(import_patients(site=site, actor=doctor, check=check, progress=progress))

    first = threading.Thread(target=run, args=[slowly])
    first.start()
    assert first_is_inside.wait(10)
    second = threading.Thread(target=run, args=[None])
    second.start()
    for thread in (first, second):
        thread.join(20)
    assert results == [ImportResult(70, 0, 0), ImportResult(0, 70, 0)]
    with site_session(doctor) as site:
        assert _count(site) == 70


def test_a_cost_entered_by_somebody_else_at_that_moment_stays(consortium: Any) -> None:
    doctor = consortium.actors["doctor"]
    _import(consortium, BO)
    check = _checked(BO.replace("NE,,", "NE,2,"))
    with site_session(doctor) as editing:
        patient = editing.scalars(select(Patient)).one()
        inputs = {name: getattr(patient, name) for name in FEATURE_NAMES}
        edit_patient(
            site=editing,
            actor=doctor,
            patient_id=patient.id,
            row_version=patient.row_version,
            first_name="Bo",
            last_name="Ek",
            inputs=inputs,
            insurance_cost="77",
        )
        results: list[ImportResult] = []

        def run() -> None:
            with site_session(doctor) as site:
                results.append(import_patients(site=site, actor=doctor, check=check))

        importing = threading.Thread(target=run)
        importing.start()
        time.sleep(0.5)
        editing.commit()
    importing.join(20)
    assert results == [ImportResult(0, 1, 0)]
    assert _costs(consortium) == Counter([Decimal(77)])
