"""A patient's export holds everything on them and nothing else; erasing leaves the id alone, in every table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, select, text

from app.databases import central_session, site_session
from app.errors import InvalidInput, NotFound, PermissionRefused
from app.services import erasure, patient_records, predictions
from app.services.erasure import Tombstone
from db.site import AccessEvent, Patient
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import has_key, opened, words

FEATURES: dict[str, Any] = {
    "age": 61,
    "sex": "female",
    "bmi": 41.237,
    "children": 1,
    "smoker": "yes",
    "region": "southwest",
}
NAMES = {"first_name": "Quirina", "last_name": "Zuckmayer"}


@pytest.fixture
def patient(consortium: Consortium, add_model: Callable[..., Any]) -> uuid.UUID:
    """A patient with a history and two predictions, one of them with a shadow's, and another patient beside."""
    add_model()
    add_model("v2", "candidate", seed=2, is_shadow=True)
    doctor = consortium.actors["doctor"]
    consortium.add_patient("northeast", "Ada", "Lovelace")
    with site_session(doctor) as site:
        added = patient_records.add_patient(site=site, actor=doctor, **NAMES, inputs=FEATURES).id
    with site_session(doctor) as site:
        entry = {**NAMES, "inputs": FEATURES, "insurance_cost": "54321"}
        patient_records.edit_patient(site=site, actor=doctor, patient_id=added, row_version=1, **entry)
    with site_session(doctor) as site, central_session() as central:
        for _ in range(2):
            predictions.predict_and_save(
                central=central, site=site, actor=doctor, inputs=FEATURES, patient_id=added
            )
        predictions.predict_and_save(central=central, site=site, actor=doctor, inputs={**FEATURES, "age": 20})
    return added


def _everything(consortium: Consortium) -> str:
    """Return every row of every table of the site's database as text."""
    engine = create_engine(consortium.urls.sites["northeast"])
    with engine.connect() as connection:
        tables = connection.scalars(
            text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
        ).all()
        rows = {table: connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables}
    engine.dispose()
    assert len(rows["access_events"]) >= 5
    return repr(rows)


def test_the_export_holds_record_history_predictions_and_accesses(
    consortium: Consortium, patient: uuid.UUID
) -> None:
    doctor = consortium.actors["doctor"]
    with site_session(doctor) as site:
        document = erasure.export_person(site=site, actor=doctor, patient_id=patient)
    json.dumps(document)
    assert document["record"]["last_name"] == "Zuckmayer"
    assert document["record"]["bmi"] == 41.237
    assert [change["action"] for change in document["changes"]] == ["added", "edited"]
    assert document["changes"][1]["changes"] == {"insurance_cost": [None, 54321.0]}
    assert len(document["predictions"]) == 2
    assert {made["unshown_prediction"]["model_version"] for made in document["predictions"]} == {"v2"}
    assert [access["action"] for access in document["accesses"]] == [
        "patient_added",
        "patient_edited",
        "prediction_saved",
        "prediction_saved",
    ]
    assert "Lovelace" not in json.dumps(document)
    with consortium.site("northeast") as site:
        last = site.scalars(select(AccessEvent).order_by(AccessEvent.id.desc()).limit(1)).one()
    assert (last.action, last.patient_id, last.outcome) == ("person_exported", patient, "ok")


@pytest.mark.parametrize("deleted", [False, True])
def test_after_erasing_only_the_id_is_left(consortium: Consortium, patient: uuid.UUID, deleted: bool) -> None:
    doctor = consortium.actors["doctor"]
    if deleted:
        with site_session(doctor) as site:
            patient_records.delete_patient(site=site, actor=doctor, patient_id=patient)
    assert "Zuckmayer" in _everything(consortium)
    with site_session(doctor) as site:
        erased = erasure.erase_patient(site=site, actor=doctor, patient_id=patient, confirmed_id=patient)
    assert (erased.changes, erased.predictions) == (2 + deleted, 2)
    left = _everything(consortium)
    for trace in ("Zuckmayer", "Quirina", "54321"):
        assert trace not in left
    assert str(patient) in left
    assert "Lovelace" in left
    assert left.count("41.237") == 1  # of the prediction that was saved for nobody
    with pytest.raises(NotFound), site_session(doctor) as site:
        erasure.erase_patient(site=site, actor=doctor, patient_id=patient, confirmed_id=patient)
    with consortium.site("northeast") as site:
        query = select(AccessEvent.outcome, AccessEvent.worker_id, AccessEvent.details)
        events = site.execute(
            query.where(AccessEvent.action == "patient_erased").order_by(AccessEvent.id)
        ).all()
    assert events == [
        ("ok", doctor.worker_id, {"changes": 2 + deleted, "predictions": 2}),
        ("failed", doctor.worker_id, {}),
    ]


