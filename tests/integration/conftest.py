"""A small consortium with known people and patients, for tests that say exactly what they expect."""

from __future__ import annotations

import gc
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from streamlit.components.v2 import manifest_scanner

from app.actor import Actor
from app.auth.passwords import hash_password
from app.databases import central_session, site_session
from app.settings import Settings, get_settings
from db.central import Institution, MedicalWorker, ModelVersion, SiteResult, TrainingRound, TrainingRun
from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.provision import DatabaseUrls
from db.site import Patient
from db.states import Phase, Role, RoundStatus, RunStatus, SiteOutcome
from fl.features import INPUT_NAMES, Preprocessing
from fl.model import initial_weights, weights_sha256, weights_to_bytes
from fl.settings import RunSettings
from tests.kept_databases import all_urls
from tests.stopped_servers import StoppedServer, stopped_server

PASSWORD = "a password for tests"
PEOPLE = {
    "admin": ("admin@test.local", Role.ADMIN, None),
    "scientist": ("scientist@test.local", Role.DATA_SCIENTIST, None),
    "doctor": ("doctor@northeast.test.local", Role.DOCTOR, "northeast"),
    "nurse": ("nurse@northeast.test.local", Role.NURSE, "northeast"),
    "manager": ("manager@northeast.test.local", Role.INSTITUTION_ADMIN, "northeast"),
    "other_doctor": ("doctor@southwest.test.local", Role.DOCTOR, "southwest"),
}


AddRun = Callable[..., int]

# Streamlit's AppTest looks through every installed package for components each time it runs a page, which a server
# does once; nothing is installed while tests run.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


@pytest.fixture(scope="module", autouse=True)
def what_stands_is_not_collected_again() -> None:
    """Streamlit collects garbage after every rerun, which takes longer the more a long test run has left standing."""
    gc.collect()
    gc.freeze()


@dataclass
class Consortium:
    """Who and what the test's databases hold."""

    settings: Settings
    urls: DatabaseUrls
    workers: dict[str, MedicalWorker] = field(default_factory=dict)
    actors: dict[str, Actor] = field(default_factory=dict)
    password: str = PASSWORD

    def central(self) -> Session:
        """Open a session that nothing translates or commits."""
        return sessions_for(self.urls.central)()

    def site(self, code: str) -> Session:
        """Open a session on one site's database."""
        return sessions_for(self.urls.sites[code])()

    def add_patient(self, code: str, first_name: str, last_name: str, **values: Any) -> uuid.UUID:
        """Add a patient and return the id."""
        columns = {
            "age": 40,
            "sex": "female",
            "bmi": Decimal("27.5"),
            "children": 1,
            "smoker": "no",
            "region": code,
            "insurance_cost": Decimal("5000.00"),
            **values,
        }
        with self.site(code) as site:
            patient = Patient(first_name=first_name, last_name=last_name, **columns)
            site.add(patient)
            site.commit()
            return patient.id


