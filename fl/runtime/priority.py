"""Training gives way to people: who waits for a page on the same machine is served first."""

from __future__ import annotations

import os
from contextlib import suppress

NICENESS = 10


def give_way() -> None:
    """Lower the priority of this process and of what it starts; can be repeated.

    Where Linux shares processors out by session (sched_autogroup) all SuperNodes that the supervisor forks are one
    session, which already has no larger share than the web process.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
