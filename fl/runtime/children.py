"""Child processes: each in a group of its own, dying with its parent, stopped with all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

STOP_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, also by kill -9; elsewhere the lifelines must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log_file: Path,
    cwd: Path,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, its output appended to `log_file`."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def marked_processes(variable: str, value: str) -> list[psutil.Process]:
    """Return the processes, other than this one, that were started with `variable` set to `value`.

    A child of a child outlives the parents that were killed, and no list of pids knows it; its environment does.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                found.append(process)
    return found


def stop_processes(processes: Iterable[psutil.Process]) -> None:
    """End processes with all their descendants: SIGTERM, a few seconds, SIGKILL."""
    family: dict[int, psutil.Process] = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for member in (*process.children(recursive=True), process):
                family[member.pid] = member
    for member in family.values():
        with contextlib.suppress(psutil.Error):
            member.terminate()
    _, alive = psutil.wait_procs(list(family.values()), timeout=STOP_SECONDS)
    for member in alive:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


@dataclass
class ChildRegister:
    """Remembers on disk which processes were started, so that the next leader can end what a dead one left.

    The file maps each role, such as `superlink` or an institution's code, to a pid and the time it was created.
    """

    path: Path
    _started: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, role: str, pid: int) -> None:
        """Remember a process; one of the same role before it is forgotten."""
        with contextlib.suppress(psutil.Error):
            self._started[role] = (pid, psutil.Process(pid).create_time())
            self._save()

    def clear(self) -> None:
        """Forget all."""
        self._started.clear()
        self._save()

    def end_leftovers(self) -> None:
        """End what the file names and still runs."""
        stop_processes(still_running(self.path).values())
        self.clear()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(self._started))
        temporary.replace(self.path)


def still_running(register: Path) -> dict[str, psutil.Process]:
    """Return the processes of a register by role; a pid that now belongs to another process is left out."""
    try:
        remembered: dict[str, tuple[int, float]] = json.loads(register.read_text())
    except (OSError, ValueError):
        return {}
    running = {}
    for role, (pid, created) in remembered.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 0.05:
                running[role] = process
    return running
