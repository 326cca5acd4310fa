"""A federated Run: statistics, Rounds, evaluation, and the model version that it makes."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version as library_version
from typing import Any

from flwr.app import MessageType

from db.states import Phase, RunStatus
from fl.baseline import Baseline, read_products
from fl.evaluation import Metrics, pooled
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.groups import pooled_group_metrics
from fl.intervals import calibrate
from fl.local_only import LocalComparison
from fl.messages import array_of
from fl.model import Weights, initial_weights
from fl.promotion import promotion_decision
from fl.recorder import NewVersion, RunPlan
from fl.roster import Roster
from fl.rounds import Rounds
from fl.site_evaluation import SiteEvaluation, read_evaluations
from fl.statistics import Moments, pooled_preprocessing

BySite = dict[str, SiteEvaluation]  # institution code -> what it said of one model
LIBRARIES = ("flwr", "tensorflow", "keras", "numpy")


def conduct_federated(roster: Roster) -> None:
    """Statistics, N Rounds, evaluation, model version."""
    plan, recorder = roster.plan, roster.recorder
    recorder.enter(RunStatus.STATISTICS)
    baseline = Baseline(plan, recorder)
    preprocessing = gather_statistics(roster, baseline)
    baseline.solve()
    recorder.enter(RunStatus.TRAINING)
    rounds = Rounds(plan, recorder, roster, preprocessing, baseline)
    rounds.train(initial_weights(plan.seed))
    recorder.enter(RunStatus.EVALUATING)
    recorder.complete(evaluate(roster, rounds, preprocessing))


def gather_statistics(roster: Roster, baseline: Baseline, *, only_products: bool = False) -> Preprocessing:
    """Ask every Site for its sums and products; return the one scaler that follows from the sums.

    With `only_products` a Site that may not send products sits out.
    """
    moments: dict[str, Moments] = {}
    content = {"settings": json.dumps(roster.plan.settings.to_json()), "only_products": only_products}

    def accept(code: str, answer: Answer) -> None:
        moments[code] = _moments(answer)
        baseline.add_products(code, answer.body)

    roster.ask_all(
        Phase.STATISTICS,
        0,
        roster.messages(content, MessageType.QUERY),
        read=lambda answer: {"num_examples": _moments(answer).count},
        accepted=accept,
    )
    return pooled_preprocessing(moments[code] for code in sorted(moments))


def evaluate(roster: Roster, rounds: Rounds, preprocessing: Preprocessing) -> NewVersion:
    """Evaluate the last model, the best of the earlier ones and the champion in one message; choose and decide."""
    plan = roster.plan
    last = plan.num_rounds
    models: dict[str, tuple[Weights, Preprocessing]] = {
        "last": (rounds.weights_by_round[last], preprocessing)
    }
    if last > 1:
        models["best"] = (rounds.weights_by_round[rounds.best_round()], preprocessing)
    if plan.champion is not None:
        models["champion"] = (plan.champion[1].weights, plan.champion[1].preprocessing)
    alone = LocalComparison(plan, min(last, 2))
    by_site = _evaluate_models(roster, models, last, alone)

    rounds.record_evaluation(last, {code: one.sums for code, one in by_site["last"].items()})
    best = rounds.best_round()
    chosen = by_site["last"] if best == last else by_site["best"]
    alone.save(roster.recorder, 0 if best == last else 1, chosen, preprocessing.target_scale)
    return _new_version(plan, rounds, preprocessing, best, chosen, by_site.get("champion", {}))


def _evaluate_models(
    roster: Roster,
    models: dict[str, tuple[Weights, Preprocessing]],
    round_number: int,
    alone: LocalComparison,
) -> dict[str, BySite]:
    by_site: dict[str, BySite] = {name: {} for name in models}
    content = {
        "settings": json.dumps(roster.plan.settings.to_json()),
        "weights": [weights.astype("<f4").tobytes() for weights, _ in models.values()],
        "preprocessing": [json.dumps(preprocessing.to_json()) for _, preprocessing in models.values()],
        **alone.fields(),
    }

    def accept(code: str, answer: Answer) -> None:
        for name, evaluation in zip(models, read_evaluations(answer.body, len(models)), strict=True):
            by_site[name][code] = evaluation
        alone.add(code, answer.body)

    scale = next(iter(models.values()))[1].target_scale

    def read(answer: Answer) -> dict[str, Any]:
        alone.read(answer.body)
        return _metric_columns(read_evaluations(answer.body, len(models))[0].sums.metrics(scale))

    roster.ask_all(
        Phase.EVALUATE,
        round_number,
        roster.messages(content, MessageType.EVALUATE, round_number),
        read=read,
        accepted=accept,
    )
    return by_site


def _new_version(
    plan: RunPlan,
    rounds: Rounds,
    preprocessing: Preprocessing,
    best: int,
    chosen: BySite,
    champion: BySite,
) -> NewVersion:
    scale = preprocessing.target_scale
    metrics = rounds.metrics_by_round[best]
    new_by_site = {code: one.sums.metrics(scale) for code, one in chosen.items()}
    champion_by_site = {code: one.sums.metrics(scale) for code, one in champion.items()}
    champion_metrics = pooled(one.sums for one in champion.values()).metrics(scale)
    in_order = [chosen[code] for code in sorted(chosen)]  # a sum of floats depends on the order
    calibration = calibrate((one.residuals for one in in_order), scale)
    champion_version = plan.champion[0] if plan.champion else None
    promote, reason = promotion_decision(
        metrics,
        new_by_site,
        champion_version,
        champion_metrics,
        champion_by_site,
        plan.settings.max_site_harm,
    )
    return NewVersion(
        weights=rounds.weights_by_round[best],
        preprocessing=preprocessing,
        training_round=best,
        num_examples=rounds.num_examples,
        metrics=metrics,
        details={
            "institutions": _as_json(new_by_site),
            "groups": pooled_group_metrics((one.groups for one in in_order), scale),
            "calibration": calibration.to_json() if calibration else None,
            "champion": {"version": champion_version, "institutions": _as_json(champion_by_site)}
            if champion_version
            else None,
            "libraries": {name: library_version(name) for name in LIBRARIES},
        },
        promote=promote,
        reason=reason,
    )


def _moments(answer: Answer) -> Moments:
    read_products(answer.body)
    return Moments.from_array(array_of(answer.body["moments"], "<f8"))


def _metric_columns(metrics: Metrics | None) -> dict[str, Any]:
    return asdict(metrics) if metrics else {}


def _as_json(by_site: dict[str, Metrics | None]) -> dict[str, Any]:
    return {code: asdict(metrics) for code, metrics in sorted(by_site.items()) if metrics}
