"""A few threads for work that takes milliseconds: asking who is calling, and predicting.

Each such piece waits for the database again and again. With as many threads as FastAPI has for everything else, they
mostly wait for each other's turn: four answer twice as many requests a second (`make bench-load`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

THREADS = 4

Result = TypeVar("Result")
_limiters: RunVar[CapacityLimiter] = RunVar("quick_threads")


async def in_quick_thread(work: Callable[[], Result]) -> Result:
    """Do short work in one of these threads; it waits its turn."""
    limiter = _limiters.get(None)
    if limiter is None:
        limiter = CapacityLimiter(THREADS)
        _limiters.set(limiter)
    return await to_thread.run_sync(work, limiter=limiter)
