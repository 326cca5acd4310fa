"""The demonstration consortium: four invented hospitals, their staff, and generated patients or those of a file."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.demo_people import ADDRESS, CONSORTIUM_STAFF, HOSPITAL_STAFF, HOSPITALS, invent_names
from app.services import audit
from app.services.imports import PatientRow, RowProblem, check_file
from app.services.patient_entry import column_values
from app.settings import DEMO_PASSWORD
from db import cohort
from db.central import AuditEvent, Institution, MedicalWorker
from db.engines import sessions_for
from db.provision import DatabaseUrls
from db.site import Patient

PATIENTS_PER_HOSPITAL = 334
UNKNOWN_COST_SHARE = 0.1  # of the generated patients
GENERATED = "generated"
BEGUN, DONE = "demo_data_begun", "demo_data_loaded"
# Ids follow from this and the row number, so that the same data give the same Runs.
PATIENT_IDS = uuid.UUID("5f0c1f0a-8b52-4d7e-9a3e-6d1f2c4b7a90")


class BadDemoFile(Exception):
    """The file named by DATA cannot be used; `problems` says why, row by row."""

    def __init__(self, path: Path, problems: Sequence[RowProblem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} problems" if len(problems) != 1 else "1 problem"
        lines = (f"  row {problem.row}: {problem.message}" for problem in problems)
        super().__init__("\n".join([f"{path} has {count}; nothing was imported.", *lines]))


class OtherDataLoaded(Exception):
    """The data folder already holds other patients, and two data sets are never mixed."""


@dataclass(frozen=True)
class DemoFile:
    """A checked file of patients, with the name and hash by which the database remembers it."""

    name: str
    sha256: str
    rows: list[PatientRow]


def read_demo_file(path: Path) -> DemoFile:
    """Read and check a CSV file with the six features and charges.

    Raises
    ------
    BadDemoFile
        If it cannot be read or any row is wrong; all problems are listed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadDemoFile(path, [RowProblem(1, None, f"The file cannot be read: {reason}.")]) from error
    check = check_file(content)
    if check.problems:
        raise BadDemoFile(path, check.problems)
    return DemoFile(path.name, hashlib.sha256(content).hexdigest(), check.rows)


def seed_demo(
    urls: DatabaseUrls, csv: Path | None = None, report: Callable[[str], None] = lambda sentence: None
) -> None:
    """Fill fresh databases with the demonstration consortium; nothing happens if they hold it.

    Parameters
    ----------
    csv
        Patients to load in place of the generated ones, each into the hospital of its region. None keeps what
        is there, or generates patients if there are none.
    report
        Gets one sentence on the data that the hospitals have.

    Raises
    ------
    BadDemoFile
        Before anything is written.
    OtherDataLoaded
        If `csv` is not what was loaded before.
    """
    file = read_demo_file(csv) if csv is not None else None
    with sessions_for(urls.central)() as central:
        begun = _event(central, BEGUN)
        if begun is None:
            _begin(central, file)
        elif file is not None and begun.details.get("sha256") != file.sha256:
            raise OtherDataLoaded(
                f"This data folder already holds {begun.details['description']}, not {file.name}. "
                f"To load {file.name} in its place: make clean, then make run DATA={csv}"
            )
        elif file is None and begun.details.get("sha256") and _event(central, DONE) is None:
            raise OtherDataLoaded(
                f"Loading {begun.details['description']} was interrupted. Start again with the same DATA, "
                "or begin anew: make clean"
            )
        _add_missing_people(central)
        central.commit()
        description = str(_present(central, BEGUN).details["description"])
        if _event(central, DONE) is None:
            _fill_sites(urls, file)
            audit.record(central=central, actor=None, action=DONE)
            central.commit()
    report(f"Demonstration data: {description}.")


def demo_accounts() -> list[tuple[str, str, str]]:
    """Return e-mail address, name and role of everybody who can sign in."""
    accounts = [(f"{local}@demo.local", name, role) for local, (name, role) in CONSORTIUM_STAFF.items()]
    for code, staff in HOSPITAL_STAFF.items():
        accounts.extend((f"{local}@{code}.demo.local", name, role) for local, (name, role) in staff.items())
    return accounts