def test_another_patients_confirmation_erases_nobody(consortium: Consortium, patient: uuid.UUID) -> None:
    doctor = consortium.actors["doctor"]
    with pytest.raises(InvalidInput, match="names another patient"), site_session(doctor) as site:
        erasure.erase_patient(site=site, actor=doctor, patient_id=patient, confirmed_id=uuid.uuid4())
    nurse = consortium.actors["nurse"]
    with pytest.raises(PermissionRefused), site_session(nurse) as site:
        erasure.erase_patient(site=site, actor=nurse, patient_id=patient, confirmed_id=patient)
    assert "Zuckmayer" in _everything(consortium)


def test_a_restored_backup_is_erased_from_again(consortium: Consortium, patient: uuid.UUID) -> None:
    doctor = consortium.actors["doctor"]
    with site_session(doctor) as site:
        site.execute(text("CREATE TEMPORARY TABLE kept AS SELECT * FROM patients"))
        erasure.erase_patient(site=site, actor=doctor, patient_id=patient, confirmed_id=patient)
        [tombstone] = erasure.tombstones(site)
        site.execute(
            text("INSERT INTO patients SELECT * FROM kept WHERE id NOT IN (SELECT id FROM patients)")
        )
    assert "Zuckmayer" in _everything(consortium)
    with site_session(doctor) as site:
        unknown = Tombstone(uuid.uuid4(), tombstone.erased_at, 7, "Somebody")
        assert erasure.erase_again(site, [tombstone, unknown]) == 1
        assert {one.patient_id for one in erasure.tombstones(site)} == {patient, unknown.patient_id}
    assert "Zuckmayer" not in _everything(consortium)


def test_over_the_api(
    consortium: Consortium, patient: uuid.UUID, api: TestClient, token_of: Callable[[str], dict[str, str]]
) -> None:
    headers = token_of("doctor")
    answer = api.get(f"/patients/{patient}/export", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["record"]["last_name"] == "Zuckmayer"
    path = f"/patients/{patient}/erasure"
    assert api.post(path, headers=headers, json={"confirm_patient_id": str(uuid.uuid4())}).status_code == 422
    assert (
        api.post(
            path, headers=token_of("other_doctor"), json={"confirm_patient_id": str(patient)}
        ).status_code
        == 404
    )
    assert (
        api.post(path, headers=token_of("nurse"), json={"confirm_patient_id": str(patient)}).status_code
        == 403
    )
    answer = api.post(path, headers=headers, json={"confirm_patient_id": str(patient)})
    assert (answer.status_code, answer.json()) == (
        200,
        {"patient_id": str(patient), "changes": 2, "predictions": 2},
    )
    assert api.get(f"/patients/{patient}", headers=headers).status_code == 404


def test_on_the_page_the_last_name_must_be_typed(consortium: Consortium, patient: uuid.UUID) -> None:
    consortium.add_patient("northeast", "quirina", "ZUCKMAYER", age=61)
    app = opened(consortium, "doctor", "pages/patient.py")
    app.query_params["patient"] = str(patient)
    app.run()
    app.button(key="patient_erase").click().run()
    assert "1 other record" in " ".join(warning.value for warning in app.warning)
    assert "Models trained so far are not changed" in words(app)
    app.text_input(key="patient_erase_name").input("Lovelace")
    app.button(key="patient_erase_confirmed").click().run()
    assert "Nothing was erased" in " ".join(error.value for error in app.error)
    app.text_input(key="patient_erase_name").input(" zuckmayer ")
    app.button(key="patient_erase_confirmed").click().run()
    with consortium.site("northeast") as site:
        assert site.get(Patient, patient) is None
    assert not has_key(opened(consortium, "nurse", "pages/patients.py").run(), "patient_erase")
