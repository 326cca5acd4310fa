"""What fails while a Run is going on: a Site at every moment, the database, and people who press at the wrong time.

A process that is to fail at a certain moment is halted before (SIGSTOP), so that the moment lasts as long as needed.
After each test the model in use is that of a completed Run, and the next Run succeeds without anybody's help.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.actor import Actor
from app.services.training import cancel_run, start_run
from bench.consortium import Consortium
from db.central import MedicalWorker, ModelVersion, TrainingRun
from db.embedded import EmbeddedPostgres
from db.engines import engine_for
from db.states import ENDED_STATUSES, Phase, Role, RunStatus, SiteOutcome, VersionStatus
from fl.runtime.leadership import PATIENCE_SECONDS
from fl.runtime.runs import RESTARTED
from fl.settings import RunSettings
from tests.federation.conftest import consortium_databases

QUICK = RunSettings(local_epochs=1, local_only=False)
COST_OF_A_KILL = 2.0  # seconds that a killed Site may add to its Round


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own, which a test restarts."""
    folder = tmp_path_factory.mktemp("faults")
    server = EmbeddedPostgres(folder)
    server.start()
    yield server
    server.erase()


@pytest.fixture(scope="module")
def federation(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Four Sites, up, with a model in use."""
    data_dir: Path = tmp_path_factory.mktemp("federation")
    urls = consortium_databases(server)
    with Consortium(urls, data_dir) as running:
        with running.central() as central:
            central.add(
                MedicalWorker(email="a@test.local", password_hash="-", name="The admin", role=Role.ADMIN)
            )
        running.wait_until_up()
        first = running.wait_until_ended(running.request_run(num_rounds=2, settings=QUICK))
        assert (first.status, first.error) == (RunStatus.COMPLETED, None)
        yield running
    for url in (urls.central, *urls.sites.values()):
        engine_for(url).dispose()


@pytest.fixture
def consortium(federation: Consortium) -> Iterator[Consortium]:
    """The federation before a fault; afterwards nothing is left of the fault."""
    champion, versions = _versions(federation)
    yield federation
    for process in federation.processes().values():
        process.resume()
    _eventually(lambda: all(run.finished_at is not None for run in _runs(federation)))
    ended = _runs(federation)
    assert {run.status for run in ended} <= set(ENDED_STATUSES)
    assert all(run.error for run in ended if run.status == RunStatus.FAILED)
    made = {run.id for run in ended if run.status == RunStatus.COMPLETED}
    now, versions_now = _versions(federation)
    assert now == champion or now in made, "only a completed Run changes the model in use"
    assert versions_now - versions <= made
    _eventually(lambda: (status := federation.status()) is not None and status.state == "up")
    run_id = federation.request_run(num_rounds=1, settings=QUICK)
    run = federation.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert [row.clients_participated for row in federation.rounds(run_id)] == [4]


def _versions(consortium: Consortium) -> tuple[int, set[int]]:
    """Return the Run that made the model in use, and the Runs that made any."""
    with consortium.central() as session:
        of_champion = session.scalars(
            select(ModelVersion.run_id).where(ModelVersion.status == VersionStatus.CHAMPION)
        ).one()
        assert of_champion is not None
        return of_champion, {run_id for run_id in session.scalars(select(ModelVersion.run_id)) if run_id}


def _runs(consortium: Consortium) -> list[TrainingRun]:
    with consortium.central() as session:
        return list(session.scalars(select(TrainingRun).order_by(TrainingRun.id)))


def _eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@contextmanager
def _halted(consortium: Consortium, code: str) -> Iterator[None]:
    """Keep a Site from answering as long as the block runs."""
    process = consortium.processes()[code]
    process.suspend()
    try:
        yield
    finally:
        if process.is_running():
            process.resume()


def _answered(consortium: Consortium, run_id: int, code: str, round_number: int) -> bool:
    return any(
        (row.institution.code, row.phase, row.round_number) == (code, Phase.TRAIN, round_number)
        for row in consortium.site_results(run_id)
    )


def _outcome(consortium: Consortium, run_id: int, code: str, round_number: int) -> str:
    (outcome,) = [
        row.outcome
        for row in consortium.site_results(run_id)
        if (row.institution.code, row.phase, row.round_number) == (code, Phase.TRAIN, round_number)
    ]
    return outcome


def _wait_for_answers(consortium: Consortium, run_id: int, round_number: int, *codes: str) -> None:
    _eventually(lambda: all(_answered(consortium, run_id, code, round_number) for code in codes))


def _begun(
    consortium: Consortium, halted: str, num_rounds: int, settings: RunSettings = QUICK
) -> tuple[int, int]:
    """Start a Run that stands in a Round: one Site is halted, all others answered; return its id and the Round."""
    run_id = consortium.request_run(num_rounds=num_rounds, settings=settings)
    consortium.wait_for(run_id, RunStatus.TRAINING, round_number=2)
    consortium.processes()[halted].suspend()
    others = [code for code in consortium.urls.sites if code != halted]

    def stands() -> bool:
        number = consortium.run(run_id).current_round
        return not _answered(consortium, run_id, halted, number) and all(
            _answered(consortium, run_id, code, number) for code in others
        )

    _eventually(stands)
    return run_id, consortium.run(run_id).current_round


def test_a_site_killed_during_a_round_costs_that_round_less_than_two_seconds(consortium: Consortium) -> None:
    run_id, number = _begun(consortium, "southwest", 8)
    began = time.monotonic()
    consortium.processes()["southwest"].kill()
    _eventually(lambda: consortium.run(run_id).current_round > number)
    lost = time.monotonic() - began
    assert lost < COST_OF_A_KILL
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert _outcome(consortium, run_id, "southwest", number) == SiteOutcome.FAILED
    others = {row.outcome for row in consortium.site_results(run_id) if row.institution.code != "southwest"}
    assert others == {SiteOutcome.OK}, "no other Site lost an answer"


def test_a_site_killed_after_its_answer_keeps_it_and_does_not_delay_the_next_round(
    consortium: Consortium,
) -> None:
    run_id, number = _begun(consortium, "northwest", 8)
    consortium.processes()["southwest"].kill()  # it has answered; northwest keeps the Round open
    _eventually(
        lambda: (said := consortium.status()) is not None and said.sites["southwest"]["state"] != "connected"
    )
    began = time.monotonic()
    consortium.processes()["northwest"].resume()
    _eventually(lambda: consortium.run(run_id).current_round > number + 1)
    assert time.monotonic() - began < 2 * COST_OF_A_KILL + 1, "neither of the two Rounds waited for it"
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert _outcome(consortium, run_id, "southwest", number) == SiteOutcome.OK
    rounds = consortium.rounds(run_id)
    assert rounds[number - 1].clients_participated == 4 and rounds[number].clients_participated >= 3


def test_a_site_killed_before_a_run_begins_takes_part_in_it(consortium: Consortium) -> None:
    consortium.processes()["northeast"].kill()
    run_id = consortium.request_run(num_rounds=2, settings=QUICK)
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert consortium.rounds(run_id)[-1].clients_participated == 4


def test_a_site_slower_than_the_limit_is_late_and_takes_part_again(consortium: Consortium) -> None:
    settings = RunSettings(local_epochs=1, local_only=False, round_time_limit=3.0, late_policy="skip")
    run_id, number = _begun(consortium, "southeast", 8, settings)
    _eventually(lambda: consortium.run(run_id).current_round > number)
    consortium.processes()["southeast"].resume()
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert _outcome(consortium, run_id, "southeast", number) == SiteOutcome.LATE
    rounds = consortium.rounds(run_id)
    assert rounds[number - 1].clients_participated == 3 and rounds[-1].clients_participated == 4


def _actor(consortium: Consortium) -> Actor:
    with consortium.central() as session:
        worker = session.scalars(select(MedicalWorker)).one()
        return Actor(
            worker_id=worker.id,
            name=worker.name,
            email=worker.email,
            role=Role.ADMIN,
            institution_id=None,
            institution_code=None,
            institution_name=None,
            session_id=uuid.uuid4(),
            address="192.0.2.1",
        )


def _cancel(consortium: Consortium, run_id: int) -> None:
    with consortium.central() as central:
        cancel_run(central=central, actor=_actor(consortium), run_id=run_id)


def _is_cancelled_soon(consortium: Consortium, run_id: int) -> None:
    asked = time.monotonic()
    _cancel(consortium, run_id)
    run = consortium.wait_until_ended(run_id, timeout=20)
    assert run.status == RunStatus.CANCELLED and time.monotonic() - asked < 8
    assert "started" not in {row.status for row in consortium.rounds(run_id)}
    assert consortium.version(run_id) is None


def test_a_run_is_cancelled_while_it_gathers_statistics(consortium: Consortium) -> None:
    with _halted(consortium, "northeast"):
        run_id = consortium.request_run(num_rounds=2, settings=QUICK)
        consortium.wait_for(run_id, RunStatus.STATISTICS)
        _is_cancelled_soon(consortium, run_id)


def test_a_run_is_cancelled_while_it_evaluates(consortium: Consortium) -> None:
    last = 4
    halted, other = "northwest", "northeast"
    run_id, number = _begun(consortium, halted, last)
    while True:  # two Sites take turns in keeping the Run from going on: it advances by one Round each time
        consortium.processes()[other].suspend()
        consortium.processes()[halted].resume()
        if number == last:
            break
        number += 1
        halted, other = other, halted
        _wait_for_answers(consortium, run_id, number, *(consortium.urls.sites.keys() - {halted}))
    consortium.wait_for(run_id, RunStatus.EVALUATING)
    _is_cancelled_soon(consortium, run_id)


def test_two_presses_during_a_run_make_one_that_waits_and_can_be_cancelled_at_once(
    consortium: Consortium,
) -> None:
    first, _ = _begun(consortium, "southwest", 4)

    def press(_: int) -> int:
        with consortium.central() as central:
            return start_run(
                central=central, actor=_actor(consortium), num_rounds=1, idempotency_key="press"
            ).id

    with ThreadPoolExecutor(2) as presses:
        (waiting,) = set(presses.map(press, range(2)))
    assert consortium.run(waiting).status == RunStatus.QUEUED
    _cancel(consortium, waiting)
    assert consortium.run(waiting).status == RunStatus.CANCELLED
    consortium.processes()["southwest"].resume()
    run = consortium.wait_until_ended(first)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert consortium.run(waiting).started_at is None, "what was cancelled before its turn never began"


def test_a_database_that_is_restarted_delays_the_run_and_ends_nothing(
    consortium: Consortium, server: EmbeddedPostgres
) -> None:
    run_id, number = _begun(consortium, "southwest", 8)
    processes = {role: process.pid for role, process in consortium.processes().items()}
    server.stop()
    consortium.processes()["southwest"].resume()  # its answer comes while there is nobody to write it down
    time.sleep(1.0)
    server.start()
    _eventually(lambda: consortium.run(run_id).finished_at is not None)
    assert (consortium.run(run_id).status, consortium.run(run_id).error) == (RunStatus.COMPLETED, None)
    assert len(consortium.rounds(run_id)) == 8
    assert _outcome(consortium, run_id, "southwest", number) == SiteOutcome.OK
    assert {role: process.pid for role, process in consortium.processes().items()} == processes


def test_a_database_that_stays_away_ends_the_run_with_a_reason(
    consortium: Consortium, server: EmbeddedPostgres
) -> None:
    run_id, _ = _begun(consortium, "southwest", 8)
    server.stop()
    time.sleep(PATIENCE_SECONDS + 2)
    server.start()

    def over() -> bool:
        try:
            return consortium.run(run_id).finished_at is not None
        except SQLAlchemyError:
            return False

    _eventually(over)
    assert (consortium.run(run_id).status, consortium.run(run_id).error) == (RunStatus.FAILED, RESTARTED)
