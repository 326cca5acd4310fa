"""How the Sites' answers of one Round become the next model: Flower's strategies by the names that a Run knows."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
)
from flwr.serverapp.strategy.fedopt import FedOpt
from numpy.typing import NDArray

from fl.model import Weights
from fl.scaffold import Scaffold
from fl.settings import RunSettings

FLAT = "weights"  # name of the one flat array in an ArrayRecord
ROWS = "num-examples"  # Flower averages by this metric


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


class FedSgd(FedAvg):
    """One step of gradient descent on all Sites' rows (McMahan et al. 2017, arXiv:1602.05629, FedSGD).

    A Site sends the gradient g_k of the mean squared error over its n_k rows; FedAvg's average by rows of those is the
    gradient over all n rows, so w <- w - server_learning_rate * sum_k n_k g_k / n. Three rows with g = 1 and one with
    g = 5 move a weight by -2 times the rate.

    Attributes
    ----------
    received
        The weights that the Sites were sent, shape (NUM_WEIGHTS,); set before `aggregate_train`.
    """

    def __init__(self, *, server_learning_rate: float) -> None:
        super().__init__(weighted_by_key=ROWS)
        self.received: Weights | None = None
        self._server_learning_rate = server_learning_rate

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the gradients and make the step."""
        gradient, metrics = super().aggregate_train(server_round, replies)
        if gradient is None or self.received is None:
            return gradient, metrics
        step = self._server_learning_rate * gradient[FLAT].numpy()
        return arrays_of((self.received - step).astype(np.float32)), metrics


class SharedTrimmedAvg(FedTrimmedAvg):
    """Flower's trimmed mean (Yin et al. 2018, arXiv:1803.01498), at least one Site cut at each end.

    Flower rounds the number of Sites down: 20 % of four Sites cuts none, and a wrong one stays in. Here a share above 0
    cuts at least one at each end of three Sites and more, so that of four the middle two are averaged.
    """

    def __init__(self, *, share: float) -> None:
        super().__init__(weighted_by_key=ROWS, beta=share)
        self._share = share

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Cut and average; each Site that is left counts the same."""
        replies = list(replies)
        self.beta = beta_that_cuts(sites_cut(self._share, len(replies)), len(replies))
        return super().aggregate_train(server_round, replies)


def sites_cut(share: float, sites: int) -> int:
    """Return how many Sites a trimmed mean cuts off at each end of every weight."""
    if share == 0 or sites < 3:
        return 0
    return max(1, int(share * sites))


def beta_that_cuts(cut: int, sites: int) -> float:
    """Return the share by which Flower cuts just so many: it computes int(share * sites)."""
    return (cut + 0.25) / sites if cut else 0.0


class Aggregator:
    """One of Flower's strategies as the Rounds use it: what a Site is told, and what becomes of the answers."""

    def __init__(self, strategy: FedAvg) -> None:
        self._strategy = strategy

    @classmethod
    def named(cls, name: str, settings: RunSettings, institutions: Sequence[str] = ()) -> Aggregator:
        """Make the strategy that `fl.settings.STRATEGIES` lists under `name`.

        Parameters
        ----------
        institutions
            Codes of all institutions that the Run may ask; SCAFFOLD counts them.

        Raises
        ------
        ValueError
            If there is no such strategy.
        """
        if name not in MAKERS:
            raise ValueError(f"there is no strategy {name!r}; there are {', '.join(MAKERS)}")
        return cls(MAKERS[name](settings, institutions))

    def site_fields(self, institution: str) -> dict[str, Any]:
        """Return what the message to one Site holds besides the model and the settings."""
        if isinstance(self._strategy, Scaffold):
            return {"correction": self._strategy.correction(institution)}
        return {}

    def aggregate(
        self, number: int, received: Weights, updates: Mapping[str, SiteUpdate], *, learning_rate: float
    ) -> Weights:
        """Return the next model.

        Parameters
        ----------
        number
            Of the Round, from 1.
        received
            The weights that the Sites were sent.
        updates
            Institution code -> what it sent; not empty.
        learning_rate
            The Sites' in this Round.
        """
        strategy = self._strategy
        if isinstance(strategy, FedOpt):
            strategy.current_arrays = {FLAT: received}
        elif isinstance(strategy, FedAvgM):
            strategy.current_arrays = arrays_of(received)
        elif isinstance(strategy, FedSgd):
            strategy.received = received
        elif isinstance(strategy, Scaffold):
            strategy.received, strategy.learning_rate = received, learning_rate
        arrays, _ = strategy.aggregate_train(number, _replies(updates, exact=isinstance(strategy, Krum)))
        assert arrays is not None  # there was at least one reply
        return flat_weights(arrays)

    def state(self) -> bytes | None:
        """Return what must be kept, besides the weights, to go on after this Round; None if there is nothing.

        The same state gives the same bytes: an .npz of named arrays.
        """
        memory = self._memory()
        if not memory:
            return None
        stored = io.BytesIO()
        np.savez(stored, allow_pickle=False, **memory)
        return stored.getvalue()

    def restore(self, state: bytes | None) -> None:
        """Take back what `state` of the same strategy returned.

        Raises
        ------
        ValueError
            If these bytes are no such state.
        """
        if state is None:
            return
        try:
            with np.load(io.BytesIO(state), allow_pickle=False) as stored:
                memory = {name: stored[name] for name in stored.files}
        except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as problem:
            raise ValueError("the state of the strategy cannot be read") from problem
        try:
            self._remember(memory)
        except KeyError as missing:
            raise ValueError(f"the state is of another strategy: {missing} is missing") from missing

    def _memory(self) -> dict[str, NDArray[Any]]:
        strategy = self._strategy
        if isinstance(strategy, Scaffold):
            return strategy.memory()
        if isinstance(strategy, FedAvgM) and strategy.momentum_vector is not None:
            (momentum,) = strategy.momentum_vector
            return {"momentum": momentum}
        if isinstance(strategy, FedOpt) and strategy.m_t and strategy.v_t:
            return {"first_moment": strategy.m_t[FLAT], "second_moment": strategy.v_t[FLAT]}
        return {}

    def _remember(self, memory: Mapping[str, NDArray[Any]]) -> None:
        strategy = self._strategy
        if isinstance(strategy, Scaffold):
            strategy.remember(memory)
        elif isinstance(strategy, FedAvgM):
            strategy.momentum_vector = [memory["momentum"]]
        elif isinstance(strategy, FedOpt):
            strategy.m_t = {FLAT: memory["first_moment"]}
            strategy.v_t = {FLAT: memory["second_moment"]}


