"""What a Run's settings and seed say of one Round: its learning rate, and which Sites take part."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fl.settings import RunSettings

# Each kind of draw has a stream of random numbers of its own.
FIT, EVALUATE = 1, 2
BOTH_TASKS = "train,evaluate"


def learning_rate_in(settings: RunSettings, number: int, num_rounds: int) -> float:
    """Return the Sites' learning rate in Round `number` of `num_rounds`.

    The first Round has `learning_rate`, the last `final_learning_rate_share` of it; a Run of one Round has the first.
    """
    passed = (number - 1) / (num_rounds - 1) if num_rounds > 1 else 0.0
    final = settings.final_learning_rate_share
    if settings.learning_rate_schedule == "linear":
        share = 1.0 - (1.0 - final) * passed
    elif settings.learning_rate_schedule == "cosine":
        share = final + (1.0 - final) * (1.0 + math.cos(math.pi * passed)) / 2.0
    elif settings.learning_rate_schedule == "exponential":
        share = final**passed
    else:
        share = 1.0
    return settings.learning_rate * share


def drawn_sites(
    codes: Iterable[str], fraction: float, minimum: int, *, seed: int, number: int, stream: int
) -> frozenset[str]:
    """Draw the institutions of one Round; the same codes, seed and Round give the same draw.

    Parameters
    ----------
    codes
        Who may be drawn.
    fraction
        Share to draw, rounded up.
    minimum
        Never fewer than this, or all if there are not so many.
    stream
        `FIT` or `EVALUATE`.
    """
    candidates = sorted(codes)
    wanted = max(math.ceil(fraction * len(candidates) - 1e-9), minimum)
    if wanted >= len(candidates):
        return frozenset(candidates)
    generator = np.random.default_rng([seed, number, stream])
    return frozenset(candidates[index] for index in generator.permutation(len(candidates))[:wanted])


@dataclass(frozen=True)
class Draw:
    """Who does what in one Round: codes of institutions."""

    fit: frozenset[str]
    evaluate: frozenset[str]

    @property
    def asked(self) -> frozenset[str]:
        """Everybody who has something to do."""
        return self.fit | self.evaluate

    def tasks(self, code: str) -> str:
        """Return what a Site is asked for; one that was unknown when lots were drawn does both."""
        if code not in self.asked:
            return BOTH_TASKS
        drawn = [name for name, codes in (("train", self.fit), ("evaluate", self.evaluate)) if code in codes]
        return ",".join(drawn)


def draw_round(
    settings: RunSettings, *, seed: int, number: int, present: Iterable[str], everybody: Iterable[str]
) -> Draw:
    """Draw who trains in a Round and who evaluates the model that it begins with.

    Parameters
    ----------
    present
        Who is connected and did not sit out: lots are drawn among these.
    everybody
        All institutions of the Run: a share of 1 asks these, whoever is there.
    """
    candidates, all_codes = list(present), frozenset(everybody)

    def part(fraction: float, minimum: int, stream: int) -> frozenset[str]:
        if fraction >= 1.0:
            return all_codes
        return drawn_sites(candidates, fraction, minimum, seed=seed, number=number, stream=stream)

    return Draw(
        fit=part(settings.fraction_fit, settings.min_sites, FIT),
        evaluate=part(settings.fraction_evaluate, settings.min_sites_evaluate, EVALUATE),
    )


class EarlyStopping:
    """Tells when Rounds have stopped to help: none of the last `rounds` lowered the loss by `improvement`."""

    def __init__(self, rounds: int, improvement: float) -> None:
        self._rounds = rounds
        self._improvement = improvement
        self._lowest = math.inf
        self.improved_at = 0

    def observe(self, number: int, loss: float) -> bool:
        """Take the loss of Round `number` on the held-out rows; answer whether the Run should stop."""
        if loss < self._lowest - self._improvement or math.isinf(self._lowest):
            self._lowest, self.improved_at = loss, number
        return self._rounds > 0 and number - self.improved_at >= self._rounds
