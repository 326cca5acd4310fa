"""A SuperNode asks seldom while nothing can have come yet, often when it is due, and never for long in vain."""

from __future__ import annotations

import pytest

from fl.runtime import pace
from fl.runtime.pace import Pace


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def looks_until(pace: Pace, clock: Clock, seconds: float) -> tuple[int, float]:
    """Wait as a SuperNode does for a message that comes after so long; return the looks and by how much it is late."""
    due, looks = clock.now + seconds, 0
    while clock.now < due:
        clock.now += pace.pause()
        looks += 1
    pace.received()
    late = clock.now - due
    pace.answered()
    return looks, late


def test_steady_rounds_cost_a_few_looks_and_hardly_any_delay(clock: Clock) -> None:
    steady = Pace()
    steady.woken()
    looks_until(steady, clock, 0.4)
    for _ in range(5):
        looks, late = looks_until(steady, clock, 0.4)
        assert looks <= 4 and late <= 0.06


def test_rounds_that_become_quicker_are_followed(clock: Clock) -> None:
    follower = Pace()
    follower.woken()
    looks_until(follower, clock, 1.5)
    late = [looks_until(follower, clock, 0.1)[1] for _ in range(12)]
    assert late[0] < 0.5 and late[-1] <= pace.SHORTEST_SECONDS


def test_a_supernode_that_nobody_asks_looks_once_a_second(clock: Clock) -> None:
    idle = Pace()
    assert idle.pause() == pace.LONGEST_SECONDS
    looks, late = looks_until(idle, clock, 60)
    assert looks == 60 and late <= pace.LONGEST_SECONDS
    assert idle.pause() == pace.SHORTEST_SECONDS, "a long silence says nothing about the next message"


def test_a_supernode_that_is_woken_looks_at_once(clock: Clock) -> None:
    woken = Pace()
    woken.woken()
    assert woken.pause() == pace.SHORTEST_SECONDS
