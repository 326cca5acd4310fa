"""How a Run ends when something breaks, and how another one goes on with what it saved."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from db.embedded import EmbeddedPostgres
from db.engines import engine_for, sessions_for
from db.provision import DatabaseUrls
from db.states import RunStatus
from fl import server_app
from fl.recorder import RunRecorder
from fl.roster import RunFailed
from fl.transactions import DISK_FULL, DiskFull, end_run
from fl.verify_run import verify_run
from tests.integration.conducting import (
    conduct_run,
    events_of,
    load_hospitals,
    register_keys,
    request_run,
    results_of,
    rounds_of,
    run_of,
    version_of,
)
from tests.integration.local_grid import LocalGrid


@pytest.fixture
def hospitals(databases: DatabaseUrls) -> DatabaseUrls:
    load_hospitals(databases)
    return databases


class _Died(Exception):
    """The ServerApp's process is gone."""


def _dies_after(urls: DatabaseUrls, rounds: int) -> LocalGrid:
    """Return a grid over which the ServerApp dies while it asks for the Round after so many."""
    grid = LocalGrid(urls.train_sites)
    answers = iter(range(10_000))

    def answer_or_die(body: dict[str, Any]) -> dict[str, Any]:
        if next(answers) == len(urls.sites) * rounds + 1:
            raise _Died
        return body

    grid.misbehave = {(code, "train"): answer_or_die for code in urls.sites}
    return grid


def _die_after(urls: DatabaseUrls, run_id: int, rounds: int) -> None:
    """Conduct a Run until the ServerApp dies; the supervisor then ends it."""
    with pytest.raises(_Died):
        conduct_run(urls, run_id, _dies_after(urls, rounds))
    with sessions_for(urls.central)() as session, session.begin():
        assert end_run(session, run_id, RunStatus.FAILED, "The training process stopped.")


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("fedavg", {"fraction_fit": 0.5, "learning_rate_schedule": "cosine"}),
        ("fedadam", {"server_learning_rate": 0.01}),
        ("scaffold", {"optimizer": "sgd", "learning_rate": 0.05}),
    ],
)
def test_a_resumed_run_makes_the_same_model_to_the_bit(
    hospitals: DatabaseUrls, strategy: str, settings: dict[str, Any]
) -> None:
    whole = request_run(hospitals, rounds=4, strategy=strategy, **settings)
    conduct_run(hospitals, whole)
    first = request_run(hospitals, rounds=4, strategy=strategy, **settings)
    _die_after(hospitals, first, 2)
    assert [row.status for row in rounds_of(hospitals, first)] == ["completed", "completed", "failed"]
    second = request_run(hospitals, rounds=4, strategy=strategy, resumed_from=first, **settings)
    grid = LocalGrid(hospitals.train_sites)
    conduct_run(hospitals, second, grid)
    assert {message.metadata.group_id for message in grid.sent} == {"0", "3", "4"}
    assert [row.weights for row in rounds_of(hospitals, second)] == [
        row.weights for row in rounds_of(hospitals, whole)
    ]
    assert [row.loss for row in rounds_of(hospitals, second)] == [
        row.loss for row in rounds_of(hospitals, whole)
    ]
    mine, uninterrupted = version_of(hospitals, second), version_of(hospitals, whole)
    assert mine.weights == uninterrupted.weights and mine.training_round == uninterrupted.training_round
    assert mine.lineage["resumed_from"] == first and mine.num_examples == uninterrupted.num_examples
    assert events_of(hospitals, second)[0] == f"Goes on after round 2 of 4 with what run {first} has saved."
    verify_run(hospitals.central, second, lambda sentence: None)


def test_a_run_that_died_after_its_last_round_only_has_to_be_evaluated(hospitals: DatabaseUrls) -> None:
    first = request_run(hospitals)
    grid = LocalGrid(hospitals.train_sites)

    def die(body: dict[str, Any]) -> None:
        raise _Died

    grid.misbehave["northeast", "evaluate"] = die
    with pytest.raises(_Died):
        conduct_run(hospitals, first, grid)
    RunRecorder(hospitals.app_central, first).fail("The training process stopped.")
    second = request_run(hospitals, resumed_from=first)
    grid = LocalGrid(hospitals.train_sites)
    conduct_run(hospitals, second, grid)
    assert not [message for message in grid.sent if message.metadata.message_type == "train"]
    assert version_of(hospitals, second).status == "champion"
    assert len([1 for _, phase, _ in results_of(hospitals, second) if phase == "train"]) == 8
    verify_run(hospitals.central, second, lambda sentence: None)


def test_a_run_that_saved_nothing_cannot_be_gone_on_with(hospitals: DatabaseUrls) -> None:
    first = request_run(hospitals)
    RunRecorder(hospitals.app_central, first).fail("The training process stopped.")
    second = request_run(hospitals, resumed_from=first)
    with pytest.raises(RunFailed, match=f"Run {first} ended before its first round was saved"):
        conduct_run(hospitals, second)


