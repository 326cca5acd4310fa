"""Forks SuperNodes from one process that has imported TensorFlow once: up sooner, and most memory shared.

The supervisor passes one end of a socket pair for each SuperNode. The child reads its settings from it, so this
parent never sees a Site's database URL; the open socket is also the lifeline in both directions.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import IO

from db.logs import configure_logs
from fl.runtime.children import die_with_parent
from fl.runtime.priority import give_way
from fl.runtime.supernode import SuperNodeSettings, run_supernode

log = logging.getLogger(__name__)
GRACE_SECONDS = 3.0


def main() -> None:
    """Import what SuperNodes need, then fork one for every socket that arrives on the inherited control socket."""
    give_way()
    configure_logs("forkserver")
    control = socket.socket(fileno=int(sys.argv[1]))
    _preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel at once
    control.sendall(b"ready\n")
    while True:
        received, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not received:
            return
        lifeline = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _child(lifeline)
        lifeline.close()


def _preload() -> None:
    """Import while there is one thread and before any TensorFlow operation: only then is forking sound."""
    import flwr.supernode.fleet_http_connection  # noqa: F401

    import fl.client_app
    import fl.runtime.flower_private
    import fl.training  # noqa: F401

    if threading.active_count() != 1:
        raise RuntimeError("the fork server has more than one thread")


def _child(lifeline: socket.socket) -> None:
    die_with_parent()
    status = 1
    try:
        stream = lifeline.makefile("rwb", buffering=0)
        request = json.loads(stream.readline())
        _log_to(Path(request.pop("log_file")))
        configure_logs("supernode", context=lambda: {"institution": request["institution"]})
        stream.write(json.dumps({"pid": os.getpid()}).encode() + b"\n")
        said = SupervisorSaid()
        threading.Thread(target=said.listen, args=(stream,), daemon=True).start()
        run_supernode(
            SuperNodeSettings(**request),
            keep_on=lambda: not said.gone,
            pause=said.pause,
            on_connected=lambda node_id: _tell(lifeline, {"node_id": node_id}),
        )
        status = 0
    except Exception:  # logged here, for a forked process leaves by os._exit
        log.exception("the SuperNode stopped")
    finally:
        logging.shutdown()
        os._exit(status)


class SupervisorSaid:
    """What came over the lifeline: a byte says that a Run begins, its end that the supervisor is gone."""

    def __init__(self) -> None:
        self.gone = False
        self._something = threading.Event()

    def pause(self, seconds: float) -> bool:
        """Wait so long, or until something is said; answer whether it was."""
        said = self._something.wait(seconds)
        self._something.clear()
        return said

    def listen(self, stream: IO[bytes]) -> None:
        """Listen until the lifeline ends; then leave by force if the SuperNode does not leave by itself."""
        with contextlib.suppress(OSError):
            while stream.read(1):
                self._something.set()
        self.gone = True
        self._something.set()
        time.sleep(GRACE_SECONDS)
        os._exit(0)


def _tell(lifeline: socket.socket, message: dict[str, int]) -> None:
    lifeline.sendall(json.dumps(message).encode() + b"\n")


def _log_to(log_file: Path) -> None:
    with log_file.open("ab") as target:
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)


if __name__ == "__main__":
    main()
