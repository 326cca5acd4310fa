"""How often a SuperNode asks SuperLink for its next message: seldom enough to be cheap, often enough not to be late.

Flower's SuperLink cannot call a SuperNode; each look is an HTTP call that costs it five milliseconds of processor
time, and it has one thread. Sites that look 25 times a second leave it little time for anything else.
"""

from __future__ import annotations

import time

SHORTEST_SECONDS = 0.03
LONGEST_SECONDS = 1.0  # nobody is waiting, or somebody who waits long anyway
STEADY_SHARE = 0.75  # of the last interval that passes before the first look
MOST_AT_ONCE_SECONDS = 0.4  # Rounds may have become quicker
GROWTH = (
    0.12  # a pause is this share of the time waited so far: no wait is longer than needed by more than that
)
FORGOTTEN_SECONDS = 2.0  # an interval longer than this says nothing about the next


class Pace:
    """The pauses between looks; Rounds come at steady intervals, so the last interval tells when looking pays."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._expected = 0.0

    def answered(self) -> None:
        """A message was answered just now: the wait for the next begins."""
        self._since = time.monotonic()

    def received(self) -> None:
        """The next message is here: remember how long it took."""
        interval = time.monotonic() - self._since
        self._expected = interval if interval <= FORGOTTEN_SECONDS else 0.0

    def woken(self) -> None:
        """Somebody said that a message is about to come: look at once, and often."""
        self._since, self._expected = time.monotonic(), 0.0

    def pause(self) -> float:
        """Return the seconds to wait before the next look."""
        waited = time.monotonic() - self._since
        until_expected = min(STEADY_SHARE * self._expected - waited, MOST_AT_ONCE_SECONDS)
        return min(max(until_expected, GROWTH * waited, SHORTEST_SECONDS), LONGEST_SECONDS)
