"""What the Sites answer in one Round: read, checked, and looked at beside each other."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fl.baseline import read_holdout
from fl.evaluation import HoldoutSums, refuse_few
from fl.exchange import Answer
from fl.messages import array_of
from fl.model import NUM_WEIGHTS, Weights
from fl.receipts import Participant, update_bytes
from fl.strategies import SiteUpdate

MOST_ROWS = 1_000_000_000  # of one Site; more is no hospital
GRADIENT_STRATEGIES = ("fedsgd",)  # a Site sends a gradient where others send weights


@dataclass
class RoundAnswers:
    """The accepted answers of one Round, by institution.

    Attributes
    ----------
    participants
        What the Round's receipt says of those who trained.
    holdout
        The model that the Round began with, on the held-out rows.
    """

    updates: dict[str, SiteUpdate] = field(default_factory=dict)
    participants: dict[str, Participant] = field(default_factory=dict)
    holdout: dict[str, HoldoutSums] = field(default_factory=dict)

    def add_update(self, code: str, answer: Answer, received: Weights, strategy: str) -> None:
        """Keep a checked update."""
        columns = train_columns(answer, received, strategy)
        update = SiteUpdate(
            array_of(answer.body["weights"], "<f4"), columns["num_examples"], int(answer.body["steps"])
        )
        self.updates[code] = update
        self.participants[code] = Participant(
            num_examples=update.num_examples,
            update_norm=columns["update_norm"],
            update_sha256=columns["update_sha256"],
            steps=update.steps,
        )

    def judge(self, max_ratio: float) -> dict[str, str]:
        """Take wildly scaled updates out; return code -> reason."""
        norms = {code: participant.update_norm for code, participant in self.participants.items()}
        rejected = wild_updates(norms, max_ratio)
        for code in rejected:
            del self.updates[code], self.participants[code]
        return rejected


def wild_updates(norms: Mapping[str, float], max_ratio: float) -> dict[str, str]:
    """Return code -> reason for every update that is far longer than the others'.

    Parameters
    ----------
    norms
        Code -> L2 norm of the Site's update.
    max_ratio
        How many times the median of the other Sites' norms is still accepted.
    """
    rejected = {}
    for code, norm in sorted(norms.items()):
        others = [other for name, other in norms.items() if name != code]
        if others and norm > max_ratio * (median := statistics.median(others)):
            rejected[code] = (
                f"The answer was rejected: the norm of its update, {norm:.3g}, is more than {max_ratio:g} times "
                f"{median:.3g}, the median of the other hospitals'."
            )
    return rejected


def train_columns(answer: Answer, received: Weights, strategy: str) -> dict[str, Any]:
    """Check a training answer; return the columns of its `site_results` row.

    The norm is computed here from the array itself, whatever the Site says of it.

    Raises
    ------
    KeyError, ValueError
        Naming what cannot be: weights of another shape, not finite, or a count of rows below one.
    """
    array = array_of(answer.body["weights"], "<f4")
    if array.shape != (NUM_WEIGHTS,):
        raise ValueError(f"it holds {array.size} weights instead of {NUM_WEIGHTS}")
    if not np.isfinite(array).all():
        raise ValueError("it holds weights that are not numbers")
    loss = float(answer.body["loss"])
    if not np.isfinite(loss):
        raise ValueError("its loss is not a number")
    rows, steps = int(answer.body["num_examples"]), int(answer.body["steps"])
    if rows < 1:
        raise ValueError("it counts no rows")
    if rows > MOST_ROWS:
        raise ValueError("it counts rows that cannot be")
    if steps < 0:
        raise ValueError("it counts steps that cannot be")
    if strategy in GRADIENT_STRATEGIES and steps > 0:
        raise ValueError("it holds trained weights where a gradient was asked for")
    if strategy not in GRADIENT_STRATEGIES and steps == 0:
        raise ValueError("it counts no steps")
    stored = update_bytes(array)
    return {
        "num_examples": rows,
        "loss": loss,
        "update_norm": update_norm(array, received, strategy),
        "update_sha256": hashlib.sha256(stored).hexdigest(),
        "update": stored,
    }


def update_norm(array: Weights, received: Weights, strategy: str) -> float:
    """Return the L2 norm of a gradient, or of the change from the received weights; arrays of shape (NUM_WEIGHTS,).

    The same on every machine, unlike a sum that BLAS divides among threads: a receipt holds it, to be computed again.
    """
    change = array.astype(np.float64)
    if strategy not in GRADIENT_STRATEGIES:
        change -= received
    return math.sqrt(math.fsum(change * change))


def holdout_of(answer: Answer) -> HoldoutSums:
    """Check what an answer says of held-out rows; raises KeyError or ValueError if it cannot be."""
    read_holdout(answer.body)
    return refuse_few(HoldoutSums.from_list(list(answer.body["holdout"])))
