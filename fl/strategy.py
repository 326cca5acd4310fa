"""Federated averaging on Flower's strategy, with a time limit, a minimum of Sites, checks, and every step recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result

from db.central import Phase
from fl.evaluation import SMALLEST_CELL, HoldoutSums, Metrics, pooled, refuse_few
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.messages import array_of, outgoing
from fl.model import NUM_WEIGHTS, Weights
from fl.recorder import RunPlan, RunRecorder
from fl.roster import Roster, RunFailed

FLAT = "weights"  # name of the one flat array in an ArrayRecord


@dataclass
class RoundAnswers:
    """The accepted answers of one Round, by institution."""

    weights: dict[str, Weights] = field(default_factory=dict)
    num_examples: dict[str, int] = field(default_factory=dict)
    holdout: dict[str, HoldoutSums] = field(default_factory=dict)


class RecordedFedAvg(FedAvg):
    """FedAvg (McMahan et al. 2017, arXiv:1602.05629) whose Rounds cannot hang, be poisoned by NaN, or go unrecorded.

    In each Round a Site evaluates the model that it receives and then trains it, in one message: the metrics of
    Round r arrive with Round r + 1, and those of the last Round with the final evaluation.
    """

    def __init__(
        self, plan: RunPlan, recorder: RunRecorder, roster: Roster, preprocessing: Preprocessing
    ) -> None:
        super().__init__(
            min_train_nodes=plan.settings.min_sites,
            min_evaluate_nodes=plan.settings.min_sites,
            min_available_nodes=plan.settings.min_sites,
            weighted_by_key="num-examples",
        )
        self._plan = plan
        self._recorder = recorder
        self._roster = roster
        self._preprocessing = preprocessing
        self.weights_by_round: dict[int, Weights] = {}
        self.metrics_by_round: dict[int, Metrics] = {}
        self.num_examples = 0  # trained on in the last Round, all Sites

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Train for `num_rounds`; the last model is in the result, all of them in `weights_by_round`."""
        result = Result()
        arrays = initial_arrays
        for number in range(1, num_rounds + 1):
            self._recorder.check_cancelled()
            self._recorder.start_round(number)
            answers = self._train_round(number, self.configure_train(number, arrays, ConfigRecord(), grid))
            aggregated, metrics = self.aggregate_train(number, _flower_replies(answers))
            assert aggregated is not None and metrics is not None  # a Round without answers has raised
            arrays = aggregated
            weights = flat_weights(arrays)
            self.weights_by_round[number] = weights
            self.num_examples = sum(answers.num_examples.values())
            self._recorder.aggregated(number, weights=weights, sites=len(answers.weights))
            result.train_metrics_clientapp[number] = metrics
        result.arrays = arrays
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Make the messages of a Round, for every Site of the roster: the model, the scaler and the settings."""
        content = outgoing(
            {
                "settings": json.dumps(self._plan.settings.to_json()),
                "preprocessing": json.dumps(self._preprocessing.to_json()),
                "seed": self._plan.seed,
                "round_number": server_round,
                "weights": flat_weights(arrays),
            }
        )
        return self._roster.messages(content, MessageType.TRAIN, server_round)

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

    def _train_round(self, number: int, messages: Iterable[Message]) -> RoundAnswers:
        answers = RoundAnswers()
        self._roster.ask_all(
            Phase.TRAIN,
            number,
            list(messages),
            read=_train_columns,
            accepted=lambda code, answer: self._accept(number, code, answer, answers),
        )
        if number > 1:
            self.record_evaluation(number - 1, answers.holdout)
        return answers

    def _accept(self, number: int, code: str, answer: Answer, answers: RoundAnswers) -> None:
        answers.weights[code] = array_of(answer.body["weights"], "<f4")
        answers.num_examples[code] = int(answer.body["num_examples"])
        answers.holdout[code] = HoldoutSums.from_list(answer.body["holdout"])
        if number > 1:
            self._recorder.site_evaluation(
                number - 1,
                self._plan.institutions[code],
                answers.holdout[code].metrics(self._preprocessing.target_scale),
            )


def arrays_of(weights: Weights) -> ArrayRecord:
    """Wrap flat weights for Flower."""
    return ArrayRecord({FLAT: Array(weights)})


def flat_weights(arrays: ArrayRecord) -> Weights:
    """Unwrap what `arrays_of` wrapped."""
    return arrays[FLAT].numpy().astype(np.float32)


def _flower_replies(answers: RoundAnswers) -> list[Message]:
    """Turn accepted answers into the records that Flower's strategies aggregate.

    In the order of the institutions' codes: the sum of floats depends on the order, and a Run must repeat.
    """
    replies = []
    for code in sorted(answers.weights):
        content = RecordDict(
            {
                "arrays": arrays_of(answers.weights[code]),
                "metrics": MetricRecord({"num-examples": answers.num_examples[code]}),
            }
        )
        replies.append(Message(content, dst_node_id=0, message_type=MessageType.TRAIN))
    return replies


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
    rows = int(answer.body["num_examples"])
    if rows < 1:
        raise ValueError("it counts no rows")
    refuse_few(HoldoutSums.from_list(answer.body["holdout"]))
    return {"num_examples": rows, "loss": loss, "update_norm": norm}
