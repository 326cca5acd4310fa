"""Runs beside each other: the service, and the page whose address holds the choice."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, PermissionRefused
from app.services.run_compare import compare_runs
from db.central import TrainingRound, TrainingRun
from fl.settings import settings_for
from tests.integration.conftest import Consortium
from tests.integration.page_scripts import page_of, words


@pytest.fixture
def two_runs(consortium: Consortium, central: Session) -> list[int]:
    """Two completed Runs that differ in strategy, its setting, and Rounds; the second got worse at the end."""
    made = []
    for strategy, losses, chosen in (
        ("fedavg", (0.5, 0.3), {}),
        ("fedprox", (0.6, 0.2, 0.4), {"proximal_mu": 0.5, "local_epochs": 2}),
    ):
        now = datetime.now(UTC)
        run = TrainingRun(
            idempotency_key=uuid.uuid4().hex,
            status="completed",
            num_rounds=len(losses),
            current_round=len(losses),
            strategy=strategy,
            settings=settings_for(strategy, chosen).to_json(),
            seed=1,
            started_at=now,
            finished_at=now,
            results={"baseline": {"r2": 0.85}},
        )
        central.add(run)
        central.flush()
        for number, loss in enumerate(losses, start=1):
            central.add(
                TrainingRound(
                    run_id=run.id,
                    round_number=number,
                    aggregation_method=strategy,
                    status="completed",
                    loss=loss,
                    mae=10_000 * loss,
                    r2=1 - loss,
                )
            )
        made.append(run.id)
    central.commit()
    return made


def test_only_what_differs_is_told_apart(consortium: Any, central: Session, two_runs: list[int]) -> None:
    read = {"central": central, "actor": consortium.actors["scientist"]}
    comparison = compare_runs(**read, run_ids=two_runs[::-1])
    assert [run.line.id for run in comparison.runs] == two_runs[::-1]
    assert comparison.differing == {
        "strategy": ["fedprox", "fedavg"],
        "num_rounds": [3, 2],
        "local_epochs": [2, 5],
        "proximal_mu": [0.5, 0.01],
    }
    prox = comparison.runs[0]
    assert [point.loss for point in prox.points] == [0.6, 0.2, 0.4]
    assert prox.last is not None and prox.best is not None and prox.baseline is not None
    assert (prox.last.round_number, prox.best.round_number, prox.baseline.overall.r2) == (3, 2, 0.85)
    assert compare_runs(**read, run_ids=[two_runs[0], two_runs[0]]).differing == {}


def test_what_cannot_be_compared_is_a_sentence(
    consortium: Any, central: Session, two_runs: list[int]
) -> None:
    read = {"central": central, "actor": consortium.actors["scientist"]}
    with pytest.raises(NotFound, match="There is no Run 999"):
        compare_runs(**read, run_ids=[*two_runs, 999])
    with pytest.raises(NotFound):
        compare_runs(**read, run_ids=[2**40])
    with pytest.raises(InvalidInput, match="At most 8"):
        compare_runs(**read, run_ids=range(1, 10))
    with pytest.raises(PermissionRefused):
        compare_runs(central=central, actor=consortium.actors["doctor"], run_ids=two_runs)


def test_the_page_keeps_the_choice_in_its_address(consortium: Consortium, two_runs: list[int]) -> None:
    app = page_of(consortium, "scientist", "compare")
    assert "Choose two runs or more" in words(app)
    app.multiselect(key="compare_runs").set_value(two_runs).run()
    assert app.query_params["runs"] == ",".join(map(str, two_runs))
    charts = [json.loads(each.proto.json)["figure"] for each in app.get("bidi_component")]
    assert [line["name"] for line in charts[0]["data"]] == [f"Run {run_id}" for run_id in two_runs[::-1]]
    assert charts[0]["data"][0]["y"] == [0.4, 0.8, 0.6]
    outcome, differing = (table.value for table in app.table)
    assert dict(zip(outcome[""], outcome[f"Run {two_runs[1]}"], strict=True))["Best round"].startswith(
        "2, R² 0"
    )
    assert list(differing[""]) == [
        "Strategy",
        "Rounds asked for",
        "Local epochs",
        r"Pull towards the common model \(µ\)",
    ]
    assert list(differing[f"Run {two_runs[1]}"])[:3] == ["FedProx", "3", "2"]


def test_an_address_with_a_run_that_is_not_there_says_so_and_still_offers_the_others(
    consortium: Consortium, two_runs: list[int]
) -> None:
    app = page_of(consortium, "scientist", "compare")
    app.query_params["runs"] = f"{two_runs[0]},999,x"
    app.run()
    assert "There is no Run 999." in words(app)
    assert app.multiselect(key="compare_runs").value == [two_runs[0]]
    assert not app.exception


def test_without_a_training_there_is_nothing_to_compare(consortium: Consortium) -> None:
    assert "No training to compare" in words(page_of(consortium, "admin", "compare"))
