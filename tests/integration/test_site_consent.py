"""A Site obeys its institution's administrator: paused, each Run approved, or refused, before any patient is read."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import event, select

from bench.consortium import load_institutions
from bench.data import cohort_of
from db.central import Institution, ModelVersion, SiteResult, TrainingRun
from db.cohort import generate
from db.engines import engine_for, sessions_for
from db.provision import DatabaseUrls
from db.site import Participation, RunApproval
from db.states import RunStatus
from fl.messages import body_of
from fl.recorder import RunRecorder
from fl.server_app import conduct
from fl.settings import RunSettings
from fl.site_consent import (
    NO_RUN,
    OTHER_SETTINGS,
    PAUSED,
    REFUSED,
    WAITING,
    asked_for,
    check_consent,
    settings_sha256,
)
from fl.site_work import SatOut
from tests.integration.local_grid import LocalGrid

SETTINGS = RunSettings(local_epochs=1, local_only=False, round_time_limit=20.0, join_time_limit=1.0)


def _allow(url: str, consent: str) -> None:
    with sessions_for(url)() as site, site.begin():
        site.add(Participation(consent=consent, changed_by=1, changed_by_name="The manager"))


def _decide(url: str, run_id: int, decision: str) -> None:
    with sessions_for(url)() as site, site.begin():
        row = site.get_one(RunApproval, run_id)
        row.decision, row.decided_by_name, row.decided_at = decision, "The manager", row.requested_at


def _body(settings: RunSettings = SETTINGS, **fields: object) -> dict[str, Any]:
    run = {"run_id": 7, "kind": "federated", "num_rounds": 3, "strategy": "fedavg"}
    return {**run, "settings": json.dumps(settings.to_json()), **fields}


@pytest.fixture
def site_url(databases: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> str:
    """The owner's, who plays the administrator; what is tested asks as the SuperNode does."""
    monkeypatch.setenv("SITE_DATABASE_URL", databases.train_sites["northeast"])
    return databases.sites["northeast"]


def _refusal(**fields: object) -> str:
    with pytest.raises(SatOut) as refusal:
        check_consent(_body(**fields))  # type: ignore[arg-type]
    return str(refusal.value)


def test_as_long_as_nothing_was_decided_and_when_it_is_open_every_run_is_answered(site_url: str) -> None:
    check_consent(_body())
    _allow(site_url, "open")
    check_consent(_body())
    with sessions_for(site_url)() as site:
        assert site.scalars(select(RunApproval)).all() == []


def test_a_paused_site_answers_nothing_and_remembers_no_run(site_url: str) -> None:
    _allow(site_url, "paused")
    assert _refusal() == PAUSED
    with sessions_for(site_url)() as site:
        assert site.scalars(select(RunApproval)).all() == []


def test_what_a_run_asks_for_is_written_down_once_and_answered_after_approval(site_url: str) -> None:
    _allow(site_url, "approval")
    assert _refusal() == WAITING and WAITING.startswith("Waiting for approval")
    assert _refusal() == WAITING
    with sessions_for(site_url)() as site:
        row = site.scalars(select(RunApproval)).one()
    assert (row.run_id, row.decision, row.decided_at) == (7, "waiting", None)
    assert row.settings == {**SETTINGS.to_json(), "kind": "federated", "num_rounds": 3, "strategy": "fedavg"}
    assert row.settings_sha256 == settings_sha256(asked_for(_body()))
    _decide(site_url, 7, "approved")
    check_consent(_body())
    check_consent(_body(round_number=3))
    assert _refusal(run_id=8) == WAITING, "another run needs an approval of its own"


def test_a_refused_run_stays_refused(site_url: str) -> None:
    _allow(site_url, "approval")
    _refusal()
    _decide(site_url, 7, "refused")
    assert _refusal() == REFUSED
    assert _refusal(settings=RunSettings(local_epochs=2)) == REFUSED


