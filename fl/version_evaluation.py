"""Several models on the same held-out rows of every Site: asked for in one message, added up, put into JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flwr.app import MessageType

from db.states import Phase
from fl.evaluation import Metrics, pooled
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.groups import pooled_group_metrics
from fl.intervals import calibrate
from fl.local_only import LocalComparison
from fl.model import Weights
from fl.roster import Roster
from fl.site_evaluation import SiteEvaluation, read_evaluations

BySite = dict[str, SiteEvaluation]  # institution code -> what it said of one model


def evaluate_models(
    roster: Roster,
    models: Mapping[str, tuple[Weights, Preprocessing]],
    round_number: int = 0,
    alone: LocalComparison | None = None,
) -> dict[str, BySite]:
    """Have every Site evaluate the models; the first one's metrics are its `site_results` row.

    Parameters
    ----------
    models
        Name -> weights and scaler.
    alone
        What the Sites are asked to compare with besides.

    Returns
    -------
    dict
        Name -> institution code -> evaluation.
    """
    by_site: dict[str, BySite] = {name: {} for name in models}
    scale = next(iter(models.values()))[1].target_scale
    content = {
        "weights": [weights.astype("<f4").tobytes() for weights, _ in models.values()],
        "preprocessing": [json.dumps(preprocessing.to_json()) for _, preprocessing in models.values()],
        **(alone.fields() if alone else {}),
    }

    def read(answer: Answer) -> dict[str, Any]:
        if alone:
            alone.read(answer.body)
        metrics = read_evaluations(answer.body, len(models))[0].sums.metrics(scale)
        return asdict(metrics) if metrics else {}

    def accept(code: str, answer: Answer) -> None:
        for name, evaluation in zip(models, read_evaluations(answer.body, len(models)), strict=True):
            by_site[name][code] = evaluation
        if alone:
            alone.add(code, answer.body)

    roster.ask_all(
        Phase.EVALUATE,
        round_number,
        roster.messages(content, MessageType.EVALUATE, round_number),
        read=read,
        accepted=accept,
    )
    return by_site


def pooled_metrics(by_site: BySite, target_scale: float) -> Metrics | None:
    """Add up a model's sums; None if no Site told of it. `target_scale` is in USD."""
    return pooled(by_site[code].sums for code in sorted(by_site)).metrics(target_scale)


def site_metrics(by_site: BySite, target_scale: float) -> dict[str, Metrics | None]:
    """Return institution code -> metrics; None of a Site that told nothing."""
    return {code: by_site[code].sums.metrics(target_scale) for code in sorted(by_site)}


def metrics_json(by_site: BySite, target_scale: float) -> dict[str, Any]:
    """Return the institutions and groups of a model as `model_versions.metrics` holds them."""
    metrics = site_metrics(by_site, target_scale)
    return {
        "institutions": {code: asdict(here) for code, here in metrics.items() if here},
        "groups": pooled_group_metrics((by_site[code].groups for code in sorted(by_site)), target_scale),
    }


def version_json(
    by_site: BySite, champion_version: str | None, champion: BySite, target_scale: float
) -> dict[str, Any]:
    """Return what a version's `metrics` tell of it and of the champion on the same rows, but for the decision."""
    calibration = calibrate((by_site[code].residuals for code in sorted(by_site)), target_scale)
    overall = pooled_metrics(champion, target_scale)
    beside = {
        "version": champion_version,
        **metrics_json(champion, target_scale),
        "overall": asdict(overall) if overall else None,
    }
    return {
        **metrics_json(by_site, target_scale),
        "calibration": calibration.to_json() if calibration else None,
        "champion": beside if champion_version else None,
    }
