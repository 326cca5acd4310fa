"""One hospital with a doctor, invented patients and a trained model in use, for benchmarks of predictions."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from app.actor import Actor
from app.auth.passwords import hash_password
from bench.million import load_patients
from db.central import Institution, MedicalWorker, ModelVersion, TrainingRun
from db.cohort import Cohort, generate
from db.embedded import EmbeddedPostgres
from db.engines import sessions_for
from db.provision import DatabaseUrls, provision
from db.site import Patient
from db.states import Role, RunStatus, VersionStatus
from fl.features import FEATURE_NAMES, encode
from fl.intervals import calibrate
from fl.model import weights_sha256, weights_to_bytes
from fl.residuals import residual_histograms
from fl.settings import RunSettings

CODE = "northeast"
EMAIL = "doctor@bench.local"
TRAINING_ROWS, HELD_OUT_ROWS = 2_000, 1_000
PATIENTS = 20_000


@dataclass(frozen=True)
class Hospital:
    """Where it is, and who signs in.

    Attributes
    ----------
    password
        Of the doctor, whose address is `EMAIL`.
    doctor
        The doctor as a service knows them.
    """

    urls: DatabaseUrls
    password: str
    doctor: Actor

    def patient_ids(self, count: int) -> list[uuid.UUID]:
        """Return some patients."""
        with sessions_for(self.urls.sites[CODE])() as site:
            return list(site.scalars(select(Patient.id).limit(count)))


@contextmanager
def hospital(folder: Path, *, patients: int = PATIENTS) -> Iterator[Hospital]:
    """Make one in an embedded PostgreSQL of its own, as durable as in use, and take it down afterwards."""
    folder.chmod(0o755)  # the server may run as another user
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    try:
        urls = provision(server, (CODE,))
        load_patients(urls.sites[CODE], patients)
        password = secrets.token_urlsafe(16)
        yield Hospital(urls, password, _staff_with_model(urls, password))
    finally:
        server.erase()


def inputs_of(cohort: Cohort) -> list[dict[str, object]]:
    """Return the features of each of the cohort, as the API takes them."""
    columns = [getattr(cohort, name).tolist() for name in FEATURE_NAMES]
    return [dict(zip(FEATURE_NAMES, values, strict=True)) for values in zip(*columns, strict=True)]


def _staff_with_model(urls: DatabaseUrls, password: str) -> Actor:
    with sessions_for(urls.central)() as session, session.begin():
        institution = Institution(code=CODE, name="Northeast Hospital")
        session.add(institution)
        session.flush()
        worker = MedicalWorker(
            email=EMAIL,
            password_hash=hash_password(password),
            name="The doctor",
            role=Role.DOCTOR,
            institution_id=institution.id,
        )
        run = TrainingRun(
            idempotency_key=uuid.uuid4().hex,
            status=RunStatus.COMPLETED,
            num_rounds=5,
            strategy="fedavg",
            settings={},
            seed=1,
            finished_at=datetime.now(UTC),
        )
        session.add_all((worker, run))
        session.flush()
        session.add(_trained_version(run.id))
        return Actor(
            worker_id=worker.id,
            name=worker.name,
            email=EMAIL,
            role=Role.DOCTOR,
            institution_id=institution.id,
            institution_code=CODE,
            institution_name=institution.name,
            session_id=uuid.uuid4(),
        )


def _trained_version(run_id: int) -> ModelVersion:
    # Brings TensorFlow along, which benchmarks of patients do without.
    from bench.reference import SiteRows, central

    people, held_out = generate(TRAINING_ROWS, seed=1), generate(HELD_OUT_ROWS, seed=2)
    rows = SiteRows(encode({name: getattr(people, name) for name in FEATURE_NAMES}), people.insurance_cost)
    model = central(rows, rounds=5, seed=1, settings=RunSettings())
    columns = {name: getattr(held_out, name) for name in FEATURE_NAMES}
    scale = model.preprocessing.target_scale
    histograms = residual_histograms(encode(columns), model.predict(columns), held_out.insurance_cost, scale)
    calibration = calibrate([histograms], scale)
    assert calibration is not None
    return ModelVersion(
        version="v1",
        status=VersionStatus.CHAMPION,
        model_path="models/v1.keras",
        run_id=run_id,
        training_round=5,
        preprocessing=model.preprocessing.to_json(),
        weights=weights_to_bytes(model.weights),
        weights_sha256=weights_sha256(model.weights),
        num_examples=TRAINING_ROWS,
        metrics={"calibration": calibration.to_json()},
    )
