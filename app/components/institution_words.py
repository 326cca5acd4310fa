"""How an institution's state and what a Run asks of it are said in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.components.formats import count, duration, percent
from db.states import Consent, RunKind
from fl.settings import SCHEDULES, STRATEGIES, RunSettings

CONSENT_NAMES: dict[str, str] = {
    Consent.OPEN: "Takes part in every run",
    Consent.PAUSED: "Paused",
    Consent.APPROVAL: "Approves each run first",
}
CONSENT_MEANS: dict[str, str] = {
    Consent.OPEN: "Your hospital answers every run that the consortium starts.",
    Consent.PAUSED: "Your hospital answers no run. People here go on working with patients and the model in use.",
    Consent.APPROVAL: "Your hospital answers a run only after you have seen and approved its settings.",
}
CONNECTION_NAMES: dict[str, tuple[str, str, str]] = {  # words, colour, icon
    "connected": ("Connected", "green", ":material/check_circle:"),
    "starting": ("Starting", "yellow", ":material/hourglass_top:"),
    "down": ("Not connected", "red", ":material/error:"),
    "inactive": ("Deactivated", "gray", ":material/block:"),
}
DECISION_NAMES = {"waiting": "Waiting", "approved": "Approved", "refused": "Refused", "missed": "Not in time"}
_OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}


def asks_to(asked: Mapping[str, Any]) -> str:
    """Say in a few words what a Run is for: `train a model in 10 rounds with FedAvg`."""
    kind = asked.get("kind", RunKind.FEDERATED)
    if kind == RunKind.LEAST_SQUARES:
        return "fit the least-squares baseline from sums"
    if kind == RunKind.COHORT:
        return "count what the hospitals' patients are like"
    if kind == RunKind.EVALUATION:
        return "compare a model version with the one in use"
    strategy = STRATEGIES.get(str(asked.get("strategy")))
    rounds = f" in {count(asked['num_rounds'], 'round')}" if asked.get("num_rounds") else ""
    return f"train a model{rounds}" + (f" with {strategy.label}" if strategy else "")


def in_sentences(asked: Mapping[str, Any]) -> list[str]:
    """Say what a Run asks of the hospital, one sentence each."""
    settings = RunSettings.from_json(asked)
    sentences = []
    if asked.get("kind", RunKind.FEDERATED) == RunKind.FEDERATED:
        optimizer = _OPTIMIZERS.get(settings.optimizer, settings.optimizer)
        decay = f", weight decay {settings.weight_decay:g}" if settings.optimizer == "adamw" else ""
        schedule = SCHEDULES.get(settings.learning_rate_schedule, settings.learning_rate_schedule)
        sentences += [
            f"In each round your hospital trains the model {_times(settings.local_epochs)} over its own patients, "
            f"{settings.batch_size} at a time, with {optimizer}{decay} and a learning rate of "
            f"{settings.learning_rate:g}, {schedule}.",
            f"{percent(settings.train_share)} of its patients with a known cost train the model, the others only "
            "test it.",
        ]
        if settings.local_only:
            sentences.append(
                "At the end it also trains a model alone, to tell what taking part brought it; that model stays here."
            )
        sentences.append(
            "Model weights, counts, sums and errors leave the hospital; never a patient, and nothing of a group of "
            "fewer than ten."
        )
    else:
        sentences.append(
            "Counts, sums and errors leave the hospital; never a patient, and nothing of a group of fewer than ten."
        )
    sentences.append(
        f"With fewer than {max(settings.min_rows, 10)} patients of known cost your hospital sits out."
    )
    sentences.append(
        f"The run waits up to {duration(settings.approval_time_limit)} for your decision."
        if settings.approval_time_limit
        else "The run does not wait for your decision: it goes on with the hospitals that answer, and yours takes "
        "part from the next round after you approve."
    )
    return sentences


def every_setting(asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return every setting as it is called in the API, with its value; rows of a table."""
    return [
        {"Setting": name, "Value": f"{value:g}" if isinstance(value, float) else str(value)}
        for name, value in sorted(asked.items())
    ]


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
