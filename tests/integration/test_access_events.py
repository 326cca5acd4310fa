"""Every read and write of a patient or a prediction leaves who, what, which patient, when and from where."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.app import create_api
from app.actor import Actor
from app.databases import central_session, site_session
from app.errors import Conflict, NotFound, PatientChanged
from app.services import (
    batch,
    imports,
    overview,
    patient_records,
    patients,
    prediction_history,
    predictions,
)
from app.services.import_mapping import guess_mapping
from app.services.patient_query import PatientFilter
from app.services.prediction_history import PredictionFilter
from app.services.tabular import read_table
from db.site import AccessEvent
from tests.integration.conftest import Consortium

CALLER = "198.51.100.7"
# Nothing of these may stand in an event.
SECRETS = ("Zuckmayer", "Quirina", "zuckm", "61.237", "54321", "Imported", "southwest")
FEATURES: dict[str, Any] = {
    "age": 61,
    "sex": "female",
    "bmi": 61.237,
    "children": 1,
    "smoker": "yes",
    "region": "southwest",
}
ENTRY = {**FEATURES, "first_name": "Quirina", "last_name": "Zuckmayer"}
FILE = (
    "First Name,Last Name,Age,Sex,BMI,Children,Smoker,Region,Charges\n"
    "Quirina,Zuckmayer-Neu,61,F,61.237,1,Y,southwest,54321\n"
)


@dataclass
class Log:
    """The institution's access log, read piece by piece."""

    site: Session
    worker_id: int
    read: int = 0
    failed: tuple[str, ...] = ("patient_edit_conflict", "patient_delete_conflict")

    def new(self) -> list[tuple[str, uuid.UUID | None, dict[str, Any]]]:
        """Return what, which patient and details of the new events, whose who, when and from where are checked."""
        self.site.rollback()
        query = select(AccessEvent).where(AccessEvent.id > self.read).order_by(AccessEvent.id)
        events = self.site.scalars(query).all()
        for event in events:
            self.read = event.id
            assert event.worker_id == self.worker_id, event.action
            assert event.address == CALLER, event.action
            assert event.role == "doctor", event.action
            assert event.outcome == ("failed" if event.action in self.failed else "ok"), event.action
            age = datetime.datetime.now(datetime.UTC) - event.occurred_at
            assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
            assert not [secret for secret in SECRETS if secret in repr(vars(event))], vars(event)
        return [(event.action, event.patient_id, event.details) for event in events]


@pytest.fixture
def log(consortium: Consortium) -> Any:
    """The northeast institution's log; every event in it is to be the doctor's."""
    with consortium.site("northeast") as site:
        yield Log(site, consortium.workers["doctor"].id)


def test_through_the_api(
    consortium: Consortium,
    token_of: Callable[[str], dict[str, str]],
    add_model: Callable[..., Any],
    log: Log,
) -> None:
    add_model()
    headers = token_of("doctor")
    api = TestClient(create_api(), client=(CALLER, 50000), headers=headers)

    def send(method: str, path: str, *expected: str, status: int = 200, **body: Any) -> Any:
        answer = api.request(method, path, **body)
        assert answer.status_code == status, answer.text
        nonlocal events
        events = log.new()
        assert [action for action, _, _ in events] == list(expected), path
        return answer.json() if status != 204 and "json" in answer.headers["content-type"] else None

    events: list[tuple[str, uuid.UUID | None, dict[str, Any]]] = []
    added = send("POST", "/patients", "possible_duplicates_searched", "patient_added", status=201, json=ENTRY)
    patient = uuid.UUID(added["id"])
    assert events[-1][1] == patient
    path = f"/patients/{patient}"

    send("GET", "/patients?count=true", "patients_listed", "patients_counted")
    assert events[0][2]["patient_ids"] == [str(patient)]
    send("GET", "/patients?search=zuckm", "patients_searched")
    assert events[0][2] == {"patient_ids": [str(patient)], "filters": ["search"]}
    send("GET", "/patients?region=southwest&age_from=61", "patients_listed")
    assert events[0][2]["filters"] == ["region", "age_from"]
    send("POST", "/patients", "possible_duplicates_searched", status=409, json=ENTRY)
    assert events[0][2]["patient_ids"] == [str(patient)]

    send("GET", path, "patient_read")
    seen = {"If-Match": '"1"'}
    send("PUT", path, "patient_edited", json={**ENTRY, "insurance_cost": 54321}, headers=seen)
    send("PUT", path, "patient_edit_conflict", status=412, json=ENTRY, headers=seen)
    send("DELETE", path, "patient_delete_conflict", status=412, headers=seen)
    send("GET", f"{path}/changes", "patient_history_read")
    send("POST", "/predictions", "prediction_saved", json={**FEATURES, "patient_id": str(patient)})
    send("GET", f"{path}/predictions", "predictions_listed")
    send("DELETE", path, "patient_deleted", status=204, headers={"If-Match": '"2"'})
    send("POST", f"{path}/restore", "patient_restored")
    assert events[0][1] == patient
    send("DELETE", path, "patient_deleted", status=204, headers={"If-Match": '"4"'})
    send("GET", "/patients/deleted", "deleted_patients_listed")
    assert events[0][2]["patient_ids"] == [str(patient)]
    send("POST", f"{path}/restore", "patient_restored")

    send("GET", "/patients/cost-distribution", "cost_distribution_read")
    send("GET", "/patients/export?search=zuckm", "patients_exported")
    assert (events[0][2]["count"], events[0][2]["filters"]) == (1, ["search"])
    send("GET", "/predictions/history?patient=zuckm", "predictions_listed")
    assert events[0][2]["filters"] == ["patient"]
    send("GET", "/predictions/export?patient=zuckm", "predictions_exported")
    assert events[0][2] == {"count": 1, "filters": ["patient"]}
    send("GET", "/predictions/accuracy", "predictions_summarised")
    send("POST", "/predictions/batch", "patients_predicted", "prediction_saved", json={"patients": {}})
    assert events[1][1] == patient
    send("POST", "/predictions/batch", json={"rows": [FEATURES]})
    send("POST", "/predictions/explain", json=FEATURES)

    send("POST", "/patients/import?check_only=true", "import_compared", content=FILE.encode())
    send("POST", "/patients/import", "patients_imported", content=FILE.encode())
    assert events[0][2]["count"] == 1


