"""The Rounds of a Run: model out, updates back, each with a time limit, checks, and every step recorded."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Message, MessageType

from db.states import EventSeverity, Phase
from fl.asking import Place
from fl.baseline import Baseline
from fl.evaluation import HoldoutSums, Metrics, pooled
from fl.exchange import Answer
from fl.features import Preprocessing
from fl.model import Weights, weights_sha256
from fl.plan import RunPlan
from fl.receipts import canonical_sha256, plan_sha256, round_receipt
from fl.recorder import RunRecorder
from fl.roster import Roster, RunFailed
from fl.round_answers import RoundAnswers, holdout_of, train_columns
from fl.schedule import BOTH_TASKS, Draw, EarlyStopping, draw_round, learning_rate_in
from fl.strategies import Aggregator


class Rounds:
    """Trains Round by Round; a Round cannot hang, be poisoned by NaN, or go unrecorded.

    In each Round a Site evaluates the model that it receives and then trains it, in one message: the metrics of
    Round r arrive with Round r + 1, and those of the last Round with the final evaluation.

    Attributes
    ----------
    last_round
        Number of the last Round made so far.
    weights_by_round, metrics_by_round
        What the Rounds made, those included that were taken over from an earlier Run.
    rows_by_round
        Round number -> institution code -> rows that it trained on.
    receipt_sha256
        Of the last Round, or of the plan.
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
        self._stopping = EarlyStopping(plan.settings.early_stopping_rounds, plan.settings.min_improvement)
        self._should_stop = False
        self.last_round = 0
        self.weights_by_round: dict[int, Weights] = {}
        self.metrics_by_round: dict[int, Metrics] = {}
        self.rows_by_round: dict[int, dict[str, int]] = {}
        self.receipt_sha256 = ""
        if plan.resumed is not None:
            self._go_on_with_earlier()

    def _go_on_with_earlier(self) -> None:
        assert self._plan.resumed is not None
        earlier = self._plan.resumed
        self._recorder.adopt_rounds(earlier)
        self._aggregator.restore(earlier.server_state)
        self.last_round = earlier.last_round
        self.weights_by_round = dict(earlier.weights)
        self.rows_by_round = dict(earlier.rows)
        self.receipt_sha256 = earlier.receipt_sha256 or ""
        for number in range(1, earlier.last_round):  # the last one's metrics arrive with the next Round
            if number in earlier.metrics:
                self._remember_metrics(number, earlier.metrics[number])

    def train(self, initial: Weights) -> None:
        """Train for the Run's number of Rounds, or until they stop to help; the models are in `weights_by_round`.

        Parameters
        ----------
        initial
            What the first Round begins with; a resumed Run begins with the weights of its last saved Round.
        """
        weights = self.weights_by_round.get(self.last_round, initial)
        if not self.last_round:
            self.receipt_sha256 = self._plan_sha256(initial)
        for number in range(self.last_round + 1, self._plan.num_rounds + 1):
            if self._should_stop:
                self._tell_of_stopping()
                return
            self._recorder.check_cancelled()
            self._recorder.start_round(number)
            rate = learning_rate_in(self._plan.settings, number, self._plan.num_rounds)
            answers = self._ask(number, weights, rate)
            received = weights
            weights = self._aggregator.aggregate(number, received, answers.updates, learning_rate=rate)
            if not np.isfinite(weights).all():
                raise RunFailed(
                    f"The model of round {number} has weights that are not numbers: the training diverged. "
                    "Choose a smaller learning rate, or the strategy FedAvg."
                )
            self._commit(number, received, weights, answers, rate)

    def _plan_sha256(self, initial: Weights) -> str:
        return plan_sha256(
            run=self._plan.run_id,
            num_rounds=self._plan.num_rounds,
            strategy=self._plan.strategy,
            seed=self._plan.seed,
            settings=self._plan.stored_settings,
            start_sha256=weights_sha256(initial),
        )

    def _commit(
        self, number: int, received: Weights, weights: Weights, answers: RoundAnswers, learning_rate: float
    ) -> None:
        """Save the Round with its receipt, and forget the arrays of Rounds that cannot become the version's."""
        receipt = round_receipt(
            run=self._plan.run_id,
            number=number,
            previous=self.receipt_sha256,
            weights_sha256=weights_sha256(weights),
            received_sha256=weights_sha256(received),
            strategy=self._plan.strategy,
            settings=self._plan.stored_settings,
            preprocessing=self._preprocessing.to_json(),
            participants=answers.participants,
        )
        digest = canonical_sha256(receipt)
        self._recorder.commit_round(
            number,
            weights=weights,
            server_state=self._aggregator.state(),
            sites=len(answers.updates),
            previous_receipt=self.receipt_sha256,
            receipt_sha256=digest,
            details={"receipt": receipt, "learning_rate": learning_rate},
        )
        self.receipt_sha256, self.last_round = digest, number
        self.weights_by_round[number] = weights
        self.rows_by_round[number] = {code: update.num_examples for code, update in answers.updates.items()}
        best = self.best_round()
        self._recorder.keep_updates_of({number} if best is None else {number, best})

    def record_evaluation(self, number: int, sums: dict[str, HoldoutSums]) -> Metrics | None:
        """Pool the Sites' sums of one Round's model, record and remember the metrics."""
        metrics = pooled(sums.values()).metrics(self._preprocessing.target_scale)
        self._recorder.evaluated(number, metrics)
        if metrics is not None:
            self._remember_metrics(number, metrics)
        return metrics

    def _remember_metrics(self, number: int, metrics: Metrics) -> None:
        self.metrics_by_round[number] = metrics
        self._should_stop = self._stopping.observe(number, metrics.loss)

    def best_round(self) -> int | None:
        """Return the evaluated Round with the lowest loss on held-out rows; None if none was evaluated."""
        return min(self.metrics_by_round, key=lambda number: self.metrics_by_round[number].loss, default=None)

    def _ask(self, number: int, weights: Weights, learning_rate: float) -> RoundAnswers:
        """Ask the drawn Sites, and the others too if too few of those can be used."""
        answers, settings = RoundAnswers(), self._plan.settings
        draw = draw_round(
            settings,
            seed=self._plan.seed,
            number=number,
            present=self._roster.present(),
            everybody=self._roster.everybody(),
        )
        content = {
            "settings": json.dumps(replace(settings, learning_rate=learning_rate).to_json()),
            "preprocessing": json.dumps(self._preprocessing.to_json()),
            "seed": self._plan.seed,
            "round_number": number,
            "tasks": BOTH_TASKS,
            "weights": weights,
            **(self._baseline.fields() if number == 1 else {}),
        }
        self._ask_drawn(number, content, draw, answers, strangers=True)
        reserve = frozenset(self._roster.present() - draw.fit)
        if len(answers.updates) < settings.min_sites and reserve:
            names = ", ".join(sorted(reserve))
            self._recorder.event(
                f"Round {number}: too few of the drawn hospitals can be used, so {names} trains too.",
                severity=EventSeverity.WARNING,
                round_number=number,
            )
            self._ask_drawn(number, content, Draw(reserve, frozenset()), answers, strangers=False)
        self._roster.require(Phase.TRAIN, number, len(answers.updates), settings.min_sites)
        if number > 1:
            self._evaluate_received(number - 1, answers.holdout)
        else:
            self._baseline.save(self._preprocessing)
        return answers

    def _evaluate_received(self, number: int, holdout: dict[str, HoldoutSums]) -> None:
        needed = self._plan.settings.min_sites_evaluate
        if len(holdout) >= needed:
            self.record_evaluation(number, holdout)
            return
        self._recorder.evaluated(number, None)
        self._recorder.event(
            f"Round {number} has no metrics: {len(holdout)} of the at least {needed} hospitals evaluated its model.",
            severity=EventSeverity.WARNING,
            round_number=number,
        )

    def _ask_drawn(
        self, number: int, content: dict[str, Any], draw: Draw, answers: RoundAnswers, *, strangers: bool
    ) -> None:
        """Ask those who were drawn; with `strangers` also SuperNodes that have not told yet for whom they speak."""
        weights, strategy = content["weights"], self._plan.strategy

        def for_site(code: str) -> dict[str, Any]:
            tasks = draw.tasks(code)
            own = {} if tasks == BOTH_TASKS else {"tasks": tasks}
            return {**self._aggregator.site_fields(code), **own}

        def messages(nodes: Collection[int] | None = None) -> list[Message]:
            known = nodes if strangers else self._roster.nodes_of(draw.asked)
            return self._roster.messages(
                content, MessageType.TRAIN, number, for_site=for_site, sites=draw.asked, nodes=known
            )

        def place(code: str) -> Place:
            return (Phase.TRAIN, number) if "train" in draw.tasks(code) else (Phase.EVALUATE, number - 1)

        def read(answer: Answer) -> dict[str, Any] | None:
            tasks = draw.tasks(str(answer.institution))
            if "evaluate" in tasks:
                holdout_of(answer)
            return train_columns(answer, weights, strategy) if "train" in tasks else None

        def accept(code: str, answer: Answer) -> None:
            tasks = draw.tasks(code)
            if "train" in tasks:
                answers.add_update(code, answer, weights, strategy)
            if "evaluate" in tasks:
                self._accept_evaluation(number, code, answer, answers)

        self._roster.ask_all(
            Phase.TRAIN,
            number,
            messages(),
            read,
            accept,
            expected=draw.asked,
            needed=0,
            place=place,
            again=messages,
            judge=lambda: answers.judge(self._plan.settings.max_update_ratio),
        )

    def _accept_evaluation(self, number: int, code: str, answer: Answer, answers: RoundAnswers) -> None:
        answers.holdout[code] = holdout_of(answer)
        self._baseline.add_holdout(code, answer.body)
        if number > 1:
            metrics = answers.holdout[code].metrics(self._preprocessing.target_scale)
            self._recorder.site_evaluation(number - 1, self._plan.institutions[code], metrics)

    def _tell_of_stopping(self) -> None:
        settings, number = self._plan.settings, self.last_round
        self._recorder.event(
            f"Stopped early after round {number} of {self._plan.num_rounds}: since round {self._stopping.improved_at} "
            f"no round has lowered the loss on held-out patients by {settings.min_improvement:g}.",
            round_number=number,
        )
