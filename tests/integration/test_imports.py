"""Importing a checked file: whole or not at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.databases import site_session
from app.errors import InvalidInput, PermissionRefused
from app.services.imports import ImportCheck, PatientRow, check_file, import_patients
from db.site import AccessEvent, Patient

HEADER = b"age,sex,bmi,children,smoker,region,charges,first_name,last_name\n"


def _count(site: Session) -> int | None:
    return site.scalar(select(func.count()).select_from(Patient))


def test_a_good_file_is_imported_with_its_names_and_costs(consortium: Any, northeast: Session) -> None:
    check = check_file(
        HEADER
        + "19,female,27.9,0,yes,southwest,16884.924,Zoë,Åström\n".encode()
        + b"64,m,30,2,no,NE,,Bo,Ek\n"
    )
    assert check.problems == []
    doctor = consortium.actors["doctor"]
    assert import_patients(site=northeast, actor=doctor, check=check) == 2
    northeast.commit()
    rows = northeast.scalars(select(Patient).order_by(Patient.age)).all()
    assert [(row.first_name, row.last_name) for row in rows] == [("Zoë", "Åström"), ("Bo", "Ek")]
    assert [row.insurance_cost for row in rows] == [Decimal("16884.92"), None]
    assert (rows[1].sex, rows[1].region, rows[1].created_by) == ("male", "northeast", doctor.worker_id)
    event = northeast.scalars(select(AccessEvent)).one()
    assert (event.action, event.details) == ("patients_imported", {"count": 2})


def test_a_file_with_one_bad_row_imports_nothing(consortium: Any, northeast: Session) -> None:
    check = check_file(HEADER + b"19,female,27.9,0,yes,southwest,1,A,B\n200,male,30,2,no,NE,,C,D\n")
    with pytest.raises(InvalidInput) as refused:
        import_patients(site=northeast, actor=consortium.actors["doctor"], check=check)
    assert "Row 3: Age is '200'" in str(refused.value)
    assert _count(northeast) == 0


def test_a_row_that_the_database_refuses_leaves_nothing_behind(consortium: Any) -> None:
    good = check_file(HEADER + b"19,female,27.9,0,yes,southwest,1,A,B\n").rows[0]
    bad = PatientRow(3, {**good.inputs, "age": 999}, good.insurance_cost, "C", "D")
    doctor = consortium.actors["doctor"]
    with pytest.raises(DBAPIError), site_session(doctor) as site:
        import_patients(site=site, actor=doctor, check=ImportCheck(rows=[good] * 2000 + [bad]))
    with site_session(doctor) as site:
        assert _count(site) == 0


def test_only_doctors_import(consortium: Any, northeast: Session) -> None:
    check = check_file(HEADER + b"19,female,27.9,0,yes,southwest,1,A,B\n")
    for person in ("nurse", "admin", "scientist"):
        with pytest.raises(PermissionRefused):
            import_patients(site=northeast, actor=consortium.actors[person], check=check)


def test_nameless_rows_get_names_that_say_where_they_came_from(consortium: Any, northeast: Session) -> None:
    check = check_file(b"age,sex,bmi,children,smoker,region\n19,female,27.9,0,yes,southwest\n")
    import_patients(site=northeast, actor=consortium.actors["doctor"], check=check)
    patient = northeast.scalars(select(Patient)).one()
    assert (patient.first_name, patient.last_name, patient.insurance_cost) == ("row 2", "Imported", None)
