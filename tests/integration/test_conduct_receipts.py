"""Receipts of a real Run: the chain holds, and whatever is changed afterwards is found and named."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from app.verify_run import central_url, main
from db.engines import sessions_for
from db.provision import DatabaseUrls
from fl.lineage import code_sha256
from fl.receipts import canonical_sha256
from fl.verify_run import Broken, verify, verify_run
from tests.integration.conducting import (
    conduct_run,
    load_hospitals,
    request_run,
    results_of,
    rounds_of,
    run_of,
    version_of,
)
from tests.integration.local_grid import LocalGrid

# What somebody changes in the database afterwards -> what is said of it. Round 2 is the chosen one of these Runs.
TAMPERINGS = [
    (
        "UPDATE training_rounds SET weights = set_byte(weights, 5, 1) WHERE round_number = 1",
        "weights of round 1",
    ),
    (
        "UPDATE training_rounds SET weights_sha256 = repeat('0', 64) WHERE round_number = 2",
        "weights of round 2",
    ),
    (
        "UPDATE training_rounds SET receipt_sha256 = repeat('0', 64) WHERE round_number = 1",
        "receipt of round 1 was changed",
    ),
    (
        "UPDATE training_rounds SET metrics = jsonb_set(metrics, '{receipt,participants,northeast,num_examples}', '9')"
        " WHERE round_number = 1",
        "receipt of round 1 was changed",
    ),
    (
        "UPDATE training_rounds SET round_number = 9 WHERE round_number = 1;"
        "UPDATE training_rounds SET round_number = 1 WHERE round_number = 3;"
        "UPDATE training_rounds SET round_number = 3 WHERE round_number = 9",
        "receipt of round 1 does not follow the plan",
    ),
    ("DELETE FROM training_rounds WHERE round_number = 1", "Round 1 is missing"),
    ("UPDATE training_rounds SET clients_participated = 3 WHERE round_number = 2", "counts other hospitals"),
    (
        "UPDATE site_results SET num_examples = num_examples + 1 WHERE phase = 'train' AND round_number = 1"
        " AND institution_id = 1",
        "The number of rows of northeast in round 1",
    ),
    (
        "UPDATE site_results SET update_norm = update_norm * 1.0000001 WHERE phase = 'train' AND round_number = 2"
        " AND institution_id = 2",
        "The norm of the update of northwest in round 2",
    ),
    (
        "UPDATE site_results SET update = set_byte(update, 7, 1) WHERE phase = 'train' AND round_number = 3"
        " AND institution_id = 3",
        "The update of southeast in round 3 was changed",
    ),
    (
        "UPDATE site_results SET update = NULL WHERE phase = 'train' AND round_number = 3 AND institution_id = 3",
        "The update of southeast in round 3 is missing",
    ),
    (
        "DELETE FROM site_results WHERE phase = 'train' AND round_number = 1 AND institution_id = 4",
        "names other hospitals",
    ),
    ("UPDATE training_runs SET seed = seed + 1", "receipt of round 1 does not follow the plan"),
    (
        "UPDATE training_runs SET settings = jsonb_set(settings, '{learning_rate}', '0.002')",
        "receipt of round 1 does not follow the plan",
    ),
    (
        "UPDATE training_runs SET preprocessing = jsonb_set(preprocessing, '{target_mean}', '1')",
        "The scaler of Run 1 was changed",
    ),
    ("UPDATE model_versions SET weights = set_byte(weights, 5, 1)", "weights of version v1 are not those"),
    (
        "UPDATE model_versions SET training_round = 4 - training_round, weights = weights",
        "version v1",
    ),
    (
        "UPDATE model_versions SET lineage = jsonb_set(lineage, '{receipt_sha256}', '\"0\"')",
        "names another receipt",
    ),
    (
        "UPDATE model_versions SET lineage = jsonb_set(lineage, '{sites,northeast}', '1')",
        "names another hospitals",
    ),
    (
        "UPDATE model_versions SET preprocessing = jsonb_set(preprocessing, '{target_mean}', '1')",
        "scaler of version v1",
    ),
]


@pytest.fixture
def hospitals(databases: DatabaseUrls) -> DatabaseUrls:
    load_hospitals(databases)
    return databases


def test_receipts_are_proved_and_every_change_is_found(hospitals: DatabaseUrls) -> None:
    run_id = request_run(hospitals, rounds=3)
    conduct_run(hospitals, run_id)
    said: list[str] = []
    verify_run(hospitals.central, run_id, said.append)
    assert said[0].startswith(f"The receipts of 3 rounds of Run {run_id} form one unbroken chain")
    assert said[-1].startswith(f"Version v{run_id} has the weights of round 3, computed again")
    rounds = rounds_of(hospitals, run_id)
    assert [row.previous_receipt_sha256 for row in rounds[1:]] == [row.receipt_sha256 for row in rounds[:-1]]
    assert all(canonical_sha256(row.metrics["receipt"]) == row.receipt_sha256 for row in rounds)
    for change, words in TAMPERINGS:
        with sessions_for(hospitals.central)() as session:
            for statement in change.rstrip(";").split(";"):
                session.execute(text(statement))
            with pytest.raises(Broken) as found:
                verify(session, run_id, said.append)
            session.rollback()
        assert words in str(found.value), (change, str(found.value))
    verify_run(hospitals.central, run_id, said.append)


@pytest.mark.parametrize("strategy", ["fedadam", "fedsgd"])
def test_a_version_is_computed_again_with_the_state_of_the_strategy(
    hospitals: DatabaseUrls, strategy: str
) -> None:
    run_id = request_run(hospitals, rounds=3, strategy=strategy, server_learning_rate=0.01)
    conduct_run(hospitals, run_id)
    said: list[str] = []
    verify_run(hospitals.central, run_id, said.append)
    assert any("to the bit" in sentence for sentence in said)
    if strategy == "fedadam":
        with sessions_for(hospitals.central)() as session:
            session.execute(text("UPDATE training_rounds SET server_state = NULL"))
            with pytest.raises(Broken, match="do not give its weights"):
                verify(session, run_id, said.append)
            session.rollback()


def test_updates_are_kept_of_the_chosen_and_the_last_round_only(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites)
    answers = iter(range(100))

    def spoil_from_round_3(body: dict[str, Any]) -> dict[str, Any]:
        """All Sites alike, so that nobody's update is far longer than the others'."""
        weights = np.frombuffer(body["weights"], dtype="<f4")
        return {**body, "weights": (weights * (1.0 if next(answers) < 8 else 3.0)).astype("<f4").tobytes()}

    grid.misbehave = {(code, "train"): spoil_from_round_3 for code in hospitals.sites}
    run_id = request_run(hospitals, rounds=4)
    conduct_run(hospitals, run_id, grid)
    chosen = version_of(hospitals, run_id).training_round
    kept = {
        number
        for (_, phase, number), row in results_of(hospitals, run_id).items()
        if phase == "train" and row.update is not None
    }
    assert chosen == 2 and kept == {chosen, 4}
    verify_run(hospitals.central, run_id, lambda sentence: None)


def test_a_version_knows_where_it_comes_from(hospitals: DatabaseUrls) -> None:
    run_id = request_run(hospitals, early_stopping_rounds=0)
    conduct_run(hospitals, run_id)
    version, run = version_of(hospitals, run_id), run_of(hospitals, run_id)
    chosen = version.training_round
    rows = {
        code: row.num_examples
        for (code, phase, number), row in results_of(hospitals, run_id).items()
        if phase == "train" and number == chosen
    }
    lineage = version.lineage
    assert lineage["sites"] == rows and lineage["settings"] == run.settings
    assert (lineage["run_id"], lineage["rounds"], lineage["chosen_round"]) == (run_id, 2, chosen)
    assert (lineage["seed"], lineage["strategy"]) == (5, "fedavg")
    assert (lineage["start_version"], lineage["resumed_from"]) == (None, None)
    assert lineage["code_sha256"] == code_sha256() and lineage["libraries"]["keras"]


def test_the_command_proves_a_run_in_a_process_of_its_own_or_names_the_break(
    hospitals: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CENTRAL_DATABASE_URL", hospitals.app_central)
    run_id = request_run(hospitals)
    conduct_run(hospitals, run_id)
    command = [sys.executable, "-m", "app.verify_run", str(run_id)]
    proved = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (proved.returncode, proved.stderr) == (0, ""), proved.stdout
    assert proved.stdout.splitlines()[-1] == "Everything is as it was recorded."
    with sessions_for(hospitals.central)() as session, session.begin():
        session.execute(text("UPDATE training_rounds SET weights = set_byte(weights, 5, 1)"))
    assert main([str(run_id)]) == 1
    assert "NOT proved. The weights of round 1 are not those of its receipt." in capsys.readouterr().out
    assert main(["99"]) == 1 and "There is no Run 99." in capsys.readouterr().out
    assert main([]) == 2 and main(["5; DROP"]) == 2


def test_the_command_says_what_to_do_when_nothing_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    from app.launch_options import LaunchRefused

    folder = tmp_path_factory.mktemp("nothing")
    with pytest.raises(LaunchRefused, match="Start it with make run"):
        central_url({"DATA_DIR": str(folder)})
