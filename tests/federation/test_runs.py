"""Runs on real SuperLink and SuperNode processes: what they make, how they end, what they survive."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench.consortium import PROJECT_ROOT, Consortium
from bench.reference import SiteRows, federated
from db.central import TrainingRun
from db.states import RunStatus
from fl.model import weights_from_bytes
from fl.runtime.children import marked_processes
from fl.runtime.environment import FEDERATION_MARK
from fl.runtime.flower_private import OTHER_VERSION, build_bundle
from fl.runtime.runs import RESTARTED, SERVERAPP_DIED, SUPERLINK_DIED
from fl.runtime.superlink_control import SuperLinkControl
from fl.runtime.superlink_guard import CONTROL_SECRET
from fl.settings import RunSettings
from fl.site_data import load_site_data

MANY_ROUNDS = 25


def _eventually(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def _completes(consortium: Consortium, rounds: int = 1) -> None:
    """The next Run succeeds with all Sites, and nobody repaired anything by hand."""
    _eventually(lambda: (status := consortium.status()) is not None and status.state == "up")
    run_id = consortium.request_run(num_rounds=rounds)
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert {row.clients_participated for row in consortium.rounds(run_id)} == {4}


def test_a_run_on_real_processes_equals_the_plain_definition(consortium: Consortium) -> None:
    run_id = consortium.request_run(num_rounds=3, seed=21)
    run = consortium.wait_until_ended(run_id)
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert run.flwr_run_id is not None and run.flwr_run_id.isdigit()
    results = consortium.site_results(run_id)
    assert len(results) == 4 * (1 + 3 + 3) and {row.outcome for row in results} == {"ok"}
    assert {row.institution.code for row in results} == set(consortium.urls.sites)
    version = consortium.version(run_id)
    assert version is not None and version.status == "champion"
    sites = {}
    for code, url in consortium.urls.train_sites.items():
        data = load_site_data(url, RunSettings().split_salt)
        sites[code] = SiteRows(data.train_inputs, data.train_cost)
    expected = federated(sites, rounds=version.training_round, seed=21, settings=RunSettings())
    np.testing.assert_allclose(weights_from_bytes(version.weights), expected.weights, atol=1e-5)


def test_every_process_that_took_part_tells_of_it_under_the_runs_number(consortium: Consortium) -> None:
    run_id = consortium.request_run(num_rounds=2)
    assert consortium.wait_until_ended(run_id).status == RunStatus.COMPLETED
    logs = consortium.data_dir / "logs"

    def said(path: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("run_id") == run_id]

    server_app = said(logs / "serverapp.log")
    assert {line["process"] for line in server_app} == {"serverapp"}
    messages = [(line["message"], line.get("round")) for line in server_app]
    for number in (1, 2):
        assert (f"round {number} starts", number) in messages
        assert (f"round {number}: the updates of 4 sites are aggregated", number) in messages
        assert any(text.startswith(f"round {number} ends: R2 0.") for text, _ in messages)
    assert (f"completed with version v{run_id}", None) in messages
    for code in consortium.urls.sites:
        answers = said(logs / f"supernode-{code}.log")
        assert {line["institution"] for line in answers} == {code}
        assert [(line["phase"], line.get("round")) for line in answers] == [
            ("statistics", None),
            ("train", 1),
            ("train", 2),
            ("evaluate", None),
        ]
    assert f"run {run_id} begins" in {
        line["message"] for line in said(consortium.data_dir / "supervisor.log")
    }


def test_no_process_knows_a_database_that_is_not_its_own(consortium: Consortium) -> None:
    processes = consortium.processes()
    assert set(processes) == {"superlink", "forkserver", *consortium.urls.sites}
    for role, process in processes.items():
        for member in (process, *_living(process.children(recursive=True))):
            known = " ".join([*member.environ().values(), *member.cmdline()])
            urls = consortium.urls
            foreign = [code for code, url in urls.train_sites.items() if url in known and code != role]
            assert not foreign, f"{role} knows the databases of {foreign}"
            if role != "superlink":
                assert urls.app_central not in known
            for url in (urls.central, *urls.sites.values(), *urls.app_sites.values()):
                assert url not in known, f"{role} knows a role that is not for training"


def test_telemetry_updates_and_installs_are_switched_off(consortium: Consortium) -> None:
    for process in consortium.processes().values():
        environment = process.environ()
        assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


def test_a_bundle_that_the_sites_have_not_installed_is_refused(
    consortium: Consortium, tmp_path: Path
) -> None:
    for part in ("fl", "db"):
        shutil.copytree(PROJECT_ROOT / part, tmp_path / part)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    client_app = tmp_path / "fl" / "client_app.py"
    client_app.write_text(client_app.read_text() + "\n# send everything\n")
    superlink = consortium.processes()["superlink"]
    command = superlink.cmdline()
    address = f"127.0.0.1:{command[command.index('--port') + 1]}"
    control = SuperLinkControl(address, secret=superlink.environ()[CONTROL_SECRET])
    run_id = consortium.request_run(
        num_rounds=1, status=RunStatus.STARTING
    )  # not for the supervisor's ServerApp
    with consortium.central() as session:
        run_row = session.get_one(TrainingRun, run_id)
        run_row.flwr_run_id = control.start_run(build_bundle(tmp_path))
    run = consortium.wait_until_ended(run_id)
    control.close()
    assert run.status == RunStatus.FAILED and "0 of 4 hospitals" in str(run.error)
    assert {row.reason for row in consortium.site_results(run_id)} == {OTHER_VERSION}


def test_a_queued_run_waits_for_its_turn_and_both_complete(consortium: Consortium) -> None:
    first, second = consortium.request_run(num_rounds=2), consortium.request_run(num_rounds=2)
    ended_first, ended_second = consortium.wait_until_ended(first), consortium.wait_until_ended(second)
    assert {ended_first.status, ended_second.status} == {RunStatus.COMPLETED}
    assert ended_second.started_at is not None and ended_first.finished_at is not None
    assert ended_second.started_at >= ended_first.finished_at


def test_a_running_run_is_cancelled_within_seconds(consortium: Consortium) -> None:
    run_id = consortium.request_run(num_rounds=MANY_ROUNDS)
    consortium.wait_for(run_id, RunStatus.TRAINING, round_number=2)
    asked = time.monotonic()
    with consortium.central() as session:
        run = session.get_one(TrainingRun, run_id)
        run.cancel_requested_at = run.requested_at
    run = consortium.wait_until_ended(run_id)
    assert run.status == RunStatus.CANCELLED and time.monotonic() - asked < 8
    assert "started" not in {row.status for row in consortium.rounds(run_id)}
    _completes(consortium)


def test_a_killed_supernode_costs_one_round_and_comes_back(consortium: Consortium) -> None:
    run_id = consortium.request_run(num_rounds=MANY_ROUNDS)
    consortium.wait_for(run_id, RunStatus.TRAINING, round_number=2)
    consortium.processes()["southwest"].kill()
    run = consortium.wait_until_ended(run_id)
    assert run.status == RunStatus.COMPLETED
    rounds = consortium.rounds(run_id)
    assert len(rounds) == MANY_ROUNDS and all(row.r2 is not None for row in rounds)
    lost = [row for row in consortium.site_results(run_id) if row.outcome != "ok"]
    assert lost and {row.institution.code for row in lost} == {"southwest"}
    assert all(row.reason for row in lost)
    assert rounds[-1].clients_participated == 4, "the Site was started again and took part again"
    longest = max((row.completed_at - row.started_at).total_seconds() for row in rounds if row.completed_at)
    assert longest < 10, "nobody waited for the minute after which Flower itself notices"


def test_a_killed_superlink_fails_the_run_with_a_reason(consortium: Consortium) -> None:
    run_id = consortium.request_run(num_rounds=MANY_ROUNDS)
    consortium.wait_for(run_id, RunStatus.TRAINING, round_number=2)
    champion = consortium.version(1)
    consortium.processes()["superlink"].kill()
    run = consortium.wait_until_ended(run_id, timeout=30)
    assert (run.status, run.error) == (RunStatus.FAILED, SUPERLINK_DIED)
    assert champion is not None and consortium.version(1).status == champion.status  # type: ignore[union-attr]
    _completes(consortium)


def test_a_killed_serverapp_fails_the_run_within_seconds(consortium: Consortium) -> None:
    run_id = consortium.request_run(num_rounds=MANY_ROUNDS)
    consortium.wait_for(run_id, RunStatus.TRAINING, round_number=2)
    (server_app,) = [
        process
        for process in _living(consortium.processes()["superlink"].children(recursive=True))
        if "flwr-serverapp" in " ".join(process.cmdline())
    ]
    server_app.kill()
    run = consortium.wait_until_ended(run_id, timeout=20)
    assert (run.status, run.error) == (RunStatus.FAILED, SERVERAPP_DIED)
    _completes(consortium)


def test_a_killed_supervisor_is_followed_by_the_next_and_leaves_nothing_running(
    consortium: Consortium,
) -> None:
    leader = consortium.status()
    assert leader is not None
    leading_pid = int(leader.leader.rsplit(":", 1)[1])
    heir = consortium.start_supervisor()
    time.sleep(2)
    now = consortium.status()
    assert now is not None and now.leader == leader.leader, "two supervisors never lead at once"
    run_id = consortium.request_run(num_rounds=MANY_ROUNDS)
    consortium.wait_for(run_id, RunStatus.TRAINING, round_number=2)
    left = marked_processes(FEDERATION_MARK, str(consortium.data_dir))
    assert any("flwr-serverapp" in " ".join(process.cmdline()) for process in _living(left))
    psutil.Process(leading_pid).kill()
    run = consortium.wait_until_ended(run_id, timeout=30)
    assert (run.status, run.error) == (RunStatus.FAILED, RESTARTED)
    _eventually(lambda: not _living(left))
    _eventually(lambda: (s := consortium.status()) is not None and s.leader.endswith(f":{heir.pid}"))
    _completes(consortium)


@pytest.mark.parametrize("rows", [0, 5])
def test_a_site_with_too_few_rows_sits_out_of_a_real_run(consortium: Consortium, rows: int) -> None:
    from sqlalchemy import text

    from db.engines import engine_for

    engine = engine_for(consortium.urls.sites["northwest"])
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE patients SET insurance_cost = NULL WHERE id NOT IN "
                "(SELECT id FROM patients WHERE insurance_cost IS NOT NULL LIMIT :rows)"
            ),
            {"rows": rows},
        )
    run_id = consortium.request_run(num_rounds=1)
    assert consortium.wait_until_ended(run_id).status == RunStatus.COMPLETED
    outcomes = {(row.institution.code, row.phase): row.outcome for row in consortium.site_results(run_id)}
    assert outcomes["northwest", "train"] == "excluded" and outcomes["northeast", "train"] == "ok"
