"""A Run of kind evaluation: a version beside the one in use, on the same held-out rows, in one message."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from db.states import RunStatus
from fl.evaluation import SMALLEST_CELL, Metrics
from fl.features import Preprocessing
from fl.model import Weights
from fl.promotion import promotion_decision
from fl.roster import Roster, RunFailed
from fl.shadow_comparison import gather_shadow
from fl.version_evaluation import (
    evaluate_models,
    metrics_json,
    pooled_metrics,
    site_metrics,
    version_json,
)


def conduct_evaluation(roster: Roster) -> None:
    """Evaluate, record what the rule would decide, and describe the version if it was imported; promote nothing."""
    plan, recorder = roster.plan, roster.recorder
    if plan.start is None:
        raise RunFailed("This run names no model version to evaluate. Choose one, then start it again.")
    version, model = plan.start
    champion = plan.champion if plan.champion and plan.champion[0] != version else None
    recorder.enter(RunStatus.EVALUATING)
    models: dict[str, tuple[Weights, Preprocessing]] = {"version": (model.weights, model.preprocessing)}
    if champion:
        models["champion"] = (champion[1].weights, champion[1].preprocessing)
    by_site = evaluate_models(roster, models)
    scale = model.preprocessing.target_scale
    ours, theirs = by_site["version"], by_site.get("champion", {})
    overall, overall_champion = pooled_metrics(ours, scale), pooled_metrics(theirs, scale)
    if overall is None:
        raise RunFailed(
            f"No hospital has at least {SMALLEST_CELL} held-out patients with a known cost, so the version could "
            "not be evaluated."
        )
    if plan.champion and champion is None:
        promotes, decision = False, f"{version} is the version in use, so there is nothing to decide."
    else:
        promotes, decision = promotion_decision(
            overall,
            site_metrics(ours, scale),
            champion[0] if champion else None,
            overall_champion,
            site_metrics(theirs, scale),
            plan.settings.max_site_harm,
        )
    described = version_json(ours, champion[0] if champion else None, theirs, scale)
    recorder.describe_import(
        version, overall, {**described, "decision": decision, "evaluated_by_run": plan.run_id}
    )
    by_code, by_code_champion = site_metrics(ours, scale), site_metrics(theirs, scale)
    recorder.save_result(
        "evaluation",
        {
            "version": version,
            "champion": champion[0] if champion else None,
            "institutions": {
                code: {"version": _json(by_code[code]), "champion": _json(by_code_champion.get(code))}
                for code in by_code
            },
            "groups": {
                "version": described["groups"],
                "champion": metrics_json(theirs, scale)["groups"] if champion else None,
            },
            "overall": {"version": _json(overall), "champion": _json(overall_champion)},
            "decision": decision,
            "promotes": promotes,
        },
    )
    recorder.event(f"Model version {version} was evaluated. {decision}")
    gather_shadow(roster)
    recorder.finish()


def _json(metrics: Metrics | None) -> dict[str, Any] | None:
    return asdict(metrics) if metrics else None
