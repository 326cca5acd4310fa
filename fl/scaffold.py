"""SCAFFOLD (Karimireddy et al. 2020, arXiv:1910.06378); the server keeps every Site's control variate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fl.model import NUM_WEIGHTS, Weights

Doubles = NDArray[np.float64]


class Scaffold(FedAvg):
    """Averages the Sites' changes and corrects each Site's next local steps by c - c_i.

    A Site takes K plain SGD steps y <- y - eta (g(y) + c - c_i) from the x that it received. Its next control variate
    (the paper's option II) is c_i+ = c_i - c + (x - y_i) / (K eta): the mean gradient that it met on its way. All of
    that is known here from what was sent and received, so the server keeps c_i for the Site, whose ClientApp
    keeps nothing between messages. What is subtracted is the correction that was really sent: a Site that was told
    none took uncorrected steps.

    The paper's objective is the mean of the Sites' losses, which lets a hospital of 50 patients count as much as one of
    5,000. Ours, as FedAvg's, is the mean over patients, so with p_i a Site's share of the rows

        x  <-  x + server_learning_rate * sum over answers of p_i (y_i - x)
        c  =   sum over known Sites of p_i c_i, times the share of the institutions that are known

    With Sites of equal size both are the paper's: x + eta_g / |S| sum (y_i - x), and c + |S| / N mean(c_i+ - c_i) as
    the running form of the mean of N control variates, those of Sites that never answered being zero.

    Attributes
    ----------
    received
        The weights that the Sites were sent in this Round, shape (NUM_WEIGHTS,); set before `aggregate_train`.
    learning_rate
        The Sites' in this Round; set before `aggregate_train`.
    variates
        Institution code -> c_i, float32, shape (NUM_WEIGHTS,).
    rows
        Institution code -> training rows by its last answer.
    """

    def __init__(self, *, institutions: Sequence[str], server_learning_rate: float) -> None:
        super().__init__(weighted_by_key="num-examples")
        self.received: Weights | None = None
        self.learning_rate = 0.0
        self.variates: dict[str, Weights] = {}
        self.rows: dict[str, int] = {}
        self._institutions = len(institutions)
        self._server_learning_rate = server_learning_rate
        self._sent: dict[str, Weights] = {}

    def common_variate(self) -> Doubles:
        """Return c, shape (NUM_WEIGHTS,)."""
        total = sum(self.rows.values())
        common = np.zeros(NUM_WEIGHTS)
        for code in sorted(self.variates):
            common += self.rows[code] / total * self.variates[code].astype(np.float64)
        return common * (len(self.variates) / max(self._institutions, len(self.variates), 1))

    def correction(self, institution: str) -> Weights:
        """Return c - c_i for one Site, shape (NUM_WEIGHTS,), and remember that it was sent."""
        correction = self.common_variate()
        if institution in self.variates:
            correction -= self.variates[institution]
        self._sent[institution] = correction.astype(np.float32)
        return self._sent[institution]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average the changes by rows; replace the control variates of the Sites that answered.

        Each reply holds, besides what FedAvg needs, `steps` among its metrics and its `institution` in a ConfigRecord.
        """
        replies = list(replies)
        averaged, metrics = super().aggregate_train(server_round, replies)
        if averaged is None or self.received is None:
            return averaged, metrics
        start = self.received.astype(np.float64)
        for reply in replies:
            self._learn(reply, start)
        self._sent.clear()
        (name,) = averaged.keys()
        change = averaged[name].numpy() - start
        return ArrayRecord({name: Array(start + self._server_learning_rate * change)}), metrics

    def _learn(self, reply: Message, start: Doubles) -> None:
        (site,) = reply.content.config_records.values()
        (metrics,) = reply.content.metric_records.values()
        (arrays,) = reply.content.array_records.values()
        (end,) = arrays.to_numpy_ndarrays()
        code, steps = str(site["institution"]), metrics["steps"]
        assert isinstance(steps, int) and isinstance(metrics["num-examples"], int)
        if steps < 1:
            return  # nothing was learnt on the way
        self.rows[code] = metrics["num-examples"]
        met = (start - end) / (steps * self.learning_rate) - self._sent.get(code, np.float32(0.0))
        self.variates[code] = met.astype(np.float32)

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """Return all that goes on into the next Round, by name."""
        codes = sorted(self.variates)
        kept: dict[str, NDArray[np.generic]] = {f"variate/{code}": self.variates[code] for code in codes}
        return kept | {f"rows/{code}": np.array(self.rows[code], dtype=np.int64) for code in codes}

    def remember(self, memory: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what `memory` returned."""
        codes = [name.removeprefix("rows/") for name in memory if name.startswith("rows/")]
        self.variates = {code: memory[f"variate/{code}"].astype(np.float32) for code in codes}
        self.rows = {code: int(memory[f"rows/{code}"].item()) for code in codes}
