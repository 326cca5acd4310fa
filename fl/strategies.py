"""How the Sites' answers of one Round become the next model: Flower's strategies by the names that a Run knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, Strategy

from fl.model import Weights
from fl.settings import RunSettings

FLAT = "weights"  # name of the one flat array in an ArrayRecord


@dataclass(frozen=True)
class SiteUpdate:
    """What one Site sent in one Round.

    Attributes
    ----------
    array
        Its weights after local training or, where the strategy asks for it, the gradient; shape (NUM_WEIGHTS,).
    num_examples
        Rows trained on.
    steps
        Optimizer steps that it made; 0 for a gradient.
    """

    array: Weights
    num_examples: int
    steps: int


class Aggregator:
    """One of Flower's strategies as the Rounds use it: what a Site is told, and what becomes of the answers.

    FedAvg: McMahan et al. 2017, arXiv:1602.05629.
    """

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    @classmethod
    def named(cls, name: str, settings: RunSettings) -> Aggregator:
        """Make the strategy that `fl.settings.STRATEGIES` lists under `name`."""
        return cls(FedAvg(weighted_by_key="num-examples"))

    def site_fields(self, institution: str) -> dict[str, Any]:
        """Return what the message to one Site holds besides the model and the settings."""
        return {}

    def aggregate(self, number: int, received: Weights, updates: Mapping[str, SiteUpdate]) -> Weights:
        """Return the next model.

        Parameters
        ----------
        number
            Of the Round, from 1.
        received
            The weights that the Sites were sent.
        updates
            Institution code -> what it sent; not empty.
        """
        arrays, _ = self._strategy.aggregate_train(number, _replies(updates))
        assert arrays is not None  # there was at least one reply
        return flat_weights(arrays)

    def state(self) -> bytes | None:
        """Return what must be kept, besides the weights, to go on after this Round; None if there is nothing."""
        return None

    def restore(self, state: bytes | None) -> None:
        """Take back what `state` returned."""


def arrays_of(weights: Weights) -> ArrayRecord:
    """Wrap flat weights for Flower."""
    return ArrayRecord({FLAT: Array(weights)})


def flat_weights(arrays: ArrayRecord) -> Weights:
    """Unwrap what `arrays_of` wrapped."""
    return arrays[FLAT].numpy().astype(np.float32)


def _replies(updates: Mapping[str, SiteUpdate]) -> list[Message]:
    """Turn updates into the replies that Flower's strategies aggregate.

    In the order of the institutions' codes: the sum of floats depends on the order, and a Run must repeat.
    """
    replies = []
    for code in sorted(updates):
        content = RecordDict(
            {
                "arrays": arrays_of(updates[code].array),
                "metrics": MetricRecord({"num-examples": updates[code].num_examples}),
            }
        )
        replies.append(Message(content, dst_node_id=0, message_type=MessageType.TRAIN))
    return replies
