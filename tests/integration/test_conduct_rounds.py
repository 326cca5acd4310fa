"""Whom a Run asks in each Round, what it does with late, failing and hostile Sites, and when it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from db.engines import engine_for, sessions_for
from db.provision import DatabaseUrls
from fl.messages import body_of
from fl.model import weights_from_bytes, weights_sha256
from fl.roster import RunFailed
from fl.site_data import load_site_data
from tests.integration.conducting import (
    asked_in,
    conduct_run,
    events_of,
    load_hospitals,
    request_run,
    results_of,
    rounds_of,
    run_of,
    version_of,
)
from tests.integration.local_grid import LocalGrid, silent, spoil

CODES = ("northeast", "northwest", "southeast", "southwest")


@pytest.fixture
def hospitals(databases: DatabaseUrls) -> DatabaseUrls:
    load_hospitals(databases)
    return databases


@pytest.fixture(autouse=True)
def sites_are_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fl.roster.AGAIN_SECONDS", 0.05)


def _scaled(factor: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def scale(body: dict[str, Any]) -> dict[str, Any]:
        weights = np.frombuffer(body["weights"], dtype="<f4") * np.float32(factor)
        return {**body, "weights": weights.astype("<f4").tobytes(), "update_norm": 0.001}

    return scale


def test_half_of_the_sites_are_drawn_and_the_others_have_no_row(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites)
    run_id = request_run(hospitals, rounds=3, fraction_fit=0.5, fraction_evaluate=0.5)
    conduct_run(hospitals, run_id, grid)
    results = results_of(hospitals, run_id)
    assert {row.outcome for row in results.values()} == {"ok"}
    drawn = set()
    for row in rounds_of(hospitals, run_id):
        trained = {code for code, phase, number in results if (phase, number) == ("train", row.round_number)}
        assert row.clients_participated == len(trained) == 2
        asked = asked_in(grid, "train", row.round_number)
        evaluated = {
            code for code, phase, number in results if (phase, number) == ("evaluate", row.round_number - 1)
        }
        assert trained <= set(asked) and len(asked) == len(set(asked))
        if row.round_number > 1:
            assert len(evaluated) == 2 and set(asked) == trained | evaluated
        drawn.add(frozenset(trained))
    assert len(drawn) > 1  # the seed draws others in another Round
    assert {code for code, phase, number in results if (phase, number) == ("evaluate", 3)} == set(CODES)


def test_a_site_that_only_evaluates_does_not_train_and_one_that_only_trains_tells_no_error(
    hospitals: DatabaseUrls,
) -> None:
    grid = LocalGrid(hospitals.train_sites)
    answers: dict[str, list[set[str]]] = {"train": [], "evaluate": []}

    def note(body: dict[str, Any]) -> dict[str, Any]:
        kind = "train" if "weights" in body else "evaluate"
        answers[kind].append(set(body))
        return body

    grid.misbehave = {(code, "train"): note for code in CODES}
    run_id = request_run(hospitals, fraction_fit=0.5, fraction_evaluate=0.1, min_sites_evaluate=1)
    conduct_run(hospitals, run_id, grid)
    tasks = [body_of(message)["tasks"] for message in grid.sent if message.metadata.message_type == "train"]
    assert tasks.count("train") >= 2 and set(tasks) <= {"train", "evaluate", "train,evaluate"}
    assert sum("holdout" not in fields for fields in answers["train"]) == tasks.count("train")
    assert all("num_examples" not in fields for fields in answers["evaluate"])
    assert len(answers["evaluate"]) == tasks.count("evaluate")


def test_the_draw_takes_others_in_when_too_few_of_the_drawn_can_be_used(hospitals: DatabaseUrls) -> None:
    """Two are drawn in each Round; whoever is, the one that always fails is replaced."""
    grid = LocalGrid(hospitals.train_sites, {("northwest", "train"): spoil(loss=float("inf"))})
    run_id = request_run(hospitals, rounds=4, fraction_fit=0.5)
    conduct_run(hospitals, run_id, grid)
    assert all(row.clients_participated >= 2 for row in rounds_of(hospitals, run_id))
    assert any(
        "too few of the drawn hospitals can be used" in event for event in events_of(hospitals, run_id)
    )


def test_the_learning_rate_of_each_round_reaches_the_sites_and_is_recorded(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites)
    run_id = request_run(
        hospitals,
        rounds=3,
        learning_rate=0.01,
        learning_rate_schedule="linear",
        final_learning_rate_share=0.5,
    )
    conduct_run(hospitals, run_id, grid)
    sent = {
        json.loads(body_of(message)["settings"])["learning_rate"]
        for message in grid.sent
        if message.metadata.message_type == "train" and message.metadata.group_id == "2"
    }
    assert sent == {0.0075}
    assert [row.metrics["learning_rate"] for row in rounds_of(hospitals, run_id)] == [0.01, 0.0075, 0.005]


def test_a_larger_training_share_moves_rows_only_from_the_held_out_side(hospitals: DatabaseUrls) -> None:
    url = hospitals.sites["northeast"]
    usual, larger = load_site_data(url, "fedcost"), load_site_data(url, "fedcost", 0.9)
    assert set(larger.holdout_cost) < set(usual.holdout_cost)
    assert set(usual.train_cost) < set(larger.train_cost)
    run_id = request_run(hospitals, rounds=1, train_share=0.9)
    conduct_run(hospitals, run_id)
    trained = results_of(hospitals, run_id)["northeast", "train", 1].num_examples
    assert trained == len(larger.train_cost)


def test_training_stops_early_and_the_run_completes_with_fewer_rounds(hospitals: DatabaseUrls) -> None:
    run_id = request_run(hospitals, rounds=9, early_stopping_rounds=1, min_improvement=0.9)
    conduct_run(hospitals, run_id)
    run = run_of(hospitals, run_id)
    assert (run.status, run.current_round, run.num_rounds) == ("completed", 3, 9)
    assert version_of(hospitals, run_id).lineage["rounds"] == 3
    assert any(
        "Stopped early after round 3 of 9: since round 1 no round has lowered" in event
        for event in events_of(hospitals, run_id)
    )


def test_a_run_can_begin_with_the_version_in_use_and_its_scaler(hospitals: DatabaseUrls) -> None:
    first = request_run(hospitals)
    conduct_run(hospitals, first)
    champion = version_of(hospitals, first)
    for url in hospitals.sites.values():  # other statistics by now
        with engine_for(url).begin() as connection:
            connection.execute(text("UPDATE patients SET insurance_cost = insurance_cost * 1.3"))
    second = request_run(hospitals, start_from="champion")
    conduct_run(hospitals, second)
    version, run = version_of(hospitals, second), run_of(hospitals, second)
    assert run.start_version_id == champion.id and run.preprocessing == champion.preprocessing
    assert version.preprocessing == champion.preprocessing
    assert version.lineage["start_version"] == champion.version
    receipt = rounds_of(hospitals, second)[0].metrics["receipt"]
    assert receipt["received_sha256"] == champion.weights_sha256
    compared = version.metrics["champion"]
    assert compared["version"] == champion.version and compared["overall"]["num_examples"] > 0
    assert compared["groups"]["smoker"].keys() == {"no", "yes"}


def test_without_a_version_in_use_a_run_begins_with_random_weights_and_says_so(
    hospitals: DatabaseUrls,
) -> None:
    run_id = request_run(hospitals, rounds=1, start_from="champion")
    conduct_run(hospitals, run_id)
    assert "random weights: no model is in use yet" in events_of(hospitals, run_id)[0]
    assert version_of(hospitals, run_id).lineage["start_version"] is None


def test_a_late_site_is_skipped_and_asked_again_in_the_next_round(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northwest", "train"): silent})
    run_id = request_run(hospitals)
    conduct_run(hospitals, run_id, grid)
    results = results_of(hospitals, run_id)
    assert [results["northwest", "train", number].outcome for number in (1, 2)] == ["late", "late"]
    assert "northwest" in asked_in(grid, "train", 2)


def test_a_failed_site_is_dropped_for_the_rest_of_the_run(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northwest", "train"): spoil(num_examples=0)})
    run_id = request_run(hospitals, late_policy="drop")
    conduct_run(hospitals, run_id, grid)
    assert "northwest" not in asked_in(grid, "train", 2)
    assert ("northwest", "train", 2) not in results_of(hospitals, run_id)
    assert "northwest is not asked again in this run." in events_of(hospitals, run_id)


def test_a_late_site_ends_the_run_if_it_is_to(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northwest", "train"): silent})
    run_id = request_run(hospitals, late_policy="end")
    with pytest.raises(
        RunFailed, match="northwest gave no usable answer in round 1, and this run is set to end"
    ):
        conduct_run(hospitals, run_id, grid)


def test_the_run_waits_for_a_failed_site_and_uses_it(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites)
    failures = iter([True, True])

    def fail_twice(body: dict[str, Any]) -> dict[str, Any]:
        if next(failures, False):
            kept = {name: body[name] for name in ("institution", "seconds")}
            return {**kept, "outcome": "failed", "reason": "The hospital's database did not answer."}
        return body

    grid.misbehave["northwest", "train"] = fail_twice
    run_id = request_run(hospitals, rounds=1, late_policy="wait")
    conduct_run(hospitals, run_id, grid)
    assert results_of(hospitals, run_id)["northwest", "train", 1].outcome == "ok"
    assert asked_in(grid, "train", 1).count("northwest") == 3
    assert rounds_of(hospitals, run_id)[0].clients_participated == 4


def test_the_run_does_not_wait_for_ever(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northwest", "train"): silent}, dead={"southwest"})
    run_id = request_run(hospitals, rounds=1, late_policy="wait")
    conduct_run(hospitals, run_id, grid)
    results = results_of(hospitals, run_id)
    assert results["northwest", "train", 1].reason == "No answer within 2 seconds."
    assert results["southwest", "train", 1].outcome == "failed"
    assert any(
        "northwest has not answered within 1 seconds" in event for event in events_of(hospitals, run_id)
    )


@pytest.mark.parametrize("strategy", ["fedavg", "fedsgd"])
def test_a_wildly_scaled_update_is_rejected_and_its_norm_is_the_servers_own(
    hospitals: DatabaseUrls, strategy: str
) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northwest", "train"): _scaled(1000.0)})
    run_id = request_run(hospitals, strategy=strategy)
    conduct_run(hospitals, run_id, grid)
    row = results_of(hospitals, run_id)["northwest", "train", 1]
    assert row.outcome == "failed" and "median of the other hospitals'" in str(row.reason)
    assert row.update_norm is not None and row.update_norm > 10  # the Site said 0.001
    assert row.update is None and row.update_sha256 is not None
    assert [one.clients_participated for one in rounds_of(hospitals, run_id)] == [3, 3]
    assert any(
        "northwest does not take part. The answer was rejected" in e for e in events_of(hospitals, run_id)
    )


def test_fewer_statistics_than_their_minimum_end_the_run(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites, dead={"northeast"})
    run_id = request_run(hospitals, min_sites_statistics=4)
    with pytest.raises(
        RunFailed, match=r"3 of 4 hospitals .* to the request for statistics; at least 4 are needed"
    ):
        conduct_run(hospitals, run_id, grid)


def test_fewer_evaluations_than_their_minimum_end_the_run_at_its_last_question(
    hospitals: DatabaseUrls,
) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northeast", "evaluate"): spoil(groups=b"")})
    run_id = request_run(hospitals, rounds=1, min_sites_evaluate=4)
    with pytest.raises(
        RunFailed, match=r"3 of 4 hospitals .* to the request for evaluation; at least 4 are needed"
    ):
        conduct_run(hospitals, run_id, grid)


def test_a_round_that_too_few_evaluate_has_no_metrics(hospitals: DatabaseUrls) -> None:
    grid = LocalGrid(hospitals.train_sites, {("northeast", "train"): spoil(loss=float("nan"))})
    run_id = request_run(hospitals, min_sites_evaluate=4)
    conduct_run(hospitals, run_id, grid)
    first, last = rounds_of(hospitals, run_id)
    assert (first.status, first.r2) == ("completed", None) and last.r2 is not None
    assert any("Round 1 has no metrics" in event for event in events_of(hospitals, run_id))


def test_a_run_waits_until_a_hospital_has_approved_it(hospitals: DatabaseUrls) -> None:
    _require_approval(hospitals)
    grid = LocalGrid(hospitals.train_sites)

    def approve_after_the_first(body: dict[str, Any]) -> dict[str, Any]:
        with engine_for(hospitals.sites["northwest"]).begin() as connection:
            connection.execute(
                text(
                    "UPDATE run_approvals SET decision = 'approved', decided_by = 1, decided_by_name = 'A',"
                    " decided_at = now()"
                )
            )
        return body

    grid.misbehave["northwest", "query"] = approve_after_the_first
    run_id = request_run(hospitals, learning_rate_schedule="cosine", approval_time_limit=5.0)
    conduct_run(hospitals, run_id, grid)
    results = results_of(hospitals, run_id)
    assert {results["northwest", *place].outcome for place in (("statistics", 0), ("train", 2))} == {"ok"}
    assert any(
        "northwest is asked again for up to 5 seconds" in event for event in events_of(hospitals, run_id)
    )


@pytest.mark.parametrize("limit", [0.0, 0.2])
def test_a_hospital_that_does_not_approve_in_time_sits_out(hospitals: DatabaseUrls, limit: float) -> None:
    _require_approval(hospitals)
    grid = LocalGrid(hospitals.train_sites)
    run_id = request_run(hospitals, rounds=1, approval_time_limit=limit)
    conduct_run(hospitals, run_id, grid)
    row = results_of(hospitals, run_id)["northwest", "statistics", 0]
    assert row.outcome == "excluded" and str(row.reason).startswith("Waiting for approval")
    asked = [
        message
        for message in grid.sent
        if message.metadata.message_type == "query" and message.metadata.dst_node_id == 2
    ]
    assert (len(asked) > 1) == (limit > 0)


def _require_approval(urls: DatabaseUrls) -> None:
    with sessions_for(urls.sites["northwest"])() as session, session.begin():
        session.execute(
            text(
                "INSERT INTO participation (consent, changed_by, changed_by_name) VALUES ('approval', 1, 'A')"
            )
        )


def test_what_a_person_wants_to_know_is_told_in_sentences(hospitals: DatabaseUrls) -> None:
    run_id = request_run(hospitals)
    conduct_run(hospitals, run_id)
    events = events_of(hospitals, run_id)
    assert events[0] == "2 rounds of FedAvg, beginning with random weights (seed 5)."
    assert [event for event in events if event.startswith("Statistics of 4 hospitals with ")]
    assert events[-2].startswith("Round 2 of 2 has the best model: root mean squared error ")
    assert (
        events[-1]
        == f"Model version v{run_id} is now in use. First model: there was none to compare it with."
    )


def test_each_round_is_saved_whole(hospitals: DatabaseUrls) -> None:
    run_id = request_run(hospitals, strategy="fedadam", server_learning_rate=0.01)
    conduct_run(hospitals, run_id)
    for row in rounds_of(hospitals, run_id):
        assert row.weights is not None and row.server_state is not None
        assert weights_sha256(weights_from_bytes(row.weights)) == row.weights_sha256
    assert run_of(hospitals, run_id).preprocessing == version_of(hospitals, run_id).preprocessing