@pytest.mark.parametrize(
    "changed",
    [
        {"settings": RunSettings(local_epochs=2, local_only=False)},
        {"settings": RunSettings(**{**SETTINGS.to_json(), "learning_rate": 0.5})},
        {"settings": RunSettings(**{**SETTINGS.to_json(), "learning_rate": 1e-6})},
        {"strategy": "fedsgd"},
        {"kind": "cohort"},
        {"num_rounds": 1000},
        {"round_number": 4},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_what_was_not_approved_is_not_answered(site_url: str, changed: dict[str, Any]) -> None:
    _allow(site_url, "approval")
    _refusal()
    _decide(site_url, 7, "approved")
    assert _refusal(**changed) == OTHER_SETTINGS


def test_the_learning_rates_of_a_schedule_are_approved_with_it(site_url: str) -> None:
    _allow(site_url, "approval")
    _refusal()
    _decide(site_url, 7, "approved")
    for share in (1.0, 0.55, SETTINGS.final_learning_rate_share):
        rate = SETTINGS.learning_rate * share
        check_consent(_body(RunSettings(**{**SETTINGS.to_json(), "learning_rate": rate})))


def test_while_it_waits_the_administrator_is_shown_what_is_asked_for_now(site_url: str) -> None:
    _allow(site_url, "approval")
    _refusal()
    assert _refusal(num_rounds=9) == WAITING
    with sessions_for(site_url)() as site:
        row = site.scalars(select(RunApproval)).one()
    assert row.settings["num_rounds"] == 9
    assert row.settings_sha256 == settings_sha256(row.settings)


def test_a_request_that_belongs_to_no_run_cannot_be_approved(site_url: str) -> None:
    _allow(site_url, "approval")
    assert _refusal(run_id=0) == NO_RUN


@pytest.fixture
def consortium(databases: DatabaseUrls) -> DatabaseUrls:
    load_institutions(databases, cohort_of(pd.DataFrame(vars(generate(300, seed=2)))).frame)
    return databases


@pytest.fixture
def statements(consortium: DatabaseUrls) -> Iterator[list[str]]:
    """Every statement that reaches the database of the northeast."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        seen.append(statement)

    engine = engine_for(consortium.train_sites["northeast"])
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_in_a_whole_run_one_pauses_one_approves_in_time_and_one_too_late(
    consortium: DatabaseUrls, statements: list[str]
) -> None:
    sites = consortium.sites
    _allow(sites["northeast"], "paused")
    _allow(sites["southeast"], "approval")
    _allow(sites["southwest"], "approval")
    with sessions_for(consortium.central)() as session, session.begin():
        run = TrainingRun(
            idempotency_key=str(uuid.uuid4()),
            num_rounds=2,
            strategy="fedavg",
            settings={
                **SETTINGS.to_json(),
                "min_sites": 1,
                "min_sites_statistics": 1,
                "min_sites_evaluate": 1,
            },
            seed=5,
            status=RunStatus.STARTING,
        )
        session.add(run)
        session.flush()
        run_id = run.id
    grid = LocalGrid(consortium.train_sites)

    def approve(body: dict[str, Any]) -> dict[str, Any]:
        """After the first question the administrator of the southwest approves."""
        with sessions_for(sites["southwest"])() as site:
            if site.get_one(RunApproval, run_id).decision == "waiting":
                _decide(sites["southwest"], run_id, "approved")
        return body

    grid.misbehave["southwest", "query"] = approve
    recorder = RunRecorder(consortium.app_central, run_id)
    conduct(grid, recorder.plan(), recorder, grid.binding)
    with sessions_for(consortium.central)() as session:
        assert session.get_one(TrainingRun, run_id).status == RunStatus.COMPLETED
        results = session.scalars(select(SiteResult).where(SiteResult.run_id == run_id)).all()
        version = session.scalars(select(ModelVersion)).one()
    said: dict[str, set[tuple[str, str | None]]] = {}
    for row in results:
        said.setdefault(row.institution.code, set()).add((row.outcome, row.reason))
    assert said["northeast"] == {("excluded", PAUSED)}
    assert said["northwest"] == {("ok", None)}
    assert said["southeast"] == {("excluded", WAITING)}
    assert said["southwest"] == {("excluded", WAITING), ("ok", None)}
    assert set(version.metrics["institutions"]) == {"northwest", "southwest"}
    assert statements and not any("patients" in statement for statement in statements)


def test_a_deactivated_institutions_supernode_that_still_connects_is_sent_no_model(
    consortium: DatabaseUrls,
) -> None:
    with sessions_for(consortium.central)() as session, session.begin():
        session.scalars(select(Institution).where(Institution.code == "southwest")).one().is_active = False
        run = TrainingRun(
            idempotency_key=str(uuid.uuid4()),
            num_rounds=1,
            strategy="fedavg",
            settings=SETTINGS.to_json(),
            seed=5,
            status=RunStatus.STARTING,
        )
        session.add(run)
        session.flush()
        run_id = run.id
    grid = LocalGrid(consortium.train_sites)
    recorder = RunRecorder(consortium.app_central, run_id)
    conduct(grid, recorder.plan(), recorder, grid.binding)
    asked = [
        (message.metadata.message_type, "weights" in body_of(message))
        for message in grid.sent
        if message.metadata.dst_node_id == 4
    ]
    # Who speaks for whom is known only after the first answer, and that question holds no model.
    assert asked == [("query", False)]
    with sessions_for(consortium.central)() as session:
        assert session.get_one(TrainingRun, run_id).status == RunStatus.COMPLETED
        results = session.scalars(select(SiteResult).where(SiteResult.run_id == run_id)).all()
    assert {row.institution.code for row in results} == {"northeast", "northwest", "southeast"}
