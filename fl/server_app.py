"""The ServerApp: conducts one Run from statistics to a saved model version and records every step."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from importlib.metadata import version as library_version
from typing import Any

import httpx
from flwr.app import Context, MessageType
from flwr.serverapp import Grid, ServerApp
from sqlalchemy.exc import SQLAlchemyError

from db.central import Phase, RunStatus
from fl.evaluation import Metrics, pooled
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.groups import pooled_group_metrics
from fl.intervals import calibrate
from fl.messages import array_of, outgoing
from fl.model import Weights, initial_weights
from fl.promotion import promotion_decision
from fl.recorder import NewVersion, RunAlreadyEnded, RunCancelled, RunPlan, RunRecorder, wait_for_run
from fl.roster import Roster, RunFailed
from fl.runtime.flower_private import pull_objects_quickly
from fl.site_evaluation import SiteEvaluation, read_evaluations
from fl.statistics import Moments, pooled_preprocessing
from fl.strategy import RecordedFedAvg, arrays_of

app = ServerApp()
log = logging.getLogger(__name__)
BySite = dict[str, SiteEvaluation]  # institution code -> what it said of one model
LIBRARIES = ("flwr", "tensorflow", "keras", "numpy")


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Wait for a Run and conduct it; it ends in a recorded state whatever happens."""
    database_url = os.environ["CENTRAL_DATABASE_URL"]
    pull_objects_quickly()
    recorder = RunRecorder(database_url, wait_for_run(database_url, str(context.run_id)))
    try:
        conduct(grid, recorder.plan(), recorder)
    except RunAlreadyEnded:
        log.info("the Run was ended from outside")
    except RunCancelled:
        recorder.cancelled()
    except RunFailed as failure:
        recorder.fail(str(failure))
        raise
    except (SQLAlchemyError, httpx.HTTPError):
        # The central database or SuperLink is away. The supervisor knows which, and ends the Run with that reason.
        log.exception("the central database or SuperLink failed during the Run")
        raise
    except Exception:
        log.exception("the Run ended by a mistake of the program")
        recorder.fail(
            "The training stopped because of a mistake in the program; the server's log has the details."
        )
        raise


def conduct(grid: Grid, plan: RunPlan, recorder: RunRecorder) -> None:
    """Statistics, N Rounds, evaluation, model version."""
    roster = Roster(grid, plan, recorder)
    roster.wait_for_sites()
    recorder.enter(RunStatus.STATISTICS)
    preprocessing = gather_statistics(roster)
    recorder.enter(RunStatus.TRAINING)
    strategy = RecordedFedAvg(plan, recorder, roster, preprocessing)
    strategy.start(grid, arrays_of(initial_weights(plan.seed)), plan.num_rounds)
    recorder.enter(RunStatus.EVALUATING)
    recorder.complete(evaluate(roster, strategy, preprocessing))


def gather_statistics(roster: Roster) -> Preprocessing:
    """Ask every Site for its sums and return the one scaler that follows."""
    moments: dict[str, Moments] = {}
    content = outgoing({"settings": json.dumps(roster.plan.settings.to_json())})

    def accept(code: str, answer: Answer) -> None:
        moments[code] = _moments(answer)

    roster.ask_all(
        Phase.STATISTICS,
        0,
        roster.messages(content, MessageType.QUERY),
        read=lambda answer: {"num_examples": _moments(answer).count},
        accepted=accept,
    )
    return pooled_preprocessing(moments[code] for code in sorted(moments))


def evaluate(roster: Roster, strategy: RecordedFedAvg, preprocessing: Preprocessing) -> NewVersion:
    """Evaluate the last model, the best of the earlier ones and the champion in one message; choose and decide."""
    plan = roster.plan
    last = plan.num_rounds
    models: dict[str, tuple[Weights, Preprocessing]] = {
        "last": (strategy.weights_by_round[last], preprocessing)
    }
    if last > 1:
        models["best"] = (strategy.weights_by_round[strategy.best_round()], preprocessing)
    if plan.champion is not None:
        models["champion"] = (plan.champion[1].weights, plan.champion[1].preprocessing)
    by_site = _evaluate_models(roster, models, last)

    strategy.record_evaluation(last, {code: one.sums for code, one in by_site["last"].items()})
    best = strategy.best_round()
    chosen = by_site["last"] if best == last else by_site["best"]
    return _new_version(plan, strategy, preprocessing, best, chosen, by_site.get("champion", {}))


def _evaluate_models(
    roster: Roster, models: dict[str, tuple[Weights, Preprocessing]], round_number: int
) -> dict[str, BySite]:
    by_site: dict[str, BySite] = {name: {} for name in models}
    content = outgoing(
        {
            "settings": json.dumps(roster.plan.settings.to_json()),
            "weights": [weights.astype("<f4").tobytes() for weights, _ in models.values()],
            "preprocessing": [json.dumps(preprocessing.to_json()) for _, preprocessing in models.values()],
        }
    )

    def accept(code: str, answer: Answer) -> None:
        for name, evaluation in zip(models, read_evaluations(answer.body, len(models)), strict=True):
            by_site[name][code] = evaluation

    scale = next(iter(models.values()))[1].target_scale
    roster.ask_all(
        Phase.EVALUATE,
        round_number,
        roster.messages(content, MessageType.EVALUATE, round_number),
        read=lambda answer: _metric_columns(
            read_evaluations(answer.body, len(models))[0].sums.metrics(scale)
        ),
        accepted=accept,
    )
    return by_site


def _new_version(
    plan: RunPlan,
    strategy: RecordedFedAvg,
    preprocessing: Preprocessing,
    best: int,
    chosen: BySite,
    champion: BySite,
) -> NewVersion:
    scale = preprocessing.target_scale
    metrics = strategy.metrics_by_round[best]
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
        weights=strategy.weights_by_round[best],
        preprocessing=preprocessing,
        training_round=best,
        num_examples=strategy.num_examples,
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
    return Moments.from_array(array_of(answer.body["moments"], "<f8"))


def _metric_columns(metrics: Metrics | None) -> dict[str, Any]:
    return asdict(metrics) if metrics else {}


def _as_json(by_site: dict[str, Metrics | None]) -> dict[str, Any]:
    return {code: asdict(metrics) for code, metrics in sorted(by_site.items()) if metrics}
