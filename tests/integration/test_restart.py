"""PostgreSQL is restarted while people work: they wait a moment, and nothing is lost or kept twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app import waiting
from app.databases import central_session, site_session
from app.errors import CentralUnavailable
from app.services import predictions
from app.waiting import note_commit, outlasting
from db.central import ModelVersion
from db.embedded import EmbeddedPostgres
from db.provision import DatabaseUrls
from db.site import AccessEvent, Prediction
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import page_of

INPUTS = {"age": 45, "sex": "female", "bmi": 31.5, "children": 2, "smoker": "no", "region": "northeast"}


@pytest.fixture
def databases(own_databases: DatabaseUrls) -> DatabaseUrls:
    return own_databases


def _kept(consortium: Consortium) -> set[str]:
    with consortium.site("northeast") as site:
        kept = {str(row) for row in site.scalars(select(Prediction.id))}
        saved = select(AccessEvent.details["prediction_id"].astext).where(
            AccessEvent.action == "prediction_saved"
        )
        assert sorted(site.scalars(saved)) == sorted(kept), "each left exactly one event"
    return kept


def test_predictions_over_a_restart_are_all_answered_and_kept_once(
    consortium: Consortium,
    own_server: EmbeddedPostgres,
    api: TestClient,
    token_of: Any,
    add_model: Callable[..., ModelVersion],
) -> None:
    add_model()
    headers = token_of("doctor")
    over = threading.Event()
    answers: list[tuple[int, dict[str, Any]]] = []

    def work() -> None:
        while not over.is_set():
            answer = api.post("/predictions", json=INPUTS, headers=headers)
            answers.append((answer.status_code, answer.json()))

    with ThreadPoolExecutor(6) as people:
        working = [people.submit(work) for _ in range(6)]
        while len(answers) < 30:
            time.sleep(0.01)
        own_server.stop()
        time.sleep(0.5)
        own_server.start()
        afterwards = len(answers) + 30
        while len(answers) < afterwards:
            assert not any(each.done() for each in working)
            time.sleep(0.01)
        over.set()
        for each in working:
            each.result()
    assert [said for status, said in answers if status != 200] == []
    ids = [said["id"] for _, said in answers]
    assert len(set(ids)) == len(ids) and _kept(consortium) == set(ids)


def test_a_page_that_is_opened_during_a_restart_waits_for_it(
    consortium: Consortium, own_server: EmbeddedPostgres, add_model: Callable[..., ModelVersion]
) -> None:
    add_model()
    assert not page_of(consortium, "doctor", "history").exception
    own_server.stop()
    starting = threading.Timer(1.0, own_server.start)
    starting.start()
    app = page_of(consortium, "doctor", "predict")
    starting.join()
    assert not app.exception and not app.error and app.title[0].value == "Predict"


def test_a_prediction_whose_commit_arrived_without_an_answer_is_found_and_not_kept_twice(
    consortium: Consortium, add_model: Callable[..., ModelVersion]
) -> None:
    add_model()
    actor, known = consortium.actors["doctor"], predictions.new_prediction_id()
    for _ in range(2):
        with central_session() as central, site_session(actor) as site:
            asked = {"central": central, "site": site, "actor": actor, "inputs": INPUTS}
            assert predictions.predict_and_save(**asked, prediction_id=known).id == known
    assert _kept(consortium) == {str(known)}


def test_a_database_that_stays_away_is_not_waited_for_again_and_again(
    consortium: Consortium, own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 1.0)
    with central_session() as central:
        central.connection()
    own_server.stop()
    seconds = []
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(CentralUnavailable), central_session() as central:
            central.connection()
        seconds.append(time.monotonic() - begun)
    assert seconds[0] >= 1.0 and seconds[1] < 0.9
    own_server.start()
    with central_session() as central:
        central.connection()


@pytest.mark.parametrize(
    ("repeatable", "committed", "tries"), [(True, True, 2), (False, True, 1), (False, False, 2)]
)
def test_work_is_repeated_unless_its_commit_may_have_arrived(
    repeatable: bool, committed: bool, tries: int
) -> None:
    tried = []

    def work() -> str:
        tried.append(1)
        if len(tried) == 1:
            if committed:
                note_commit("a database")
            lost = CentralUnavailable("It went away.")
            lost.connection_lost = True
            raise lost
        return "done"

    if tries == 1:
        with pytest.raises(CentralUnavailable):
            outlasting(work, repeatable=repeatable)
    else:
        assert outlasting(work, repeatable=repeatable) == "done"
    assert len(tried) == tries


def test_ids_made_here_are_in_the_order_of_time() -> None:
    first = predictions.new_prediction_id()
    time.sleep(0.002)
    second = predictions.new_prediction_id()
    assert (first.version, first.variant) == (7, second.variant) and first < second