def _moments(settings: RunSettings) -> dict[str, Any]:
    return {
        "eta": settings.server_learning_rate,
        "eta_l": settings.learning_rate,
        "beta_1": settings.beta_1,
        "beta_2": settings.beta_2,
        "tau": settings.tau,
    }


# Name of a strategy -> what makes it for a Run's settings and institutions.
MAKERS: dict[str, Callable[[RunSettings, Sequence[str]], FedAvg]] = {
    "fedavg": lambda settings, codes: FedAvg(weighted_by_key=ROWS),
    "fedsgd": lambda settings, codes: FedSgd(server_learning_rate=settings.server_learning_rate),
    "fedprox": lambda settings, codes: FedProx(weighted_by_key=ROWS, proximal_mu=settings.proximal_mu),
    "fedavgm": lambda settings, codes: FedAvgM(
        weighted_by_key=ROWS,
        server_learning_rate=settings.server_learning_rate,
        server_momentum=settings.server_momentum,
    ),
    "fedadam": lambda settings, codes: FedAdam(weighted_by_key=ROWS, **_moments(settings)),
    "fedyogi": lambda settings, codes: FedYogi(weighted_by_key=ROWS, **_moments(settings)),
    "fedadagrad": lambda settings, codes: FedAdagrad(
        weighted_by_key=ROWS,
        eta=settings.server_learning_rate,
        eta_l=settings.learning_rate,
        tau=settings.tau,
    ),
    "fedmedian": lambda settings, codes: FedMedian(weighted_by_key=ROWS),
    "trimmed_mean": lambda settings, codes: SharedTrimmedAvg(share=settings.trim_share),
    "krum": lambda settings, codes: Krum(weighted_by_key=ROWS, num_malicious_nodes=settings.malicious_sites),
    "scaffold": lambda settings, codes: Scaffold(
        institutions=codes, server_learning_rate=settings.server_learning_rate
    ),
}


def arrays_of(weights: Weights) -> ArrayRecord:
    """Wrap flat weights for Flower."""
    return ArrayRecord({FLAT: Array(weights)})


def flat_weights(arrays: ArrayRecord) -> Weights:
    """Unwrap what `arrays_of` wrapped."""
    return arrays[FLAT].numpy().astype(np.float32)


def _replies(updates: Mapping[str, SiteUpdate], *, exact: bool) -> list[Message]:
    """Turn updates into the replies that Flower's strategies aggregate.

    In the order of the institutions' codes: the sum of floats depends on the order, and a Run must repeat. `exact`
    gives float64: Krum computes distances as ||x||^2 + ||y||^2 - 2 x.y, in which float32 would lose the small ones.
    """
    replies = []
    for code in sorted(updates):
        update = updates[code]
        array = update.array.astype(np.float64) if exact else update.array
        content = RecordDict(
            {
                "arrays": ArrayRecord({FLAT: Array(array)}),
                "metrics": MetricRecord({ROWS: update.num_examples, "steps": update.steps}),
                "site": ConfigRecord({"institution": code}),
            }
        )
        replies.append(Message(content, dst_node_id=0, message_type=MessageType.TRAIN))
    return replies
