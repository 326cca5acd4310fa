"""What is old is archived before it is deleted, and never the audit; an erased patient leaves the archive too."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, select, text, update

from app.databases import site_session
from app.errors import Conflict, InvalidInput, PermissionRefused
from app.housekeeping import delete_what_is_old
from app.services import archives, erasure, patient_records, retention
from app.services.audit_reading import trail_opened
from db.central import AuditEvent, Session, SiteResult, TrainingRun
from db.data_life import CentralRetentionJob, SiteRetentionJob
from db.federation import RunEvent
from db.site import AccessEvent, Patient, PatientChange, Prediction
from tests.integration.conftest import AddRun, Consortium
from tests.integration.page_scripts import opened, words

OLD, NEW = datetime.now(UTC) - timedelta(days=400), datetime.now(UTC) - timedelta(days=1)
INPUTS = {"age": 40, "sex": "female", "bmi": 27.5, "children": 1, "smoker": "no", "region": "northeast"}
SITE_DAYS = {"deleted_patients": 365, "predictions": 365, "patient_changes": 365}


@pytest.fixture
def hospital(consortium: Consortium) -> dict[str, uuid.UUID]:
    """Old and new rows of each kind: patients deleted long ago and yesterday, and present ones with old predictions."""
    found = {
        name: consortium.add_patient("northeast", name, "Zuckmayer") for name in ("gone", "recent", "present")
    }
    with consortium.site("northeast") as site:
        for name, deleted in (("gone", OLD), ("recent", NEW)):
            site.execute(update(Patient).where(Patient.id == found[name]).values(deleted_at=deleted))
        for name in found:
            for moment in (OLD, NEW):
                site.add(
                    Prediction(
                        patient_id=found[name],
                        inputs=INPUTS,
                        predicted_cost=1,
                        model_version="v1",
                        worker_id=1,
                        worker_name="Somebody",
                        created_at=moment,
                    )
                )
                site.add(
                    PatientChange(
                        patient_id=found[name],
                        occurred_at=moment,
                        worker_id=1,
                        worker_name="Somebody",
                        action="edited",
                        changes={},
                    )
                )
        site.add(AccessEvent(action="patient_read", worker_id=1, occurred_at=OLD))
        site.commit()
    return found


def _set(consortium: Consortium, person: str, days: dict[str, int | None], *, daily: bool = False) -> None:
    actor = consortium.actors[person]
    with trail_opened(actor) as trail:
        retention.change_settings(trail, actor=actor, days=days, daily=daily)


def _run(consortium: Consortium, person: str) -> Any:
    actor = consortium.actors[person]
    with trail_opened(actor) as trail:
        return retention.run_now(trail, actor=actor)


def _lines(folder: str, kind: str) -> list[dict[str, Any]]:
    with gzip.open(Path(folder) / f"{kind}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def test_nothing_is_deleted_until_somebody_sets_a_time(consortium: Consortium, hospital: Any) -> None:
    with pytest.raises(Conflict, match="no number of days is set"):
        _run(consortium, "manager")
    delete_what_is_old()
    with consortium.site("northeast") as site:
        assert len(site.scalars(select(Patient)).all()) == 3


def test_the_dry_run_says_exactly_what_the_job_then_deletes(
    consortium: Consortium, hospital: dict[str, uuid.UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    manager = consortium.actors["manager"]
    _set(consortium, "manager", SITE_DAYS)
    with trail_opened(manager) as trail:
        due = {one.kind.name: (one.rows, one.oldest) for one in retention.dry_run(trail, actor=manager)}
    # Those of the patient who goes with them are counted with the patient when the job comes to them.
    assert due == {"deleted_patients": (1, OLD), "predictions": (3, OLD), "patient_changes": (3, OLD)}
    job = _run(consortium, "manager")
    assert job.deleted == {"deleted_patients": 1, "predictions": 2, "patient_changes": 2}
    assert (job.status, job.requested_by_name) == ("completed", "The manager")
    with consortium.site("northeast") as site:
        assert set(site.scalars(select(Patient.id))) == {hospital["recent"], hospital["present"]}
        assert {made.created_at for made in site.scalars(select(Prediction))} == {NEW}
        assert len(site.scalars(select(PatientChange)).all()) == 2
        assert site.scalars(select(AccessEvent).where(AccessEvent.occurred_at == OLD)).one()
        last = site.scalars(select(AccessEvent).order_by(AccessEvent.id.desc()).limit(1)).one()
    assert (last.action, last.details) == ("retention_ran", {"rows": job.deleted})
    [gone] = _lines(job.archive, "deleted_patients")
    assert gone["patient"]["first_name"] == "gone"
    assert (len(gone["changes"]), len(gone["predictions"])) == (2, 2)
    assert len(_lines(job.archive, "predictions")) == 2
    manifest = json.loads((Path(job.archive) / "manifest.json").read_text())["files"]
    assert {kind: facts["rows"] for kind, facts in manifest.items()} == job.deleted
    for kind, facts in manifest.items():
        content = (Path(job.archive) / f"{kind}.jsonl.gz").read_bytes()
        assert hashlib.sha256(content).hexdigest() == facts["sha256"]
    with trail_opened(manager) as trail:
        assert sum(one.rows for one in retention.dry_run(trail, actor=manager)) == 0


def test_an_erased_patient_leaves_the_archives_too(
    consortium: Consortium, hospital: dict[str, uuid.UUID]
) -> None:
    _set(consortium, "manager", {"predictions": 365, "patient_changes": 365})
    folder = _run(consortium, "manager").archive
    assert len(_lines(folder, "predictions")) == 3
    doctor, patient = consortium.actors["doctor"], hospital["present"]
    with site_session(doctor) as site:
        erasure.erase_patient(site=site, actor=doctor, patient_id=patient, confirmed_id=patient)
    for kind in ("predictions", "patient_changes"):
        assert str(patient) not in json.dumps(_lines(folder, kind))
        facts = json.loads((Path(folder) / "manifest.json").read_text())["files"][kind]
        content = (Path(folder) / f"{kind}.jsonl.gz").read_bytes()
        assert facts == {"rows": 2, "sha256": hashlib.sha256(content).hexdigest()}


def test_rows_are_archived_before_they_are_deleted(
    consortium: Consortium, hospital: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(archives.Archive, "keep", full)
    _set(consortium, "manager", SITE_DAYS)
    with pytest.raises(Conflict, match="Not everything old was deleted: OSError"):
        _run(consortium, "manager")
    with consortium.site("northeast") as site:
        assert len(site.scalars(select(Patient)).all()) == 3
        assert site.scalars(select(SiteRetentionJob)).one().status == "failed"
        last = site.scalars(select(AccessEvent).order_by(AccessEvent.id.desc()).limit(1)).one()
    assert (last.action, last.outcome) == ("retention_ran", "failed")


def test_the_consortium_deletes_logs_updates_sessions_and_never_the_audit(
    consortium: Consortium, add_run: AddRun, add_model: Callable[..., Any]
) -> None:
    version = add_model()
    old, champion = add_run("completed", rounds=1), version.run_id
    with consortium.central() as central:
        for run in (old, champion):
            central.execute(update(TrainingRun).where(TrainingRun.id == run).values(finished_at=OLD))
            central.add(RunEvent(run_id=run, severity="info", message="It went on.", occurred_at=OLD))
        institution = consortium.actors["doctor"].institution_id
        central.add(
            SiteResult(
                run_id=champion,
                round_number=3,
                phase="train",
                institution_id=institution,
                outcome="ok",
                update=b"x",
            )
        )
        central.execute(update(SiteResult).where(SiteResult.run_id == old).values(update=b"y"))
        central.add(Session(worker_id=consortium.workers["admin"].id, expires_at=OLD, token_sha256="0" * 64))
        central.add(AuditEvent(action="sign_in", outcome="ok", occurred_at=OLD))
        central.commit()
        updates = len(central.scalars(select(SiteResult.id).where(SiteResult.run_id == old)).all())
    _set(consortium, "admin", {"run_events": 90, "updates": 90, "sessions": 30, "one_time_links": 30})
    job = _run(consortium, "admin")
    assert job.deleted == {"run_events": 2, "updates": updates, "sessions": 1, "one_time_links": 0}
    with consortium.central() as central:
        kept = central.scalars(select(SiteResult.run_id).where(SiteResult.update.is_not(None))).all()
        assert set(kept) == {champion}
        assert central.scalars(select(AuditEvent).where(AuditEvent.occurred_at == OLD)).one()
        assert central.get(TrainingRun, old) is not None


def test_settings_are_refused_below_the_least_and_kept_in_the_audit(consortium: Consortium) -> None:
    for wrong in ({"predictions": 89}, {"run_events": 100}, {"access_events": 400}, {"predictions": 10**6}):
        with pytest.raises(InvalidInput):
            _set(consortium, "manager", wrong)
    _set(consortium, "manager", {"predictions": 90}, daily=True)
    with consortium.site("northeast") as site:
        event = site.scalars(select(AccessEvent)).one()
    days = {"predictions": 90, "deleted_patients": None, "patient_changes": None}
    assert (event.action, event.details) == ("retention_changed", {"days": days, "daily": True})
    with pytest.raises(PermissionRefused):
        _set(consortium, "doctor", {"predictions": 90})


def test_the_daily_job_runs_once_a_day_where_it_is_switched_on(consortium: Consortium, hospital: Any) -> None:
    _set(consortium, "manager", SITE_DAYS, daily=True)
    _set(consortium, "admin", {"sessions": 30}, daily=False)
    delete_what_is_old()
    delete_what_is_old()
    with consortium.site("northeast") as site:
        assert site.scalars(select(SiteRetentionJob)).one().requested_by is None
        event = site.scalars(select(AccessEvent).where(AccessEvent.action == "retention_ran")).one()
        assert event.worker_id is None
    with consortium.central() as central:
        assert central.scalars(select(CentralRetentionJob)).all() == []
    engine = create_engine(consortium.urls.sites["northeast"])
    with engine.begin() as connection:
        connection.execute(text("UPDATE retention_jobs SET started_at = now() - interval '25 hours'"))
    engine.dispose()
    delete_what_is_old()
    with consortium.site("northeast") as site:
        assert len(site.scalars(select(SiteRetentionJob)).all()) == 2


def test_over_the_api_and_on_the_page(
    consortium: Consortium, hospital: Any, api: TestClient, token_of: Callable[[str], dict[str, str]]
) -> None:
    headers = token_of("manager")
    assert api.get("/retention", headers=headers).json()["due"][0]["days"] is None
    assert (
        api.put("/retention", headers=headers, json={"days": {"predictions": 1}, "daily": False}).status_code
        == 422
    )
    answer = api.put("/retention", headers=headers, json={"days": {"predictions": 365}, "daily": True})
    assert [(one["kind"], one["rows"]) for one in answer.json()["due"]][1] == ("predictions", 3)
    app = opened(consortium, "manager", "pages/retention.py").run()
    assert not app.exception
    app.button(key="retention_run").click().run()
    assert "3 rows will be written" in words(app)
    app.button(key="retention_run_confirmed").click().run()
    assert "3 rows archived and deleted." in words(app)
    assert api.post("/retention/run", headers=headers).json()["deleted"] == {"predictions": 0}
    assert len(api.get("/retention", headers=headers).json()["jobs"]) == 2
    assert api.post("/retention/run", headers=token_of("admin")).status_code == 409
    app.number_input(key="retention_deleted_patients").set_value(30)
    app.button(key="retention_save").click().run()
    assert not app.exception
    assert api.get("/retention", headers=headers).json()["due"][0]["days"] == 30
    central = opened(consortium, "admin", "pages/retention.py").run()
    assert not central.exception
    assert "the consortium keeps" in words(central)


def test_a_deleted_patient_cannot_be_restored_once_they_may_be_gone(
    consortium: Consortium, hospital: dict[str, uuid.UUID]
) -> None:
    doctor = consortium.actors["doctor"]
    with pytest.raises(Conflict), site_session(doctor) as site:
        patient_records.restore_patient(site=site, actor=doctor, patient_id=hospital["gone"])