def _main(urls: DatabaseUrls, run_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conduct a Run by the ServerApp's own entry, as Flower calls it."""
    monkeypatch.setenv("CENTRAL_DATABASE_URL", urls.app_central)
    register_keys(urls)
    with sessions_for(urls.central)() as session, session.begin():
        session.execute(text("UPDATE training_runs SET flwr_run_id = :id WHERE id = :id"), {"id": run_id})
    context = Context(run_id=run_id, node_id=1, node_config={}, state=RecordDict(), run_config={})
    server_app.take_run(LocalGrid(urls.train_sites), context)


def _disk_is_full(urls: DatabaseUrls, tables: tuple[str, ...]) -> None:
    with engine_for(urls.central).begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
            )
        )
        for table in tables:
            connection.execute(
                text(
                    f"CREATE TRIGGER disk_full BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
                )
            )


def _disk_has_room(urls: DatabaseUrls) -> None:
    with engine_for(urls.central).begin() as connection:
        connection.execute(text("DROP FUNCTION refuse() CASCADE"))


def test_a_full_disk_fails_the_run_with_a_sentence_and_leaves_the_model_in_use(
    hospitals: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = request_run(hospitals, rounds=1)
    conduct_run(hospitals, before)
    run_id = request_run(hospitals)
    _disk_is_full(hospitals, ("training_rounds",))
    with pytest.raises(DiskFull):
        _main(hospitals, run_id, monkeypatch)
    run = run_of(hospitals, run_id)
    assert (run.status, run.error) == ("failed", DISK_FULL)
    assert version_of(hospitals, before).status == "champion"
    _disk_has_room(hospitals)
    after = request_run(hospitals)
    _main(hospitals, after, monkeypatch)
    assert run_of(hospitals, after).status == "completed"


def test_a_run_ends_as_soon_as_a_full_disk_has_room_again(hospitals: DatabaseUrls) -> None:
    run_id = request_run(hospitals)
    _disk_is_full(hospitals, ("training_runs",))
    recorder = RunRecorder(hospitals.app_central, run_id, patience=10.0)
    freeing = threading.Timer(0.3, _disk_has_room, [hospitals])
    freeing.start()
    recorder.fail(DISK_FULL)
    freeing.join()
    assert run_of(hospitals, run_id).error == DISK_FULL


@contextmanager
def _closed(server: EmbeddedPostgres, urls: DatabaseUrls) -> Iterator[None]:
    """Throw everybody out of the central database and let nobody in."""
    name = urls.central.rsplit("/", 1)[1]
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
        try:
            yield
        finally:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    engine.dispose()


def test_a_run_outlasts_a_moment_without_the_central_database(
    hospitals: DatabaseUrls, postgres_server: EmbeddedPostgres
) -> None:
    run_id = request_run(hospitals)
    grid, away = LocalGrid(hospitals.train_sites), threading.Event()
    closings: list[threading.Thread] = []

    def close_for_a_moment() -> None:
        with _closed(postgres_server, hospitals):
            away.set()
            time.sleep(0.4)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if not closings:
            closings.append(threading.Thread(target=close_for_a_moment))
            closings[0].start()
            assert away.wait(10)
        return body

    grid.misbehave["northeast", "train"] = answer
    conduct_run(hospitals, run_id, grid, patience=10.0)
    closings[0].join()
    assert run_of(hospitals, run_id).status == "completed"
    assert [row.clients_participated for row in rounds_of(hospitals, run_id)] == [4, 4]


def test_a_run_does_not_wait_for_ever_for_the_central_database(
    hospitals: DatabaseUrls, postgres_server: EmbeddedPostgres
) -> None:
    run_id = request_run(hospitals)
    recorder = RunRecorder(hospitals.app_central, run_id, patience=0.3)
    with _closed(postgres_server, hospitals), pytest.raises(OperationalError):
        recorder.check_cancelled()
    recorder.fail("The central database was away.")  # what the supervisor does once it is back
    conduct_run(hospitals, request_run(hospitals, rounds=1))


def test_a_cancelled_run_says_so_and_keeps_the_rounds_it_saved(
    hospitals: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = request_run(hospitals, rounds=4)
    real = RunRecorder.commit_round

    def commit_then_cancel(self: RunRecorder, number: int, **values: Any) -> None:
        real(self, number, **values)
        with sessions_for(hospitals.central)() as session, session.begin():
            session.execute(text("UPDATE training_runs SET cancel_requested_at = now()"))

    monkeypatch.setattr(RunRecorder, "commit_round", commit_then_cancel)
    _main(hospitals, run_id, monkeypatch)
    assert run_of(hospitals, run_id).status == "cancelled"
    assert events_of(hospitals, run_id)[-1] == "The run was cancelled."
    assert [(row.status, row.weights is not None) for row in rounds_of(hospitals, run_id)] == [
        ("completed", True)
    ]
