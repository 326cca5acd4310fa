"""The web application as a child process of the launcher."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from app.data_folder import web_secrets
from app.launch_options import LaunchOptions
from app.settings import PROJECT_ROOT
from db.provision import DatabaseUrls
from fl.runtime.children import ChildRegister, start_child, stop_processes

STOP_PATIENCE = 5.0  # seconds for the application to end itself and the federation
LOG_LIMIT = 5_000_000  # bytes


class WebDidNotStart(RuntimeError):
    """The web application ended or stayed silent; the message ends with the last lines of its log."""


class WebProcess:
    """Streamlit with the REST API on one port; it dies with the launcher, also after kill -9."""

    def __init__(self, options: LaunchOptions) -> None:
        self._options = options
        self._log = options.data_dir / "logs" / "web.log"
        self._register = ChildRegister(options.data_dir / "run" / "web.json")
        self._child: subprocess.Popen[bytes] | None = None

    def end_leftovers(self) -> None:
        """End a web application that a killed launcher left, where the system did not do it."""
        self._register.end_leftovers()

    def start(self, urls: DatabaseUrls) -> None:
        """Start the application over these databases; it does not answer yet."""
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        self._child = start_child(
            [
                *(sys.executable, "-m", "streamlit", "run", "app/main.py"),
                *("--server.address", self._options.host, "--server.port", str(self._options.port)),
            ],
            environment=self._environment(urls),
            log_file=self._log,
            cwd=PROJECT_ROOT,
        )
        self._register.add("web", self._child.pid)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    def wait_until_it_answers(self, seconds: float) -> None:
        """Wait for GET /api/health.

        Raises
        ------
        WebDidNotStart
            If the process ends or does not answer in time.
        """
        deadline = time.monotonic() + seconds
        while not self._answers():
            if not self.running:
                raise WebDidNotStart(f"The web application ended at once.\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise WebDidNotStart(
                    f"The web application did not answer within {seconds:.0f} s.\n{self._log_tail()}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End the application and, first gently, everything it started."""
        if self._child is None:
            return
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            application = psutil.Process(self._child.pid)
            family = [*application.children(recursive=True), application]
            self._child.terminate()
        _, alive = psutil.wait_procs(family, timeout=STOP_PATIENCE)
        stop_processes(alive)
        self._child.wait()
        self._child = None
        self._register.clear()

    def _environment(self, urls: DatabaseUrls) -> dict[str, str]:
        programs = str(Path(sys.executable).parent)
        return {
            **os.environ,
            **web_secrets(self._options.data_dir),
            "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
            # The server would believe the X-Forwarded-For of every process on this machine; TRUSTED_PROXIES decides.
            "FORWARDED_ALLOW_IPS": "",
            "HOST": self._options.host,
            "PORT": str(self._options.port),
            "DEMO_MODE": "true",
            "DATA_DIR": str(self._options.data_dir),
            "CENTRAL_DATABASE_URL": urls.app_central,
            "SITE_DATABASE_URLS": json.dumps(urls.app_sites),
            "SITE_TRAIN_DATABASE_URLS": json.dumps(urls.train_sites),
            "FEDERATION": str(self._options.federation).lower(),
            "FLOWER_RUNTIME": self._options.flower_runtime,
            "PYTHONUNBUFFERED": "1",
        }

    def _answers(self) -> bool:
        # No proxy: the address is this machine's own.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self._options.address}/api/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-15:] if self._log.exists() else []
        return "\n".join([*lines, f"(from {self._log})"])
