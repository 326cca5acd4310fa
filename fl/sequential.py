"""A confidence sequence for a mean: an interval that holds at every moment, however often one looks.

Asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit
theory and asymptotic confidence sequences", Annals of Statistics 52: Robbins' normal mixture with the variance
estimated. It needs no bound on the values, only that they have a little more than a variance, and asks for a start that
is not too early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ALPHA = 0.05  # chance that the sequence ever misses the mean
TIGHTEST_AT = 200  # values at which the sequence is about as narrow as it can be
FEWEST_VALUES = (
    100  # before that nothing is concluded: with skewed values, one history in fifteen would mislead
)
FARTHEST = 1_000_000  # values; what needs more is called out of reach
# Their approximation of the parameter of the mixture that makes the sequence narrowest at TIGHTEST_AT.
_RHO_SQUARED = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / TIGHTEST_AT


@dataclass(frozen=True)
class Sums:
    """What is known of n values: their number, sum and sum of squares."""

    count: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Of the values; NaN of none."""
        return self.total / self.count if self.count else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation, with n below the line; NaN of none."""
        if not self.count:
            return math.nan
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0))


def half_width(count: int, deviation: float) -> float:
    """Return half the width of the sequence after `count` values of this standard deviation, in their unit."""
    spread = count * _RHO_SQUARED + 1
    return deviation * math.sqrt(2 * spread / (count**2 * _RHO_SQUARED) * math.log(math.sqrt(spread) / ALPHA))


def interval(sums: Sums) -> tuple[float, float] | None:
    """Return the interval that holds the mean with 95 % at all times together; None of too few values."""
    if sums.count < FEWEST_VALUES:
        return None
    width = half_width(sums.count, sums.deviation)
    return sums.mean - width, sums.mean + width


def values_needed(sums: Sums) -> int | None:
    """Return about how many values in all it takes until zero lies outside, if the mean stays what it is.

    None if that is out of reach, or nothing is known.
    """
    if sums.count == 0 or sums.mean == 0:
        return None
    distance, deviation = abs(sums.mean), sums.deviation
    low, high = FEWEST_VALUES, FARTHEST
    if half_width(high, deviation) > distance:
        return None
    while low < high:  # the width falls with every value
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(middle, deviation) <= distance else (middle + 1, high)
    return low