@pytest.fixture(scope="session")
def _password_hash() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def consortium(
    databases: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _password_hash: str
) -> Iterator[Consortium]:
    """Two institutions of four with people, no patients, no Run and no model."""
    environment = {
        "HOST": "127.0.0.1",
        "DEMO_MODE": "false",
        "FEDERATION": "false",
        "DATA_DIR": str(tmp_path),
        "CENTRAL_DATABASE_URL": databases.app_central,
        "SITE_DATABASE_URLS": json.dumps(databases.app_sites),
        "JWT_SECRET": "a secret for tests that nobody else uses",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    world = Consortium(get_settings(), databases)
    with world.central() as central:
        institutions = {
            code: Institution(code=code, name=f"{code.capitalize()} Hospital") for code in databases.sites
        }
        central.add_all(institutions.values())
        central.flush()
        world.workers = {
            key: MedicalWorker(
                email=email,
                password_hash=_password_hash,
                name=f"The {key}",
                role=role,
                institution_id=institutions[code].id if code else None,
            )
            for key, (email, role, code) in PEOPLE.items()
        }
        central.add_all(world.workers.values())
        central.flush()
        for key, (email, role, code) in PEOPLE.items():
            institution, worker = institutions[code] if code else None, world.workers[key]
            world.actors[key] = Actor(
                worker_id=worker.id,
                name=worker.name,
                email=email,
                role=role,
                institution_id=institution.id if institution else None,
                institution_code=code,
                institution_name=institution.name if institution else None,
                session_id=uuid.uuid4(),
                address="192.0.2.1",
            )
        central.commit()
    yield world
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def _empty_server() -> Iterator[StoppedServer]:
    with stopped_server() as server:
        yield server


@pytest.fixture(scope="session")
def _server_of_two() -> Iterator[StoppedServer]:
    with stopped_server("northeast", "southwest") as server:
        yield server


@pytest.fixture
def own_server(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    """A running server in a folder of its own."""
    with_databases = "own_databases" in request.fixturenames
    made: StoppedServer = request.getfixturevalue("_server_of_two" if with_databases else "_empty_server")
    server = made.copied_to(open_folder / "data")
    server.start()
    yield server
    server.erase()


@pytest.fixture
def own_databases(own_server: EmbeddedPostgres, _server_of_two: StoppedServer) -> Iterator[DatabaseUrls]:
    """The databases of a consortium of two, on that server."""
    urls = _server_of_two.urls_on(own_server.port)
    yield urls
    for url in all_urls(urls):
        engine_for(url).dispose()


@pytest.fixture
def central(consortium: Consortium) -> Iterator[Session]:
    """A session on the central database that commits at the end of the test."""
    with central_session() as session:
        yield session


@pytest.fixture
def northeast(consortium: Consortium) -> Iterator[Session]:
    """A session on the northeast doctor's own site."""
    with site_session(consortium.actors["doctor"]) as session:
        yield session


@pytest.fixture
def add_model(consortium: Consortium) -> Callable[..., ModelVersion]:
    """Insert a model version made of initial weights, as training would after a Run."""

    def add(version: str = "v1", status: str = "champion", seed: int = 1, **overrides: Any) -> ModelVersion:
        weights = initial_weights(seed)
        preprocessing = Preprocessing(INPUT_NAMES, (0.0,) * 13, (10.0,) * 13, 13000.0, 12000.0)
        with consortium.central() as session:
            run = TrainingRun(
                idempotency_key=uuid.uuid4().hex,
                status=RunStatus.COMPLETED,
                num_rounds=3,
                strategy="fedavg",
                settings={},
                seed=1,
                finished_at=get_now(),
            )
            session.add(run)
            session.flush()
            columns = {
                "version": version,
                "status": status,
                "model_path": f"models/{version}.keras",
                "run_id": run.id,
                "training_round": 3,
                "preprocessing": preprocessing.to_json(),
                "weights": weights_to_bytes(weights),
                "weights_sha256": weights_sha256(weights),
                "r2": 0.8,
                "mse": 25e6,
                "rmse": 5000.0,
                "mae": 3000.0,
                "num_examples": 1000,
                "metrics": {"sites": {"northeast": {"r2": 0.81}}},
                **overrides,
            }
            row = ModelVersion(**columns)
            session.add(row)
            session.commit()
            return row

    return add


def get_now() -> Any:
    """Return the time now, with its zone."""
    from datetime import UTC, datetime

    return datetime.now(UTC)


@pytest.fixture
def api(consortium: Consortium) -> Iterator[TestClient]:
    """A client of the REST API in this process; a server error is an answer, as it is for real clients."""
    from api.app import create_api

    with TestClient(create_api(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def token_of(api: TestClient) -> Callable[[str], dict[str, str]]:
    """Sign in as one of the people and return the headers to send."""

    def sign_in(person: str) -> dict[str, str]:
        answer = api.post("/auth/login", json={"email": PEOPLE[person][0], "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    return sign_in


@pytest.fixture
def add_run(consortium: Consortium) -> AddRun:
    """Insert a Run with its Rounds and what every institution sent, as the ServerApp writes them."""

    def add(status: str, rounds: int = 0, excluded: dict[str, str] | None = None, **columns: Any) -> int:
        now = datetime.now(UTC)
        excluded = excluded or {}
        with consortium.central() as central:
            run = TrainingRun(
                idempotency_key=uuid.uuid4().hex,
                status=status,
                requested_by=consortium.workers["admin"].id,
                num_rounds=columns.pop("num_rounds", 5),
                strategy="fedavg",
                settings=RunSettings().to_json(),
                seed=1,
                current_round=rounds,
                started_at=None if status == RunStatus.QUEUED else now - timedelta(seconds=9),
                finished_at=now if status in ("completed", "failed", "cancelled") else None,
                **columns,
            )
            central.add(run)
            central.flush()
            for institution in central.scalars(select(Institution)).all():
                outcome = SiteOutcome.EXCLUDED if institution.code in excluded else SiteOutcome.OK
                about = {"run_id": run.id, "institution_id": institution.id}
                if status != RunStatus.QUEUED:
                    central.add(
                        SiteResult(
                            **about,
                            round_number=0,
                            phase=Phase.STATISTICS,
                            outcome=outcome,
                            reason=excluded.get(institution.code),
                            num_examples=240,
                        )
                    )
                if outcome == SiteOutcome.EXCLUDED:
                    continue
                for number in range(1, rounds + 1):
                    metrics = {"loss": 0.5 / number, "mae": 4000 / number, "rmse": 6000 / number, "r2": 0.8}
                    for phase, seen, values in (
                        (Phase.TRAIN, 240, {}),
                        (Phase.EVALUATE, 60, metrics),
                    ):
                        central.add(
                            SiteResult(
                                **about,
                                round_number=number,
                                phase=phase,
                                outcome=SiteOutcome.OK,
                                num_examples=seen,
                                **values,
                            )
                        )
            for number in range(1, rounds + 1):
                central.add(
                    TrainingRound(
                        run_id=run.id,
                        round_number=number,
                        clients_participated=4 - len(excluded),
                        aggregation_method="fedavg",
                        status=RoundStatus.COMPLETED,
                        loss=0.5 / number,
                        mae=4000 / number,
                        rmse=6000 / number,
                        r2=0.8,
                        num_examples=240,
                        completed_at=now,
                    )
                )
            central.commit()
            return run.id

    return add
