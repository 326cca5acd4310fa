"""`make bench-strategies`: R2 by Round of every strategy, on Sites alike and on Sites that differ strongly."""

from __future__ import annotations

import itertools
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from bench.data import Cohort, insurance_cohort
from fl.features import Preprocessing
from fl.model import forward, initial_weights, unflatten
from fl.settings import STRATEGIES, RunSettings, settings_for
from fl.site_work import local_seed
from fl.statistics import moments_of, pooled_preprocessing
from fl.strategies import Aggregator, SiteUpdate
from fl.training import train, use_one_thread

AT_ROUNDS = (1, 5, 10, 20, 50)
SEEDS = 2
SKEWED_SITES = 5
FEWEST_ROWS = 45  # a Site with fewer than 30 on the training side might sit out
COST_CLASSES = 10
# Label -> strategy and what is chosen besides the settings that it comes with.
MEASURED: dict[str, tuple[str, dict[str, Any]]] = {
    **{choice.label: (name, {}) for name, choice in STRATEGIES.items()},
    "FedAvg, SGD": ("fedavg", {"optimizer": "sgd", "learning_rate": 0.02}),  # SCAFFOLD but for its correction
}
SKEWS: dict[str, float | None] = {"region": None, "dirichlet 0.5": 0.5, "dirichlet 0.1": 0.1}


@dataclass(frozen=True)
class ScaledSite:
    """One Site's training rows as the network sees them: inputs, shape (n, 13), and costs, shape (n,)."""

    inputs: NDArray[np.float32]
    target: NDArray[np.float32]


@dataclass(frozen=True)
class Federation:
    """The Sites of one split and the rows held out of all of them, with their costs in USD."""

    sites: Mapping[str, ScaledSite]
    preprocessing: Preprocessing
    held_out: NDArray[np.float32]
    cost: NDArray[np.float64]

    def r2(self, weights: NDArray[np.float32]) -> float:
        """Return R2 on the held-out rows; minus infinity of weights that are not numbers."""
        if not np.isfinite(weights).all():
            return float("-inf")
        predicted = np.maximum(self.preprocessing.cost_of(forward(unflatten(weights), self.held_out)), 0.0)
        return float(r2_score(self.cost, predicted)) if np.isfinite(predicted).all() else float("-inf")


def skewed_sites(cost: NDArray[np.float64], alpha: float, seed: int) -> NDArray[np.str_]:
    """Deal rows to Sites so that their costs differ (Hsu et al. 2019, arXiv:1909.06335, for a cost instead of a label).

    The rows are cut into ten classes by deciles of cost. Of each class a Site gets a share drawn from a symmetric
    Dirichlet distribution: at alpha 0.1 most of a class lies at one Site. Drawn again until each has enough rows.

    Returns
    -------
    NDArray
        The Site of each row, shape (n,).
    """
    generator = np.random.default_rng(seed)
    classes = np.array_split(np.argsort(cost, kind="stable"), COST_CLASSES)
    while True:
        site = np.empty(len(cost), dtype=int)
        for rows in classes:
            ends = np.cumsum(generator.dirichlet([alpha] * SKEWED_SITES))[:-1] * len(rows)
            for number, part in enumerate(np.split(generator.permutation(rows), ends.astype(int))):
                site[part] = number
        if np.bincount(site, minlength=SKEWED_SITES).min() >= FEWEST_ROWS:
            return np.array([f"site{number + 1}" for number in site])


def federation_of(cohort: Cohort, alpha: float | None, seed: int) -> Federation:
    """Split rows for training and holding out, and deal those to train on to Sites; by region if alpha is None."""
    trains = cohort.training_side(seed)
    site = cohort.site if alpha is None else skewed_sites(cohort.cost, alpha, seed)
    mine = {code: trains & (site == code) for code in sorted(set(site))}
    preprocessing = pooled_preprocessing(
        moments_of(cohort.inputs[rows], cohort.cost[rows]) for rows in mine.values()
    )
    return Federation(
        sites={
            code: ScaledSite(
                preprocessing.scale_inputs(cohort.inputs[rows]),
                preprocessing.scale_target(cohort.cost[rows]),
            )
            for code, rows in mine.items()
        },
        preprocessing=preprocessing,
        held_out=preprocessing.scale_inputs(cohort.inputs[~trains]),
        cost=cohort.cost[~trains],
    )


def models_by_round(
    sites: Mapping[str, ScaledSite], strategy: str, settings: RunSettings, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the weights after each Round, without end, by the product's own aggregation and local training."""
    codes = sorted(sites)
    aggregator = Aggregator.named(strategy, settings, codes)
    weights = initial_weights(seed)
    for number in itertools.count(1):
        updates = {}
        for code in codes:
            site = sites[code]
            trained = train(
                weights,
                site.inputs,
                site.target,
                settings=settings,
                seed=local_seed(seed, number, code),
                strategy=strategy,
                correction=aggregator.site_fields(code).get("correction"),
            )
            updates[code] = SiteUpdate(trained.weights, len(site.target), trained.steps)
        weights = aggregator.aggregate(number, weights, updates, learning_rate=settings.learning_rate)
        yield weights


def r2_by_round(
    federation: Federation, strategy: str, settings: RunSettings, seed: int, rounds: Sequence[int] = AT_ROUNDS
) -> dict[int, float]:
    """Train for as many Rounds as the last of `rounds`; return R2 after each of them."""
    models = enumerate(models_by_round(federation.sites, strategy, settings, seed), start=1)
    return {
        number: federation.r2(weights)
        for number, weights in itertools.islice(models, max(rounds))
        if number in rounds
    }


def run_here() -> None:
    """Say to Flower that this process runs an app, without which it makes no message; quieten its log."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, SUPERLINK_NODE_ID, 1
    logging.getLogger("flwr").setLevel(logging.ERROR)
    use_one_thread()


def measure(skew: str, label: str, seed: int) -> dict[int, float]:
    """Return R2 by Round of one line of the table in one split."""
    strategy, chosen = MEASURED[label]
    federation = federation_of(insurance_cohort(), SKEWS[skew], seed)
    return r2_by_round(federation, strategy, settings_for(strategy, chosen), seed)


def main() -> None:
    """Print one table for each way to spread the rows, and the JSON line."""
    started = time.perf_counter()
    scores: dict[str, dict[str, dict[int, float]]] = {}
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=run_here) as pool:
        asked = {
            (skew, label): [pool.submit(measure, skew, label, seed) for seed in range(SEEDS)]
            for skew, label in itertools.product(SKEWS, MEASURED)
        }
        for skew, alpha in SKEWS.items():
            sites = [federation_of(insurance_cohort(), alpha, seed).sites.values() for seed in range(SEEDS)]
            sizes = "; ".join(", ".join(str(len(site.target)) for site in here) for here in sites)
            print(
                f"\n{skew}: R² after so many rounds, mean of {SEEDS} splits; training rows of the sites: {sizes}"
            )
            print(f"  {'':<14}{''.join(f'{number:>8}' for number in AT_ROUNDS)}")
            scores[skew] = {}
            for label in MEASURED:
                by_seed = [answer.result() for answer in asked[skew, label]]
                mean = {number: float(np.mean([one[number] for one in by_seed])) for number in AT_ROUNDS}
                scores[skew][label] = {number: round(r2, 4) for number, r2 in mean.items()}
                print(f"  {label:<14}{''.join(f'{r2:>8.3f}' for r2 in mean.values())}", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} seconds")
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