def _event(central: Session, action: str) -> AuditEvent | None:
    return central.scalars(select(AuditEvent).where(AuditEvent.action == action)).first()


def _present(central: Session, action: str) -> AuditEvent:
    event = _event(central, action)
    assert event is not None
    return event


def _begin(central: Session, file: DemoFile | None) -> None:
    """Commit hospitals, staff and which data are coming, so that an interrupted start goes on with the same."""
    central.add_all(Institution(code=code, name=name, address=ADDRESS) for code, name in HOSPITALS.items())
    central.flush()
    _add_missing_people(central)
    if file is None:
        details = {"description": f"{PATIENTS_PER_HOSPITAL} generated patients in each hospital"}
    else:
        count = f"{len(file.rows):,} patient{'s' if len(file.rows) != 1 else ''}"
        details = {"description": f"{count} of {file.name}", "sha256": file.sha256}
    audit.record(central=central, actor=None, action=BEGUN, details=details)
    central.commit()


def _add_missing_people(central: Session) -> None:
    """Make the accounts that are not there: all at first, and those that a newer version of the software brought."""
    there = set(central.scalars(select(MedicalWorker.email)))
    missing = [account for account in demo_accounts() if account[0] not in there]
    if not missing:
        return
    # Brings Streamlit along, which a second start can do without.
    from app.auth.passwords import hash_password

    ids = dict(central.execute(select(Institution.code, Institution.id)).all())
    # One hash for all: its slowness buys nothing for a published password.
    hashed = hash_password(DEMO_PASSWORD)
    central.add_all(
        MedicalWorker(
            email=email,
            password_hash=hashed,
            name=name,
            role=role,
            institution_id=ids.get(email.split("@")[1].split(".")[0]),
        )
        for email, name, role in missing
    )


def _fill_sites(urls: DatabaseUrls, file: DemoFile | None) -> None:
    own = {code: url for code, url in urls.sites.items() if code in HOSPITALS}
    for seed, (code, url) in enumerate(sorted(own.items()), start=1):
        with sessions_for(url)() as site:
            if site.scalar(select(func.count()).select_from(Patient)) == 0:
                patients = _generated(code, seed) if file is None else _from_file(code, seed, file.rows)
                if patients:
                    site.execute(insert(Patient), patients)
                site.commit()


def _generated(code: str, seed: int) -> list[dict[str, Any]]:
    people = cohort.generate(PATIENTS_PER_HOSPITAL, seed=seed, region=code)
    # A stream of its own: by the cohort's, whose first draws are the ages, only the youngest would be unknown.
    unknown = np.random.default_rng([seed, 1]).random(len(people)) < UNKNOWN_COST_SHARE
    names = invent_names(people.sex.tolist(), seed=seed)
    return [
        {
            "id": _patient_id(code, row),
            "first_name": first,
            "last_name": last,
            "age": int(people.age[row]),
            "sex": str(people.sex[row]),
            "bmi": Decimal(f"{people.bmi[row]:.3f}"),
            "children": int(people.children[row]),
            "smoker": str(people.smoker[row]),
            "region": code,
            "insurance_cost": None if unknown[row] else Decimal(f"{people.insurance_cost[row]:.2f}"),
        }
        for row, (first, last) in enumerate(names)
    ]


def _from_file(code: str, seed: int, rows: Iterable[PatientRow]) -> list[dict[str, Any]]:
    own = [row for row in rows if row.inputs["region"] == code]
    invented = invent_names([str(row.inputs["sex"]) for row in own], seed=seed)
    return [
        {
            "id": _patient_id(code, row.row),
            "first_name": row.first_name or first,
            "last_name": row.last_name or last,
            **column_values(row.inputs),
            "insurance_cost": row.insurance_cost,
        }
        for row, (first, last) in zip(own, invented, strict=True)
    ]


def _patient_id(code: str, row: int) -> uuid.UUID:
    return uuid.uuid5(PATIENT_IDS, f"{code}/{row}")
