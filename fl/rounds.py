"""The Rounds of a Run: model out, updates back, each with a time limit, checks, and every step recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from flwr.app import MessageType

from db.states import Phase
from fl.baseline import Baseline, read_holdout
from fl.evaluation import SMALLEST_CELL, HoldoutSums, Metrics, pooled, refuse_few
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.messages import array_of
from fl.model import NUM_WEIGHTS, Weights
from fl.recorder import RunPlan, RunRecorder
from fl.roster import Roster, RunFailed
from fl.strategies import Aggregator, SiteUpdate


@dataclass
class RoundAnswers:
    """The accepted answers of one Round, by institution."""

    updates: dict[str, SiteUpdate] = field(default_factory=dict)
    holdout: dict[str, HoldoutSums] = field(default_factory=dict)


class Rounds:
    """Trains Round by Round; a Round cannot hang, be poisoned by NaN, or go unrecorded.

    In each Round a Site evaluates the model that it receives and then trains it, in one message: the metrics of
    Round r arrive with Round r + 1, and those of the last Round with the final evaluation.
    """

    def __init__(
        self,
        plan: RunPlan,
        recorder: RunRecorder,
        roster: Roster,
        preprocessing: Preprocessing,
        baseline: Baseline,
    ) -> None:
        self._plan = plan
        self._recorder = recorder
        self._roster = roster
        self._preprocessing = preprocessing
        self._baseline = baseline
        self._aggregator = Aggregator.named(plan.strategy, plan.settings, sorted(plan.institutions))
        self.weights_by_round: dict[int, Weights] = {}
        self.metrics_by_round: dict[int, Metrics] = {}
        self.num_examples = 0  # trained on in the last Round, all Sites

    def train(self, initial: Weights) -> None:
        """Train for the Run's number of Rounds; the models are in `weights_by_round`."""
        weights = initial
        for number in range(1, self._plan.num_rounds + 1):
            self._recorder.check_cancelled()
            self._recorder.start_round(number)
            answers = self._ask(number, weights)
            weights = self._aggregator.aggregate(
                number, weights, answers.updates, learning_rate=self._plan.settings.learning_rate
            )
            self.weights_by_round[number] = weights
            self.num_examples = sum(update.num_examples for update in answers.updates.values())
            self._recorder.aggregated(number, weights=weights, sites=len(answers.updates))

    def record_evaluation(self, number: int, sums: dict[str, HoldoutSums]) -> Metrics | None:
        """Pool the Sites' sums of one Round's model, record and remember the metrics."""
        metrics = pooled(sums.values()).metrics(self._preprocessing.target_scale)
        if metrics is not None:
            self.metrics_by_round[number] = metrics
            self._recorder.evaluated(number, metrics)
        return metrics

    def best_round(self) -> int:
        """Return the Round whose model has the lowest loss on the held-out rows of all Sites.

        Raises
        ------
        RunFailed
            If no Site has enough held-out rows to say.
        """
        if not self.metrics_by_round:
            raise RunFailed(
                f"No hospital has at least {SMALLEST_CELL} held-out patients with a known cost, so the model could "
                f"not be evaluated. About {5 * SMALLEST_CELL} patients with a known cost are needed at one hospital."
            )
        return min(self.metrics_by_round, key=lambda number: self.metrics_by_round[number].loss)

    def _ask(self, number: int, weights: Weights) -> RoundAnswers:
        answers = RoundAnswers()
        content = {
            "settings": json.dumps(self._plan.settings.to_json()),
            "preprocessing": json.dumps(self._preprocessing.to_json()),
            "seed": self._plan.seed,
            "round_number": number,
            "strategy": self._plan.strategy,
            "weights": weights,
            **(self._baseline.fields() if number == 1 else {}),
        }
        self._roster.ask_all(
            Phase.TRAIN,
            number,
            self._roster.messages(content, MessageType.TRAIN, number, for_site=self._aggregator.site_fields),
            read=_train_columns,
            accepted=lambda code, answer: self._accept(number, code, answer, answers),
        )
        if number > 1:
            self.record_evaluation(number - 1, answers.holdout)
        else:
            self._baseline.save(self._preprocessing)
        return answers

    def _accept(self, number: int, code: str, answer: Answer, answers: RoundAnswers) -> None:
        answers.updates[code] = SiteUpdate(
            array_of(answer.body["weights"], "<f4"),
            int(answer.body["num_examples"]),
            int(answer.body["steps"]),
        )
        answers.holdout[code] = HoldoutSums.from_list(answer.body["holdout"])
        self._baseline.add_holdout(code, answer.body)
        if number > 1:
            self._recorder.site_evaluation(
                number - 1,
                self._plan.institutions[code],
                answers.holdout[code].metrics(self._preprocessing.target_scale),
            )


def _train_columns(answer: Answer) -> dict[str, float | int]:
    """Check a training answer; return the columns of its `site_results` row.

    Raises
    ------
    ValueError
        Naming what cannot be: weights of another shape, not finite, or a count of rows below one.
    """
    weights = array_of(answer.body["weights"], "<f4")
    if weights.shape != (NUM_WEIGHTS,):
        raise ValueError(f"it holds {weights.size} weights instead of {NUM_WEIGHTS}")
    if not np.isfinite(weights).all():
        raise ValueError("it holds weights that are not numbers")
    loss, norm = float(answer.body["loss"]), float(answer.body["update_norm"])
    if not np.isfinite([loss, norm]).all():
        raise ValueError("its loss is not a number")
    rows, steps = int(answer.body["num_examples"]), int(answer.body["steps"])
    if rows < 1:
        raise ValueError("it counts no rows")
    if steps < 0:
        raise ValueError("it counts steps that cannot be")
    refuse_few(HoldoutSums.from_list(answer.body["holdout"]))
    read_holdout(answer.body)
    return {"num_examples": rows, "loss": loss, "update_norm": norm}
