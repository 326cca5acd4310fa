"""A whole Run by the ServerApp's own code over real databases, with Sites that behave and Sites that do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, text

from bench.reference import SiteRows, federated
from db.central import ModelVersion, Promotion, TrainingRound, TrainingRun
from db.engines import engine_for, sessions_for
from db.provision import DatabaseUrls
from db.states import RunStatus
from fl.groups import GROUPS
from fl.intervals import Calibration
from fl.model import weights_from_bytes, weights_sha256
from fl.recorder import RunAlreadyEnded, RunCancelled
from fl.residuals import NUM_BINS
from fl.roster import RunFailed
from fl.settings import RunSettings
from fl.site_data import load_site_data
from fl.transactions import end_run
from tests.integration.conducting import conduct_run, insert_run, load_hospitals, results_of
from tests.integration.local_grid import LocalGrid, Misbehaviour, silent, spoil

ROUNDS = 2
SETTINGS = RunSettings(local_epochs=1, round_time_limit=1.0, join_time_limit=1.0)


@pytest.fixture
def consortium(databases: DatabaseUrls) -> DatabaseUrls:
    load_hospitals(databases)
    return databases


@pytest.fixture
def run_id(consortium: DatabaseUrls) -> Iterator[int]:
    yield insert_run(consortium, SETTINGS)


def test_a_run_is_recorded_from_statistics_to_champion(consortium: DatabaseUrls, run_id: int) -> None:
    conduct_run(consortium, run_id)
    with sessions_for(consortium.central)() as session:
        run = session.get_one(TrainingRun, run_id)
        rounds = session.scalars(select(TrainingRound).order_by(TrainingRound.round_number)).all()
        version = session.scalars(select(ModelVersion)).one()
        promotion = session.scalars(select(Promotion)).one()
    assert (run.status, run.error, run.current_round) == (RunStatus.COMPLETED, None, ROUNDS)
    assert run.finished_at is not None
    assert [(row.status, row.clients_participated) for row in rounds] == [("completed", 4)] * ROUNDS
    assert all(row.r2 is not None and row.mae and row.loss and row.completed_at for row in rounds)
    results = results_of(consortium, run_id)
    assert len(results) == 4 * (1 + ROUNDS + ROUNDS)  # statistics, training and evaluation of each Round
    assert {row.outcome for row in results.values()} == {"ok"}
    assert version.status == "champion" and version.version == f"v{run_id}"
    assert version.weights_sha256 == weights_sha256(weights_from_bytes(version.weights))
    assert version.weights_sha256 == rounds[version.training_round - 1].weights_sha256
    assert promotion.model_version_id == version.id and "First model" in promotion.reason
    assert set(version.metrics["institutions"]) == set(consortium.sites)


def test_a_version_knows_its_groups_and_its_intervals(consortium: DatabaseUrls, run_id: int) -> None:
    """Smokers are fewer than ten at some Sites; every row held out is then counted in neither group of such a Site."""
    conduct_run(consortium, run_id)
    with sessions_for(consortium.central)() as session:
        version = session.scalars(select(ModelVersion)).one()
    rows = sum(here["num_examples"] for here in version.metrics["institutions"].values())
    groups = version.metrics["groups"]
    assert {(feature, code) for feature in groups for code in groups[feature]} == {
        (group.feature, group.code) for group in GROUPS
    }
    assert sum(cell["num_examples"] for cell in groups["region"].values()) == rows
    assert all(cell is None or cell["num_examples"] >= 10 for by in groups.values() for cell in by.values())
    calibration = Calibration.from_json(version.metrics["calibration"])
    for smoker in ("no", "yes"):
        interval = calibration.groups[smoker]
        assert interval is not None and interval.low <= 0 <= interval.high
        assert 19 <= interval.num_examples <= rows


def _too_few_smokers(body: dict[str, object]) -> dict[str, object]:
    residuals = np.frombuffer(body["residuals"], dtype="<u4").reshape(-1, 3, NUM_BINS).copy()  # type: ignore[arg-type]
    residuals[:, 1:] = 0
    residuals[:, 2, residuals[0, 0].argmax()] = 3
    return {**body, "residuals": residuals.tobytes()}


@pytest.mark.parametrize(
    ("misbehaviour", "words"),
    [
        (spoil(groups=b""), "its groups are not the ones asked for"),
        (spoil(groups=np.zeros(17 * 5 * 2, dtype="<f8").tobytes()), "do not add up to its held-out rows"),
        (spoil(residuals=b"123"), "an array is cut short"),
        (
            spoil(residuals=np.zeros(NUM_BINS * 6, dtype="<u4").tobytes()),
            "do not add up to its held-out rows",
        ),
        (spoil(holdouts=[3.0, 1.0, 1.0, 1.0, 1.0] * 2), "fewer than 10 held-out patients"),
        (spoil(holdouts=[30.0, -1.0, 1.0, 1.0, 1.0] * 2), "a sum that cannot be"),
        (spoil(holdouts=[30.0]), "does not evaluate every model"),
        (_too_few_smokers, "its residuals tell of fewer than 10 patients"),
    ],
)
def test_an_evaluation_that_cannot_be_is_rejected_with_the_reason_and_the_others_make_the_version(
    consortium: DatabaseUrls, run_id: int, misbehaviour: Misbehaviour, words: str
) -> None:
    grid = LocalGrid(consortium.train_sites, {("southwest", "evaluate"): misbehaviour})
    conduct_run(consortium, run_id, grid)
    rejected = results_of(consortium, run_id)["southwest", "evaluate", ROUNDS]
    assert rejected.outcome == "failed" and words in str(rejected.reason)
    with sessions_for(consortium.central)() as session:
        version = session.scalars(select(ModelVersion)).one()
    assert set(version.metrics["institutions"]) == set(consortium.sites) - {"southwest"}
    assert version.metrics["groups"]["region"]["southwest"] is None
    assert version.metrics["calibration"] is not None


def test_a_consortium_with_too_few_held_out_patients_is_told_so(consortium: DatabaseUrls) -> None:
    for url in consortium.sites.values():
        with engine_for(url).begin() as connection:
            connection.execute(text("DELETE FROM patients WHERE substring(last_name FROM 9)::int >= 25"))
    run_id = insert_run(consortium, RunSettings(local_epochs=1, min_rows=10))
    with pytest.raises(RunFailed, match="No hospital has at least 10 held-out patients with a known cost"):
        conduct_run(consortium, run_id)
    assert results_of(consortium, run_id)["northeast", "evaluate", 1].reason == (
        "Fewer than 10 held-out patients with a known cost."
    )


def test_the_weights_equal_those_of_the_plain_definition(consortium: DatabaseUrls, run_id: int) -> None:
    conduct_run(consortium, run_id)
    rows = {}
    for code, url in consortium.sites.items():
        data = load_site_data(url, SETTINGS.split_salt)
        rows[code] = SiteRows(data.train_inputs, data.train_cost)
    with sessions_for(consortium.central)() as session:
        version = session.scalars(select(ModelVersion)).one()
    expected = federated(rows, rounds=version.training_round, seed=5, settings=SETTINGS)
    np.testing.assert_allclose(weights_from_bytes(version.weights), expected.weights, atol=1e-5)


def test_the_same_seed_gives_the_same_model_and_it_waits_as_candidate(
    consortium: DatabaseUrls, run_id: int
) -> None:
    conduct_run(consortium, run_id)
    conduct_run(consortium, insert_run(consortium, SETTINGS))
    with sessions_for(consortium.central)() as session:
        first, second = session.scalars(select(ModelVersion).order_by(ModelVersion.id)).all()
    assert first.weights_sha256 == second.weights_sha256
    assert (first.status, second.status) == ("champion", "candidate")
    assert "Not better than" in second.metrics["decision"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("weights", np.full(12_161, np.nan, dtype="<f4").tobytes(), "weights that are not numbers"),
        ("weights", np.zeros(7, dtype="<f4").tobytes(), "7 weights instead of 12161"),
        ("weights", "nonsense", "an array is missing"),
        ("loss", float("inf"), "loss is not a number"),
        ("num_examples", 0, "counts no rows"),
        ("holdout", [1.0, 2.0], "number that cannot be"),
    ],
)
def test_a_site_that_sends_nonsense_is_rejected_with_the_reason_and_the_others_go_on(
    consortium: DatabaseUrls, run_id: int, field: str, value: object, words: str
) -> None:
    grid = LocalGrid(consortium.train_sites, {("southwest", "train"): spoil(**{field: value})})
    conduct_run(consortium, run_id, grid)
    results = results_of(consortium, run_id)
    assert results["southwest", "train", 1].outcome == "failed"
    assert words in str(results["southwest", "train", 1].reason)
    with sessions_for(consortium.central)() as session:
        assert session.get_one(TrainingRun, run_id).status == RunStatus.COMPLETED
        assert {row.clients_participated for row in session.scalars(select(TrainingRound))} == {3}


def test_a_silent_site_is_dropped_at_the_time_limit_and_not_asked_again(consortium: DatabaseUrls) -> None:
    run_id = insert_run(consortium, replace(SETTINGS, late_policy="drop"))
    grid = LocalGrid(consortium.train_sites, {("northwest", "train"): silent})
    conduct_run(consortium, run_id, grid)
    results = results_of(consortium, run_id)
    assert results["northwest", "train", 1].outcome == "late"
    assert results["northwest", "train", 1].reason == "No answer within 1 seconds."
    asked = [
        message.metadata.dst_node_id for message in grid.sent if message.metadata.message_type == "train"
    ]
    assert asked.count(2) == 1 and asked.count(1) == ROUNDS


def test_a_dead_site_costs_only_its_own_part(consortium: DatabaseUrls, run_id: int) -> None:
    grid = LocalGrid(consortium.train_sites)
    grid.misbehave["northeast", "train"] = lambda body: (
        grid.dead.add("northeast") or body
    )  # dies after Round 1
    conduct_run(consortium, run_id, grid)
    results = results_of(consortium, run_id)
    assert results["northeast", "train", 1].outcome == "ok"
    assert results["northeast", "train", 2].outcome == "failed"
    assert "stopped before it answered" in str(results["northeast", "train", 2].reason)


def test_fewer_sites_than_the_minimum_end_the_run_with_a_sentence(
    consortium: DatabaseUrls, run_id: int
) -> None:
    grid = LocalGrid(consortium.train_sites, dead={"northeast", "northwest", "southeast"})
    with pytest.raises(RunFailed, match=r"1 of 4 hospitals gave a usable answer .* at least 2 are needed"):
        conduct_run(consortium, run_id, grid)


def test_too_few_connected_sites_end_the_run_instead_of_waiting_for_ever(
    consortium: DatabaseUrls, run_id: int
) -> None:
    only_one = {"northeast": consortium.train_sites["northeast"]}
    with pytest.raises(
        RunFailed, match=r"Only 1 of the at least 2 hospitals needed were connected within 1 seconds"
    ):
        conduct_run(consortium, run_id, LocalGrid(only_one))


def test_a_site_with_too_few_rows_sits_out_with_the_reason(consortium: DatabaseUrls, run_id: int) -> None:
    with engine_for(consortium.sites["southeast"]).begin() as connection:
        connection.execute(text("UPDATE patients SET insurance_cost = NULL WHERE last_name <> 'Patient 1'"))
    conduct_run(consortium, run_id)
    results = results_of(consortium, run_id)
    assert results["southeast", "statistics", 0].outcome == "excluded"
    assert results["southeast", "statistics", 0].reason == "Fewer than 30 patients with a known cost."
    assert results["southeast", "train", 1].outcome == "excluded"
    assert results["northeast", "train", 1].outcome == "ok"


def test_no_setting_of_a_run_makes_a_site_speak_of_fewer_than_ten_patients(consortium: DatabaseUrls) -> None:
    with engine_for(consortium.sites["southeast"]).begin() as connection:
        connection.execute(text("DELETE FROM patients WHERE last_name > 'Patient 12'"))
    run_id = insert_run(consortium, RunSettings(local_epochs=1, min_rows=1))
    conduct_run(consortium, run_id)
    assert results_of(consortium, run_id)["southeast", "statistics", 0].reason == (
        "Fewer than 10 patients with a known cost."
    )


def test_a_cancel_request_ends_the_run_between_rounds(consortium: DatabaseUrls, run_id: int) -> None:
    with sessions_for(consortium.central)() as session, session.begin():
        session.get_one(TrainingRun, run_id).cancel_requested_at = text("now()")  # type: ignore[assignment]
    with pytest.raises(RunCancelled):
        conduct_run(consortium, run_id)


def test_nothing_is_added_to_a_run_that_was_ended_from_outside(consortium: DatabaseUrls, run_id: int) -> None:
    with sessions_for(consortium.central)() as session, session.begin():
        assert end_run(session, run_id, RunStatus.FAILED, "The training service was restarted.")
        assert not end_run(session, run_id, RunStatus.COMPLETED, None)
    with pytest.raises(RunAlreadyEnded):
        conduct_run(consortium, run_id)
    assert not results_of(consortium, run_id)
