"""Asking for Runs of every kind: strategies and their settings, going on with an ended Run, evaluating a version."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, InvalidInput, NotFound
from app.services import training
from db.central import AuditEvent, ModelVersion, TrainingRound, TrainingRun
from db.states import RunKind, RunStatus
from fl.model import initial_weights, weights_to_bytes
from fl.settings import STRATEGIES, STRATEGY_DEFAULTS, RunSettings


@pytest.fixture
def start(consortium: Any, central: Session) -> Callable[..., TrainingRun]:
    """Ask for a Run as the administrator."""

    def ask(**arguments: Any) -> TrainingRun:
        return training.start_run(central=central, actor=consortium.actors["admin"], **arguments)

    return ask


def _ended(central: Session, run: TrainingRun, status: str, *, saved_rounds: int) -> None:
    """End a Run after so many Rounds whose weights were saved, and one that was not."""
    run.status, run.finished_at = status, datetime.now(UTC)
    run.error = "The central server stopped." if status == RunStatus.FAILED else None
    for number in range(1, saved_rounds + 2):
        central.add(
            TrainingRound(
                run_id=run.id,
                round_number=number,
                aggregation_method=run.strategy,
                weights=weights_to_bytes(initial_weights(1)) if number <= saved_rounds else None,
            )
        )
    central.commit()


def _fields(refused: pytest.ExceptionInfo[InvalidInput]) -> list[str]:
    return sorted(problem.field for problem in refused.value.problems)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_starts_with_its_own_defaults(start: Any, strategy: str) -> None:
    assert start(strategy=strategy).strategy == strategy


def test_a_strategys_default_gives_way_to_what_was_chosen(start: Any) -> None:
    kept = RunSettings.from_json(start(strategy="scaffold").settings)
    assert (kept.optimizer, kept.learning_rate) == ("sgd", STRATEGY_DEFAULTS["scaffold"]["learning_rate"])
    chosen = RunSettings.from_json(start(strategy="scaffold", settings={"learning_rate": 0.3}).settings)
    assert (chosen.optimizer, chosen.learning_rate) == ("sgd", 0.3)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ({"strategy": "scaffold", "settings": {"optimizer": "adam"}}, ["optimizer"]),
        ({"strategy": "krum", "settings": {"malicious_sites": 2}}, ["min_sites"]),
        ({"settings": {"fraction_fit": 0.4, "late_policy": "ignore"}}, ["fraction_fit", "late_policy"]),
        ({"settings": {"local_only": 1}}, ["local_only"]),
        ({"settings": {"split_salt": "x" * 101}}, ["split_salt"]),
        ({"settings": {"learning_rate": 10**400}}, ["learning_rate"]),
        ({"settings": {"start_from": "champion"}}, ["start_from"]),
        ({"start_version": "v1"}, ["start_version"]),
        ({"kind": RunKind.EVALUATION}, ["start_version"]),
        ({"kind": RunKind.EVALUATION, "start_version": "v404"}, ["start_version"]),
        ({"kind": RunKind.LEAST_SQUARES, "settings": {"min_rows": 1}}, ["min_rows"]),
    ],
)
def test_what_is_wrong_is_named_at_its_setting(
    start: Any, arguments: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        start(**arguments)
    assert _fields(refused) == fields


@pytest.mark.parametrize("kind", [RunKind.LEAST_SQUARES, RunKind.COHORT])
def test_a_run_that_trains_nothing_has_neither_rounds_nor_strategy(start: Any, kind: RunKind) -> None:
    run = start(kind=kind, num_rounds=5000, strategy="nothing known", settings={"local_epochs": 0})
    assert (run.kind, run.num_rounds, run.strategy, run.status) == (kind, 0, "", "queued")


def test_an_evaluation_is_of_a_version(start: Any, add_model: Callable[..., ModelVersion]) -> None:
    version = add_model("v5", status="candidate")
    run = start(kind=RunKind.EVALUATION, start_version="v5")
    assert (run.kind, run.num_rounds, run.start_version_id) == ("evaluation", 0, version.id)


def test_training_starts_from_the_version_in_use(start: Any, add_model: Callable[..., ModelVersion]) -> None:
    add_model("v4", status="retired")
    version = add_model("v5")
    assert start(settings={"start_from": "champion"}).start_version_id == version.id
    assert start().start_version_id is None


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_resumed_run_keeps_seed_strategy_settings_and_rounds(
    start: Any, central: Session, status: RunStatus
) -> None:
    ended = start(num_rounds=7, strategy="fedprox", settings={"proximal_mu": 0.5}, seed=42)
    _ended(central, ended, status, saved_rounds=2)
    resumed = start(resume_run_id=ended.id)
    assert resumed.id != ended.id
    assert (resumed.resumed_from_id, resumed.status, resumed.current_round) == (ended.id, "queued", 0)
    for column in ("kind", "num_rounds", "strategy", "settings", "seed"):
        assert getattr(resumed, column) == getattr(ended, column), column


def test_what_cannot_be_resumed_says_why(start: Any, central: Session) -> None:
    queued = start()
    unsaved = start()
    _ended(central, unsaved, RunStatus.FAILED, saved_rounds=0)
    counted = start(kind=RunKind.COHORT)
    _ended(central, counted, RunStatus.FAILED, saved_rounds=0)
    for run, reason in ((queued, "is queued"), (unsaved, "before its first round"), (counted, "no model")):
        with pytest.raises(Conflict, match=reason):
            start(resume_run_id=run.id)
    for unknown in (0, -1, 12345, 2**40):
        with pytest.raises(NotFound):
            start(resume_run_id=unknown)


def test_nothing_can_be_chosen_anew_for_a_resumed_run(start: Any, central: Session) -> None:
    ended = start()
    _ended(central, ended, RunStatus.FAILED, saved_rounds=1)
    with pytest.raises(InvalidInput) as refused:
        start(resume_run_id=ended.id, settings={"batch_size": 8}, seed=3, kind=RunKind.COHORT)
    assert _fields(refused) == ["kind", "seed", "settings"]


def test_a_key_stands_for_one_request_only(
    start: Any, central: Session, add_model: Callable[..., ModelVersion]
) -> None:
    ended = start(seed=1)
    _ended(central, ended, RunStatus.FAILED, saved_rounds=1)
    add_model("v5")
    requests: list[dict[str, Any]] = [
        {},
        {"num_rounds": 3},
        {"strategy": "fedmedian"},
        {"settings": {"batch_size": 16}},
        {"kind": RunKind.COHORT},
        {"kind": RunKind.EVALUATION, "start_version": "v5"},
        {"resume_run_id": ended.id},
    ]
    for place, request in enumerate(requests):
        key = f"request {place}"
        first = start(idempotency_key=key, **request)
        assert start(idempotency_key=key, **request).id == first.id
        for other in requests[:place]:
            with pytest.raises(Conflict, match="already used"):
                start(idempotency_key=key, **other)


def test_a_repeated_request_is_the_same_after_another_model_came_into_use(
    start: Any, central: Session, add_model: Callable[..., ModelVersion]
) -> None:
    first = add_model("v5")
    wish = {"settings": {"start_from": "champion"}, "idempotency_key": "warm"}
    run = start(**wish)
    central.get_one(ModelVersion, first.id).status = "retired"
    central.commit()
    add_model("v6")
    assert start(**wish).id == run.id


def test_the_audit_says_which_kind_was_started(start: Any, central: Session) -> None:
    ended = start(num_rounds=4)
    _ended(central, ended, RunStatus.CANCELLED, saved_rounds=1)
    start(resume_run_id=ended.id)
    start(kind=RunKind.LEAST_SQUARES)
    kept = central.scalars(
        select(AuditEvent.details).where(AuditEvent.action == "run_started").order_by(AuditEvent.id)
    ).all()
    assert kept == [
        {"kind": "federated", "num_rounds": 4, "strategy": "fedavg"},
        {"kind": "federated", "num_rounds": 4, "strategy": "fedavg", "resumed_from": ended.id},
        {"kind": "least_squares", "num_rounds": 0, "strategy": ""},
    ]
