"""A Run of kind least_squares: the line that every model is compared with, in two messages and without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from flwr.app import MessageType

from db.states import Phase, RunStatus
from fl.baseline import Baseline, read_holdout
from fl.evaluation import SMALLEST_CELL
from fl.exchange import Answer
from fl.roster import Roster, RunFailed
from fl.run_federated import gather_statistics


def conduct_least_squares(roster: Roster) -> None:
    """Ask for the products, solve, ask how good the line is on the held-out rows."""
    plan, recorder = roster.plan, roster.recorder
    recorder.enter(RunStatus.STATISTICS)
    baseline = Baseline(plan, recorder)
    preprocessing = gather_statistics(roster, baseline, only_products=True)
    if not baseline.solve():
        raise RunFailed(
            f"Only {len(baseline.products)} of the at least {plan.settings.min_sites_statistics} hospitals needed "
            "could send products for least squares. The table of hospitals shows the reason of each."
        )
    recorder.enter(RunStatus.EVALUATING)
    content = {"settings": json.dumps(plan.settings.to_json()), **baseline.fields()}

    def read(answer: Answer) -> dict[str, Any]:
        sums = read_holdout(answer.body)
        if sums is None:
            raise ValueError("it does not evaluate the least squares line")
        metrics = sums.metrics(preprocessing.target_scale)
        return asdict(metrics) if metrics else {}

    roster.ask_all(
        Phase.EVALUATE,
        0,
        roster.messages(content, MessageType.EVALUATE),
        read=read,
        accepted=lambda code, answer: baseline.add_holdout(code, answer.body),
    )
    if not baseline.save(preprocessing):
        raise RunFailed(
            f"No hospital has at least {SMALLEST_CELL} held-out patients with a known cost, so the line could "
            "not be evaluated."
        )
    recorder.finish()
