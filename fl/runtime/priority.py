"""Training gives way to people: who waits for a page on the same machine is served first."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICENESS = 10


def give_way() -> None:
    """Lower the priority of this process and of what it starts in its session; can be repeated."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # Where Linux shares processors out by session (sched_autogroup), a process's own priority counts only within it.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))