def test_through_the_services_that_the_pages_call(
    consortium: Consortium, add_model: Callable[..., Any], log: Log
) -> None:
    add_model()
    who = {**vars(consortium.actors["doctor"]), "address": CALLER}
    doctor = Actor(**who)
    table = read_table(FILE.encode(), "patients.csv")
    check = imports.check_table(table, guess_mapping(table.header))

    def act(what: Callable[..., Any], *expected: str, **arguments: Any) -> Any:
        with site_session(doctor) as site:
            result = what(site=site, actor=doctor, **arguments)
            if hasattr(result, "__next__"):
                list(result)
        nonlocal events
        events = log.new()
        assert [action for action, _, _ in events] == list(expected), what
        return result

    events: list[tuple[str, uuid.UUID | None, dict[str, Any]]] = []
    inputs: dict[str, Any] = {"inputs": FEATURES, "first_name": "Quirina", "last_name": "Zuckmayer"}
    patient = act(patient_records.add_patient, "patient_added", **inputs).id
    one = {"patient_id": patient}
    names = {"first_name": "quirina", "last_name": "ZUCKMAYER", "age": 61}
    act(patient_records.possible_duplicates, "possible_duplicates_searched", **names)
    assert events[0][2]["patient_ids"] == [str(patient)]
    act(patients.list_patients, "patients_listed")
    act(patients.list_patients, "patients_searched", filter=PatientFilter(search="zuckm"))
    act(patients.count_patients, "patients_counted", filter=PatientFilter(search="zuckm"))
    act(patients.cost_distribution, "cost_distribution_read")
    for what, action in (
        (patients.get_patient, "patient_read"),
        (patient_records.changes_of, "patient_history_read"),
        (prediction_history.predictions_of, "predictions_listed"),
        (patient_records.delete_patient, "patient_deleted"),
        (patient_records.restore_patient, "patient_restored"),
    ):
        act(what, action, **one)
        assert events[0][1] == patient, action
    act(patient_records.recently_deleted, "deleted_patients_listed")
    act(
        patient_records.edit_patient, "patient_edited", **one, **inputs, row_version=3, insurance_cost="54321"
    )
    with pytest.raises(PatientChanged):
        act(patient_records.edit_patient, **one, **inputs, row_version=1)
    assert [event[:2] for event in log.new()] == [("patient_edit_conflict", patient)]
    with pytest.raises(Conflict):
        act(patient_records.restore_patient, **one)
    log.failed = ("patient_restored", "patient_read")
    assert [event[:2] for event in log.new()] == [("patient_restored", patient)]
    unknown = uuid.uuid4()
    with pytest.raises(NotFound):
        act(patients.get_patient, patient_id=unknown)
    assert [event[:2] for event in log.new()] == [("patient_read", unknown)]
    log.failed = ()
    act(patients.patients_for_export, "patients_exported", filter=PatientFilter(search="zuckm"))

    with central_session() as central:
        made = predictions.predict(central=central, actor=doctor, inputs=FEATURES)
        act(predictions.save, "prediction_saved", prediction=made, patient_id=patient)
        assert events[0][1] == patient
        found = ("patients_predicted", "prediction_saved")
        act(batch.predict_patients, *found, central=central, patient_ids=[patient])
        assert events[1][1] == patient
    act(prediction_history.history, "predictions_listed", filter=PredictionFilter(patient="zuckm"))
    assert events[0][2]["patient_ids"] == [str(patient)]
    act(prediction_history.history_for_export, "predictions_exported")
    act(prediction_history.history_choices)
    act(prediction_history.accuracy_by_month, "predictions_summarised")
    act(overview.clinic_overview, "overview_read")
    assert events[0][2] == {"patient_ids": [str(patient)]}
    act(imports.compare_with_record, "import_compared", check=check)
    act(imports.import_patients, "patients_imported", check=check)
