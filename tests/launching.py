"""Starting the whole product as `make run` does, for tests that stop and kill it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from app.settings import PROJECT_ROOT


class Launch:
    """One launcher, `python -m app.launch`, with what it says."""

    def __init__(self, data_dir: Path, port: int, **environment: str) -> None:
        self.port, self.data_dir = port, data_dir
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.launch"],
            cwd=PROJECT_ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name not in ("DATA", "HOST")},
                "PORT": str(port),
                "DATA_DIR": str(data_dir),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, sentence: str, seconds: float = 60) -> None:
        """Wait until the launcher has said `sentence`; what it said before counts only once."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            assert line is not None, f"ended without {sentence!r}:\n{''.join(self.said)}"
            self.said.append(line)
            if sentence in line:
                return

    def ended(self, seconds: float = 15) -> tuple[int, str]:
        """Wait for the end; returns the exit code and all that was said."""
        code = self.process.wait(timeout=seconds)
        while (line := self._lines.get(timeout=5)) is not None:
            self.said.append(line)
        return code, "".join(self.said)

    @property
    def web(self) -> psutil.Process:
        """The web application: the launcher's one child that stays."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "streamlit" in child.cmdline())

    def answers(self) -> bool:
        """Whether the web application answers that its database does."""
        address = f"http://127.0.0.1:{self.port}/api/health"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return bool(json.load(answer)["database"] == "up")
        except (urllib.error.URLError, OSError):
            return False
